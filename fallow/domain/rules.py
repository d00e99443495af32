"""Quarantine rules: how long a number lies fallow, by country, class, carrier, pool and reason.

A cycle freezes the rule that applied at its enrolment. Quarantine runs from the disconnect instant, stored once and never
moved by an edit; time before enrolment is *declared*, after it *observed*, and the rule asks a minimum of each, so that a
backdated file can't skip it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from fallow.domain.errors import PolicyRefused

ANY = "*"
ONE_DAY = timedelta(days=1)


class Certainty(StrEnum):
    """How sure a rule's figures are."""

    LAW = "law"
    REGULATOR = "regulator"
    PRESS = "press"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class Traits:
    """What rules are chosen by.

    Attributes:
        country: ISO 3166 alpha-2.
        number_class: mobile, fixed, toll-free or data-only.
        carrier: the carrier's id.
        pool: the carrier's own pool, such as residential; "" where none was stated.
        reason: why the former holder's line ended.
    """

    country: str
    number_class: str
    carrier: str
    pool: str
    reason: str

    def __str__(self) -> str:
        """Name them in one line."""
        return ", ".join(part for part in (self.country, self.number_class, self.carrier, self.pool, self.reason) if part)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        country: ISO 3166 alpha-2, or ``*``.
        number_class: mobile, fixed, toll-free, data-only, or ``*``.
        carrier: the carrier's id, or ``*``.
        pool: the carrier's pool, or ``*``.
        reason: the disconnect reason, or ``*``.
        quarantine_for: least time from disconnect to release.
        observed_for: least part of it that must pass after enrolment.
        maximum_for: when a number counts as overdue, or None.
        demo: a rule too short for real numbers; its cycles carry DEMO for ever.
        reminder: whether the former holder must have been reminded before wiping.
        rule_set: the versioned set it belongs to, such as ``cn 1``.
        certainty: how sure the figures are.
        source: where the figures come from.
    """

    country: str
    number_class: str
    carrier: str
    reason: str
    quarantine_for: timedelta
    observed_for: timedelta
    maximum_for: timedelta | None = None
    pool: str = ANY
    demo: bool = False
    reminder: bool = False
    rule_set: str = ""
    certainty: Certainty = Certainty.OWN
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse a rule that could let a number slip through.

        Raises:
            PolicyRefused: under one day without ``demo``; negative; maximum below the minimum.
        """
        if min(self.quarantine_for, self.observed_for) < timedelta(0):
            _refuse("A quarantine rule has a negative duration.", "write durations as 90d, 12h or 5s.")
        if not self.demo and min(self.quarantine_for, self.observed_for) < ONE_DAY:
            _refuse(
                "A quarantine rule is under one day, declared or observed.",
                "raise quarantine and observed to 1d or more; `demo = true` is for demo databases only.",
            )
        if self.maximum_for is not None and self.maximum_for < self.quarantine_for:
            _refuse("A rule's maximum is below its quarantine.", "raise the maximum.")

    def matches(self, traits: Traits) -> bool:
        """Tell whether the rule speaks of such a number."""
        pairs = (
            (self.country, traits.country),
            (self.number_class, traits.number_class),
            (self.carrier, traits.carrier),
            (self.pool, traits.pool),
            (self.reason, traits.reason),
        )
        return all(mine in (ANY, theirs) for mine, theirs in pairs)

    def release_at(self, disconnected_at: datetime, enrolled_at: datetime) -> datetime:
        """Return the earliest instant at which quarantine may end, before jitter."""
        return max(disconnected_at + self.quarantine_for, enrolled_at + self.observed_for)

    def overdue_at(self, disconnected_at: datetime) -> datetime | None:
        """Return the instant after which such a number has lain longer than the rule allows, or None where it sets no maximum."""
        return None if self.maximum_for is None else disconnected_at + self.maximum_for


@dataclass(frozen=True, slots=True)
class Choice:
    """The rule that applies to a cycle, and how it came to be this one.

    Attributes:
        rule: the strictest of ``among``: the longest of each duration, even where no single rule holds them all.
        among: the rules that were weighed: those that match, or all where none does.
        matching: how many of the policy's rules match.
    """

    rule: Rule
    among: tuple[Rule, ...]
    matching: int

    @property
    def rule_sets(self) -> tuple[str, ...]:
        """The versioned sets of the rules that were weighed."""
        return tuple(sorted({rule.rule_set for rule in self.among if rule.rule_set}))


def choose(rules: Sequence[Rule], traits: Traits) -> Choice:
    """Return the strictest of the matching rules; where none matches, the strictest of all, without a maximum: nobody set one for it."""
    matching = tuple(rule for rule in rules if rule.matches(traits))
    if matching:
        return Choice(_strictest(matching), matching, len(matching))
    return Choice(replace(_strictest(rules), maximum_for=None), tuple(rules), 0)


def _strictest(rules: Sequence[Rule]) -> Rule:
    longest = max(rules, key=lambda rule: (rule.quarantine_for, rule.observed_for))
    maxima = [rule.maximum_for for rule in rules if rule.maximum_for is not None]
    return replace(
        longest,
        observed_for=max(rule.observed_for for rule in rules),
        maximum_for=max(longest.quarantine_for, min(maxima)) if maxima else None,
        demo=any(rule.demo for rule in rules),
        reminder=any(rule.reminder for rule in rules),
    )


def _refuse(what: str, remedy: str) -> None:
    raise PolicyRefused(what, remedy=remedy)

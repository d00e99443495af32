"""Quarantine rules: how long a number lies fallow, by country, class, carrier and reason.

A cycle freezes the rule that applied at its enrolment. Quarantine runs from the disconnect instant, stored once and never
moved by an edit; time before enrolment is *declared*, after it *observed*, and the rule asks a minimum of each, so that a
backdated file can't skip it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fallow.domain.errors import PolicyRefused

ANY = "*"
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        country: ISO 3166 alpha-2, or ``*``.
        number_class: mobile, fixed, toll-free, data-only, or ``*``.
        carrier: the carrier's id, or ``*``.
        reason: the disconnect reason, or ``*``.
        quarantine_for: least time from disconnect to release.
        observed_for: least part of it that must pass after enrolment.
        maximum_for: when a number counts as overdue, or None.
        demo: a rule too short for real numbers; its cycles carry DEMO for ever.
        source: where the figures come from.
    """

    country: str
    number_class: str
    carrier: str
    reason: str
    quarantine_for: timedelta
    observed_for: timedelta
    maximum_for: timedelta | None = None
    demo: bool = False
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

    def matches(self, country: str, number_class: str, carrier: str, reason: str) -> bool:
        """Tell whether the rule speaks of such a number."""
        pairs = ((self.country, country), (self.number_class, number_class), (self.carrier, carrier), (self.reason, reason))
        return all(mine in (ANY, theirs) for mine, theirs in pairs)

    def release_at(self, disconnected_at: datetime, enrolled_at: datetime) -> datetime:
        """Return the earliest instant at which quarantine may end, before jitter."""
        return max(disconnected_at + self.quarantine_for, enrolled_at + self.observed_for)


@dataclass(frozen=True, slots=True)
class Choice:
    """The rule a cycle froze, and one sentence that says why it was this one."""

    rule: Rule
    explanation: str


def choose(rules: Sequence[Rule], country: str, number_class: str, carrier: str, reason: str) -> Choice:
    """Return the strictest of the matching rules; where none matches, the strictest of all.

    The strictest takes the longest of each duration, even where no single rule holds them all.
    """
    matching = [rule for rule in rules if rule.matches(country, number_class, carrier, reason)]
    chosen = matching or list(rules)
    rule = _strictest(chosen)
    where = f"{country}, {number_class}, {carrier}, {reason}"
    days = f"{_spelled(rule.quarantine_for)} from disconnect, {_spelled(rule.observed_for)} of it observed"
    if len(matching) == 1:
        return Choice(rule, f"One rule matches {where}: {days}.")
    if matching:
        return Choice(rule, f"{len(matching)} rules match {where}; the strictest applies: {days}.")
    return Choice(rule, f"No rule matches {where}; the strictest of all {len(chosen)} applies: {days}.")


def _strictest(rules: Sequence[Rule]) -> Rule:
    longest = max(rules, key=lambda rule: (rule.quarantine_for, rule.observed_for))
    maxima = [rule.maximum_for for rule in rules if rule.maximum_for is not None]
    quarantine_for = longest.quarantine_for
    return Rule(
        longest.country,
        longest.number_class,
        longest.carrier,
        longest.reason,
        quarantine_for,
        max(rule.observed_for for rule in rules),
        max(quarantine_for, min(maxima)) if maxima else None,
        demo=any(rule.demo for rule in rules),
        source=longest.source,
    )


def _spelled(span: timedelta) -> str:
    return f"{span.days} days" if span >= ONE_DAY else f"{span.total_seconds():g} s"


def _refuse(what: str, remedy: str) -> None:
    raise PolicyRefused(what, remedy=remedy)

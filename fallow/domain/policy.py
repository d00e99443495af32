"""The policy: which rules, which record systems, which platforms. Frozen into each cycle at enrolment.

A policy that would make the gate hollow is refused when it is loaded: an empty list is not a completed one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fallow.domain.errors import PolicyRefused
from fallow.domain.obligations import Category
from fallow.domain.rules import ANY, Certainty, Rule
from fallow.domain.sample import ONE_IN
from fallow.domain.traffic import QuietRule


@dataclass(frozen=True, slots=True)
class Policy:
    """What every cycle enrolled under it must pass.

    Attributes:
        policy_id: the policy's name.
        version: raised at each change; (policy_id, version) is cited in tags.
        rules: quarantine rules.
        record_systems: record system id -> the ids of its collections, all of which must be wiped.
        platforms: platform id -> category, all of which must answer.
        line_register: the record system that is asked whether a line is in service.
        release_jitter_for: releases spread over this long, so that a batch does not wake at one instant.
        quiet: how little traffic a number may still get before wiping and at the gate; None: traffic is not looked at.
        not_asked: categories of platforms outside this policy; the buyer is told.
        sample_one_in: of so many released numbers one is looked at once more before it is sold, where platforms can be; 0: none.

    Raises:
        PolicyRefused: without rules, record systems, a collection in each, a payment and a social platform, or a line register; or an id
            that a record system and a platform share.
    """

    policy_id: str
    version: int
    rules: tuple[Rule, ...]
    record_systems: Mapping[str, tuple[str, ...]]
    platforms: Mapping[str, Category]
    line_register: str
    release_jitter_for: timedelta = timedelta(0)
    not_asked: tuple[str, ...] = field(default=())
    quiet: QuietRule | None = None
    sample_one_in: int = ONE_IN

    def __post_init__(self) -> None:
        """Refuse a hollow policy."""
        name = f"Policy {self.policy_id} version {self.version}"
        shared = sorted(self.record_systems.keys() & self.platforms.keys())
        demands = (
            (self.rules, "has no quarantine rule", "add at least one [[rule]]."),
            (self.record_systems, "names no record system", "list record_systems; an empty list is not a completed one."),
            (all(self.record_systems.values()), "has a record system without collections", "map its collections in records.toml."),
            (Category.PAYMENT in self.platforms.values(), "names no payment platform", "add one to platforms."),
            (Category.SOCIAL in self.platforms.values(), "names no social platform", "add one to platforms."),
            (not shared, f"has {', '.join(shared)} both as a record system and as a platform", "give each target an id of its own."),
            (self.line_register, "names no line register", "set [line_register] in records.toml."),
        )
        for held, what, remedy in demands:
            if not held:
                fault = f"{name} {what}."
                raise PolicyRefused(fault, remedy=remedy)

    def to_json(self) -> dict[str, Any]:
        """Return the policy as plain JSON, in one canonical order, for freezing."""
        return {
            "policy_id": self.policy_id,
            "version": self.version,
            "rules": [_rule_to_json(rule) for rule in self.rules],
            "record_systems": {system: sorted(self.record_systems[system]) for system in sorted(self.record_systems)},
            "platforms": {platform: str(self.platforms[platform]) for platform in sorted(self.platforms)},
            "line_register": self.line_register,
            "release_jitter_seconds": self.release_jitter_for.total_seconds(),
            "not_asked": sorted(self.not_asked),
            "quiet": None if self.quiet is None else _quiet_to_json(self.quiet),
            "sample_one_in": self.sample_one_in,
        }

    def digest(self) -> str:
        """Return the SHA-256 of the canonical JSON: the name under which a cycle cites its policy."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def from_json(frozen: Mapping[str, Any]) -> Policy:
    """Read what :meth:`Policy.to_json` wrote."""
    return Policy(
        frozen["policy_id"],
        frozen["version"],
        tuple(_rule_from_json(rule) for rule in frozen["rules"]),
        {system: tuple(collections) for system, collections in frozen["record_systems"].items()},
        {platform: Category(category) for platform, category in frozen["platforms"].items()},
        frozen["line_register"],
        timedelta(seconds=frozen["release_jitter_seconds"]),
        tuple(frozen["not_asked"]),
        None if frozen.get("quiet") is None else _quiet_from_json(frozen["quiet"]),
        frozen.get("sample_one_in", 0),  # policies of before knew no sample
    )


def _quiet_to_json(quiet: QuietRule) -> dict[str, Any]:
    return {
        "window_days": quiet.window_days,
        "attempts_below": quiet.attempts_below,
        "otp_like_below": quiet.otp_like_below,
        "lag_days": quiet.lag_days,
        "patience_seconds": quiet.patience_for.total_seconds(),
    }


def _quiet_from_json(frozen: Mapping[str, Any]) -> QuietRule:
    limits = {name: frozen[name] for name in ("window_days", "attempts_below", "otp_like_below", "lag_days")}
    return QuietRule(**limits, patience_for=timedelta(seconds=frozen["patience_seconds"]))


def _rule_to_json(rule: Rule) -> dict[str, Any]:
    return {
        "country": rule.country,
        "class": rule.number_class,
        "carrier": rule.carrier,
        "pool": rule.pool,
        "reason": rule.reason,
        "quarantine_seconds": rule.quarantine_for.total_seconds(),
        "observed_seconds": rule.observed_for.total_seconds(),
        "maximum_seconds": None if rule.maximum_for is None else rule.maximum_for.total_seconds(),
        "demo": rule.demo,
        "reminder": rule.reminder,
        "rule_set": rule.rule_set,
        "certainty": str(rule.certainty),
        "source": rule.source,
    }


def _rule_from_json(frozen: Mapping[str, Any]) -> Rule:
    maximum = frozen["maximum_seconds"]
    return Rule(
        frozen["country"],
        frozen["class"],
        frozen["carrier"],
        frozen["reason"],
        timedelta(seconds=frozen["quarantine_seconds"]),
        timedelta(seconds=frozen["observed_seconds"]),
        None if maximum is None else timedelta(seconds=maximum),
        pool=frozen.get("pool", ANY),
        demo=frozen["demo"],
        reminder=frozen.get("reminder", False),
        rule_set=frozen.get("rule_set", ""),
        certainty=Certainty(frozen.get("certainty", Certainty.OWN)),
        source=frozen["source"],
    )

"""What was demanded of a cycle: its frozen policy, and the quarantine that follows from it. Standard library only."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from .reading import Row, canonical, sha256
from .verdict import Verdict

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ASKS = ("country", "class", "carrier", "pool", "reason")
_ONE_IN = 20
CATEGORIES = {"payment", "social", "bank", "shop", "game", "government", "call-label"}


@dataclass(frozen=True)
class Terms:
    """A frozen policy.

    Attributes:
        name: id and version, as tags cite them.
        systems: record system -> its collections.
        platforms: platform -> category.
        rules: as frozen.
        not_asked: categories outside the policy.
        quiet: the quiet rule as frozen, or None.
        sample_one_in: of so many released numbers one is looked at before it is sold; 0: none.
    """

    name: str
    systems: Mapping[str, set[str]]
    platforms: Mapping[str, str]
    rules: list[Row]
    not_asked: list[str]
    quiet: Row | None
    sample_one_in: int

    def demanded(self, kind: str) -> set[str]:
        """Return the targets of a kind, "records" or "platform"."""
        return set(self.systems if kind == "records" else self.platforms)

    def quarantine(self, about: Mapping[str, str]) -> tuple[timedelta, timedelta, bool]:
        """Return (from disconnect, seen by the engine, demo) for such a number: the longest of all rules that match, else of all.

        Args:
            about: country, class, carrier, pool and reason of the number; a pool that was never stated may be left out.
        """
        matching = [rule for rule in self.rules if all(rule.get(ask, "*") in ("*", about.get(ask, "")) for ask in _ASKS)] or self.rules
        longest = max(rule["quarantine_seconds"] for rule in matching)
        observed = max(rule["observed_seconds"] for rule in matching)
        return timedelta(seconds=longest), timedelta(seconds=observed), any(rule["demo"] for rule in matching)


def read_terms(verdict: Verdict, rows: list[Row]) -> dict[str, Terms]:
    """Return the frozen policies by digest; an altered one is a violation."""
    read = {}
    for row in rows:
        with verdict.reading("policy", f"policy {row['digest'][:12]}"):
            body = json.loads(row["body"])
            verdict.demand("policy", sha256(canonical(body)) == row["digest"], f"policy {row['digest'][:12]} was altered")
            systems = {system: set(collections) for system, collections in body["record_systems"].items()}
            name = f"{body['policy_id']} v{body['version']}"
            read[row["digest"]] = Terms(
                name, systems, body["platforms"], body["rules"], body["not_asked"], body.get("quiet"), body.get("sample_one_in", 0)
            )
    return read


def check_against_files(verdict: Verdict, terms: Terms, policy: Path, records: Path, platforms: Path) -> None:
    """Demand that a frozen policy is no weaker than the three files that it was made of."""
    asked = _toml(policy)
    mapped = {system["id"]: set(_of_holders(system)) for system in _toml(records)["system"]}
    listed = {platform["id"]: platform["category"] for platform in _toml(platforms)["platform"] if platform.get("adapter") != "hub"}
    systems = {system: mapped[system] for system in asked.get("record_systems", mapped)}
    known = {platform: listed[platform] for platform in asked.get("platforms", listed)}
    verdict.demand("policy", terms.systems == systems, f"policy {terms.name} demands other record systems than the files")
    verdict.demand("policy", terms.platforms == known, f"policy {terms.name} demands other platforms than the files")
    verdict.demand("policy", {"payment", "social"} <= set(known.values()), f"policy {terms.name} asks no payment or social platform")
    verdict.same("policy", terms.not_asked, CATEGORIES - set(known.values()), f"policy {terms.name}, categories not asked")
    frozen = {_frozen(rule) for rule in terms.rules}
    verdict.demand("policy", set(_in_files(policy, asked)) == frozen, f"policy {terms.name} was frozen with other rules than its file's")
    verdict.demand(
        "policy", _quiet(asked.get("quiet")) == terms.quiet, f"policy {terms.name} was frozen with another quiet rule than its file's"
    )
    verdict.demand("policy", terms.sample_one_in == asked.get("sample_one_in", _ONE_IN), f"policy {terms.name} draws another sample")


def _of_holders(system: Row) -> Iterator[str]:
    """Yield a system's collections but for those in which the number is the other party's: nobody wipes those."""
    yield from (each["id"] for each in system["collection"] if each.get("subject", "holder") == "holder")


def _in_files(policy: Path, asked: Row) -> Iterator[tuple[object, ...]]:
    """Yield the rules of a policy's file and of the files that it takes rules from."""
    others = [_toml(policy.parent / name)["rule"] for name in asked.get("rules_from", [])]
    for rule in chain(asked.get("rule", []), *others):
        yield (
            *(rule.get(ask, "*") for ask in _ASKS),
            seconds(rule["quarantine"]),
            seconds(rule["observed"]),
            seconds(rule["maximum"]) if "maximum" in rule else None,
            rule.get("demo", False),
            rule.get("reminder", False),
        )


def _frozen(rule: Row) -> tuple[object, ...]:
    lengths = (rule["quarantine_seconds"], rule["observed_seconds"], rule["maximum_seconds"])
    return (*(rule.get(ask, "*") for ask in _ASKS), *lengths, rule["demo"], rule.get("reminder", False))


def _quiet(table: Row | None) -> Row | None:
    if table is None:
        return None
    days = {f"{name}_days": seconds(table[name]) / _UNITS["d"] for name in ("window", "lag")}
    limits = {name: table[name] for name in ("attempts_below", "otp_like_below")}
    return {**days, **limits, "patience_seconds": seconds(table["patience"])}


def seconds(text: str) -> float:
    """Read a duration such as ``90d`` or ``5s``.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"([0-9]+)([smhd])", text)
    if found is None:
        raise ValueError(text)
    return float(int(found[1]) * _UNITS[found[2]])


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))

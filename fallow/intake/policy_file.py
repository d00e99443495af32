"""A policy from a TOML file, checked against what is installed. Imports the domain and pydantic.

A misspelt word would weaken the gate in silence: a rule that never matches, a platform that is never asked. So every key,
id and word must be known. Policies may share rules: ``rules_from`` takes in those of other policy files, each of which is a
versioned rule set that a cycle goes on citing.
"""

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, NoReturn

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fallow.domain.durations import duration
from fallow.domain.errors import PolicyRefused
from fallow.domain.obligations import Category
from fallow.domain.policy import Policy
from fallow.domain.rules import ANY, ONE_DAY, Certainty, Rule
from fallow.domain.sample import ONE_IN
from fallow.domain.traffic import QuietRule
from fallow.intake.words import NUMBER_CLASSES, RULE_REASONS


def _duration(value: object) -> timedelta:
    return duration(value if isinstance(value, str) else "")


def _days(value: object) -> int:
    span = _duration(value)
    if span % ONE_DAY:
        what = "write whole days, such as 14d"
        raise ValueError(what)
    return span.days


_Duration = Annotated[timedelta, BeforeValidator(_duration)]
_Days = Annotated[int, BeforeValidator(_days)]


class _RuleTable(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    country: str = Field(ANY, pattern=r"^(\*|[A-Z]{2})$")
    number_class: str = Field(ANY, alias="class")
    carrier: str = Field(ANY, pattern=r"^(\*|[a-z][a-z0-9-]{0,39})$")
    pool: str = Field(ANY, pattern=r"^(\*|[a-z][a-z0-9-]{0,39})$")
    reason: str = ANY
    quarantine: _Duration
    observed: _Duration
    maximum: _Duration | None = None
    demo: bool = False
    reminder: bool = False
    certainty: Annotated[Certainty, Field(strict=False)] = Certainty.OWN
    source: str = Field(min_length=1)


class _QuietTable(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    window: _Days
    attempts_below: int
    otp_like_below: int
    lag: _Days
    patience: _Duration


class _PolicyTable(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")
    version: int = Field(ge=1)
    release_jitter: _Duration = timedelta(0)
    record_systems: list[str] | None = None
    platforms: list[str] | None = None
    not_asked: list[Annotated[Category, Field(strict=False)]] = []
    rules_from: list[Annotated[str, Field(pattern=r"^[^/].*\.toml$")]] = []
    rule: list[_RuleTable] = []
    quiet: _QuietTable | None = None
    sample_one_in: int = Field(ONE_IN, ge=0)


def load_policy(
    path: Path,
    *,
    record_systems: Mapping[str, tuple[str, ...]],
    line_register: str,
    platforms: Mapping[str, Category],
    decommissioned: Collection[str] = (),
) -> Policy:
    """Read and check a policy.

    Args:
        path: the TOML file.
        record_systems: what the records map offers: system id -> ids of its collections.
        line_register: id of the record system that holds the line register.
        platforms: what is registered and asked: platform id -> category.
        decommissioned: platforms that are asked no more.

    Raises:
        PolicyRefused: unreadable; a key, id or word that is not known; or a policy that would make the gate hollow.
    """
    table = _table(path)
    rules = _rules(path, table)
    _demand_in_use(path, table.platforms or (), decommissioned)
    chosen_systems = _chosen(path, "record_systems", table.record_systems, record_systems)
    chosen_platforms = _chosen(path, "platforms", table.platforms, platforms)
    not_asked = _not_asked(path, table.not_asked, {platforms[platform] for platform in chosen_platforms})
    try:
        return Policy(
            table.id,
            table.version,
            rules,
            {system: record_systems[system] for system in chosen_systems},
            {platform: platforms[platform] for platform in chosen_platforms},
            line_register,
            table.release_jitter,
            not_asked,
            _quiet(table.quiet),
            table.sample_one_in,
        )
    except PolicyRefused as refused:
        raise PolicyRefused(f"{path}: {refused.what}", remedy=refused.remedy) from None


def _table(path: Path) -> _PolicyTable:
    try:
        return _PolicyTable.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        _refuse(path, f"can't be read ({type(error).__name__})", "check the path and its permissions.")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        _refuse(path, f"is not TOML: {error}", "mend the syntax at that place.")
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        remedy = "remove the key; it is not known." if fault["type"] == "extra_forbidden" else "compare with examples/policies/."
        _refuse(path, f"key {where}: {fault['msg']}", remedy)


def _rules(path: Path, table: _PolicyTable) -> tuple[Rule, ...]:
    """Return the rules of a policy and of those that it takes rules from: one level deep, each under an id of its own."""
    rules, ids = list(_own_rules(path, table)), {table.id}
    for name in table.rules_from:
        other = _table(path.parent / name)
        if other.rules_from or not other.rule:
            what = f"rules_from names {name}, which takes in others itself or has no rule"
            _refuse(path, what, "name files with [[rule]] tables of their own, and no other.")
        if other.id in ids:
            _refuse(path, f"rules_from names {name}, whose id {other.id} is taken", "name each file once and give each policy its own id.")
        ids.add(other.id)
        rules += _own_rules(path.parent / name, other)
    return tuple(rules)


def _own_rules(path: Path, table: _PolicyTable) -> Iterator[Rule]:
    rule_set = f"{table.id} {table.version}"
    return (_rule(path, position, rule, rule_set) for position, rule in enumerate(table.rule, start=1))


def _quiet(table: _QuietTable | None) -> QuietRule | None:
    if table is None:
        return None
    return QuietRule(table.window, table.attempts_below, table.otp_like_below, table.lag, table.patience)


def _rule(path: Path, position: int, table: _RuleTable, rule_set: str) -> Rule:
    where = f"rule {position}"
    _demand_word(path, f"{where}.class", table.number_class, NUMBER_CLASSES)
    _demand_word(path, f"{where}.reason", table.reason, RULE_REASONS)
    try:
        return Rule(
            table.country,
            table.number_class,
            table.carrier,
            table.reason,
            table.quarantine,
            table.observed,
            table.maximum,
            pool=table.pool,
            demo=table.demo,
            reminder=table.reminder,
            rule_set=rule_set,
            certainty=table.certainty,
            source=table.source,
        )
    except PolicyRefused as refused:
        raise PolicyRefused(f"{path}, {where}: {refused.what}", remedy=refused.remedy) from None


def _demand_word(path: Path, where: str, word: str, words: Iterable[str]) -> None:
    if word != ANY and word not in words:
        _refuse(path, f"{where} is none of the known words", f"write * or one of {', '.join(sorted(words))}.")


def _chosen(path: Path, key: str, named: list[str] | None, offered: Mapping[str, object]) -> list[str]:
    """Return the ids the policy names; all that are offered where it names none at all."""
    if named is None:
        return list(offered)
    if not named:
        _refuse(path, f"{key} is an empty list, which would pass for a completed one", f"name them, or remove {key} to take all.")
    unknown = sorted(set(named) - set(offered))
    if unknown or len(set(named)) != len(named):
        what = f"{key} names unknown {', '.join(unknown)}" if unknown else f"{key} names one twice"
        _refuse(path, what, f"known are {', '.join(sorted(offered))}.")
    return named


def _demand_in_use(path: Path, named: Collection[str], decommissioned: Collection[str]) -> None:
    gone = sorted(set(named) & set(decommissioned))
    if gone:
        what = f"platforms names {', '.join(gone)}, which was decommissioned and is asked no more"
        _refuse(path, what, "remove it, and raise the policy's version; cycles enrolled before keep theirs.")


def _not_asked(path: Path, named: list[Category], asked: set[Category]) -> tuple[str, ...]:
    """Return every category nobody asks, named or not: the buyer is told of each."""
    both = sorted(asked.intersection(named))
    if both:
        _refuse(path, f"not_asked names {', '.join(both)}, which is asked", "remove it from not_asked.")
    return tuple(sorted(str(category) for category in set(Category) - asked))


def _refuse(path: Path, what: str, remedy: str) -> NoReturn:
    raise PolicyRefused(f"{path}: {what}.", remedy=remedy)

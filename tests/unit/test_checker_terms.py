"""The independent checker comes to the same quarantine by its own way, and sees a policy that was frozen otherwise than written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.domain.obligations import Category
from fallow.domain.policy import Policy
from fallow.domain.rules import Traits, choose
from fallow.intake.policy_file import load_policy
from fallow.intake.words import NUMBER_CLASSES, RULE_REASONS
from fallow.local.checker.terms import Terms, check_against_files, read_terms
from fallow.local.checker.verdict import Verdict

POLICIES = Path(__file__).parents[2] / "examples" / "policies"
RECORDS = '[[system]]\nid = "crm"\ncollection = [{ id = "register" }]\n'
LISTED = '[[platform]]\nid = "pay"\ncategory = "payment"\n[[platform]]\nid = "chat"\ncategory = "social"\n'
SHIPPED = sorted(path.stem for path in POLICIES.glob("*.toml"))


def policy(name: str) -> Policy:
    """Load a policy that ships."""
    platforms = {"pay": Category.PAYMENT, "chat": Category.SOCIAL}
    return load_policy(POLICIES / f"{name}.toml", record_systems={"crm": ("register",)}, line_register="crm", platforms=platforms)


LOADED = {name: policy(name) for name in SHIPPED}


def terms_of(frozen: dict[str, Any], digest: str = "") -> Terms:
    """Read a frozen policy as the checker does."""
    (terms,) = read_terms(Verdict(), [{"digest": digest, "body": json.dumps(frozen)}]).values()
    return terms


@given(
    st.sampled_from(SHIPPED),
    st.sampled_from(["CN", "US", "IN", "KR", "AU", "CH", "FR"]),
    st.sampled_from(sorted(NUMBER_CLASSES)),
    st.sampled_from(["", "residential", "business", "prepaid"]),
    st.sampled_from(sorted(RULE_REASONS)),
)
def test_the_checker_comes_to_the_same_quarantine(name: str, country: str, number_class: str, pool: str, reason: str) -> None:
    """For any number under any policy that ships, both ways give the same lengths and the same DEMO."""
    rule = choose(LOADED[name].rules, Traits(country, number_class, "x", pool, reason)).rule
    about = {"country": country, "class": number_class, "carrier": "x", "pool": pool, "reason": reason}

    assert terms_of(LOADED[name].to_json()).quarantine(about) == (rule.quarantine_for, rule.observed_for, rule.demo)


def test_the_checker_matches_by_pool() -> None:
    """A rule of one pool binds numbers of that pool, and none whose pool is another or was never stated."""
    frozen = LOADED["us"].to_json()
    frozen["rules"].append({**frozen["rules"][2], "quarantine_seconds": 99 * 86400.0})
    about = {"country": "US", "class": "mobile", "carrier": "x", "reason": "ordinary"}
    lengths = [terms_of(frozen).quarantine({**about, **pool})[0].days for pool in ({"pool": "residential"}, {"pool": "business"}, {})]

    assert lengths == [99, 45, 45]


def judged(tmp_path: Path, name: str, frozen: dict[str, Any]) -> list[str]:
    """Return what the checker finds wrong with a frozen policy beside its files."""
    (tmp_path / "records.toml").write_text(RECORDS)
    (tmp_path / "platforms.toml").write_text(LISTED)
    verdict = Verdict()
    check_against_files(verdict, terms_of(frozen), POLICIES / f"{name}.toml", tmp_path / "records.toml", tmp_path / "platforms.toml")
    return [each["what"] for each in verdict.violations]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_policy_frozen_as_written_is_in_order(tmp_path: Path, name: str) -> None:
    """Also one that takes its rules from other files, and one with a quiet rule."""
    assert judged(tmp_path, name, LOADED[name].to_json()) == []


ALTERED: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("a shorter quarantine", lambda body: body["rules"][0].update(quarantine_seconds=86400.0), "rules"),
    ("a shorter observed part", lambda body: body["rules"][0].update(observed_seconds=86400.0), "rules"),
    ("a longer maximum", lambda body: body["rules"][-1].update(maximum_seconds=9e9), "rules"),
    ("another pool", lambda body: body["rules"][0].update(pool="elsewhere"), "rules"),
    ("another reason", lambda body: body["rules"][0].update(reason="fraud"), "rules"),
    ("no reminder", lambda body: [rule.update(reminder=False) for rule in body["rules"]], "rules"),
    ("a rule less", lambda body: body["rules"].pop(), "rules"),
    ("no quiet rule", lambda body: body.update(quiet=None), "quiet rule"),
    ("a wider quiet rule", lambda body: body["quiet"].update(attempts_below=99), "quiet rule"),
    ("a shorter window", lambda body: body["quiet"].update(window_days=1), "quiet rule"),
]


@pytest.mark.parametrize(("alter", "names"), [each[1:] for each in ALTERED], ids=[each[0] for each in ALTERED])
def test_a_policy_frozen_otherwise_is_found(tmp_path: Path, alter: Callable[[dict[str, Any]], object], names: str) -> None:
    """Whatever part of a rule or of the quiet rule was changed on the way from the file to the cycles."""
    frozen = LOADED["world"].to_json()
    alter(frozen)

    (found,) = judged(tmp_path, "world", frozen)
    assert f"other {names} than" in found or f"another {names} than" in found


def test_a_policy_frozen_before_these_words_still_reads() -> None:
    """A rule without a pool binds every pool, and no quiet rule was asked for."""
    frozen = LOADED["half-year"].to_json()
    del frozen["quiet"]
    for rule in frozen["rules"]:
        del rule["pool"], rule["reminder"]
    terms = terms_of(frozen)
    about = {"country": "CN", "class": "mobile", "carrier": "x", "pool": "residential", "reason": "ordinary"}

    assert terms.quiet is None
    assert terms.quarantine(about)[0].days == 180

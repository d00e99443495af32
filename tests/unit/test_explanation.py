"""The one sentence that says from when a number may go on, and why: a reader of either language gets the same facts."""

# ruff: noqa: RUF001 - Chinese has its own punctuation

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from fallow.domain.explanation import CLASSES_ZH, REASONS_ZH, Explanation, explain
from fallow.domain.rules import Rule, Traits, choose
from fallow.intake.words import NUMBER_CLASSES, RULE_REASONS

DAY = timedelta(days=1)
ENDED_AT = datetime(2026, 1, 10, 9, 30, tzinfo=UTC)
ENROLLED_AT = datetime(2026, 1, 15, 8, 0, tzinfo=UTC)
TRAITS = Traits("CN", "mobile", "china-mobile", "", "ordinary")
CN = Rule("CN", "*", "*", "*", 90 * DAY, 30 * DAY, rule_set="cn 3")
OURS = Rule("*", "*", "*", "ordinary", 60 * DAY, DAY, rule_set="ours 1")


def said(*rules: Rule, traits: Traits = TRAITS, later: timedelta = timedelta(0), extended: bool = False) -> Explanation:
    """Return the explanation of a number that may go on so much later than its rule says."""
    choice = choose(rules, traits)
    release_at = choice.rule.release_at(ENDED_AT, ENROLLED_AT) + later
    return explain(choice, traits, disconnected_at=ENDED_AT, enrolled_at=ENROLLED_AT, release_at=release_at, extended=extended)


def test_one_rule_is_told_in_both_languages() -> None:
    """Date, both lengths with what they count from, and the only rule's set."""
    assert said(CN) == Explanation(
        "It may go on from 2026-04-10 09:30 UTC: the later of 90 days after its line ended on 2026-01-10 and 30 days after its "
        "enrolment on 2026-01-15; one rule matches CN, mobile, china-mobile, ordinary (cn 3).",
        "该号码自 2026-04-10 09:30 UTC 起方可进入下一步：2026-01-10 销号后满 90 天，且 2026-01-15 登记后满 30 天，以较晚者为准；"
        "CN、移动号码、china-mobile、正常销号：适用一条规则（cn 3）。",
    )


def test_several_rules_are_counted_and_their_sets_named() -> None:
    """The reader learns that others matched too, and that the strictest applies."""
    both = said(CN, OURS)

    assert both.en.endswith("; 2 rules match CN, mobile, china-mobile, ordinary and the strictest applies (cn 3, ours 1).")
    assert both.zh.endswith("；CN、移动号码、china-mobile、正常销号：适用 2 条规则，取其中最严者（cn 3、ours 1）。")
    assert "1 day after" in said(OURS).en


def test_no_rule_is_told_as_such() -> None:
    """Where nothing matches, the reader learns that the strictest of all was taken."""
    none = said(CN, replace(CN, rule_set="cn 4"), traits=Traits("FR", "fixed", "hexagone", "business", "deceased"))

    assert none.en.endswith("; no rule matches FR, fixed, hexagone, business, deceased, so the strictest of all 2 applies (cn 3, cn 4).")
    assert none.zh.endswith("；FR、固定电话、hexagone、business、机主去世：没有适用的规则，取全部 2 条中最严者（cn 3、cn 4）。")


def test_rules_without_a_set_need_no_brackets() -> None:
    """A policy frozen before there were rule sets is explained without an empty pair of brackets."""
    plain = said(replace(CN, rule_set=""))

    assert plain.en.endswith("ordinary.")
    assert plain.zh.endswith("适用一条规则。")


@pytest.mark.parametrize(
    ("later", "en", "zh"),
    [
        (timedelta(0), "", ""),
        (timedelta(milliseconds=999), "", ""),
        (timedelta(seconds=1), ", plus 1 second so that releases spread", "，另加 1 秒以错开放行时间"),
        (timedelta(seconds=6.5), ", plus 6.5 seconds so that releases spread", "，另加 6.5 秒以错开放行时间"),
        (timedelta(minutes=20), ", plus 20 minutes so that releases spread", "，另加 20 分钟以错开放行时间"),
        (timedelta(hours=3, minutes=12), ", plus 3.2 hours so that releases spread", "，另加 3.2 小时以错开放行时间"),
        (timedelta(hours=36), ", plus 36 hours so that releases spread", "，另加 36 小时以错开放行时间"),
        (2 * DAY, ", plus 2 days so that releases spread", "，另加 2 天以错开放行时间"),
    ],
)
def test_jitter_is_told_apart_from_the_rule(later: timedelta, en: str, zh: str) -> None:
    """What was added so that releases spread is told with its length, and not at all below a second."""
    jittered = said(CN, later=later)

    assert f"2026-01-15{en}; one rule" in jittered.en
    assert f"以较晚者为准{zh}；CN" in jittered.zh


def test_an_extension_is_told_as_an_order() -> None:
    """A date that a person moved isn't passed off as the rule's or as jitter."""
    moved = said(CN, later=10 * DAY, extended=True)

    assert moved.en.startswith("It may go on from 2026-04-20 09:30 UTC: ")
    assert "2026-01-15, then moved later by an order; one rule" in moved.en
    assert "该号码自 2026-04-20 09:30 UTC 起" in moved.zh
    assert "以较晚者为准，后经人工指令延期；CN" in moved.zh
    assert "spread" not in moved.en


def test_a_rule_of_seconds_is_told_in_seconds() -> None:
    """A demo's quarantine reads as what it is."""
    demo = replace(CN, quarantine_for=timedelta(seconds=4), observed_for=timedelta(seconds=1), demo=True)

    assert "the later of 4 seconds after" in said(demo).en
    assert "and 1 second after" in said(demo).en
    assert "销号后满 4 秒" in said(demo).zh


def test_days_are_days_of_utc() -> None:
    """An instant written with another offset is told by its day in UTC, like the release date beside it."""
    shanghai = timezone(timedelta(hours=8))
    choice = choose([CN], TRAITS)
    spans = {"disconnected_at": datetime(2026, 1, 11, 3, tzinfo=shanghai), "enrolled_at": ENROLLED_AT, "release_at": ENROLLED_AT + 90 * DAY}

    assert "its line ended on 2026-01-10 and" in explain(choice, TRAITS, **spans).en


def test_every_word_of_a_row_has_its_chinese() -> None:
    """No class or reason that a row or rule may state is left in English in the Chinese sentence."""
    assert set(CLASSES_ZH) == NUMBER_CLASSES
    assert set(REASONS_ZH) == RULE_REASONS

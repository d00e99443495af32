"""Residual traffic: quiet is what was counted and found quiet, never what was not counted."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.domain.errors import PolicyRefused
from fallow.domain.traffic import DayCount, Judgement, QuietRule, Verdict, judge

DAY = timedelta(days=1)
TODAY = date(2028, 3, 5)  # the window runs over a leap day
RULE = QuietRule(window_days=14, attempts_below=3, otp_like_below=1, lag_days=2, patience_for=90 * DAY)
QUIET, NOISY, UNKNOWN = Verdict.QUIET, Verdict.NOISY, Verdict.UNKNOWN


def days_ago(*ago: int, **counted: int) -> list[DayCount]:
    """Return counters of those days before today, silent but for what is stated."""
    return [DayCount(TODAY - each * DAY, **{"attempts": 0, "messages": 0, "otp_like": 0, **counted}) for each in ago]


def silence(newest: int = 2, days: int = 14, *, but: Iterable[int] = ()) -> list[DayCount]:
    """Return so many silent days in a row, the newest so many days ago, without some."""
    return days_ago(*(each for each in range(newest, newest + days) if each not in but))


@pytest.mark.parametrize(
    ("counts", "verdict", "missing"),
    [
        ([], UNKNOWN, 14),
        (silence(), QUIET, 0),
        (silence(newest=1), QUIET, 0),
        (silence(newest=1, days=13), UNKNOWN, 1),
        (silence(newest=3), UNKNOWN, 1),
        (silence(days=13), UNKNOWN, 1),
        (silence(but=[2]), UNKNOWN, 1),
        (silence(but=[9]), UNKNOWN, 1),
        (silence(but=[15]), UNKNOWN, 1),
        (silence(days=400), QUIET, 0),
        (silence(but=[5]) + days_ago(5, attempts=2), QUIET, 0),
        (silence(but=[5]) + days_ago(5, attempts=3), NOISY, 0),
        (silence(but=[2, 15]) + days_ago(2, attempts=2) + days_ago(15, attempts=1), NOISY, 0),
        (silence() + days_ago(16, attempts=1000, otp_like=9), QUIET, 0),
        (silence(but=[15]) + days_ago(15, otp_like=1), NOISY, 0),
        (silence(but=[5]) + days_ago(5, messages=1000), QUIET, 0),
        (days_ago(9, attempts=3), NOISY, 13),
        (days_ago(9, attempts=2), UNKNOWN, 13),
        (silence(newest=0, days=15), QUIET, 0),
        (silence() + days_ago(0, attempts=1000, otp_like=9), QUIET, 0),
        (silence() + days_ago(-1, attempts=1000, otp_like=9), QUIET, 0),
        (silence(but=[2]) + days_ago(0, 1), UNKNOWN, 1),
    ],
    ids=[
        "nothing was ever counted",
        "fourteen silent days, the newest as late as it may be",
        "the newest day is yesterday",
        "yesterday moves the window on: its oldest day counts again",
        "the newest day is too late",
        "a day short",
        "the newest day of the lag is missing",
        "a hole in the middle",
        "the oldest day is missing",
        "what is older than the window does not matter",
        "one attempt below the limit",
        "at the limit",
        "the sum of days counts",
        "noise the day before the window",
        "one message like a one-time password on its first day",
        "other messages are told, not judged",
        "noise needs no whole window",
        "too little noise and days missing",
        "today's zeros are not complete yet",
        "today's noise is judged tomorrow",
        "a day that is not yet",
        "yesterday does not stand in for the day before",
    ],
)
def test_the_verdict(counts: list[DayCount], verdict: Verdict, missing: int) -> None:
    """Noisy from the limit on, unknown while a day is missing, quiet else."""
    judged = judge(RULE, counts, TODAY)

    assert (judged.verdict, judged.missing) == (verdict, missing)


def test_a_judgement_says_what_it_rests_on() -> None:
    """The window's first and last day and the sums over it, nothing outside it."""
    counts = [*silence(but=[3, 4]), *days_ago(3, 4, 16, attempts=1, messages=7)]

    assert judge(RULE, counts, TODAY) == Judgement(QUIET, date(2028, 2, 19), date(2028, 3, 3), 2, 14, 0, 0, None)


@pytest.mark.parametrize(
    ("noisy", "looks_in"),
    [
        ([(2, 3)], 14),
        ([(15, 3)], 1),
        ([(9, 3)], 7),
        ([(9, 2), (4, 2)], 7),
        ([(9, 1), (4, 3)], 12),
        ([(9, 3), (4, 2)], 7),
    ],
)
def test_when_to_look_again(noisy: list[tuple[int, int]], looks_in: int) -> None:
    """On the first day on which enough of the noise has left the window, and not a day earlier."""
    counts = [
        *silence(days=40, but=[ago for ago, _ in noisy]),
        *(count for ago, attempts in noisy for count in days_ago(ago, attempts=attempts)),
    ]
    look_on = judge(RULE, counts, TODAY).look_on
    silent_since = [*counts, *(DayCount(TODAY + ahead * DAY, 0, 0, 0) for ahead in range(-1, 60))]

    assert look_on == TODAY + looks_in * DAY
    assert judge(RULE, [each for each in silent_since if each.on <= look_on - 2 * DAY], look_on).verdict is QUIET
    assert judge(RULE, [each for each in silent_since if each.on <= look_on - 3 * DAY], look_on - DAY).verdict is NOISY


rules = st.builds(QuietRule, st.integers(1, 20), st.integers(1, 5), st.integers(1, 3), st.integers(1, 5), st.just(90 * DAY))
ledgers = st.lists(
    st.builds(
        DayCount,
        st.integers(-2, 40).map(lambda ago: TODAY - ago * DAY),
        st.integers(0, 3),
        st.integers(0, 3),
        st.sampled_from([0, 0, 0, 1, 2]),
    ),
    unique_by=lambda each: each.on,
    max_size=43,
)


@given(rules, ledgers)
def test_quiet_is_never_said_with_a_day_missing_or_a_limit_reached(rule: QuietRule, counts: list[DayCount]) -> None:
    """Whatever the counters, quiet means: each day of a whole window before today reported, and both sums below their limits."""
    judged = judge(rule, counts, TODAY)
    window = [each for each in counts if judged.from_on <= each.on <= judged.to_on]

    assert judged.to_on - judged.from_on == (rule.window_days - 1) * DAY
    assert TODAY - rule.lag_days * DAY <= judged.to_on < TODAY
    limited = sum(each.attempts for each in window) >= rule.attempts_below or sum(each.otp_like for each in window) >= rule.otp_like_below
    assert (judged.verdict is NOISY) is limited
    assert (judged.verdict is QUIET) is (not limited and len(window) == rule.window_days)


@given(rules, ledgers, st.randoms(use_true_random=False))
def test_the_order_of_counters_is_nothing(rule: QuietRule, counts: list[DayCount], random: object) -> None:
    """The same days in another order are the same traffic."""
    shuffled = list(counts)
    random.shuffle(shuffled)

    assert judge(rule, shuffled, TODAY) == judge(rule, counts, TODAY)


@given(rules, ledgers)
def test_to_look_again_is_always_in_the_future(rule: QuietRule, counts: list[DayCount]) -> None:
    """A noisy number is looked at again on a later day, at the latest when a window and its lag are over; an unknown one tomorrow."""
    judged = judge(rule, counts, TODAY)

    unfinished = any(each.on >= TODAY for each in counts)
    assert (judged.look_on is not None) is (judged.verdict is NOISY or (judged.verdict is Verdict.UNKNOWN and unfinished))
    if judged.verdict is Verdict.UNKNOWN and unfinished:
        assert judged.look_on == TODAY + DAY
    elif judged.look_on is not None:
        assert TODAY < judged.look_on < TODAY + (rule.window_days + rule.lag_days) * DAY
        assert judge(rule, [each for each in counts if each.on < TODAY], judged.look_on).verdict is not NOISY


@given(rules, ledgers, st.integers(0, 42), st.sampled_from(["attempts", "otp_like"]))
def test_more_traffic_never_makes_a_number_quieter(rule: QuietRule, counts: list[DayCount], which: int, what: str) -> None:
    """Counting more on a day that was counted can't turn a verdict into quiet."""
    if not counts:
        return
    which %= len(counts)
    louder = [replace(each, **{what: getattr(each, what) + 1}) if place == which else each for place, each in enumerate(counts)]

    assert judge(rule, counts, TODAY).verdict is QUIET or judge(rule, louder, TODAY).verdict is not QUIET


@pytest.mark.parametrize(
    "hollow",
    [
        {"window_days": 0},
        {"attempts_below": 0},
        {"otp_like_below": 0},
        {"lag_days": 0},
        {"patience_for": DAY - timedelta(seconds=1)},
        {"window_days": 367},
        {"lag_days": 367},
    ],
)
def test_a_hollow_quiet_rule_is_refused(hollow: dict[str, object]) -> None:
    """No window that is empty, no limit that nothing can stay below, and nothing that would wait for more than a year of counters."""
    with pytest.raises(PolicyRefused, match="quiet rule") as refused:
        replace(RULE, **hollow)
    assert refused.value.remedy

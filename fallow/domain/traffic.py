"""Residual traffic: is the number still called? Daily counts against a quiet rule, before wiping may start and again at the gate.

Only counts: how many call attempts, messages and messages that look like a one-time password reached the number on a day;
never what they said, nor who sent them. A day without counters is not a quiet day.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from fallow.domain.errors import PolicyRefused

_ONE_DAY = timedelta(days=1)
_LONGEST_DAYS = 366


class Verdict(StrEnum):
    """What the counters say."""

    QUIET = "quiet"
    NOISY = "noisy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class QuietRule:
    """When a number counts as no longer called.

    Attributes:
        window_days: how many whole days in a row are judged together.
        attempts_below: fewer call attempts than this in the window.
        otp_like_below: fewer messages like a one-time password than this; 1 means none at all.
        lag_days: how late the newest day's counters may be, in days before today.
        patience_for: how long past its release date a number may wait to become quiet before a person must look.

    Raises:
        PolicyRefused: a window, limit or patience that nothing could ever meet or fail.
    """

    window_days: int
    attempts_below: int
    otp_like_below: int
    lag_days: int
    patience_for: timedelta

    def __post_init__(self) -> None:
        """Refuse a hollow rule."""
        if min(self.window_days, self.attempts_below, self.otp_like_below, self.lag_days) < 1 or self.patience_for < _ONE_DAY:
            what = "The quiet rule has a window, limit, lag or patience below one."
            raise PolicyRefused(what, remedy="write whole days and limits of at least 1; `otp_like_below = 1` means none at all.")
        if max(self.window_days, self.lag_days) > _LONGEST_DAYS:
            what = f"The quiet rule has a window or lag over {_LONGEST_DAYS} days."
            raise PolicyRefused(what, remedy="write 14d or the like; counters are not looked at for longer than a year.")


@dataclass(frozen=True, slots=True)
class DayCount:
    """What reached a number on one calendar day of its carrier."""

    on: date
    attempts: int
    messages: int
    otp_like: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the counters of a window add up to.

    Attributes:
        verdict: quiet, noisy, or unknown because days are missing.
        from_on, to_on: first and last day of the window.
        attempts, messages, otp_like: sums over the window.
        missing: days of the window without counters.
        look_on: the first day on which the verdict could change by time alone; None where only counters can change it.
    """

    verdict: Verdict
    from_on: date
    to_on: date
    attempts: int
    messages: int
    otp_like: int
    missing: int
    look_on: date | None = None


def judge(rule: QuietRule, counts: Iterable[DayCount], today: date) -> Judgement:
    """Judge the window that ends with the newest whole day reported, or with the last day that may not be missing any more.

    Args:
        rule: the frozen policy's.
        counts: the number's counters, in any order; those outside the window are left out.
        today: the database's day, UTC; its own counters are not complete yet.
    """
    known = list(counts)
    reported = {each.on: each for each in known if each.on < today}
    to_on = max([today - rule.lag_days * _ONE_DAY, *reported])
    days = [to_on - back * _ONE_DAY for back in range(rule.window_days)]
    seen = [reported[day] for day in days if day in reported]
    verdict = _verdict(rule, seen, missing=len(days) - len(seen))
    return Judgement(
        verdict,
        days[-1],
        to_on,
        sum(each.attempts for each in seen),
        sum(each.messages for each in seen),
        sum(each.otp_like for each in seen),
        len(days) - len(seen),
        _look_on(rule, verdict, seen, known, today),
    )


def _verdict(rule: QuietRule, seen: Iterable[DayCount], missing: int) -> Verdict:
    if _is_noisy(rule, seen):
        return Verdict.NOISY
    return Verdict.UNKNOWN if missing else Verdict.QUIET


def _is_noisy(rule: QuietRule, seen: Iterable[DayCount]) -> bool:
    days = list(seen)
    return sum(day.attempts for day in days) >= rule.attempts_below or sum(day.otp_like for day in days) >= rule.otp_like_below


def _look_on(rule: QuietRule, verdict: Verdict, seen: list[DayCount], known: list[DayCount], today: date) -> date | None:
    if verdict is Verdict.NOISY:
        return _quiet_on(rule, seen)
    # Counters of an unfinished day are known already: tomorrow that day is whole.
    waits_for_today = verdict is Verdict.UNKNOWN and any(each.on >= today for each in known)
    return today + _ONE_DAY if waits_for_today else None


def _quiet_on(rule: QuietRule, seen: list[DayCount]) -> date:
    """Return the first day on which the noise seen so far has left the window, even if no new counters come."""
    by_age = sorted(seen, key=lambda day: day.on)
    while _is_noisy(rule, by_age):
        left = by_age.pop(0)
    return left.on + (rule.window_days + rule.lag_days) * _ONE_DAY

"""What must be true of a number besides its date before it is wiped: its former holder reminded, and nobody calling it any more."""

import hashlib
from datetime import UTC, date, datetime, time, timedelta

from sqlmodel import col, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.events import Kind, canonical
from fallow.domain.policy import Policy
from fallow.domain.rules import Rule
from fallow.domain.traffic import DayCount, Judgement, QuietRule, Verdict, judge
from fallow.store import cycles
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, TrafficRow

_TIRED = {Verdict.NOISY: Reason.STILL_CALLED, Verdict.UNKNOWN: Reason.TRAFFIC_UNKNOWN}
#: Raised once patience with a number that does not become quiet is over.
TIRED = frozenset(Attention(reason) for reason in _TIRED.values())


def demand_reminder(tx: Tx, row: CycleRow, rule: Rule) -> None:
    """Raise ATTENTION where the rule wants the former holder reminded and no reminder is recorded; clear it once one is."""
    missing = Attention(Reason.REMINDER_MISSING)
    if rule.reminder and row.reminded_at is None:
        cycles.raise_attention(tx, row, missing)
    else:
        cycles.clear_attention(tx, row, {missing})


def await_quiet(tx: Tx, row: CycleRow, policy: Policy) -> datetime | None:
    """Judge a number's traffic; return when to look again, or None where it is quiet or waits for a person.

    While it is called, or its counters are missing, it waits, until its patience or its rule's maximum is over: then it goes into
    ATTENTION. New counters wake the cycle by themselves.
    """
    if policy.quiet is None:
        return None
    judged = judge_traffic(tx, row, policy.quiet, "wiping")
    if judged.verdict is Verdict.QUIET:
        cycles.clear_attention(tx, row, TIRED)
        return None
    give_up_at = min(row.release_at + policy.quiet.patience_for, row.overdue_at or datetime.max.replace(tzinfo=UTC))
    if tx.now < give_up_at:
        return min(give_up_at, _start_of(judged.look_on)) if judged.look_on else give_up_at
    cycles.raise_attention(tx, row, Attention(_TIRED[judged.verdict]))
    return None


def judge_traffic(tx: Tx, row: CycleRow, quiet: QuietRule, stage: str) -> Judgement:
    """Judge and record it where it says something new; ``stage`` is "wiping" or "gate"."""
    judged = traffic_of(tx, row, quiet)
    if row.traffic != judged.verdict or judged.verdict is Verdict.QUIET:
        row.traffic = judged.verdict
        cycles.record(tx, row, Kind.TRAFFIC_JUDGED, stage=stage, **_body(judged, _today(tx)))
    return judged


def traffic_of(tx: Tx, row: CycleRow, quiet: QuietRule) -> Judgement:
    """Judge the counters that are known of a cycle's number now."""
    today = _today(tx)
    first = today - timedelta(days=quiet.window_days + quiet.lag_days)
    query = select(TrafficRow).where(TrafficRow.number_id == row.number_id, col(TrafficRow.on_date) >= first)
    counts = [DayCount(each.on_date, each.attempts, each.messages, each.otp_like) for each in tx.session.exec(query)]
    return judge(quiet, counts, today)


def _body(judged: Judgement, today: date) -> dict[str, object]:
    said: dict[str, object] = {
        "verdict": str(judged.verdict),
        "judged_on": today.isoformat(),
        "from_on": judged.from_on.isoformat(),
        "to_on": judged.to_on.isoformat(),
        "attempts": judged.attempts,
        "messages": judged.messages,
        "otp_like": judged.otp_like,
        "missing": judged.missing,
    }
    return {**said, "digest": hashlib.sha256(canonical(said).encode()).hexdigest()}


def _today(tx: Tx) -> date:
    return tx.now.date()


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)

"""The demo's words: events, tags and ends as sentences for people."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

_MOVED = {
    "wiped": "wiped, then read back on another connection:",
    "clear": "nothing of the former holder is bound there",
    "refused": "REFUSED",
}
_TO_CLEAR = {"records": "records to wipe at", "platform": "platforms to unbind from"}
_STAGES = {
    "QUARANTINE": "quarantine is over",
    "WIPING": "record wiping is complete: every record system of the policy has a clean receipt",
    "UNBINDING": "unbinding is complete: every platform of the policy has answered for itself, signed",
}
_FORGOTTEN = "whose the number was is forgotten; what the law keeps lies under keys of its own"

_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "CycleEnrolled": lambda body: f"enrolled; out of service since {body['disconnected_at'][:10]}",
    "LineChecked": lambda body: f"the carrier's line register says ({body['stage']}): {body['status']}",
    "QuarantineBegan": lambda body: f"lies fallow until {body['release_at'][11:19]} UTC (a demo rule: seconds instead of half a year)",
    "ObligationsOpened": lambda body: f"{_TO_CLEAR[body['target_kind']]}: {', '.join(body['targets'])}",
    "ObligationMoved": lambda body: f"  {body['target_id']}: {_MOVED.get(body['outcome'], body['status'])}",
    "StageSettled": lambda body: _STAGES[body["stage"]],
    "HolderKeyDestroyed": lambda body: f"holder key destroyed, receipt {body['evidence'][:12]}…: {_FORGOTTEN}",
    "TagIssued": lambda _: "disclosure tag issued and signed",
    "NumberReleased": lambda _: "RESELLABLE: the gate found evidence for every stage",
    "AttentionRaised": lambda body: f"ATTENTION: {body['attention']}",
    "HoldPlaced": lambda body: f"HELD: {body['reference']}",
}


def sentence(event: Mapping[str, Any]) -> str | None:
    """Return what an event of the timeline means, or None for one that a listener can do without."""
    say = _SENTENCES.get(event["kind"])
    return None if say is None else say(event["body"])


def rejected(rejections: Iterable[Mapping[str, Any]]) -> Table:
    """Return the rejected lines: where, which kind, why, those with one reason together; the remedy is in the report."""
    lines: dict[str, list[str]] = {}
    for each in rejections:
        why = re.sub(r"^Line \d+[.,] *", "", each["why"].partition(" Remedy:")[0])
        lines.setdefault(f"{each['code']}: {why}", []).append(str(each["line"]))
    table = _indented()
    for why, where in lines.items():
        table.add_row(Text(f"line {', '.join(where)}"), Text(why))
    return table


def waiting(cycles: Iterable[Mapping[str, Any]]) -> Table:
    """Return the cycles that wait: where they stand, why, and what a person does next."""
    table = _indented()
    for each in cycles:
        reasons = list(attention(each["attention"]))
        reasons += [f"held: {hold['reference']}" for hold in each["holds"]]
        table.add_row(Text(each["cycle_id"], no_wrap=True), Text(each["state"], no_wrap=True), Text("; ".join(reasons)))
    return table


def attention(waiting: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield each reason why a person must act, with every place where it holds, and what to do."""
    where: dict[tuple[str, str], list[str]] = {}
    for each in waiting:
        where.setdefault((each["reason"], each["next"]), []).extend(filter(None, [each["target_id"]]))
    for (reason, following), places in where.items():
        yield f"{' '.join([reason, ', '.join(places)]).rstrip()}: {following.rstrip('.')}"


def _indented() -> Table:
    return Table(box=None, show_header=False, padding=(0, 0, 0, 2))  # long reasons wrap below themselves


def disclosure(tag: Mapping[str, Any]) -> Iterable[str]:
    """Return what the buyer is told, in lines."""
    yield f"this number had at least {tag['former_holders_at_least']} former holder(s); the last one left in {tag['last_disconnect_month']}"
    days = f"{tag['quarantine_declared_days']} days declared, {tag['quarantine_observed_days']} observed"
    yield f"it was out of use: {days}" + (" (DEMO quarantine: seconds)" if tag["demo"] else "")
    yield f"asked and clear: {', '.join(tag['categories_clear'])}; on paper only: {', '.join(tag['attested']) or 'none'}"
    yield f"not asked: {', '.join(tag['not_asked']) or 'no category; platforms outside the policy were not asked'}"


def standing(counts: Mapping[str, int], seconds: float, note: str) -> Group:
    """Return the live table of stages."""
    table = Table("state", "numbers", show_header=False)
    for name, count in counts.items():
        if count or name in ("QUARANTINED", "WIPING", "UNBINDING", "TAGGING", "RESELLABLE"):
            table.add_row(name, f"{count:>7}")
    return Group(f"{seconds:5.1f} s  {note}", table)

"""A fold of our own: what a cycle's events add up to, and whether each was possible when it came. Standard library only."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from .reading import Row, instant

_AFTER_STAGE = {"QUARANTINE": "WIPING", "WIPING": "UNBINDING", "UNBINDING": "TAGGING"}
_STAGE_OF = {"QUARANTINE": "QUARANTINED", "WIPING": "WIPING", "UNBINDING": "UNBINDING"}
_BECOMES = {
    "QuarantineBegan": "QUARANTINED",
    "NumberReleased": "RESELLABLE",
    "NumberSold": "REASSIGNED",
    "HolderReclaimed": "RECLAIMED",
    "NumberRetired": "RETIRED",
    "NumberWithdrawn": "WITHDRAWN",
    "NumberReturned": "RETURNED",
}
_ENDS = {"HolderReclaimed", "NumberRetired", "NumberWithdrawn", "NumberReturned"}
_EARLY = {"ENROLLED", "QUARANTINED"}
_POSSIBLE = {
    "QuarantineBegan": {"ENROLLED"},
    "NumberReleased": {"TAGGING"},
    "NumberSold": {"RESELLABLE"},
    "HolderReclaimed": _EARLY,
    "NumberWithdrawn": _EARLY,
    "NumberRetired": {*_EARLY, "WIPING", "UNBINDING", "TAGGING", "RESELLABLE"},
    "NumberReturned": {"UNBINDING", "TAGGING", "RESELLABLE"},
    "ObligationConfirmed": {"UNBINDING", "TAGGING", "RESELLABLE"},
    "HolderKeyDestroyed": {"UNBINDING", "TAGGING", "RECLAIMED", "RETIRED", "WITHDRAWN", "RETURNED"},
}
_NOT_WHILE_HELD = {
    *("StageSettled", "ObligationsOpened", "NumberReleased", "NumberSold", "HolderReclaimed", "NumberReturned"),
    "HolderKeyDestroyed",
}


@dataclass(frozen=True)
class Owed:
    """One obligation as the events tell it."""

    kind: str
    status: str = "OPEN"
    outcome: str | None = None
    evidence: str | None = None
    confirmed: str | None = None


@dataclass
class Past:
    """What the events add up to.

    Attributes:
        state: the state after the last one; "" before the first.
        begun: body of CycleEnrolled.
        enrolled_at: when that was.
        release_at: end of quarantine, extensions included.
        released_at: when the number became RESELLABLE.
        tag: digest of the last tag.
        handback: to be returned to the range holder.
        holds: open holds.
        attention: what waits for a person.
        settled: stage -> its event's body, in order.
        settled_at: stage -> when.
        obligations: target -> what is owed there.
        line: (instant, stage, status) of the last look at the line register.
        key_gone: body of the last HolderKeyDestroyed; None while the former holder's key is not destroyed.
        key_gone_at: when that was.
        impossible: events that could not come when they came.
    """

    state: str = ""
    begun: Row = field(default_factory=dict)
    enrolled_at: datetime | None = None
    release_at: datetime | None = None
    released_at: datetime | None = None
    tag: str | None = None
    handback: bool = False
    holds: set[str] = field(default_factory=set)
    attention: set[str] = field(default_factory=set)
    settled: dict[str, Row] = field(default_factory=dict)
    settled_at: dict[str, datetime] = field(default_factory=dict)
    obligations: dict[str, Owed] = field(default_factory=dict)
    line: tuple[datetime, str, str] | None = None
    key_gone: Row | None = None
    key_gone_at: datetime | None = None
    impossible: list[str] = field(default_factory=list)

    def after(self, kind: str, at: datetime, body: Row) -> None:
        """Take one more event."""
        self._judge(kind, body)
        self.state = _BECOMES.get(kind, self.state)
        if kind in _ENDS:
            self.attention = set()
        self._progress(kind, at, body)
        self._overlay(kind, at, body)

    def _judge(self, kind: str, body: Row) -> None:
        possible = _POSSIBLE.get(kind)
        if kind == "StageSettled":
            possible = {_STAGE_OF[body["stage"]]}
        if (kind == "CycleEnrolled") != (self.state == "") or (possible is not None and self.state not in possible):
            self.impossible.append(f"{kind} in state {self.state or 'none'}")
        if self.holds and kind in _NOT_WHILE_HELD:
            self.impossible.append(f"{kind} under a hold")

    def _progress(self, kind: str, at: datetime, body: Row) -> None:
        match kind:
            case "CycleEnrolled":
                self.state, self.begun, self.enrolled_at = "ENROLLED", body, at
                self.release_at, self.handback = instant(body["release_at"]), body["handback"]
            case "QuarantineExtended":
                self.release_at = instant(body["release_at"])
            case "ObligationsOpened":
                self.obligations |= {target: Owed(body["target_kind"]) for target in body["targets"]}
            case "ObligationMoved":
                kind_owed = self.obligations[body["target_id"]].kind
                self.obligations[body["target_id"]] = Owed(kind_owed, body["status"], body["outcome"], body["evidence"])
            case "ObligationConfirmed":
                self.obligations[body["target_id"]] = replace(self.obligations[body["target_id"]], confirmed=body["evidence"])
            case "StageSettled":
                stage = body["stage"]
                self.state, self.settled[stage], self.settled_at[stage] = _AFTER_STAGE[stage], body, at
            case "HolderKeyDestroyed":
                self.key_gone, self.key_gone_at = body, at
            case "TagIssued":
                self.tag = body["tag"]
            case "NumberReleased":
                self.released_at = at

    def _overlay(self, kind: str, at: datetime, body: Row) -> None:
        match kind:
            case "LineChecked":
                self.line = (at, body["stage"], body["status"])
            case "HoldPlaced":
                self.holds.add(body["hold_id"])
            case "HoldLifted":
                self.holds.discard(body["hold_id"])
            case "AttentionRaised":
                self.attention.add(body["attention"])
            case "AttentionCleared":
                self.attention.discard(body["attention"])
            case "ReturnOrdered":
                self.handback = True


def fold(events: Iterable[Row], *, before: str | None = None) -> Past:
    """Add up rows of the events table, oldest first; stop in front of the first event of the kind ``before``."""
    past = Past()
    for row in events:
        if row["kind"] == before:
            break
        body: dict[str, Any] = json.loads(row["body"])
        past.after(row["kind"], instant(row["at"]), body)
    return past

"""Why a cycle waits for a person, and what that person should do: the ATTENTION queue's words."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a person must act."""

    LINE_IN_SERVICE = "line-in-service"
    LINE_PORTED = "line-ported"
    LINE_UNKNOWN = "line-unknown"
    CRIME = "crime"
    PLATFORM_REFUSED = "platform-refused"
    PLATFORM_REJECTED = "platform-rejected"
    PLATFORM_SILENT = "platform-silent"
    PLATFORM_CONTRADICTED = "platform-contradicted"
    PLATFORM_NEEDS_HUMAN = "platform-needs-human"
    PLATFORM_BY_HAND = "platform-by-hand"
    PLATFORM_DECOMMISSIONED = "platform-decommissioned"
    WIPE_INCOMPLETE = "wipe-incomplete"
    WIPE_REFUSED = "wipe-refused"
    NEWER_HOLDER = "newer-holder"
    TARGET_MISSING = "target-missing"
    GATE_SHORT = "gate-short"
    REMINDER_MISSING = "reminder-missing"
    STILL_CALLED = "still-called"
    TRAFFIC_UNKNOWN = "traffic-unknown"
    WRONGFUL_DISCONNECT = "wrongful-disconnect"
    RECLAIM_WAITS = "reclaim-waits"
    RECLAIM_LOCKED = "reclaim-locked"
    RETENTION_STUCK = "retention-stuck"


NEXT: dict[Reason, str] = {
    Reason.LINE_IN_SERVICE: "the line is in service: withdraw the number, or have the line cut and `retry`.",
    Reason.LINE_PORTED: "the number was ported out: `withdraw` it.",
    Reason.LINE_UNKNOWN: "the line register does not know the number: correct the register and `retry`, or `withdraw`.",
    Reason.CRIME: "tied to a crime: two people `retire` it, or `lift` the hold with the authority's reference.",
    Reason.PLATFORM_REFUSED: "the platform refused: settle it with them and `retry`, or `attest` their document.",
    Reason.PLATFORM_REJECTED: "the platform rejects the request as wrong: compare docs/platforms.md with their log, then `retry`.",
    Reason.PLATFORM_SILENT: "no answer after every reminder: ask their contact and `retry`, or `attest` their document.",
    Reason.PLATFORM_CONTRADICTED: "the platform took its clearance back: settle it with them, `lift` the engine's hold if any, `retry`.",
    Reason.PLATFORM_NEEDS_HUMAN: "a person at the platform must decide: ask their contact; its answer clears this by itself.",
    Reason.PLATFORM_BY_HAND: "the platform is asked by hand: write to its contact, then two people `attest` their document.",
    Reason.PLATFORM_DECOMMISSIONED: "the platform is asked no more: `attest` their document, or two people `retire` the number.",
    Reason.TARGET_MISSING: "it is owed to a target that is in no map any more: put the target back into its map, with its keys.",
    Reason.WIPE_INCOMPLETE: "rows remained, or rows to be kept are gone: see `fallow records recheck`, mend the map, then `retry`.",
    Reason.WIPE_REFUSED: "the system refuses the change: `fallow records check` names foreign keys, look for triggers; then `retry`.",
    Reason.NEWER_HOLDER: "rows of a newer holder are there, untouched: find out who holds the line, then `retry`, `return` or `retire`.",
    Reason.GATE_SHORT: "the gate found evidence missing: see `fallow numbers show`, mend it, then `retry`.",
    Reason.REMINDER_MISSING: "the policy wants its former holder reminded first: remind them and record it with `remind`.",
    Reason.STILL_CALLED: "the world still calls it and its time is up: `extend` and let it lie, `retire` it, or `retry` once it is quiet.",
    Reason.TRAFFIC_UNKNOWN: "its traffic counters are missing and its time is up: feed them with `fallow numbers traffic`, then `retry`.",
    Reason.WRONGFUL_DISCONNECT: "cut off by mistake: two people `reclaim` it for its holder, before all else; `retry` if it was none.",
    Reason.RECLAIM_WAITS: "somebody claims it: a second person approves the proposal or denies it; `retry` once it has expired.",
    Reason.RECLAIM_LOCKED: "two claims failed their identity check: two people `unlock` it, or `retry` to let it go on for nobody.",
    Reason.RETENTION_STUCK: "rows kept by law outlive their last day: mend the records map or the rows; it is tried again by itself.",
}


@dataclass(frozen=True, slots=True, order=True)
class Attention:
    """One thing a person must look at: why, and at which target ("" where it is the number itself)."""

    reason: Reason
    target_id: str = ""

    def __str__(self) -> str:
        """Name the reason and the target, as stored and as shown."""
        return f"{self.reason}:{self.target_id}" if self.target_id else str(self.reason)

    @property
    def next(self) -> str:
        """What to do next, in one clause."""
        return NEXT[self.reason]


def parse(text: str) -> Attention:
    """Read what ``str(Attention)`` wrote."""
    reason, _, target_id = text.partition(":")
    return Attention(Reason(reason), target_id)

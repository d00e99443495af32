"""What has happened to a cycle, as facts in past tense; the bodies hold identifiers and dates, never a number or a person.

Each change of a cycle writes its event in the same transaction; :mod:`fallow.domain.fold` turns a cycle's events back into its row.
"Person" below is the opaque id of an API key's owner.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """Every kind of event and the keys of its body."""

    #: disconnected_at, release_at, policy, demo, handback, enrolled_by, batch_id, jitter_seconds (part of release_at),
    #: denials (failed claims that the number brings along)
    CYCLE_ENROLLED = "CycleEnrolled"
    #: status (LineStatus), stage ("enrolment" | "retry" | "wiping" | "gate"), asked_at
    LINE_CHECKED = "LineChecked"
    #: release_at
    QUARANTINE_BEGAN = "QuarantineBegan"
    #: release_at, by, reference
    QUARANTINE_EXTENDED = "QuarantineExtended"
    #: hold_id, by, reference; where one was given review_on (date)
    HOLD_PLACED = "HoldPlaced"
    #: hold_id, by, reference
    HOLD_LIFTED = "HoldLifted"
    #: at (instant), channel, by, reference
    HOLDER_REMINDED = "HolderReminded"
    #: stage ("wiping" | "gate"), verdict, judged_on; of the window: from_on, to_on, attempts, messages, otp_like, missing (days); digest
    TRAFFIC_JUDGED = "TrafficJudged"
    #: proposal_id, by, second, reference
    RECLAIM_DENIED = "ReclaimDenied"
    #: by, second, reference
    RECLAIM_UNLOCKED = "ReclaimUnlocked"
    #: attention; for gate-short also why (what is missing)
    ATTENTION_RAISED = "AttentionRaised"
    #: attention
    ATTENTION_CLEARED = "AttentionCleared"
    #: target_kind (TargetKind), targets (sorted)
    OBLIGATIONS_OPENED = "ObligationsOpened"
    #: target_id, status, outcome, evidence
    OBLIGATION_MOVED = "ObligationMoved"
    #: target_id, evidence (digest of the platform's word, to a status query, that its clearance still stands)
    OBLIGATION_CONFIRMED = "ObligationConfirmed"
    #: stage ("QUARANTINE" | "WIPING" | "UNBINDING"), targets (sorted), attempts, digest
    STAGE_SETTLED = "StageSettled"
    #: epoch (of the wrapping key), evidence (digest of the receipt)
    HOLDER_KEY_DESTROYED = "HolderKeyDestroyed"
    #: target_id, collection, kept_until, how ("restrict" | "seal"), rows
    RETENTION_BEGAN = "RetentionBegan"
    #: proposal_id, by, second, reference
    RETENTION_OPENED = "RetentionOpened"
    #: proposal_id, by, rows
    RETENTION_READ = "RetentionRead"
    #: target_id, collection, kept_until, how
    RETENTION_EXPIRED = "RetentionExpired"
    #: tag (digest)
    TAG_ISSUED = "TagIssued"
    #: tag, gate (digest of what was judged)
    NUMBER_RELEASED = "NumberReleased"
    #: tag, acknowledgement, by
    NUMBER_SOLD = "NumberSold"
    #: by, second, reference, ground (people who come back: former-holder, successor, wrongful)
    HOLDER_RECLAIMED = "HolderReclaimed"
    #: by, second, reference
    NUMBER_RETIRED = "NumberRetired"
    #: by, reference
    NUMBER_WITHDRAWN = "NumberWithdrawn"
    #: by, reference
    RETURN_ORDERED = "ReturnOrdered"
    #: (none)
    NUMBER_RETURNED = "NumberReturned"
    #: by, second, reference, next_cycle
    CYCLE_RECALLED = "CycleRecalled"
    #: command, proposal_id, by, reference
    COMMAND_PROPOSED = "CommandProposed"
    #: proposal_id, by, second, reference
    PROPOSAL_DENIED = "ProposalDenied"
    #: by, reference
    RETRY_ORDERED = "RetryOrdered"
    #: why
    WORKFLOW_REPLACED = "WorkflowReplaced"


@dataclass(frozen=True, slots=True)
class Event:
    """One fact about one cycle.

    Attributes:
        kind: what happened.
        at: when, UTC, by the database's clock.
        body: the keys listed at :class:`Kind`; JSON values only.
    """

    kind: Kind
    at: datetime
    body: Mapping[str, Any]


# Made once: json.dumps would make one for every text.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def canonical(body: Mapping[str, Any]) -> str:
    """Return JSON in the one form that is digested: keys sorted, no spaces, ASCII."""
    return _CANONICAL.encode(body)

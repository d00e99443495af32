"""Evidence as the gate wants it: read again, digested again, verified again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from fallow.domain.errors import FallowError
from fallow.domain.gate import Confirmation, Proof
from fallow.domain.obligations import CLEARED_BY_PLATFORM, Outcome, TargetKind, shown
from fallow.operations.installation import Installation
from fallow.platforms.forms import FORMS, AnswerForm
from fallow.platforms.verifying import VerifyingKey
from fallow.store import retention
from fallow.store.engine import Tx
from fallow.store.inbox import Kept
from fallow.store.tables import EvidenceRow, ObligationRow


def proofs(tx: Tx, installation: Installation, owed: Sequence[ObligationRow]) -> tuple[Proof, ...]:
    """Return a proof for each obligation that cites evidence; an altered or foreign one comes back as not genuine."""
    found = (_proof(tx, installation, row) for row in owed if row.evidence is not None)
    return tuple(proof for proof in found if proof is not None)


def _proof(tx: Tx, installation: Installation, row: ObligationRow) -> Proof | None:
    if row.kind == TargetKind.RECORDS:
        return _receipt(tx, row)
    if row.outcome == Outcome.ATTESTED:
        return _attestation(tx, row)
    return _answer(tx, installation, row)


def stored(tx: Tx, row: ObligationRow, kind: str) -> dict[str, object] | None:
    """Return the evidence's content if its digest, kind, cycle and target are those the obligation cites."""
    evidence = tx.session.get(EvidenceRow, row.evidence)
    if evidence is None or hashlib.sha256(evidence.body.encode()).hexdigest() != row.evidence:
        return None
    body: dict[str, object] = json.loads(evidence.body)
    mine = (evidence.kind, body.get("cycle_id"), body.get("target_id")) == (kind, row.cycle_id, row.target_id)
    return body if mine else None


def _receipt(tx: Tx, row: ObligationRow) -> Proof | None:
    body = stored(tx, row, "receipt")
    if body is None:
        return None
    collections = body["collections"]
    if not isinstance(collections, list):
        return None
    names = frozenset(str(each["collection"]) for each in collections)
    remaining = sum(int(each["remaining"]) + int(each.get("newer", 0)) for each in collections)
    unkept = sum(_unkept(each) for each in collections)
    return Proof(
        row.target_id, TargetKind.RECORDS, str(row.evidence), True, Outcome.WIPED, names, remaining, unkept, _first_read_back(collections)
    )


def _first_read_back(collections: Sequence[Mapping[str, object]]) -> datetime | None:
    try:
        said = [datetime.fromisoformat(str(each["read_back_at"])) for each in collections]
    except (KeyError, ValueError):
        return None
    return min(said) if said and all(each.utcoffset() is not None for each in said) else None


def _unkept(collection: Mapping[str, object]) -> int:
    """Return how many rows were restricted and not found again; a receipt of before rows were counted that way tells of none."""
    affected = int(str(collection["affected"]))
    is_kept = collection["strategy"] == retention.RESTRICT and "kept" in collection
    return max(0, affected - int(str(collection["kept"]))) if is_kept else 0


def _attestation(tx: Tx, row: ObligationRow) -> Proof | None:
    body = stored(tx, row, "attestation")
    if body is None or body.get("by") == body.get("second"):
        return None
    return Proof(row.target_id, TargetKind.PLATFORM, str(row.evidence), True, Outcome.ATTESTED)


def signer(tx: Tx, installation: Installation, row: ObligationRow) -> dict[str, str] | None:
    """Return whose key signed the answer that an obligation cites: its speaker, kind and fingerprint.

    Kind ``hmac-sha256`` means a secret that the engine holds too: such an answer is one that the operator could have made. None where
    no platform's answer is cited, or it does not verify any more.
    """
    if row.kind != TargetKind.PLATFORM or row.evidence is None or row.outcome == Outcome.ATTESTED:
        return None
    found = _signed(tx, installation, row, str(row.evidence))
    return None if found is None else {"speaker": found[0].speaker_id, "kind": found[1].kind, "fingerprint": found[1].fingerprint}


def confirmations(tx: Tx, installation: Installation, owed: Sequence[ObligationRow]) -> tuple[Confirmation, ...]:
    """Return what platforms said when they were looked at again, for each obligation that cites such a word."""
    return tuple(_confirmation(tx, installation, row, row.confirmed) for row in owed if row.confirmed is not None)


def _confirmation(tx: Tx, installation: Installation, row: ObligationRow, digest: str) -> Confirmation:
    first, again = (installation.inbox.by_digest(tx, each) for each in (str(row.evidence), digest))
    later = first is not None and again is not None and first.received_at <= again.received_at and row.evidence != digest
    genuine = later and _said(tx, installation, row, digest) in CLEARED_BY_PLATFORM
    return Confirmation(row.target_id, digest, genuine)


def _answer(tx: Tx, installation: Installation, row: ObligationRow) -> Proof | None:
    outcome = _said(tx, installation, row, str(row.evidence))
    if outcome is None or row.outcome is None:
        return None
    # Rows of before say which clearance it was; to the gate all three are one.
    same = Outcome(row.outcome) if shown(Outcome(row.outcome)) is shown(outcome) else outcome
    return Proof(row.target_id, TargetKind.PLATFORM, str(row.evidence), True, same)


def _said(tx: Tx, installation: Installation, row: ObligationRow, digest: str) -> Outcome | None:
    """Return what a kept delivery says of an obligation, verified again: None unless it is signed by who may speak for its platform."""
    signed = _signed(tx, installation, row, digest)
    if signed is None:
        return None
    kept, _, _ = signed
    try:
        return _read(kept.delivery.scheme, kept.delivery.body).get(row.reference)
    except FallowError:
        return None


def _signed(tx: Tx, installation: Installation, row: ObligationRow, digest: str) -> tuple[Kept, VerifyingKey, AnswerForm] | None:
    kept = installation.inbox.by_digest(tx, digest)
    speaker = None if kept is None else installation.speakers.at(kept.speaker_id, kept.received_at)
    if kept is None or speaker is None or row.target_id not in speaker.speaks_for:
        return None
    form = FORMS.get(kept.delivery.scheme)
    try:
        return None if form is None else (kept, form.signer(speaker.keys, kept.delivery), form)
    except FallowError:
        return None


@lru_cache(maxsize=4)
def _read(scheme: str, body: bytes) -> Mapping[str, Outcome]:
    # A batch is read for thousands of numbers in a row; what its bytes say never changes.
    return {answer.reference: answer.outcome for answer in FORMS[scheme].read(body)}

"""A holder key is destroyed when its cycle needs it no more, with a receipt that the gate reads again."""

import hashlib
import json

from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from fallow.domain.events import Kind, canonical
from fallow.domain.gate import KeyProof
from fallow.domain.lifecycle import State
from fallow.store import cycles, holders
from fallow.store.engine import Database, Tx
from fallow.store.keeping_tables import HolderRow
from fallow.store.tables import CycleRow, EventRow, EvidenceRow

#: The receipt's kind, and its ``target_id``: what it speaks of is no target, but an evidence row has one.
KIND = "holder-key"
#: What the receipt claims, word for word.
COVERS = (
    "the row with the wrapped holder key and with what it sealed, in fallow's own database; copies of that row in backups and logs of "
    "the database open no more once the wrapping key of its epoch is destroyed, too. Not the carrier's systems or their backups, not "
    "copies of the folder of keys, not blocks that a storage device keeps of a file that was overwritten."
)
#: Here a wipe or a binding may still want to know who the former holder was.
_STILL_NEEDED = (State.ENROLLED, State.QUARANTINED, State.WIPING, State.UNBINDING)


def destroy_holder_key(tx: Tx, row: CycleRow) -> None:
    """Destroy the holder key of a locked cycle, or note that it has none (it began before there were any), with a receipt."""
    epoch = holders.forget(tx, row.cycle_id)
    body = canonical(
        {"cycle_id": row.cycle_id, "target_id": KIND, "epoch": epoch, "destroyed_at": tx.now.isoformat(), "covers": COVERS},
    )
    digest = hashlib.sha256(body.encode()).hexdigest()
    tx.session.add(EvidenceRow(digest=digest, cycle_id=row.cycle_id, target_id=KIND, kind=KIND, body=body))
    cycles.record(tx, row, Kind.HOLDER_KEY_DESTROYED, epoch=epoch, evidence=digest)


def note_keyless(tx: Tx, row: CycleRow) -> None:
    """Write the receipt of a locked cycle that came to TAGGING before there were holder keys: it has no key, event or receipt.

    Where one of them is there, the others were lost; that is for a person, and nothing is written.
    """
    receipt = select(EvidenceRow.digest).where(EvidenceRow.cycle_id == row.cycle_id, EvidenceRow.kind == KIND)
    if key_proof(tx, row.cycle_id) is None and not holders.exists(tx, row.cycle_id) and tx.session.exec(receipt).first() is None:
        destroy_holder_key(tx, row)


def destroy_ended(db: Database, most: int) -> int:
    """Destroy the holder keys of up to ``most`` cycles that ended on another way, or that are to pass the gate without a receipt.

    Reclaimed, retired, withdrawn, returned: nobody needs to know any more who the former holder was. A hold that is open keeps the
    key: whoever placed it may want to know. A cycle that came to TAGGING before there were holder keys gets its receipt here.

    Returns:
        How many.
    """
    with db.read() as tx:
        found = sorted({*tx.session.exec(_left_over().limit(most)), *tx.session.exec(_without_receipt().limit(most))})
    if not found:
        return 0
    with db.begin() as tx:
        locked = {row.cycle_id: row for row in cycles.lock(tx, found)}
        mine = col(CycleRow.cycle_id).in_(found)
        still = {*tx.session.exec(_left_over().where(mine)), *tx.session.exec(_without_receipt().where(mine))}
        for row in locked.values():  # in the order of the locks, as a rotation goes through them
            if row.cycle_id in still:
                destroy_holder_key(tx, row)
                if cycles.facts(row).active:
                    cycles.wake(tx, row)
        return len(still)


def key_proof(tx: Tx, cycle_id: str) -> KeyProof | None:
    """Return the receipt that the cycle's last event of a destruction cites, read and digested again; None without such an event."""
    query = select(EventRow).where(EventRow.cycle_id == cycle_id, EventRow.kind == Kind.HOLDER_KEY_DESTROYED)
    last = tx.session.exec(query.order_by(col(EventRow.seq).desc())).first()
    if last is None:
        return None
    cited = json.loads(last.body)
    return KeyProof(str(cited["evidence"]), _is_genuine(tx.session.get(EvidenceRow, cited["evidence"]), cycle_id, cited))


def _is_genuine(kept: EvidenceRow | None, cycle_id: str, cited: dict[str, object]) -> bool:
    if kept is None or hashlib.sha256(kept.body.encode()).hexdigest() != cited["evidence"]:
        return False
    body = json.loads(kept.body)
    found = (kept.kind, kept.cycle_id, body.get("cycle_id"), body.get("target_id"), body.get("epoch"))
    return found == (KIND, cycle_id, cycle_id, KIND, cited["epoch"])


def _left_over() -> SelectOfScalar[str]:
    query = select(HolderRow.cycle_id).join(CycleRow, col(CycleRow.cycle_id) == col(HolderRow.cycle_id))
    return query.where(col(CycleRow.state).not_in(_STILL_NEEDED), col(CycleRow.held).is_(False)).order_by(HolderRow.cycle_id)


def _without_receipt() -> SelectOfScalar[str]:
    receipt = select(EventRow.event_id).where(EventRow.cycle_id == CycleRow.cycle_id, EventRow.kind == Kind.HOLDER_KEY_DESTROYED)
    query = select(CycleRow.cycle_id).where(CycleRow.state == State.TAGGING, col(CycleRow.held).is_(False), ~receipt.exists())
    return query.order_by(CycleRow.cycle_id)

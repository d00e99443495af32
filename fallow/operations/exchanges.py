"""What was exchanged with a platform: the delivery log, and a kept callback looked at and applied once more."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import col, select

from fallow.domain.errors import NotKnown, SignatureRefused
from fallow.domain.obligations import Outcome, shown
from fallow.domain.people import Action, Person, Role
from fallow.domain.ports import SignedDelivery
from fallow.operations.answers import accept_answer
from fallow.operations.installation import Installation
from fallow.platforms.speakers import Speaker
from fallow.store import exchanges
from fallow.store.engine import Tx
from fallow.store.inbox import digest
from fallow.store.platform_tables import ExchangeRow
from fallow.store.tables import ObligationRow

#: Most rows of one page.
LONGEST_PAGE = 500


@dataclass(frozen=True, slots=True)
class Said:
    """What a delivery said about one reference.

    Attributes:
        reference: the obligation's.
        said: of the three clearances only ``clear`` is shown.
        status: the obligation's now; None where this platform has no such reference.
        settled_by_it: whether the obligation cites this delivery as its evidence.
        moved: whether applying the delivery again changed the obligation: never, if all is well.
    """

    reference: str
    said: Outcome
    status: str | None
    settled_by_it: bool
    moved: bool


@dataclass(frozen=True, slots=True)
class Replayed:
    """A kept callback, verified, read and applied once more.

    Attributes:
        platform_id: whose key signed it.
        delivery_id: its ``webhook-id``.
        digest: what evidence cites.
        received_at: when it came.
        signed_at: by its own timestamp, unix seconds.
        key_fingerprint: SHA-256 of the key that signed it, among those registered when it came.
        answers: what it said.
        acknowledged: what it was answered with then.
        again: what it is answered with now.
    """

    platform_id: str
    delivery_id: str
    digest: str
    received_at: datetime
    signed_at: int
    key_fingerprint: str
    answers: tuple[Said, ...]
    acknowledged: str
    again: str

    @property
    def harmless(self) -> bool:
        """Whether the repeat was acknowledged alike, byte for byte, and changed nothing."""
        return self.again == self.acknowledged and not any(each.moved for each in self.answers)


def delivery_log(
    installation: Installation, person: Person, platform_id: str, *, before: int | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """List exchanges with a platform or hub, latest first; ``before``: the last ``exchange_id`` of the page before.

    Raises:
        PersonRefused: the role may not.
        NotKnown: no such platform, or not the caller's own.
    """
    person.demand(Action.READ_EXCHANGES)
    if person.role is Role.PLATFORM and person.platform_id != platform_id:
        # The same answer for a platform that exists and one that does not.
        what = "No such platform is yours."
        raise NotKnown(what, remedy="ask with the platform id that the key was made for.")
    with installation.db.read() as tx:
        rows = exchanges.latest(tx, platform_id, max(1, min(limit, LONGEST_PAGE)), before)
    if not rows:
        _demand_known(installation, platform_id)
    return [_line(row) for row in rows]


def replay(installation: Installation, person: Person, platform_id: str, delivery_id: str) -> Replayed:
    """Verify a kept callback under the keys of when it came, read it, and apply it again: nothing may change.

    Requests can't be replayed: their bodies hold numbers and are not kept. What is due is asked again by itself, as a reminder.

    Raises:
        PersonRefused: the role may not.
        NotKnown: no such platform, or no such delivery is kept.
        SignatureRefused: what is kept was altered, or no key of then has signed it.
    """
    person.demand(Action.COMMAND)
    with installation.db.read() as tx:
        row = installation.inbox.find(tx, platform_id, delivery_id)
        if row is None:
            _demand_known(installation, platform_id)
            what = "No callback of that platform is kept under this id."
            raise NotKnown(what, remedy="`fallow platform log PLATFORM` names those of 30 days, `in`; requests (`out`) are not kept.")
        received_at, named, acknowledged = row.received_at, row.digest, row.ack
        kept = installation.inbox.open(row)
    delivery, speaker, fingerprint = _proved(installation, platform_id, received_at, named, kept)
    said = [(answer.reference, answer.outcome) for answer in speaker.form.read(delivery.body)]
    before = _standing(installation, speaker, [reference for reference, _ in said])
    again = accept_answer(installation, platform_id, delivery, said)
    after = _standing(installation, speaker, [reference for reference, _ in said])
    answers = tuple(_said(reference, outcome, named, before.get(reference), after.get(reference)) for reference, outcome in said)
    return Replayed(
        platform_id, delivery_id, named, received_at, delivery.signed_at, fingerprint, answers, acknowledged=acknowledged, again=again
    )


def as_json(found: Replayed) -> dict[str, Any]:
    """Return a replay in plain values."""
    return {
        "platform_id": found.platform_id,
        "delivery_id": found.delivery_id,
        "digest": found.digest,
        "received_at": found.received_at.isoformat(),
        "signed_at": found.signed_at,
        "key_fingerprint": found.key_fingerprint,
        "answers": [
            {
                "reference": each.reference,
                "said": each.said,
                "status": each.status,
                "settled_by_it": each.settled_by_it,
                "moved": each.moved,
            }
            for each in found.answers
        ],
        "acknowledged": json.loads(found.acknowledged),
        "again": json.loads(found.again),
        "harmless": found.harmless,
    }


def _demand_known(installation: Installation, platform_id: str) -> None:
    if platform_id not in installation.platforms and installation.speakers.now(platform_id) is None:
        what = f"No platform {platform_id} is registered."
        raise NotKnown(what, remedy="`fallow targets` lists them.")


def _line(row: ExchangeRow) -> dict[str, Any]:
    return {
        "exchange_id": row.exchange_id,
        "at": row.at.isoformat(),
        "direction": row.direction,
        "delivery_id": row.delivery_id or None,
        "items": row.items,
        "octets": row.octets,
        "status": row.status,
        "result": row.result,
        "took_ms": row.took_ms,
    }


def _proved(
    installation: Installation, platform_id: str, received_at: datetime, named: str, kept: SignedDelivery | None
) -> tuple[SignedDelivery, Speaker, str]:
    """Return the delivery, who spoke, and the fingerprint of the key that signed it."""
    speaker = installation.speakers.at(platform_id, received_at)
    if kept is None or speaker is None or digest(platform_id, kept) != named:
        what = (
            "A kept callback does not match its own digest any more." if speaker else f"Nobody could speak as {platform_id} when it came."
        )
        raise SignatureRefused(what, remedy="compare with a backup; tell your auditor.")
    return kept, speaker, speaker.form.signer(speaker.keys, kept).fingerprint


def _standing(installation: Installation, speaker: Speaker, references: list[str]) -> dict[str, tuple[str, str | None]]:
    """Return status and evidence of the references that the speaker may speak of."""
    with installation.db.read() as tx:
        return {row.reference: (str(row.status), row.evidence) for row in _obligations(tx, speaker, references)}


def _obligations(tx: Tx, speaker: Speaker, references: list[str]) -> list[ObligationRow]:
    query = select(ObligationRow).where(
        col(ObligationRow.target_id).in_(sorted(speaker.speaks_for)), col(ObligationRow.reference).in_(references)
    )
    return list(tx.session.exec(query))


def _said(
    reference: str, outcome: Outcome, named: str, before: tuple[str, str | None] | None, after: tuple[str, str | None] | None
) -> Said:
    status, evidence = after or (None, None)
    return Said(reference, shown(outcome), status, settled_by_it=evidence == named, moved=before != after)

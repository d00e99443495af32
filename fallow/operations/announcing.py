"""Telling platforms that a number they were asked about has been sold: a row of the outbox for each, written with the sale.

At least once: what breaks off in the middle is told again. One process at a time tells a platform, under a lease; it is not fenced, for a
repeat does no harm.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Iterable

from sqlmodel import col, select

from fallow.domain.collecting import Announcing
from fallow.domain.errors import MapRefused, RequestRejected
from fallow.domain.number import E164
from fallow.operations.installation import Installation
from fallow.store import leases
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, OutboxRow

#: Most numbers told in one visit.
_PAGE = 50
_KIND = "NumberResold:"
#: What the lease's name has behind the platform's: no id of a platform ends so.
_LEASE = "~announce"


def owe(tx: Tx, installation: Installation, cycle_id: str, targets: Iterable[str]) -> None:
    """Note in the sale's own transaction which of a cycle's platforms are to be told."""
    for target_id in targets:
        if _wants(installation, target_id):
            tx.session.add(OutboxRow(kind=_KIND + target_id, cycle_id=cycle_id, at=tx.now))


async def announce(installation: Installation, platform: Announcing) -> int:
    """Tell a platform what it has not been told yet, a page at most; return how many numbers were.

    A number that the platform rejects by itself is not told again: nothing waits for it.

    Raises:
        TargetUnavailable: it can't be told now.
    """
    told, holder = 0, secrets.token_hex(8)
    try:
        if await asyncio.to_thread(_leads, installation, platform.platform_id, holder):
            for outbox_id, number in await asyncio.to_thread(_owed, installation, platform.platform_id):
                if not await asyncio.to_thread(_leads, installation, platform.platform_id, holder):
                    break
                with contextlib.suppress(RequestRejected):  # to repeat it would keep all later ones from being told
                    await platform.announce([number])
                await asyncio.to_thread(_told, installation, outbox_id)
                told += 1
    finally:
        await asyncio.to_thread(_give_back, installation, platform.platform_id, holder)
    return told


def _leads(installation: Installation, platform_id: str, holder: str) -> bool:
    with installation.db.begin() as tx:
        return leases.take(tx, platform_id + _LEASE, holder) is not None


def _give_back(installation: Installation, platform_id: str, holder: str) -> None:
    with installation.db.begin() as tx:
        leases.give_back(tx, platform_id + _LEASE, holder)


def _wants(installation: Installation, target_id: str) -> bool:
    try:
        return isinstance(installation.platforms[target_id], Announcing)
    except (KeyError, MapRefused):  # a record system; or a platform that is no more, which must not stop a sale
        return False


def _owed(installation: Installation, platform_id: str) -> list[tuple[int, E164]]:
    query = (
        select(OutboxRow.outbox_id, CycleRow.number_id)
        .join(CycleRow, col(CycleRow.cycle_id) == col(OutboxRow.cycle_id))
        .where(OutboxRow.kind == _KIND + platform_id, col(OutboxRow.exported_at).is_(None))
        .order_by(col(OutboxRow.outbox_id))
        .limit(_PAGE)
    )
    with installation.db.read() as tx:
        rows = list(tx.session.exec(query))
        numbers = installation.vault.reveal(tx, [number_id for _, number_id in rows])
    return [(outbox_id or 0, numbers[number_id]) for outbox_id, number_id in rows]


def _told(installation: Installation, outbox_id: int) -> None:
    with installation.db.begin() as tx:
        tx.session.get_one(OutboxRow, outbox_id).exported_at = tx.now

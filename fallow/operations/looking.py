"""Which platforms are looked at again, and what waits for it: the settling of UNBINDING, the gate, and the sale of a sample.

A platform looks if its registration offers a status query now, whether or not this process can reach it. What it cleared by its own
word is confirmed by another one before the stage settles: an answer of weeks ago says nothing of what was bound since. Nobody asks
after a receipt or after what two people attested. One in so many released numbers, drawn by its id, is looked at once more before it
is sold.
"""

from collections.abc import Iterable
from datetime import timedelta

from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import CommandRefused
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Status
from fallow.domain.sample import is_drawn
from fallow.operations.frozen import frozen_policy
from fallow.operations.installation import Installation
from fallow.operations.registered import Live
from fallow.store import cycles, looks, obligations
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, ObligationRow

#: How long after its release a number of the sample is looked at; one of a demo at once.
SAMPLE_AFTER = timedelta(minutes=10)


def looking_now(installation: Installation) -> frozenset[str]:
    """Return the platforms that offer a status query now, whatever they offered when a cycle was enrolled."""
    if isinstance(installation.platforms, Live):
        return installation.platforms.looking
    return frozenset(platform_id for platform_id, platform in installation.platforms.items() if platform.looks)


def await_looks(tx: Tx, installation: Installation, cycle: CycleRow, owed: Iterable[ObligationRow]) -> bool:
    """Have a locked cycle's unconfirmed clearances looked at; tell whether any is still to be confirmed.

    Safe to repeat: what is owed already keeps its pace. Whoever makes the last look wakes the cycle.
    """
    unconfirmed = [each.target_id for each in _clearances(installation, owed) if each.confirmed is None]
    looks.want(tx, cycle.cycle_id, unconfirmed, tx.now)
    if set(looks.of_cycle(tx, cycle.cycle_id)).difference(unconfirmed):
        looks.keep_only(tx, cycle.cycle_id, unconfirmed)
    return bool(unconfirmed)


def draw(tx: Tx, installation: Installation, cycle: CycleRow) -> None:
    """Have a cycle that has just been released looked at once more if it is in the sample that its frozen policy wants."""
    if not is_drawn(cycle.cycle_id, frozen_policy(tx, cycle.policy).sample_one_in):
        return
    seen = [each.target_id for each in _clearances(installation, obligations.of_cycle(tx, cycle.cycle_id))]
    tx.session.flush()  # the database lets no number become RESELLABLE that owes a look
    looks.want(tx, cycle.cycle_id, seen, tx.now if cycle.demo else tx.now + SAMPLE_AFTER)


def demand_looked_at(tx: Tx, installation: Installation, cycle: CycleRow) -> None:
    """Refuse the sale of a locked cycle that is yet to be looked at; forget looks at platforms that can't be looked at any more.

    Raises:
        CommandRefused: naming the platforms.
    """
    owing = looks.of_cycle(tx, cycle.cycle_id)
    unseen = sorted(looking_now(installation).intersection(owing))
    if unseen:
        what = f"The cycle {cycle.cycle_id} is to be looked at once more before it is sold, at {', '.join(unseen)}."
        raise CommandRefused(what, remedy="wait some minutes; if a platform stays silent, `fallow numbers show` says what to do.")
    if owing:
        looks.keep_only(tx, cycle.cycle_id, ())


def look_again(tx: Tx, installation: Installation, cycle: CycleRow) -> None:
    """Begin the looks of a locked cycle anew. A released number whose platform took its word back will be looked at after its next word."""
    looks.hasten(tx, cycle.cycle_id)
    if cycle.state == State.RESELLABLE:
        doubted = [each.target_id for each in obligations.of_cycle(tx, cycle.cycle_id) if each.status != Status.DISCHARGED]
        looks.want(tx, cycle.cycle_id, looking_now(installation).intersection(doubted), tx.now)


def forget_strayed(installation: Installation, most: int) -> int:
    """Forget a page of looks at platforms that offer no status query any more, and wake the cycles that waited; return how many.

    Who was called because such a platform said nothing of what it had cleared has nothing left to do.
    """
    looking = looking_now(installation)
    with installation.db.read() as tx:
        strayed = looks.strayed(tx, looking, most)
    if not strayed:
        return 0
    with installation.db.begin() as tx:
        for row in cycles.lock(tx, [cycle_id for cycle_id, _ in strayed]):
            gone = {target_id for cycle_id, target_id in strayed if cycle_id == row.cycle_id}
            looks.keep_only(tx, row.cycle_id, set(looks.of_cycle(tx, row.cycle_id)) - gone)
            settled = [each.target_id for each in obligations.of_cycle(tx, row.cycle_id) if each.status == Status.DISCHARGED]
            cycles.clear_attention(tx, row, {Attention(Reason.PLATFORM_SILENT, each) for each in gone.intersection(settled)})
            if cycles.facts(row).active:
                cycles.wake(tx, row)
    return len(strayed)


def _clearances(installation: Installation, owed: Iterable[ObligationRow]) -> list[ObligationRow]:
    looking = looking_now(installation)
    return [each for each in owed if each.target_id in looking and obligations.facts(each).by_own_word]

"""The order that a record system is given for a cycle: the number, until when, and what is still known of the former holder."""

from fallow.domain.number import E164
from fallow.domain.ports import WipeOrder
from fallow.store.holders import Holder
from fallow.store.tables import CycleRow


def order_of(row: CycleRow, number: E164, holder: Holder | None) -> WipeOrder:
    """Return the order for a cycle; ``holder`` is None once nothing is known of them any more."""
    subscription, pseudonym = (None, "") if holder is None else (holder.subscription, holder.pseudonym)
    return WipeOrder(row.cycle_id, number, row.disconnected_at, subscription, pseudonym)

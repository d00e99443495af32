"""Roles of platforms that are visited: to fetch answers that lie there, or to tell what has no answer."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from fallow.domain.errors import FallowError
from fallow.domain.number import E164
from fallow.domain.ports import SignedDelivery


@runtime_checkable
class Collecting(Protocol):
    """A platform whose answers lie somewhere and are fetched: none comes by callback of itself.

    Attributes:
        platform_id: its id in the registry.
    """

    platform_id: str

    async def collect(self) -> Sequence[SignedDelivery]:
        """Return verified answers that wait there, a bounded number at a time; they come again until they are settled.

        Raises:
            TargetUnavailable, AnswerMalformed, SignatureRefused, RequestRejected: as :meth:`fallow.domain.ports.Platform.ask`.
        """
        ...

    async def settle(self, delivery: SignedDelivery, error: FallowError | None) -> None:
        """Say that an answer has been kept, or why it was not, so that it does not come again."""
        ...


@runtime_checkable
class Announcing(Protocol):
    """A platform that wants to know when a number it was asked about has been sold again.

    Attributes:
        platform_id: its id in the registry.
    """

    platform_id: str

    async def announce(self, numbers: Sequence[E164]) -> None:
        """Tell that these numbers have another holder now; nothing answers it, and a repeat does no harm.

        Raises:
            TargetUnavailable, RequestRejected: as :meth:`fallow.domain.ports.Platform.ask`; perhaps some of them were told.
        """
        ...

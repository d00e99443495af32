"""A platform as a round finds it: looked up once at its start, because a registration may be revised or end while the round runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.domain.ports import Platform, SignedDelivery, UnbindItem
from fallow.operations.installation import Installation, Pace


@dataclass(frozen=True, slots=True)
class Reached:
    """Whom a round asks, and how.

    Attributes:
        platform: the platform.
        pace: how it wants to be asked.
    """

    platform: Platform
    pace: Pace


class Unreachable:
    """Implements ``ports.Platform`` for one that can't be made here as it is registered: every request fails, and says why.

    Attributes:
        platform_id: its id.
        looks: what is to be confirmed stays so, and waits as at a platform that is silent.
    """

    looks = True

    def __init__(self, platform_id: str, why: MapRefused) -> None:
        """Fail for ``why``."""
        self.platform_id = platform_id
        self._why = why

    async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
        """Fail; see :meth:`fallow.domain.ports.Platform.ask`.

        Raises:
            TargetUnavailable: always.
        """
        del items
        self._fail()

    async def look(self, references: Sequence[str]) -> SignedDelivery | None:
        """Fail; see :meth:`fallow.domain.ports.Platform.look`.

        Raises:
            TargetUnavailable: always.
        """
        del references
        self._fail()

    def _fail(self) -> NoReturn:
        raise TargetUnavailable(self._why.what, remedy=self._why.remedy)


def reach(installation: Installation, platform_id: str) -> Reached | None:
    """Return a platform that is in use; None for one that is asked no more."""
    try:
        pace = installation.paces[platform_id]
        return Reached(installation.platforms[platform_id], pace)
    except KeyError:
        return None
    except MapRefused as refused:
        return Reached(Unreachable(platform_id, refused), pace)

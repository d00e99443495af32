"""A platform that people ask: by letter, by telephone, over a form. The engine never does."""

from collections.abc import Sequence

from fallow.domain.errors import RequestRejected
from fallow.domain.ports import SignedDelivery, UnbindItem
from fallow.platforms.platform_map import PlatformEntry


class ManualPlatform:
    """One platform that is asked by hand; two people attest its document, or it answers by callback with a registered key.

    Attributes:
        platform_id: its id.
        looks: no.
        by_hand: yes: what is owed to it goes to a person as soon as it is opened.
    """

    looks = False
    by_hand = True

    def __init__(self, entry: PlatformEntry) -> None:
        """Take the platform's entry."""
        self.platform_id = entry.platform_id

    async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
        """Ask nothing.

        Raises:
            RequestRejected: always.
        """
        what = f"The platform {self.platform_id} is asked by hand; none of {len(items)} requests was sent."
        raise RequestRejected(what, remedy="write to its contact, then two people `attest` their document.")

    async def look(self, references: Sequence[str]) -> SignedDelivery | None:
        """Offer no status query."""
        del references
        return None

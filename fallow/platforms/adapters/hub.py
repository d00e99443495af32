"""A platform that is reached over a hub: one route, one body a platform, answers signed by the hub or by the platform itself."""

import asyncio
from collections.abc import Collection
from dataclasses import replace

from fallow.domain.errors import SignatureRefused
from fallow.domain.ports import Clock, SignedDelivery
from fallow.platforms.http_platform import HttpPlatform
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.protocol import demand_references, parse_answers
from fallow.platforms.signing import SigningKey, receive
from fallow.platforms.transport import Reply, Transport


class HubMember(HttpPlatform):
    """One platform behind a hub. Where it goes and over which TLS is the hub's; its pace, and how its numbers travel, are its own."""

    def __init__(self, entry: PlatformEntry, hub: PlatformEntry, transport: Transport, signing_key: SigningKey, clock: Clock) -> None:
        """Take the platform's entry and its hub's.

        Raises:
            MapRefused: the hub has no URL.
        """
        route = replace(
            entry,
            endpoint=hub.endpoint,
            status_url=hub.status_url,
            ca_file=hub.ca_file,
            client_certificate_file=hub.client_certificate_file,
            shared_secret=hub.shared_secret,
        )
        super().__init__(route, transport, signing_key, clock)
        # In this order: who signs as the hub is the hub, even where a platform registered the same key.
        self._speakers = tuple((each.platform_id, each.keys) for each in (hub, entry) if each.keys)

    async def _read(self, reply: Reply, asked: Collection[str]) -> SignedDelivery:
        now = await asyncio.to_thread(self._clock.now)
        for speaker_id, keys in self._speakers:
            try:
                delivery = receive(reply.headers, reply.body, keys, now)
            except SignatureRefused:
                continue
            demand_references(parse_answers(delivery.body), asked)
            return replace(delivery, speaker_id=speaker_id)
        what = f"The answer for {self.platform_id} is signed neither by its hub nor by itself."
        raise SignatureRefused(what, remedy="compare the registered keys with the hub's and the platform's.")

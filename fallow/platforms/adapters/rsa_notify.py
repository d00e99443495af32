"""A platform that notifies in the manner of large Chinese payment platforms; an example, as :mod:`fallow.platforms.rsa_form` says."""

import asyncio
from collections.abc import Collection

from fallow.domain.ports import SignedDelivery
from fallow.platforms.http_platform import HttpPlatform
from fallow.platforms.protocol import demand_references
from fallow.platforms.rsa_form import RsaNotifyForm
from fallow.platforms.transport import Reply


class RsaNotifyPlatform(HttpPlatform):
    """Asked as our own protocol asks, signed by our key; answers in its own form, in the response or by callback."""

    _form = RsaNotifyForm()

    async def _read(self, reply: Reply, asked: Collection[str]) -> SignedDelivery:
        now = await asyncio.to_thread(self._clock.now)
        delivery = self._form.receive(reply.headers, reply.body, self._entry.public_keys, now)
        demand_references(self._form.read(delivery.body), asked)
        return delivery

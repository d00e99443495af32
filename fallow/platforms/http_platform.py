"""A platform that speaks our protocol over HTTP: the adapter behind ``ports.Platform``."""

import asyncio
from collections.abc import Collection, Sequence
from http import HTTPStatus

from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.domain.ports import Clock, SignedDelivery, UnbindItem
from fallow.platforms.endpoints import Endpoint
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.protocol import demand_references, parse_answers
from fallow.platforms.request_bodies import render_status, render_unbind
from fallow.platforms.signing import SigningKey, new_delivery_id, receive, sign
from fallow.platforms.transport import Reply, Transport

_LATER = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT})


class HttpPlatform:
    """One platform of the map.

    Attributes:
        platform_id: its id in the map.
        looks: whether it can be asked how something stands: where it registered a status URL.
    """

    def __init__(self, entry: PlatformEntry, transport: Transport, signing_key: SigningKey, clock: Clock) -> None:
        """Take the platform's entry, the way out, the engine's key and the clock that dates signatures.

        Raises:
            MapRefused: the entry has no URL.
        """
        if entry.endpoint is None:
            what = f"The platform {entry.platform_id} has no url."
            raise MapRefused(what, remedy="add one, or choose an adapter that needs none; see docs/platforms.md.")
        self.platform_id = entry.platform_id
        self.looks = entry.status_url is not None
        self._endpoint = entry.endpoint
        self._entry = entry
        self._transport = transport
        self._signing_key = signing_key
        self._clock = clock

    async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
        """Send one signed request; see :meth:`fallow.domain.ports.Platform.ask`.

        Idempotent by each item's reference, not by the request: a repeat may be cut into other batches.

        Raises:
            TargetUnavailable: transport failure, 408, 425, 429 or 5xx, or a 2xx that the protocol does not know.
            AnswerMalformed: an answer outside the protocol, or about something this request did not ask.
            SignatureRefused: an answer that is not signed by the platform.
            RequestRejected: a 4xx that repeating can't mend.
        """
        reply = await self._post(self._endpoint, self._render(items))
        return await self._answers(reply, {item.reference for item in items})

    async def look(self, references: Sequence[str]) -> SignedDelivery | None:
        """Ask how obligations stand; see :meth:`fallow.domain.ports.Platform.look`. None also where it offers no status query.

        Raises:
            TargetUnavailable, AnswerMalformed, SignatureRefused, RequestRejected: as :meth:`ask`.
        """
        if self._entry.status_url is None:
            return None
        reply = await self._post(self._entry.status_url, render_status(self._entry, references))
        return await self._answers(reply, frozenset(references))

    async def _post(self, to: Endpoint, body: bytes) -> Reply:
        at = await asyncio.to_thread(self._clock.now)  # in production the database's, so a blocking call
        signed = sign(self._signing_key, new_delivery_id(), at, body, self._entry.shared_key)
        headers = {"content-type": "application/json", **signed}
        return await self._transport.post(to, headers, body, self._entry.timeout, tls=self._entry.tls)

    def _render(self, items: Sequence[UnbindItem]) -> bytes:
        return render_unbind(self._entry, items)

    async def _answers(self, reply: Reply, asked: Collection[str]) -> SignedDelivery | None:
        if reply.status in _LATER or (reply.status == HTTPStatus.OK and not reply.body):
            return None
        if reply.status != HTTPStatus.OK:
            what = f"The platform {self.platform_id} answered with status {reply.status}, which the protocol does not know."
            raise TargetUnavailable(what, remedy="answer 200 with a signed body, or 202; see docs/platforms.md.")
        return await self._read(reply, asked)

    async def _read(self, reply: Reply, asked: Collection[str]) -> SignedDelivery:
        now = await asyncio.to_thread(self._clock.now)
        delivery = receive(reply.headers, reply.body, self._entry.keys, now)
        demand_references(parse_answers(delivery.body), asked)
        return delivery

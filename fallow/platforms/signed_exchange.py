"""One signed question, one signed answer to that very question: how record systems are asked over HTTP.

What :data:`fallow.records.kinds.Connect` asks for; ``fallow.bootstrap`` puts it there. Blocks: a record system is asked from a thread.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

from fallow.domain.errors import AnswerMalformed, MapRefused, RequestRejected, SettingRefused, SignatureRefused, TargetUnavailable
from fallow.domain.ports import Clock
from fallow.platforms.endpoints import Endpoint, UrlMalformed, read_endpoint
from fallow.platforms.signing import MOST_KEYS, PublicKey, SigningKey, receive, sign
from fallow.platforms.transport import Reply, Transport

#: A refusal has a body that says which orders it is about; it counts by its signature, as every answer does.
_REFUSALS = frozenset({HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY})


@dataclass(frozen=True, slots=True)
class SignedExchanges:
    """Makes ways to systems that answer signed requests.

    Attributes:
        map_path: the map that names them, for messages.
        signing_key: gives the engine's request key, at the first request.
        clock: dates our signatures and judges theirs.
        transport: makes a way out for one request.
    """

    map_path: Path
    signing_key: Callable[[], SigningKey]
    clock: Clock
    transport: Callable[[], Transport] = Transport

    def __call__(self, url: str, public_keys: Sequence[str], *, timeout: float, allow_loopback: bool) -> Callable[[str, str, bytes], bytes]:
        """Check the address and the keys and return the way: (last part of the path, ``webhook-id``, body) -> the answer's body.

        Raises:
            MapRefused: the URL or a key can't be used; no value is quoted.
        """
        endpoint, keys = self._endpoint(url, allow_loopback=allow_loopback), self._keys(public_keys)

        def exchange(last: str, delivery_id: str, body: bytes) -> bytes:
            to = replace(endpoint, path=f"{endpoint.path.rstrip('/')}/{last}")
            return self._exchange(to, keys, delivery_id, body, timeout)

        return exchange

    def _exchange(self, to: Endpoint, keys: Sequence[PublicKey], delivery_id: str, body: bytes, timeout: float) -> bytes:
        signed = sign(self.signing_key(), delivery_id, self.clock.now(), body)
        try:
            reply = _blocking(self.transport, to, {"content-type": "application/json", **signed}, body, timeout)
            delivery = receive(reply.headers, reply.body, keys, self.clock.now())
        except RequestRejected:
            trouble = "rejected the request without saying, signed, which orders it refuses"
        except (SignatureRefused, AnswerMalformed):
            trouble = "sent an answer that none of its keys has signed just now"
        else:
            if delivery.delivery_id == delivery_id:
                return delivery.body
            trouble = "sent the answer to another request: its webhook-id is not ours"
        what = f"The record system at {to.authority} {trouble}."
        raise TargetUnavailable(what, remedy="it is tried again by itself; compare its log with docs/record-systems.md.")

    def _endpoint(self, url: str, *, allow_loopback: bool) -> Endpoint:
        try:
            return read_endpoint(url, allow_loopback=allow_loopback)
        except UrlMalformed as error:
            trouble = str(error)
        remedy = "write https://host/path with a public host; see docs/record-systems.md."
        raise self._refusal(f"the url of a record system {trouble}", remedy)

    def _keys(self, texts: Sequence[str]) -> tuple[PublicKey, ...]:
        if not 1 <= len(texts) <= MOST_KEYS or len(set(texts)) != len(texts):
            remedy = f'write ["whpk_…"] with 1 to {MOST_KEYS} keys.'
            raise self._refusal("public_keys of a record system is no list of different keys", remedy)
        try:
            return tuple(PublicKey.from_text(text) for text in texts)
        except SettingRefused as error:
            remedy = error.remedy
        raise self._refusal("public_keys of a record system holds something that is not a sound key", remedy)

    def _refusal(self, what: str, remedy: str) -> MapRefused:
        return MapRefused(f"{self.map_path}: {what}.", remedy=remedy)


def _blocking(transport: Callable[[], Transport], to: Endpoint, headers: dict[str, str], body: bytes, timeout: float) -> Reply:
    """Post on a loop and a transport of this call's own: callers are threads, and connections belong to one loop.

    Not ``asyncio.run``: it waits for a name that is still being looked up, however long the resolver takes.
    """

    async def post() -> Reply:
        way = transport()
        try:
            return await way.post(to, headers, body, timeout, reads=_REFUSALS)
        finally:
            await way.aclose()

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(post())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

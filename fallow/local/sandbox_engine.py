"""The engine's side of the sandbox: requests signed by its own key, answers verified and read by the engine's own code."""

import asyncio
import base64
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import h11

from fallow.domain.errors import AnswerMalformed, FallowError, InputRefused, SignatureRefused
from fallow.domain.obligations import Outcome
from fallow.domain.ports import SignedDelivery, UnbindItem
from fallow.local.sandbox_book import Book, Fault
from fallow.local.sandbox_diagnosis import why_refused
from fallow.local.sandbox_sockets import Pause, post_and_hang_up, post_and_sip
from fallow.local.sandbox_wire import Inventor
from fallow.platforms.endpoints import Endpoint
from fallow.platforms.forms import FORMS
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.protocol import demand_asked
from fallow.platforms.request_bodies import render_status, render_unbind
from fallow.platforms.signing import SIGNATURE_HEADER, HmacKey, SigningKey, new_delivery_id, sign
from fallow.platforms.transport import Reply, Transport

_FORM = FORMS["webhook"]
_EVERY_STATUS = range(100, 600)
_SECRET_BYTES = 32
_LATER = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT})

#: Makes the three headers of a body; plays make bad ones.
Signer = Callable[[bytes], Mapping[str, str]]
#: Sends headers and body and returns what came back.
Way = Callable[[Mapping[str, str], bytes], Awaitable[Reply]]


@dataclass(frozen=True)
class Heard:
    """What came back to a request.

    Attributes:
        status: HTTP status; None where there was none.
        fault: what was wrong with it, or None.
        answered: references answered in the response.
    """

    status: int | None
    fault: Fault | None = None
    answered: frozenset[str] = frozenset()

    @property
    def taken(self) -> bool:
        """Whether the service took the request in a way that the protocol knows."""
        return self.status in _LATER or self.status == HTTPStatus.OK


@dataclass
class SandboxEngine:
    """Asks one platform.

    Attributes:
        endpoint: the platform's URL.
        key: the sandbox's own.
        book: what was answered.
        wait: seconds that a callback may take.
        timeout: seconds that a request may take altogether.
        batch: most numbers in one request.
        entry: how it is asked, as a registration would have it.
    """

    endpoint: Endpoint
    key: SigningKey
    book: Book
    wait: float
    timeout: float
    batch: int
    entry: PlatformEntry
    invent: Inventor = field(default_factory=Inventor)
    transport: Transport = field(default_factory=Transport)

    def signed(self, body: bytes) -> dict[str, str]:
        """Sign as the engine does."""
        return sign(self.key, new_delivery_id(), datetime.now(UTC), body, self.entry.shared_key)

    def signed_at(self, offset: timedelta) -> Signer:
        """Return a signer whose clock is off."""
        return lambda body: sign(self.key, new_delivery_id(), datetime.now(UTC) + offset, body, self.entry.shared_key)

    def signed_by_stranger(self, body: bytes) -> dict[str, str]:
        """Sign with a key that nobody knows, and with such a secret where one is shared."""
        shared = HmacKey(secrets.token_bytes(_SECRET_BYTES)) if self.entry.shared_key is not None else None
        return sign(SigningKey.generate(), new_delivery_id(), datetime.now(UTC), body, shared)

    def signed_behind_garbage(self, body: bytes) -> dict[str, str]:
        """Put a token of another scheme, one that is no base64 and wrong signatures before the good ones."""
        headers = self.signed(body)
        wrong = {scheme: base64.b64encode(bytes(length)).decode() for scheme, length in (("v1a", 64), ("v1", 32))}
        garbage = f"v9,x v1a,%%% v1a,{wrong['v1a']} v1,{wrong['v1']}"
        return {**headers, SIGNATURE_HEADER: f"{garbage} {headers[SIGNATURE_HEADER]}"}

    async def ask(
        self, items: Sequence[UnbindItem], signer: Signer | None = None, way: Way | None = None, body: bytes | None = None
    ) -> Heard:
        """Send one request and read the answers in its response.

        Args:
            items: what is asked.
            signer: makes the headers; the engine's own where nothing is given.
            way: sends them; the engine's own transport where nothing is given.
            body: another wording of the same request.
        """
        body = render_unbind(self.entry, items) if body is None else body
        headers = (signer or self.signed)(body)
        self.book.open(items)
        heard = await self._heard(items, way or self.post, headers, body)
        self.book.say(f"→ {_counted(items)}: {heard.status or 'no answer'}{_said(heard)}")
        return heard

    async def post(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send by the engine's own transport.

        Raises:
            TargetUnavailable: no answer that could be read.
        """
        return await self._post(self.endpoint, headers, body)

    async def look(self, references: Sequence[str], signer: Signer | None = None) -> Reply:
        """Send one status query; ``signer`` as :meth:`ask` has it.

        Raises:
            TargetUnavailable: no answer that could be read.
            InputRefused: it was not said where.
        """
        if self.entry.status_url is None:
            what = "The sandbox was not told where status queries go."
            raise InputRefused(what, remedy="give --status-url, or leave these plays out.")
        body = render_status(self.entry, references)
        what = f"→ status of {len(references)} reference{'s' * (len(references) > 1)}"
        try:
            reply = await self._post(self.entry.status_url, (signer or self.signed)(body), body)
        except FallowError:
            self.book.say(f"{what}: no answer")
            raise
        self.book.say(f"{what}: {reply.status}")
        return reply

    async def _post(self, to: Endpoint, headers: Mapping[str, str], body: bytes) -> Reply:
        everything = {"content-type": "application/json", **headers}
        return await self.transport.post(to, everything, body, self.timeout, reads=_EVERY_STATUS)

    async def sip(self, headers: Mapping[str, str], body: bytes, pause: Pause) -> Reply:
        """Send with a pause and read slowly."""
        async with asyncio.timeout(2 * self.timeout):
            return await post_and_sip(self.endpoint, {"content-type": "application/json", **headers}, body, pause)

    async def hang_up(self, items: Sequence[UnbindItem]) -> None:
        """Send a request and end the connection when the answer begins.

        Raises:
            OSError: it could not be sent, or no answer began in time.
        """
        body = render_unbind(self.entry, items)
        self.book.open(items)
        async with asyncio.timeout(self.timeout):
            await post_and_hang_up(self.endpoint, {"content-type": "application/json", **self.signed(body)}, body)
        self.book.say(f"→ {_counted(items)}: connection ended without reading the answer")

    def verified(self, reply: Reply) -> SignedDelivery | Fault:
        """Return a signed response, or what is wrong with it."""
        now = datetime.now(UTC)
        try:
            return _FORM.receive(reply.headers, reply.body, self.book.keys, now)
        except SignatureRefused:
            what, remedy = why_refused(reply.headers, reply.body, self.book.keys, self.key, now)
        except AnswerMalformed as error:
            what, remedy = f"can't be kept: {error.what.rstrip('.')}", error.remedy.rstrip(".")
        return Fault(f"answered with a body that {what}", remedy)

    async def _heard(self, items: Sequence[UnbindItem], way: Way, headers: Mapping[str, str], body: bytes) -> Heard:
        try:
            reply = await way(headers, body)
        except FallowError as error:
            return Heard(
                None, Fault(f"gave no answer: {error.what.rstrip('.')}", "answer within the timeout: 200 with a signed body, or 202")
            )
        except (OSError, h11.RemoteProtocolError) as error:
            return Heard(None, Fault(f"broke the connection off ({type(error).__name__})", "answer whole, however slowly it is read"))
        if reply.status in _LATER or reply.status != HTTPStatus.OK or not reply.body:
            return Heard(reply.status)
        return await self._read(reply, items)

    async def _read(self, reply: Reply, items: Sequence[UnbindItem]) -> Heard:
        came = self.verified(reply)
        if isinstance(came, Fault):
            return Heard(reply.status, came)
        self.book.ids.add(came.delivery_id)
        try:
            answers = _FORM.read(came.body)
            demand_asked(answers, items)
        except AnswerMalformed as error:
            return Heard(reply.status, Fault(f"answered outside the protocol: {error.what.rstrip('.')}", error.remedy.rstrip(".")))
        await self.book.note(answers)
        return Heard(reply.status, None, frozenset(each.reference for each in answers if each.outcome is not Outcome.ACCEPTED))


def _counted(items: Sequence[UnbindItem]) -> str:
    return f"{len(items)} number{'s' * (len(items) > 1)}"


def _said(heard: Heard) -> str:
    if heard.fault is not None:
        return f", it {heard.fault.what}. Do: {heard.fault.remedy}"
    return f", well signed, {len(heard.answered)} answered" if heard.answered else ""

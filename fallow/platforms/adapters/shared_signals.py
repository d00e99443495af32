"""A platform that speaks OpenID Shared Signals: tokens are pushed to it (RFC 8935); its own are pushed to us, or fetched (RFC 8936).

A 202 says that a token was received, nothing more; what became of the number comes as a token of the platform's own.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from fallow.domain.errors import AnswerMalformed, FallowError, MapRefused, RequestRejected, TargetUnavailable
from fallow.domain.number import E164
from fallow.domain.ports import Clock, SignedDelivery, UnbindItem
from fallow.platforms.endpoints import Endpoint
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.security_event import LONGEST_TOKEN, MEDIA_TYPE, write
from fallow.platforms.set_form import REQUESTED, SetForm, refusal
from fallow.platforms.signing import SigningKey, new_delivery_id, sign
from fallow.platforms.strict import known_by, read_object, refuse
from fallow.platforms.transport import LONGEST_REPLY, Reply, Transport

#: What the RISC profile calls a number that now has another holder.
RECYCLED = "https://schemas.openid.net/secevent/risc/event-type/identifier-recycled"
#: Most tokens fetched at once: with the longest reply, each may have some 5 KiB.
MOST_SETS = 50

_TAKEN = frozenset({HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT})
# Errors about one token; all others (RFC 8935 section 2.4) are about keys or names, wrong for every number alike.
_BLAMES_THE_ITEM = "invalid_request"
_ERRS = frozenset({_BLAMES_THE_ITEM, "invalid_key", "invalid_issuer", "invalid_audience", "authentication_failed", "access_denied"})
_DEFAULT_PORTS = {"https": 443, "http": 80}


def issuer_of(entry: PlatformEntry) -> str:
    """Return how a platform is called in tokens, by us and by itself: its url as registered, without a port that goes without saying.

    Raises:
        MapRefused: it has none.
    """
    to = _endpoint(entry)
    return to.url.replace(f":{to.port}/", "/", 1) if to.port == _DEFAULT_PORTS[to.scheme] else to.url


def audience_of(entry: PlatformEntry) -> str:
    """Return how the engine is called in tokens to and from a platform."""
    return f"urn:fallow:engine:{entry.platform_id}"


def form_of(entry: PlatformEntry) -> SetForm:
    """Return the form of a platform's answers: issued by it, for us."""
    return SetForm(issuer_of(entry), audience_of(entry))


class SharedSignalsPlatform:
    """One platform that is sent tokens.

    Attributes:
        platform_id: its id.
        looks: no; answers are fetched by :meth:`collect`.
    """

    looks = False

    def __init__(self, entry: PlatformEntry, transport: Transport, signing_key: SigningKey, clock: Clock) -> None:
        """Take the platform's entry, the way out, the engine's key and the clock that dates tokens.

        Raises:
            MapRefused: it has no URL, or wants numbers as keyed hashes, for which tokens have no subject.
        """
        if entry.number_form != "e164":
            what = f"The platform {entry.platform_id} wants {entry.number_form}, which its adapter {entry.adapter} can't write."
            raise MapRefused(what, remedy='write `number_form = "e164"`, or choose the adapter generic.')
        self.platform_id = entry.platform_id
        self._entry = entry
        self._endpoint = _endpoint(entry)
        self._form = form_of(entry)
        self._transport = transport
        self._signing_key = signing_key
        self._clock = clock
        self._settled: dict[str, FallowError | None] = {}
        self._names: dict[str, str] = {}

    async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
        """Push one token a number; `timeout` is for all of them. A repeat is another token with the same ``txn``.

        Raises:
            TargetUnavailable, RequestRejected: as :meth:`fallow.domain.ports.Platform.ask`.
        """
        now = await asyncio.to_thread(self._clock.now)
        try:
            async with asyncio.timeout(self._entry.timeout):
                for item in items:
                    await self._push(self._token(now, item.number, REQUESTED, self._details(item), item.reference))
        except TimeoutError:
            pass
        else:
            return None
        what = f"The platform {self.platform_id} did not take {len(items)} tokens within its timeout."
        raise TargetUnavailable(what, remedy="it is tried again by itself; lower its batch or raise its timeout.")

    async def look(self, references: Sequence[str]) -> SignedDelivery | None:
        """Offer no status query: tokens that wait are fetched, whichever they are about."""
        del references
        return None

    async def announce(self, numbers: Sequence[E164]) -> None:
        """Tell that these numbers have another holder now: RISC ``identifier-recycled``, one token each. Nothing answers it.

        Only for numbers that this platform was asked about before: to others it would tell what they never knew.

        Raises:
            TargetUnavailable, RequestRejected: as :meth:`ask`; all of them are announced again then.
        """
        now = await asyncio.to_thread(self._clock.now)
        for number in numbers:
            await self._push(self._token(now, number, RECYCLED, {}))

    async def collect(self) -> list[SignedDelivery]:
        """Fetch tokens that wait at ``status_url``, and say what became of those fetched before; see ``fallow.domain.collecting``."""
        if self._entry.status_url is None:
            return []
        settled, self._names = dict(self._settled), {}
        asked = {
            "maxEvents": MOST_SETS,
            "returnImmediately": True,
            "ack": [jti for jti, error in settled.items() if error is None],
            "setErrs": {jti: refusal(error) for jti, error in settled.items() if error is not None},
        }
        body = json.dumps(asked).encode()
        now = await asyncio.to_thread(self._clock.now)
        headers = {"content-type": "application/json", **sign(self._signing_key, new_delivery_id(), now, body)}
        reply = await self._transport.post(self._entry.status_url, headers, body, self._entry.timeout, tls=self._entry.tls)
        self._settled = {jti: error for jti, error in self._settled.items() if jti not in settled}
        return [delivery for jti, token in _sets(reply).items() if (delivery := self._received(jti, token, now)) is not None]

    async def settle(self, delivery: SignedDelivery, error: FallowError | None) -> None:
        """Note what became of a token, to be said at the next :meth:`collect`."""
        self._settled[self._names.pop(delivery.delivery_id)] = error

    def _received(self, jti: str, token: object, now: datetime) -> SignedDelivery | None:
        """Verify one token; a bad one is named as such and hides none of the others."""
        try:
            raw = token.encode("utf-8", "replace") if isinstance(token, str) else b""
            delivery = self._form.receive({}, raw, self._entry.public_keys, now)
            if delivery.delivery_id != known_by("set_", jti):
                refuse("is listed under another id than its own")
        except FallowError as error:
            self._settled[jti] = error
            return None
        except (ValueError, TypeError):  # whatever it is that stumbled, one token must not hide the others
            what = "A token that was fetched can't be read."
            self._settled[jti] = AnswerMalformed(what, remedy="answer as docs/adapters.md says.")
            return None
        self._names[delivery.delivery_id] = jti
        return delivery

    def _token(self, now: datetime, number: E164, event: str, details: Mapping[str, Any], txn: str = "") -> bytes:
        claims = {
            "iss": audience_of(self._entry),
            "jti": new_delivery_id(),
            "iat": int(now.timestamp()),
            "aud": issuer_of(self._entry),
            **({"txn": txn} if txn else {}),
            "sub_id": {"format": "phone_number", "phone_number": number.text},
            "events": {event: details},
        }
        return write(self._signing_key, claims)

    def _details(self, item: UnbindItem) -> dict[str, Any]:
        entry = self._entry
        said = {"disconnected_at": _instant(item.disconnected_at), "reminder": item.reminder, "legal_basis": entry.legal_basis}
        optional = {"deadline": item.deadline and _instant(item.deadline), "contract": entry.contract, "language": entry.language}
        return said | {name: value for name, value in optional.items() if value}

    async def _push(self, token: bytes) -> None:
        headers = {"content-type": MEDIA_TYPE}
        reply = await self._transport.post(
            self._endpoint, headers, token, self._entry.timeout, reads={HTTPStatus.BAD_REQUEST}, tls=self._entry.tls
        )
        if reply.status == HTTPStatus.BAD_REQUEST:
            self._refused(reply)
        if reply.status not in _TAKEN:
            what = f"The platform {self.platform_id} answered with status {reply.status}, which RFC 8935 does not know."
            raise TargetUnavailable(what, remedy="answer 202 with an empty body; see docs/adapters.md.")

    def _refused(self, reply: Reply) -> None:
        try:
            err = read_object(reply.body, LONGEST_TOKEN).get("err")
        except AnswerMalformed:
            err = None
        named = err if isinstance(err, str) and err in _ERRS else "no error that RFC 8935 names"
        what = f"The platform {self.platform_id} refused a token: {named}."
        if named in _ERRS - {_BLAMES_THE_ITEM}:
            raise TargetUnavailable(what, remedy="compare our issuer, our key and its url with what it registered.")
        raise RequestRejected(what, remedy="compare docs/adapters.md with the platform's log.")


def _sets(reply: Reply) -> dict[str, object]:
    """Read the answer to a poll (RFC 8936 section 2.5).

    Raises:
        AnswerMalformed: another form, or more tokens than were asked for.
    """
    said = read_object(reply.body, LONGEST_REPLY)
    sets = said.get("sets")
    if not said.keys() <= {"sets", "moreAvailable"} or not isinstance(sets, dict) or len(sets) > MOST_SETS:
        what = f"The answer to a poll is not `sets` of at most {MOST_SETS} tokens and `moreAvailable`."
        raise AnswerMalformed(what, remedy="answer as RFC 8936 section 2.5 says; see docs/adapters.md.")
    return sets


def _endpoint(entry: PlatformEntry) -> Endpoint:
    if entry.endpoint is None:
        what = f"The platform {entry.platform_id} has no url."
        raise MapRefused(what, remedy="add one, or choose an adapter that needs none; see docs/adapters.md.")
    return entry.endpoint


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")

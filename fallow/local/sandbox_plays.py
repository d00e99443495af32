"""What the sandbox plays, and how it judges: each play asks, waits, and returns what was wrong, or None."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from fallow.domain.errors import AnswerMalformed, FallowError
from fallow.domain.ports import UnbindItem
from fallow.local.sandbox_book import Fault
from fallow.local.sandbox_engine import Heard, SandboxEngine, Signer
from fallow.local.sandbox_names import Play
from fallow.local.sandbox_sockets import Pause
from fallow.local.sandbox_wire import reminded, unbind_body, with_new_fields
from fallow.platforms.protocol import new_challenge, parse_pong
from fallow.platforms.request_bodies import render_ping
from fallow.platforms.signing import SigningKey, new_delivery_id, sign

_AN_HOUR = timedelta(hours=1)
_BELIEVED_NOTHING = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_GIVE_THE_KEY = "give your service the sandbox's public key as it was printed"
_REFUSES, _FALLS_OVER = range(400, 500), range(500, 600)

Plays = Callable[[SandboxEngine], Awaitable[Fault | None]]


async def ping(engine: SandboxEngine) -> Fault | None:
    """Ask it to show that it holds its key."""
    challenge = new_challenge()
    body = render_ping(challenge)
    try:
        reply = await engine.post(engine.signed(body), body)
    except FallowError as error:
        return Fault(f"gave no answer to a ping: {error.what.rstrip('.')}", "answer 200 with a signed pong")
    engine.book.say(f"→ ping: {reply.status}")
    if reply.status != HTTPStatus.OK:
        remedy = _GIVE_THE_KEY if reply.status in _BELIEVED_NOTHING else "answer 200 with a signed pong that repeats the challenge"
        return Fault(f"answered a ping with {reply.status}", remedy)
    raw = engine.verified(reply)
    if isinstance(raw, Fault):
        return raw
    try:
        parse_pong(raw, challenge)
    except AnswerMalformed as error:
        return Fault(f"said something else: {error.what.rstrip('.')}", error.remedy.rstrip("."))
    return None


async def one(engine: SandboxEngine) -> Fault | None:
    """Ask about one number."""
    items = engine.invent.items(1)
    return await _settled(engine, items, await engine.ask(items))


async def reminder(engine: SandboxEngine) -> Fault | None:
    """Ask, then remind: a platform that had not answered does now."""
    items = engine.invent.items(1)
    return _untaken(await engine.ask(items)) or await _settled(engine, items, await engine.ask(reminded(items)))


async def repeat(engine: SandboxEngine) -> Fault | None:
    """Ask for two references again, cut into another batch."""
    *before, new = engine.invent.items(3)
    fault = await _settled(engine, before, await engine.ask(before))
    again = [new, *reversed(before)]
    return fault or await _settled(engine, again, await engine.ask(again))


async def late_repeat(engine: SandboxEngine) -> Fault | None:
    """Ask again for what was answered: the answer may have been lost, so it has to come again."""
    items = engine.invent.items(1)
    fault = await _settled(engine, items, await engine.ask(items))
    if fault is not None:
        return fault
    times = len(engine.book.outcomes[items[0].reference])
    return await _settled(engine, items, await engine.ask(items), times + 1)


async def at_once(engine: SandboxEngine) -> Fault | None:
    """Ask twice at the same time, as after a time-out that was none."""
    items = engine.invent.items(1)
    first, second = await asyncio.gather(engine.ask(items), engine.ask(items))
    return _untaken(first) or await _settled(engine, items, second)


async def unknown_reference(engine: SandboxEngine) -> Fault | None:
    """Remind it of what it never saw: it may have lost a request, or we its receipt."""
    items = engine.invent.items(1, reminder=True)
    return await _settled(engine, items, await engine.ask(items))


async def thousand(engine: SandboxEngine) -> Fault | None:
    """Ask for as many numbers at once as a request can hold."""
    items = engine.invent.items(engine.batch)
    heard = await engine.ask(items)
    if heard.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        what = f"can't take {engine.batch} numbers at once"
        return Fault(what, "register the batch that it can take, and give it here by --batch")
    return await _settled(engine, items, heard)


async def two_signatures(engine: SandboxEngine) -> Fault | None:
    """Put garbage before the good signature, as it looks to a platform while the engine's key changes."""
    items = engine.invent.items(1)
    heard = await engine.ask(items, engine.signed_behind_garbage)
    if heard.status in _BELIEVED_NOTHING:
        what = f"answered a good request whose good signature is not the first with {heard.status}"
        return Fault(what, "look at each signature in the header; one good one suffices")
    return await _settled(engine, items, heard)


async def new_field(engine: SandboxEngine) -> Fault | None:
    """Say more than today's page knows: a platform ignores it."""
    items = engine.invent.items(1)
    return await _settled(engine, items, await engine.ask(items, body=with_new_fields(unbind_body(items))))


async def cut(engine: SandboxEngine) -> Fault | None:
    """Hang up before the answer, then ask again."""
    items = engine.invent.items(1)
    try:
        await engine.hang_up(items)
    except OSError as error:
        return Fault(f"did not read the request ({type(error).__name__})", "read the whole request before answering")
    return await _settled(engine, items, await engine.ask(items))


async def slow_line(engine: SandboxEngine) -> Fault | None:
    """Stop in the middle of a request: another must be answered meanwhile. Then read the first one's answer slowly."""
    slow, quick, pause = engine.invent.items(1), engine.invent.items(1), Pause()
    slowly = asyncio.create_task(engine.ask(slow, way=lambda headers, body: engine.sip(headers, body, pause)))
    reached = asyncio.create_task(pause.reached.wait())
    await asyncio.wait({slowly, reached}, return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    quickly = asyncio.create_task(engine.ask(quick))
    overtaking, _ = await asyncio.wait({quickly}, timeout=engine.timeout / 2)
    pause.over.set()
    fault = await _settled(engine, quick, await quickly) or await _settled(engine, slow, await slowly)
    if fault is None and not overtaking:
        return Fault("answered nobody else while one request came in slowly", "read requests without keeping others waiting")
    return fault


async def busy_callback(engine: SandboxEngine) -> Fault | None:
    """Turn the first callback away: it has to come again under the same id."""
    items = engine.invent.items(1)
    engine.book.busy.add(items[0].reference)
    fault = await _settled(engine, items, await engine.ask(items))
    if len(engine.book.turned_away) > 1:
        return Fault("repeated a callback that was answered 503 under another webhook-id", "keep webhook-id and body, and sign it anew")
    if fault is not None and engine.book.turned_away and not engine.book.faults:
        return Fault(
            "did not repeat a callback that was answered 503",
            "repeat it until a 2xx comes, with the same webhook-id and body, signed anew; --wait gives it more time than now",
        )
    return fault


async def wrong_signature(engine: SandboxEngine) -> Fault | None:
    """Sign with a key that nobody knows."""
    stranger = SigningKey.generate()

    def signed(body: bytes) -> dict[str, str]:
        return sign(stranger, new_delivery_id(), datetime.now(UTC), body)

    return await _forged(engine, signed, "signed with another key", "verify webhook-signature with the sandbox's public key")


async def altered_body(engine: SandboxEngine) -> Fault | None:
    """Alter the body under way."""

    def signed(body: bytes) -> dict[str, str]:
        return engine.signed(body + b" ")

    return await _forged(engine, signed, "altered after it was signed", "verify over the bytes as they came, before parsing them")


async def no_signature(engine: SandboxEngine) -> Fault | None:
    """Sign nothing."""
    return await _forged(engine, lambda _: {}, "without a signature", "refuse what lacks one of the three headers")


async def old_timestamp(engine: SandboxEngine) -> Fault | None:
    """Replay something of an hour ago."""
    return await _forged(engine, engine.signed_at(-_AN_HOUR), "signed an hour ago", "refuse a webhook-timestamp more than 300 s away")


async def early_timestamp(engine: SandboxEngine) -> Fault | None:
    """Send something that will be good in an hour."""
    return await _forged(engine, engine.signed_at(_AN_HOUR), "signed an hour ahead", "refuse a webhook-timestamp more than 300 s away")


#: Every play.
PLAYS: dict[Play, Plays] = {
    Play.PING: ping,
    Play.ONE: one,
    Play.REMINDER: reminder,
    Play.REPEAT: repeat,
    Play.LATE_REPEAT: late_repeat,
    Play.AT_ONCE: at_once,
    Play.UNKNOWN_REFERENCE: unknown_reference,
    Play.THOUSAND: thousand,
    Play.TWO_SIGNATURES: two_signatures,
    Play.NEW_FIELD: new_field,
    Play.CUT: cut,
    Play.SLOW_LINE: slow_line,
    Play.BUSY_CALLBACK: busy_callback,
    Play.WRONG_SIGNATURE: wrong_signature,
    Play.ALTERED_BODY: altered_body,
    Play.NO_SIGNATURE: no_signature,
    Play.OLD_TIMESTAMP: old_timestamp,
    Play.EARLY_TIMESTAMP: early_timestamp,
}


def _untaken(heard: Heard) -> Fault | None:
    """Return what is wrong with the response to a good request."""
    if heard.fault is not None:
        return heard.fault
    if heard.taken:
        return None
    refused = heard.status in _BELIEVED_NOTHING
    remedy = _GIVE_THE_KEY if refused else "answer 200 with a signed body, 202 or 204"
    return Fault(f"answered a good request with {heard.status}", remedy)


async def _settled(engine: SandboxEngine, items: Sequence[UnbindItem], heard: Heard, times: int = 1) -> Fault | None:
    """Wait until each item was answered that many times, and judge: all answered, and never two different things."""
    fault = _untaken(heard)
    if fault is not None:
        return fault
    references = [each.reference for each in items]
    await engine.book.wait_for(references, times, engine.wait)
    outcomes = engine.book.outcomes
    if any(len(set(outcomes[each])) > 1 for each in references):
        return Fault("said two different things about the same reference", "keep what was answered by reference, and answer it again")
    missing = [each for each in references if len(outcomes[each]) < times]
    if missing:
        again = " again" if times > 1 or any(outcomes[each] for each in missing) else ""
        also = "; it only said accepted, which is no answer yet" if set(missing) & engine.book.accepted else ""
        what = f"left {len(missing)} of {len(references)} references without an answer{again} for {engine.wait:g} s{also}"
        return Fault(what, "answer in the response, or by a signed callback; --wait gives it more time")
    return None


async def _forged(engine: SandboxEngine, signer: Signer, how: str, remedy: str) -> Fault | None:
    """Send what must not be believed; the service has to say a 4xx and do nothing."""
    items = engine.invent.items(1)
    heard = await engine.ask(items, signer)
    if engine.book.outcomes[items[0].reference] or engine.book.accepted & {items[0].reference}:
        return Fault(f"answered a request {how}", remedy)
    if heard.status in _REFUSES:
        return None
    did = "gave no answer to" if heard.status is None else "fell over" if heard.status in _FALLS_OVER else "took"
    return Fault(f"{did} a request {how} ({heard.status or 'connection ended'})", f"{remedy}; answer 401")

"""What the sandbox plays, and how it judges: each play asks, waits, and returns what was wrong, or None."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from http import HTTPStatus

from fallow.domain.errors import AnswerMalformed, FallowError
from fallow.local.sandbox_book import Fault
from fallow.local.sandbox_engine import SandboxEngine
from fallow.local.sandbox_hashes import keyed_hash
from fallow.local.sandbox_hmac import why_not_believed
from fallow.local.sandbox_judging import BELIEVED_NOTHING, forged, give_the_key, settled, untaken
from fallow.local.sandbox_names import Play
from fallow.local.sandbox_sockets import Pause
from fallow.local.sandbox_status import status, status_forged, status_unknown
from fallow.local.sandbox_wire import reminded, with_new_fields
from fallow.platforms.protocol import new_challenge, parse_pong
from fallow.platforms.request_bodies import render_ping, render_unbind

_AN_HOUR = timedelta(hours=1)

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
        if reply.status in BELIEVED_NOTHING:
            misread = await why_not_believed(engine, body) if engine.entry.shared_key is not None else None
            return misread or Fault(f"answered a ping with {reply.status}", give_the_key(engine))
        return Fault(f"answered a ping with {reply.status}", "answer 200 with a signed pong that repeats the challenge")
    came = engine.verified(reply)
    if isinstance(came, Fault):
        return came
    try:
        parse_pong(came.body, challenge)
    except AnswerMalformed as error:
        return Fault(f"said something else: {error.what.rstrip('.')}", error.remedy.rstrip("."))
    return None


async def one(engine: SandboxEngine) -> Fault | None:
    """Ask about one number."""
    items = engine.invent.items(1)
    return await settled(engine, items, await engine.ask(items))


async def reminder(engine: SandboxEngine) -> Fault | None:
    """Ask, then remind: a platform that had not answered does now."""
    items = engine.invent.items(1)
    return untaken(engine, await engine.ask(items)) or await settled(engine, items, await engine.ask(reminded(items)))


async def repeat(engine: SandboxEngine) -> Fault | None:
    """Ask for two references again, cut into another batch."""
    *before, new = engine.invent.items(3)
    fault = await settled(engine, before, await engine.ask(before))
    again = [new, *reversed(before)]
    return fault or await settled(engine, again, await engine.ask(again))


async def late_repeat(engine: SandboxEngine) -> Fault | None:
    """Ask again for what was answered: the answer may have been lost, so it has to come again."""
    items = engine.invent.items(1)
    fault = await settled(engine, items, await engine.ask(items))
    if fault is not None:
        return fault
    times = len(engine.book.outcomes[items[0].reference])
    return await settled(engine, items, await engine.ask(items), times + 1)


async def at_once(engine: SandboxEngine) -> Fault | None:
    """Ask twice at the same time, as after a time-out that was none."""
    items = engine.invent.items(1)
    first, second = await asyncio.gather(engine.ask(items), engine.ask(items))
    return untaken(engine, first) or await settled(engine, items, second)


async def unknown_reference(engine: SandboxEngine) -> Fault | None:
    """Remind it of what it never saw: it may have lost a request, or we its receipt."""
    items = engine.invent.items(1, reminder=True)
    return await settled(engine, items, await engine.ask(items))


async def thousand(engine: SandboxEngine) -> Fault | None:
    """Ask for as many numbers at once as a request can hold."""
    items = engine.invent.items(engine.batch)
    heard = await engine.ask(items)
    if heard.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        what = f"can't take {engine.batch} numbers at once"
        return Fault(what, "register the batch that it can take, and give it here by --batch")
    return await settled(engine, items, heard)


async def two_signatures(engine: SandboxEngine) -> Fault | None:
    """Put garbage before the good signature, as it looks to a platform while the engine's key changes."""
    items = engine.invent.items(1)
    heard = await engine.ask(items, engine.signed_behind_garbage)
    if heard.status in BELIEVED_NOTHING:
        what = f"answered a good request whose good signature is not the first with {heard.status}"
        return Fault(what, "look at each signature in the header; one good one suffices")
    return await settled(engine, items, heard)


async def new_field(engine: SandboxEngine) -> Fault | None:
    """Say more than today's page knows: a platform ignores it."""
    items = engine.invent.items(1)
    return await settled(engine, items, await engine.ask(items, body=with_new_fields(render_unbind(engine.entry, items))))


async def cut(engine: SandboxEngine) -> Fault | None:
    """Hang up before the answer, then ask again."""
    items = engine.invent.items(1)
    try:
        await engine.hang_up(items)
    except OSError as error:
        return Fault(f"did not read the request ({type(error).__name__})", "read the whole request before answering")
    return await settled(engine, items, await engine.ask(items))


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
    fault = await settled(engine, quick, await quickly) or await settled(engine, slow, await slowly)
    if fault is None and not overtaking:
        return Fault("answered nobody else while one request came in slowly", "read requests without keeping others waiting")
    return fault


async def busy_callback(engine: SandboxEngine) -> Fault | None:
    """Turn the first callback away: it has to come again under the same id."""
    items = engine.invent.items(1)
    engine.book.busy.add(items[0].reference)
    fault = await settled(engine, items, await engine.ask(items))
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
    either = "" if engine.entry.shared_key is None else ", or with the shared secret"
    remedy = f"verify webhook-signature with the sandbox's public key{either}"
    return await forged(engine, engine.signed_by_stranger, "signed with another key", remedy)


async def altered_body(engine: SandboxEngine) -> Fault | None:
    """Alter the body under way."""

    def signed(body: bytes) -> dict[str, str]:
        return engine.signed(body + b" ")

    return await forged(engine, signed, "altered after it was signed", "verify over the bytes as they came, before parsing them")


async def no_signature(engine: SandboxEngine) -> Fault | None:
    """Sign nothing."""
    return await forged(engine, lambda _: {}, "without a signature", "refuse what lacks one of the three headers")


async def old_timestamp(engine: SandboxEngine) -> Fault | None:
    """Replay something of an hour ago."""
    return await forged(engine, engine.signed_at(-_AN_HOUR), "signed an hour ago", "refuse a webhook-timestamp more than 300 s away")


async def early_timestamp(engine: SandboxEngine) -> Fault | None:
    """Send something that will be good in an hour."""
    return await forged(engine, engine.signed_at(_AN_HOUR), "signed an hour ahead", "refuse a webhook-timestamp more than 300 s away")


#: Every play.
PLAYS: dict[Play, Plays] = {
    Play.PING: ping,
    Play.ONE: one,
    Play.KEYED_HASH: keyed_hash,
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
    Play.STATUS: status,
    Play.STATUS_UNKNOWN: status_unknown,
    Play.WRONG_SIGNATURE: wrong_signature,
    Play.ALTERED_BODY: altered_body,
    Play.NO_SIGNATURE: no_signature,
    Play.OLD_TIMESTAMP: old_timestamp,
    Play.EARLY_TIMESTAMP: early_timestamp,
    Play.STATUS_FORGED: status_forged,
}

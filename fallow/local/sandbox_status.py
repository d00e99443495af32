"""The sandbox's status queries: how references stand, asked where the platform takes such questions. Only the response counts.

What is judged is what lets a number go on: the engine asks once more after a clearance, and a wrong or missing word holds the number.
"""

from collections.abc import Collection, Sequence
from http import HTTPStatus

from fallow.domain.errors import AnswerMalformed, FallowError
from fallow.domain.obligations import CLEARED_BY_PLATFORM, Outcome
from fallow.local.sandbox_book import Fault
from fallow.local.sandbox_engine import SandboxEngine, Signer
from fallow.local.sandbox_judging import BELIEVED_NOTHING, believed, give_the_key, settled
from fallow.local.sandbox_wire import new_reference
from fallow.platforms.protocol import parse_answers
from fallow.platforms.transport import Reply

_SEVERAL = 3
_NOT_HERE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
_QUERY = "a status query"


async def status(engine: SandboxEngine) -> Fault | None:
    """Ask how three numbers stand that were answered, in another order than they were asked in."""
    items = engine.invent.items(_SEVERAL)
    references = [each.reference for each in items]
    return await settled(engine, items, await engine.ask(items)) or await _confirmed(engine, references[::-1], references)


async def status_unknown(engine: SandboxEngine) -> Fault | None:
    """Ask about one that was answered beside one that was never sent, then about another such alone."""
    items = engine.invent.items(1)
    known = items[0].reference
    fault = await settled(engine, items, await engine.ask(items)) or await _confirmed(engine, [new_reference(), known], [known])
    return fault or await _confirmed(engine, [new_reference()], [])


async def status_forged(engine: SandboxEngine) -> Fault | None:
    """Ask under a key that nobody knows about something that was answered: whoever does not verify would tell."""
    items = engine.invent.items(1)
    fault = await settled(engine, items, await engine.ask(items))
    if fault is not None:
        return fault
    reply = await _reply(engine, [items[0].reference], engine.signed_by_stranger)
    if isinstance(reply, Fault):
        return reply
    remedy = "verify webhook-signature at the status URL as well"
    return believed(reply.status, f"{_QUERY} signed with another key", remedy)


async def _confirmed(engine: SandboxEngine, asked: Sequence[str], known: Collection[str]) -> Fault | None:
    """Ask about references of which the platform has answered ``known``; it has to speak for those and for no others."""
    reply = await _reply(engine, asked)
    if isinstance(reply, Fault):
        return reply
    if reply.status == HTTPStatus.NO_CONTENT and not known:
        return None
    if reply.status != HTTPStatus.OK or not reply.body:
        return _no_word(engine, reply, known)
    said = _read(engine, reply)
    return said if isinstance(said, Fault) else _judged(engine, said, asked, known)


async def _reply(engine: SandboxEngine, asked: Sequence[str], signer: Signer | None = None) -> Reply | Fault:
    try:
        return await engine.look(asked, signer)
    except FallowError as error:
        return Fault(f"gave no answer to {_QUERY}: {error.what.rstrip('.')}", "answer within the timeout: 200 with a signed body, or 204")


def _no_word(engine: SandboxEngine, reply: Reply, known: Collection[str]) -> Fault:
    """Say what is wrong with a response that holds no answers."""
    if reply.status in BELIEVED_NOTHING:
        return Fault(f"answered a good status query with {reply.status}", give_the_key(engine))
    if not known:
        what = f"answered {_QUERY} about a reference that it never saw with {reply.status}{' and no body' * (not reply.body)}"
        return Fault(what, "answer 204 where you know nothing of any reference")
    if reply.status == HTTPStatus.NO_CONTENT:
        what = f"said by 204 that it knows nothing of {len(known)} references that it had answered"
        return Fault(what, "answer 200 with a signed answers body for those that you can speak for")
    if reply.status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
        what = f"answered {_QUERY} with {reply.status}{' and no body' * (not reply.body)}"
        return Fault(what, "put the answers into the response, signed: only the response counts, a callback confirms nothing")
    if reply.status in _NOT_HERE:
        remedy = "serve POST with `type` fallow.status.v1 at the status URL, or mend --status-url"
    else:
        remedy = "read `references`, a list of texts; there are no `items`; answer 200 with a signed answers body, or 204"
    return Fault(f"answered {_QUERY} with {reply.status}", remedy)


def _read(engine: SandboxEngine, reply: Reply) -> dict[str, Outcome] | Fault:
    """Return what a response says by reference, or why the engine would not take it."""
    came = engine.verified(reply)
    if isinstance(came, Fault):
        return Fault(came.what.replace("answered", f"answered {_QUERY}", 1), came.remedy)
    if came.delivery_id in engine.book.ids:
        what = f"answered {_QUERY} with the webhook-id of an earlier message"
        return Fault(what, "sign every answer anew, under an id of its own: an old message says nothing of how things are now")
    engine.book.ids.add(came.delivery_id)
    try:
        return {each.reference: each.outcome for each in parse_answers(came.body)}
    except AnswerMalformed as error:
        remedy = f"{error.remedy.rstrip('.')}; 204 where you know nothing"
        return Fault(f"answered {_QUERY} outside the protocol: {error.what.rstrip('.')}", remedy)


def _judged(engine: SandboxEngine, said: dict[str, Outcome], asked: Sequence[str], known: Collection[str]) -> Fault | None:
    if said.keys() - set(asked):
        what = f"spoke in its answer to {_QUERY} for a reference that it did not name"
        return Fault(what, "answer for the references of `references` as they came, and for no others")
    if said.keys() - set(known):
        what = f"spoke in its answer to {_QUERY} for a reference that it never saw"
        return Fault(what, "leave out what you don't know; 204 where you know nothing")
    missing = set(known) - said.keys()
    if missing:
        what = f"left out {len(missing)} of {len(known)} references that it had answered from its answer to {_QUERY}"
        return Fault(what, "speak for every reference that you have answered: what is left out is asked again, and the number waits")
    cleared = [each for each in known if CLEARED_BY_PLATFORM.issuperset(engine.book.outcomes[each])]
    takes_back = sorted({str(said[each]) for each in cleared} - CLEARED_BY_PLATFORM)
    if takes_back:
        what = f"said {', '.join(takes_back)} to {_QUERY} of what it had cleared, which takes its answer back"
        return Fault(what, "say clear as long as nothing of the former holder is bound")
    return None

"""What the plays of the sandbox have in common: whether a request was taken, answered, or refused as it must be."""

from collections.abc import Sequence
from http import HTTPStatus

from fallow.domain.ports import UnbindItem
from fallow.local.sandbox_book import Fault
from fallow.local.sandbox_engine import Heard, SandboxEngine, Signer

#: Statuses by which a service says that it does not believe who sent a request.
BELIEVED_NOTHING = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_REFUSES, _FALLS_OVER = range(400, 500), range(500, 600)


def give_the_key(engine: SandboxEngine) -> str:
    """Return what to do where a good request was not believed."""
    key = "give your service the sandbox's public key as it was printed"
    if engine.entry.shared_key is None:
        return key
    return f"{key}, or the secret of --shared-secret's file; each request has a signature of both (v1a, then v1), look at each"


def untaken(engine: SandboxEngine, heard: Heard) -> Fault | None:
    """Return what is wrong with the response to a good request, or None."""
    if heard.fault is not None:
        return heard.fault
    if heard.taken:
        return None
    refused = heard.status in BELIEVED_NOTHING
    remedy = give_the_key(engine) if refused else "answer 200 with a signed body, 202 or 204"
    return Fault(f"answered a good request with {heard.status}", remedy)


async def settled(engine: SandboxEngine, items: Sequence[UnbindItem], heard: Heard, times: int = 1) -> Fault | None:
    """Wait until each item was answered that many times, and judge: all answered, and never two different things."""
    fault = untaken(engine, heard)
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


async def forged(engine: SandboxEngine, signer: Signer, how: str, remedy: str) -> Fault | None:
    """Send what must not be believed; the service has to say a 4xx and do nothing."""
    items = engine.invent.items(1)
    heard = await engine.ask(items, signer)
    if engine.book.outcomes[items[0].reference] or engine.book.accepted & {items[0].reference}:
        return Fault(f"answered a request {how}", remedy)
    return believed(heard.status, f"a request {how}", remedy)


def believed(status: int | None, what: str, remedy: str) -> Fault | None:
    """Return what is wrong with the status that something was answered with which must not be believed, or None."""
    if status in _REFUSES:
        return None
    did = "gave no answer to" if status is None else "fell over" if status in _FALLS_OVER else "took"
    return Fault(f"{did} {what} ({status or 'connection ended'})", f"{remedy}; answer 401")

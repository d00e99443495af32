"""Numbers as keyed hashes: whether a service finds its account by our hash, and if not, by which other it would.

A service that hashes otherwise than we do finds nobody, says so in good faith, and its accounts stay bound to a number that is sold.
So there has to be an account that it must find.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator

from fallow.domain.obligations import Outcome
from fallow.local.sandbox_book import Fault
from fallow.local.sandbox_engine import SandboxEngine
from fallow.local.sandbox_judging import BELIEVED_NOTHING, settled
from fallow.local.sandbox_wire import BOUND, FREE
from fallow.platforms.request_bodies import hash_number, render_unbind

_PREFIX = "whnk_"
_OURS = "HMAC-SHA-256 under the bytes behind whnk_, of the E.164 text with its +, in lower-case hex"


async def keyed_hash(engine: SandboxEngine) -> Fault | None:
    """Ask about the number that a test account is bound to, and about one that none is."""
    items = engine.invent.about([BOUND, FREE])
    heard = await engine.ask(items)
    if heard.status is not None and not heard.taken and heard.status not in BELIEVED_NOTHING:
        what = f"answered a request with numbers as keyed hashes with {heard.status}"
        return Fault(what, "read `number_hash` where `number_form` is keyed-hash: there is no `number` then")
    fault = await settled(engine, items, heard)
    if fault is not None:
        return fault
    bound, free = (engine.book.outcomes[each.reference][-1] for each in items)
    if free is Outcome.UNBOUND:
        return Fault("found an account under the hash of a number that has none", "compare the whole of `number_hash`")
    if bound is Outcome.NOT_BOUND:
        return await _why_not_found(engine)
    if bound is Outcome.CLEAR:
        engine.book.say("  clear does not say whether the test account was found: look whether it was unbound")
    return None


def hash_to_find(number_key: str) -> str:
    """Return the hash that a service must find the test account by."""
    return hash_number(number_key, BOUND)


async def _why_not_found(engine: SandboxEngine) -> Fault:
    """Ask again under the hashes that services make by mistake; the one that finds the account is theirs."""
    for what, made in _mistakes(engine.entry.number_key):
        items = engine.invent.about([BOUND])
        asked = json.loads(render_unbind(engine.entry, items))
        asked["items"][0]["number_hash"] = made
        heard = await engine.ask(items, body=json.dumps(asked).encode())
        if not heard.taken:
            continue  # it looks at the form of a hash, as it may
        if await settled(engine, items, heard) is not None:
            break
        if engine.book.outcomes[items[0].reference][-1] is Outcome.UNBOUND:
            return Fault(f"finds the test account only by {what}", f"hash as the engine does: {_OURS}")
    what = "found no account under the hash of the number that a test account must be bound to"
    remedy = f"bind one, more than 90 days ago, before every run; compare your hash of it with the one printed first: {_OURS}"
    return Fault(what, remedy)


def _mistakes(number_key: str) -> Iterator[tuple[str, str]]:
    text = number_key.removeprefix(_PREFIX)
    right = hash_number(number_key, BOUND)
    yield "a hash under the key's text, whnk_ and all, instead of its bytes", _hash(number_key.encode(), BOUND.text)
    yield "a hash under the key's base64 as text instead of its bytes", _hash(text.encode(), BOUND.text)
    yield "a hash of the digits without their +", _hash(base64.b64decode(text), BOUND.text.removeprefix("+"))
    yield "a hash in upper-case hex", right.upper()
    yield "a hash in base64", base64.b64encode(bytes.fromhex(right)).decode()
    yield "a hash without the key", hashlib.sha256(BOUND.text.encode()).hexdigest()


def _hash(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()

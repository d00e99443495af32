"""Platforms' callbacks: the raw body is verified before anything of it is parsed; the signature is the credential."""

from collections.abc import Mapping, Sequence

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from fallow.api.messages import PlatformId
from fallow.bootstrap import Wired
from fallow.operations.answers import accept_answer
from fallow.platforms.protocol import parse_answers
from fallow.platforms.signing import PublicKey, SigningKey, receive

# Nobody holds the secret half: an unknown platform is refused by the same steps, in the same time, as a wrong signature.
_NOBODY: Sequence[PublicKey] = (SigningKey.generate().public,)


async def take_answers(platform_id: PlatformId, request: Request) -> Response:
    """Take a platform's signed answers; a repeat gets the same acknowledgement, byte for byte."""
    body = await request.body()
    wired: Wired = request.app.state.wired
    ack = await run_in_threadpool(_accept, wired, platform_id, request.headers, body)
    return Response(ack, media_type="application/json")


def _accept(wired: Wired, platform_id: str, headers: Mapping[str, str], body: bytes) -> str:
    entry = wired.entries.get(platform_id)
    db = wired.installation.db
    with db.read() as tx:
        now = tx.now
    delivery = receive(headers, body, _NOBODY if entry is None else entry.public_keys, now)
    return accept_answer(db, platform_id, delivery, parse_answers(body))

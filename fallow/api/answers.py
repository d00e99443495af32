"""Platforms' callbacks: the raw body is verified before anything of it is parsed; the signature is the credential."""

from collections.abc import Mapping

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from fallow.api.messages import PlatformId
from fallow.bootstrap import Wired
from fallow.domain.errors import AnswerMalformed, SignatureRefused
from fallow.domain.obligations import Outcome
from fallow.operations.answers import accept_answer
from fallow.operations.installation import Installation
from fallow.platforms.forms import Acknowledgement, WebhookForm
from fallow.platforms.signing import SigningKey
from fallow.platforms.speakers import Speaker

# Nobody holds the secret half: an unknown platform is refused by the same steps, in the same time, as a wrong signature.
_NOBODY = Speaker("", (SigningKey.generate().public,), WebhookForm(), frozenset())


async def take_answers(platform_id: PlatformId, request: Request) -> Response:
    """Take a platform's or a hub's signed answers; a repeat gets the same acknowledgement, byte for byte."""
    body = await request.body()
    wired: Wired = request.app.state.wired
    ack = await run_in_threadpool(_accept, wired.installation, platform_id, request.headers, body)
    return Response(ack.body, ack.status, media_type=ack.media_type or None)


def _accept(installation: Installation, speaker_id: str, headers: Mapping[str, str], body: bytes) -> Acknowledgement:
    speaker = installation.speakers.now(speaker_id) or _NOBODY
    with installation.db.read() as tx:
        now = tx.now
    try:
        delivery = speaker.form.receive(headers, body, speaker.keys, now)
        return speaker.form.acknowledge(accept_answer(installation, speaker_id, delivery, _said(speaker, body)))
    except (SignatureRefused, AnswerMalformed) as error:
        refusal = speaker.form.refuse(error)
        if refusal is None:
            raise
        return refusal


def _said(speaker: Speaker, body: bytes) -> list[tuple[str, Outcome]]:
    return [(answer.reference, answer.outcome) for answer in speaker.form.read(body)]

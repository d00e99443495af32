"""Platforms' callbacks: the raw body is verified before anything of it is parsed; the signature is the credential."""

import asyncio
import time
from collections.abc import Mapping

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from fallow.api.messages import PlatformId
from fallow.api.problems import of_error
from fallow.bootstrap import Wired
from fallow.domain.errors import AnswerMalformed, FallowError, SignatureRefused
from fallow.operations.answer_desk import AnswerDesk
from fallow.operations.answers import Heard
from fallow.platforms.forms import WebhookForm
from fallow.platforms.protocol import MOST_ANSWERS, MOST_ANSWERS_IN_BATCH
from fallow.platforms.signing import SIGNATURE_HEADER, SigningKey
from fallow.platforms.speakers import Speaker
from fallow.store.exchanges import Direction, Exchange

# Nobody holds the secret half: an unknown platform is refused by the same steps, in the same time, as a wrong signature.
_NOBODY = Speaker("", (SigningKey.generate().public,), WebhookForm(), frozenset())
#: A body up to this long is verified and read on the loop itself, which takes less time than to change to a thread.
_AT_ONCE = 4 * 1024
#: Most signatures that are tried there: anybody can send eight, which with four keys would stop everybody else for milliseconds.
_MOST_AT_ONCE = 2


async def take_answers(platform_id: PlatformId, request: Request) -> Response:
    """Take a platform's or a hub's signed answers; a repeat gets the same acknowledgement, byte for byte."""
    return await _take(platform_id, request, MOST_ANSWERS)


async def take_batch(platform_id: PlatformId, request: Request) -> Response:
    """Take many signed answers in one body; otherwise as :func:`take_answers`, and acknowledged in the same form."""
    return await _take(platform_id, request, MOST_ANSWERS_IN_BATCH)


async def _take(speaker_id: str, request: Request, most: int) -> Response:
    body = await request.body()
    came = time.monotonic()
    wired: Wired = request.app.state.wired
    desk: AnswerDesk = request.app.state.desk
    speaker = wired.installation.speakers.now(speaker_id)
    hearing = _Hearing(wired, speaker_id, speaker or _NOBODY, request.headers, body, most)
    try:
        at_once = is_quick(request.headers, body) and wired.installation.db.recent() is not None
        heard = hearing.verified() if at_once else await run_in_threadpool(hearing.verified)
    except FallowError as refused:
        if speaker is not None:
            desk.note_refusal(_refusal(speaker_id, body, refused, came))
        return _refused(hearing, refused)
    try:
        ack = hearing.speaker.form.acknowledge(await asyncio.wrap_future(desk.submit(heard)))
    except FallowError as refused:
        return _refused(hearing, refused)
    return Response(ack.body, ack.status, media_type=ack.media_type or None)


def is_quick(headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether a message is verified in less time than a change to a thread takes, whoever sent it."""
    return len(body) <= _AT_ONCE and headers.get(SIGNATURE_HEADER, "").count(" ") < _MOST_AT_ONCE


def _refused(hearing: "_Hearing", error: FallowError) -> Response:
    """Word a refusal as the speaker's form does.

    Raises:
        FallowError: the same, where the form leaves it to the API.
    """
    worded = hearing.speaker.form.refuse(error) if isinstance(error, SignatureRefused | AnswerMalformed) else None
    if worded is None:
        raise error
    return Response(worded.body, worded.status, media_type=worded.media_type or None)


class _Hearing:
    """One message that came in."""

    def __init__(self, wired: Wired, speaker_id: str, speaker: Speaker, headers: Mapping[str, str], body: bytes, most: int) -> None:
        self.speaker = speaker
        self._db = wired.installation.db
        self._speaker_id, self._headers, self._body, self._most = speaker_id, headers, body, most

    def verified(self) -> Heard:
        """Verify the message, then read it; the database's clock decides how old it is."""
        now = self._db.recent()
        if now is None:
            with self._db.read() as tx:
                now = tx.now
        keys = self.speaker.keys
        delivery = self.speaker.form.receive(self._headers, self._body, keys, now)
        said = [(answer.reference, answer.outcome) for answer in self.speaker.form.read(self._body)]
        if len(said) > self._most:
            what = f"An answer does not list 1 to {self._most} answers."
            raise AnswerMalformed(what, remedy="answer as docs/platforms.md says.")
        return Heard(self._speaker_id, delivery, said, keys)


def _refusal(speaker_id: str, body: bytes, refused: FallowError, came: float) -> Exchange:
    """Describe a message that was refused; its id is not proved to be one, so that it is not kept."""
    took_ms = round(1000 * (time.monotonic() - came))
    return Exchange(speaker_id, Direction.IN, "", 0, len(body), of_error(refused).status, refused.code, took_ms)

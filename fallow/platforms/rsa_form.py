"""Answers in the manner of large Chinese payment platforms' notifications: SHA256-RSA over timestamp, nonce and body.

An example: no public unbind interface of theirs was found. What is taken over is how they sign (signature over three lines, the
key named by a serial), how they want to be acknowledged (the literal word ``success``) and that they repeat for a day.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from fallow.domain.errors import FallowError
from fallow.domain.ports import SignedDelivery
from fallow.domain.spelling import read_base64
from fallow.platforms.answer_form import Acknowledgement
from fallow.platforms.protocol import LONGEST_BODY, Answer, parse_answers
from fallow.platforms.rsa_key import RsaKey
from fallow.platforms.strict import could_be_a_number, known_by, read_object, refuse, unproved
from fallow.platforms.verifying import VerifyingKey

TIMESTAMP_HEADER = "notify-timestamp"
NONCE_HEADER = "notify-nonce"
SERIAL_HEADER = "notify-serial"
SIGNATURE_HEADER = "notify-signature"
#: What a notification says it is.
EVENT_TYPE = "UNBIND.RESULT"
#: How far a timestamp may lie from our clock, in seconds, either way.
WINDOW = 300

_TIMESTAMP = re.compile(r"[1-9][0-9]{0,10}\Z", re.ASCII)
_PROOF = re.compile(r"([0-9A-F]{40}) ([A-Za-z0-9]{16,64}) ([A-Za-z0-9+/]{342,683}={0,2})\Z", re.ASCII)
_KEYS = {"id", "event_type", "answers"}


class RsaNotifyForm:
    """SHA256-RSA over three lines. What protects from repeats is the notification's ``id``, not the nonce, which is new each time."""

    scheme = "rsa-notify"

    def receive(self, headers: Mapping[str, str], body: bytes, keys: Sequence[VerifyingKey], now: datetime) -> SignedDelivery:
        """See :class:`AnswerForm`."""
        mine = {name.lower(): value for name, value in headers.items()}
        timestamp = mine.get(TIMESTAMP_HEADER, "")
        if not _TIMESTAMP.match(timestamp) or abs(int(now.timestamp()) - int(timestamp)) > WINDOW:
            raise unproved()
        proof = " ".join(mine.get(name, "") for name in (SERIAL_HEADER, NONCE_HEADER, SIGNATURE_HEADER))
        _signer(keys, int(timestamp), proof, body)
        if could_be_a_number(mine[NONCE_HEADER]):  # it is kept as it came
            refuse("came with a nonce that holds seven digits in a row, so it could be a phone number")
        return SignedDelivery(_id_of(body), int(timestamp), proof, body, self.scheme)

    def signer(self, keys: Sequence[VerifyingKey], delivery: SignedDelivery) -> VerifyingKey:
        """See :class:`AnswerForm`."""
        key = _signer(keys, delivery.signed_at, delivery.signature, delivery.body)
        if delivery.delivery_id != _id_of(delivery.body):
            raise unproved()
        return key

    def read(self, body: bytes) -> list[Answer]:
        """See :class:`AnswerForm`."""
        return parse_answers(json.dumps({"answers": _document(body)["answers"]}, separators=(",", ":")).encode())

    def acknowledge(self, ack: str) -> Acknowledgement:
        """Say ``success`` and nothing else: any other word has them repeat for a day."""
        del ack
        return Acknowledgement(200, "text/plain", b"success")

    def refuse(self, error: FallowError) -> None:
        """Leave it to the API: everything but ``success`` means no."""


def _signer(keys: Sequence[VerifyingKey], timestamp: int, proof: str, body: bytes) -> VerifyingKey:
    found = _PROOF.match(proof)
    signature = read_base64(found[3]) if found else None
    if found is None or signature is None:
        raise unproved()
    content = f"{timestamp}\n{found[2]}\n".encode() + body + b"\n"
    for key in keys:
        if isinstance(key, RsaKey) and key.serial == found[1] and key.verifies(signature, content):
            return key
    raise unproved()


def _id_of(body: bytes) -> str:
    return known_by("ntf_", _document(body)["id"])


def _document(body: bytes) -> dict[str, object]:
    document = read_object(body, LONGEST_BODY)
    if document.keys() != _KEYS or document["event_type"] != EVENT_TYPE:
        refuse(f"is not exactly `id`, `event_type` (`{EVENT_TYPE}`) and `answers`")
    return document

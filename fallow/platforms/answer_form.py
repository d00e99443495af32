"""What a form of answers must do; the forms themselves are listed in :mod:`fallow.platforms.forms`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fallow.domain.errors import FallowError
from fallow.domain.ports import SignedDelivery
from fallow.platforms.protocol import Answer
from fallow.platforms.verifying import VerifyingKey


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a callback is answered with.

    Attributes:
        status: HTTP status.
        media_type: of the body; "" where there is none.
        body: the bytes.
    """

    status: int
    media_type: str
    body: bytes


class AnswerForm(Protocol):
    """One way in which platforms sign and word their answers.

    Attributes:
        scheme: its name in kept messages.
    """

    scheme: str

    def receive(self, headers: Mapping[str, str], body: bytes, keys: Sequence[VerifyingKey], now: datetime) -> SignedDelivery:
        """Verify a message that has just come in, before anything of it is parsed.

        Raises:
            SignatureRefused: always the same error, whatever was wrong.
            AnswerMalformed: well signed, but under an id that could be a phone number, or not meant for us.
        """
        ...

    def signer(self, keys: Sequence[VerifyingKey], delivery: SignedDelivery) -> VerifyingKey:
        """Verify a kept message again, without a time window, and return the key that signed it.

        Raises:
            SignatureRefused: none of ``keys`` did.
        """
        ...

    def read(self, body: bytes) -> list[Answer]:
        """Read what a verified message says.

        Raises:
            AnswerMalformed: anything outside the form; the message holds nothing of the body.
        """
        ...

    def acknowledge(self, ack: str) -> Acknowledgement:
        """Word the acknowledgement of a message that was taken; ``ack`` is ours, as kept (JSON), and the same at every repeat."""
        ...

    def refuse(self, error: FallowError) -> Acknowledgement | None:
        """Word the refusal of a callback (SignatureRefused or AnswerMalformed); None: as every other error of the API is."""
        ...

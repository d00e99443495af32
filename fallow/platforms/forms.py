"""Forms of answers: how a message proves its sender, what it says, how it is acknowledged. One form a scheme; adapters choose theirs.

What came in is kept verbatim with the name of its scheme, so that the gate and auditors can verify and read it again for as long
as it is kept, whatever the platform's adapter is by then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fallow.domain.errors import SignatureRefused
from fallow.domain.ports import SignedDelivery
from fallow.platforms import signing
from fallow.platforms.protocol import LONGEST_BATCH, MOST_ANSWERS_IN_BATCH, Answer, parse_answers
from fallow.platforms.signing import PublicKey


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

    def receive(self, headers: Mapping[str, str], body: bytes, keys: Sequence[PublicKey], now: datetime) -> SignedDelivery:
        """Verify a message that has just come in, before anything of it is parsed.

        Raises:
            SignatureRefused: always the same error, whatever was wrong.
            AnswerMalformed: well signed, but under an id that could be a phone number.
        """
        ...

    def signer(self, keys: Sequence[PublicKey], delivery: SignedDelivery) -> PublicKey:
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


class WebhookForm:
    """Our own protocol: Standard Webhooks headers, closed JSON."""

    scheme = "webhook"

    def receive(self, headers: Mapping[str, str], body: bytes, keys: Sequence[PublicKey], now: datetime) -> SignedDelivery:
        """See :class:`AnswerForm`."""
        return signing.receive(headers, body, keys, now)

    def signer(self, keys: Sequence[PublicKey], delivery: SignedDelivery) -> PublicKey:
        """See :class:`AnswerForm`."""
        for key in keys:
            try:
                signing.verify([key], delivery)
            except SignatureRefused:
                continue
            return key
        what = "The sender of a message could not be proved."
        raise SignatureRefused(what, remedy="compare the registered keys with the platform's.")

    def read(self, body: bytes) -> list[Answer]:
        """See :class:`AnswerForm`."""
        return parse_answers(body, LONGEST_BATCH, MOST_ANSWERS_IN_BATCH)  # routes and transport bound what comes in

    def acknowledge(self, ack: str) -> Acknowledgement:
        """See :class:`AnswerForm`."""
        return Acknowledgement(200, "application/json", ack.encode())


#: Every form there is, by scheme.
FORMS: dict[str, AnswerForm] = {form.scheme: form for form in (WebhookForm(),)}

"""Forms of answers: how a message proves its sender, what it says, how it is acknowledged. One form a scheme; adapters choose theirs.

What came in is kept verbatim with the name of its scheme, so that the gate and auditors can verify and read it again for as long
as it is kept, whatever the platform's adapter is by then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from fallow.domain.errors import FallowError, SignatureRefused
from fallow.domain.ports import SignedDelivery
from fallow.platforms import signing
from fallow.platforms.answer_form import Acknowledgement, AnswerForm
from fallow.platforms.csv_answers import csv_answers
from fallow.platforms.protocol import LONGEST_BATCH, MOST_ANSWERS_IN_BATCH, Answer, parse_answers
from fallow.platforms.rsa_form import RsaNotifyForm
from fallow.platforms.set_form import SetForm
from fallow.platforms.verifying import VerifyingKey

__all__ = ["FORMS", "Acknowledgement", "AnswerForm", "FileForm", "WebhookForm"]


class WebhookForm:
    """Our own protocol: Standard Webhooks headers, closed JSON."""

    scheme = "webhook"

    def receive(self, headers: Mapping[str, str], body: bytes, keys: Sequence[VerifyingKey], now: datetime) -> SignedDelivery:
        """See :class:`AnswerForm`."""
        return signing.receive(headers, body, keys, now)

    def signer(self, keys: Sequence[VerifyingKey], delivery: SignedDelivery) -> VerifyingKey:
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

    def refuse(self, error: FallowError) -> None:
        """Leave it to the API; see :class:`AnswerForm`."""


class FileForm(WebhookForm):
    """Answers as CSV, in files or by callback, signed as in our own protocol."""

    scheme = "file"

    def receive(
        self, headers: Mapping[str, str], body: bytes, keys: Sequence[VerifyingKey], now: datetime, window: int = 300
    ) -> SignedDelivery:
        """See :class:`AnswerForm`; ``window`` as :func:`signing.receive` has it."""
        return replace(signing.receive(headers, body, keys, now, window), scheme=self.scheme)

    def read(self, body: bytes) -> list[Answer]:
        """See :class:`AnswerForm`."""
        return parse_answers(csv_answers(body))


#: Every form there is, by scheme.
FORMS: dict[str, AnswerForm] = {form.scheme: form for form in (WebhookForm(), RsaNotifyForm(), SetForm(), FileForm())}

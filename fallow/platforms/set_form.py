"""Answers as Security Event Tokens: one token, one event, one answer; pushed to us (RFC 8935) or fetched (RFC 8936).

The vocabulary of answers is our own: the shared signals profiles have no event that answers a request. A token is never signed
anew for a repeat, so its age says little; what keeps a repeat from counting twice is its ``jti``, which is kept.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from fallow.domain.errors import AnswerMalformed, FallowError, SignatureRefused
from fallow.domain.obligations import Outcome, RefusalReason
from fallow.domain.ports import SignedDelivery
from fallow.platforms.answer_form import Acknowledgement
from fallow.platforms.protocol import Answer, parse_answers
from fallow.platforms.security_event import LONGEST_TOKEN, verify
from fallow.platforms.strict import known_by, read_base64url, read_object, refuse, unproved
from fallow.platforms.verifying import VerifyingKey

#: Event types of our own begin so.
EVENT = "urn:fallow:event-type:"
REQUESTED = EVENT + "unbind-requested"
ANSWERS: Mapping[str, Outcome] = {
    EVENT + "binding-cleared": Outcome.CLEAR,
    EVENT + "binding-refused": Outcome.REFUSED,
    EVENT + "needs-human": Outcome.NEEDS_HUMAN,
    EVENT + "accepted": Outcome.ACCEPTED,
}
#: How old a token may be when it arrives, and how far ahead of our clock, in seconds.
OLDEST, AHEAD = 7 * 86400, 300

_CLAIMS = {"iss", "jti", "iat", "aud", "txn", "events"}


class SetRefused(AnswerMalformed):
    """A well signed token that is not an answer to us.

    Attributes:
        err: what RFC 8935 section 2.4 calls it.
    """

    def __init__(self, trouble: str, err: str) -> None:
        """Say what is wrong, quoting nothing."""
        super().__init__(f"A security event token {trouble}.", remedy="answer as docs/adapters.md says.")
        self.err = err


class SetForm:
    """Security Event Tokens; bound to a platform it also demands who issued a token and for whom."""

    scheme = "set"

    def __init__(self, issuer: str = "", audience: str = "") -> None:
        """Take what `iss` and `aud` of a token that comes in must be; "" where a kept one is only verified again."""
        self._issuer = issuer
        self._audience = audience

    def receive(self, headers: Mapping[str, str], body: bytes, keys: Sequence[VerifyingKey], now: datetime) -> SignedDelivery:
        """See :class:`AnswerForm`."""
        del headers
        found = verify(keys, body)
        claims = _claims(found.claims)
        issued_at = claims["iat"]
        if not isinstance(issued_at, int) or not -AHEAD <= now.timestamp() - issued_at <= OLDEST:
            raise unproved()
        if self._issuer and claims["iss"] != self._issuer:
            raise SetRefused("has another issuer than the platform's url", "invalid_issuer")
        if self._audience and claims["aud"] not in (self._audience, [self._audience]):
            raise SetRefused("is for somebody else", "invalid_audience")
        return SignedDelivery(known_by("set_", claims["jti"]), issued_at, found.signature, body, self.scheme)

    def signer(self, keys: Sequence[VerifyingKey], delivery: SignedDelivery) -> VerifyingKey:
        """See :class:`AnswerForm`."""
        found = verify(keys, delivery.body, most=len(keys))
        claims = _claims(found.claims)
        kept = (delivery.delivery_id, delivery.signed_at, delivery.signature)
        if (known_by("set_", claims["jti"]), claims["iat"], found.signature) != kept:
            raise unproved()
        return found.key

    def read(self, body: bytes) -> list[Answer]:
        """See :class:`AnswerForm`."""
        claims = _claims(read_base64url(body.split(b".")[1].decode()) or b"")
        ((event, said),) = claims["events"].items()
        outcome = ANSWERS[event]
        reasons = {str(each) for each in RefusalReason} if outcome is Outcome.REFUSED else set()
        if not isinstance(said, dict) or not said.keys() <= {"reason"} or not {str(each) for each in said.values()} <= reasons:
            refuse("holds an event with more than a `reason` of a refusal")
        return parse_answers(json.dumps({"answers": [{"reference": claims["txn"], "outcome": str(outcome), **said}]}).encode())

    def acknowledge(self, ack: str) -> Acknowledgement:
        """Say 202 and nothing else (RFC 8935 section 2.2)."""
        del ack
        return Acknowledgement(202, "", b"")

    def refuse(self, error: FallowError) -> Acknowledgement:
        """Say 400 with an error code (RFC 8935 section 2.3): one and the same for everything that is not proved."""
        return Acknowledgement(400, "application/json", json.dumps(refusal(error)).encode())


def refusal(error: FallowError) -> dict[str, str]:
    """Word an error as RFC 8935 section 2.4 and RFC 8936 section 2.6 do."""
    err = "authentication_failed" if isinstance(error, SignatureRefused) else getattr(error, "err", "invalid_request")
    return {"err": err, "description": str(error)}


def _claims(raw: bytes) -> dict[str, Any]:
    """Read the claims of a verified token: exactly ours, so that no other can bring a number along."""
    claims = read_object(raw, LONGEST_TOKEN)
    events = claims.get("events")
    if claims.keys() != _CLAIMS or not isinstance(events, dict) or len(events) != 1 or not events.keys() <= ANSWERS.keys():
        refuse(f"is not exactly {', '.join(sorted(_CLAIMS))} with one event of {', '.join(sorted(ANSWERS))}")
    return claims

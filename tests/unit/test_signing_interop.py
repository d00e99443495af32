"""Our signatures and other people's implementations of Standard Webhooks agree on all well-formed messages (reliability.md D11).

The published package knows HMAC (``v1``) only, so for ``v1a`` the other side is written here from the specification's words, upon
cryptography alone.
"""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from fallow.domain.errors import SignatureRefused
from fallow.platforms.signing import SigningKey, receive, sign

_IDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", min_size=16, max_size=64).map(lambda text: f"msg_{text}")
_INSTANTS = st.datetimes(datetime(2001, 9, 10), datetime(2200, 1, 1)).map(lambda naive: naive.replace(microsecond=0, tzinfo=UTC))  # noqa: DTZ001
_SEEDS = st.binary(min_size=32, max_size=32)
#: The example of the specification itself, version 1.0.0.
SPEC_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - published
SPEC_ID, SPEC_AT, SPEC_BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'


def verified(whpk: str, headers: dict[str, str], body: bytes) -> bool:
    """Verify as the specification says it: a signature of ``id.timestamp.body`` among space-separated ``version,base64`` tokens."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(whpk.removeprefix("whpk_")))
    content = headers["webhook-id"].encode() + b"." + headers["webhook-timestamp"].encode() + b"." + body
    for token in headers["webhook-signature"].split():
        version, _, text = token.partition(",")
        if version == "v1a":
            try:
                key.verify(base64.b64decode(text), content)
            except InvalidSignature:
                continue
            return True
    return False


@settings(max_examples=200, deadline=None)
@given(seed=_SEEDS, delivery_id=_IDS, at=_INSTANTS, body=st.binary(max_size=300), other=_SEEDS)
def test_others_verify_what_we_sign(seed: bytes, delivery_id: str, at: datetime, body: bytes, other: bytes) -> None:
    """Under the very key, over the very bytes, and under no other key."""
    headers = sign(SigningKey(seed), delivery_id, at, body)

    assert verified(SigningKey(seed).public.text, headers, body)
    assert not verified(SigningKey(seed).public.text, headers, body + b" ")
    assert verified(SigningKey(other).public.text, headers, body) == (seed == other)


@settings(max_examples=200, deadline=None)
@given(seed=_SEEDS, delivery_id=_IDS, at=_INSTANTS, body=st.binary(max_size=300), other=_SEEDS)
def test_we_verify_what_others_sign(seed: bytes, delivery_id: str, at: datetime, body: bytes, other: bytes) -> None:
    """Whatever wrote the headers: what it signed is taken, and refused under another key."""
    stamp = str(int(at.timestamp()))
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(f"{delivery_id}.{stamp}.".encode() + body)
    headers = {
        "webhook-id": delivery_id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1a,{base64.b64encode(signature).decode()}",
    }

    delivery = receive(headers, body, [SigningKey(seed).public], at)

    assert (delivery.delivery_id, delivery.signed_at, delivery.body) == (delivery_id, int(stamp), body)
    if seed != other:
        with pytest.raises(SignatureRefused):
            receive(headers, body, [SigningKey(other).public], at)


@settings(max_examples=100, deadline=None)
@given(secret=st.binary(min_size=24, max_size=64), seed=_SEEDS, delivery_id=_IDS, body=st.text(max_size=100))
def test_both_schemes_go_in_one_header(secret: bytes, seed: bytes, delivery_id: str, body: str) -> None:
    """A sender in the middle of a change of scheme signs twice: the published verifier finds its own, and so do we."""
    now, key = datetime.now(UTC), SigningKey(seed)
    package = Webhook(base64.b64encode(secret).decode())
    ours = sign(key, delivery_id, now, body.encode())
    theirs = package.sign(delivery_id, now, body)
    headers = {**ours, "webhook-signature": f"{theirs} {ours['webhook-signature']}"}

    assert receive(headers, body.encode(), [key.public], now).signature == ours["webhook-signature"]
    assert verified(key.public.text, headers, body.encode())
    content = f"{delivery_id}.{int(now.timestamp())}.{body}".encode()
    assert theirs == "v1," + base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()


def test_the_specification_s_own_example_signs_what_we_sign() -> None:
    """Id, timestamp and body joined by dots: the example's HMAC comes out of the same bytes that our signature covers."""
    content = f"{SPEC_ID}.{SPEC_AT}.".encode() + SPEC_BODY
    secret = base64.b64decode(SPEC_SECRET.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()
    headers = sign(SigningKey(bytes(32)), SPEC_ID, datetime.fromtimestamp(SPEC_AT, UTC), SPEC_BODY)

    assert f"v1,{signature}" == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert f"v1,{signature}" == Webhook(SPEC_SECRET).sign(SPEC_ID, datetime.fromtimestamp(SPEC_AT, UTC), SPEC_BODY.decode())
    Ed25519PublicKey.from_public_bytes(SigningKey(bytes(32)).public.raw).verify(
        base64.b64decode(headers["webhook-signature"].removeprefix("v1a,")), content
    )

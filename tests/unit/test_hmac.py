"""Signatures under a shared secret: Standard Webhooks v1, beside v1a and never mistaken for it."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from fallow.domain.errors import MapRefused, SettingRefused, SignatureRefused
from fallow.domain.obligations import Category
from fallow.platforms.forms import WebhookForm
from fallow.platforms.platform_map import PlatformEntry, read_registration
from fallow.platforms.signing import HmacKey, PublicKey, SigningKey, receive, sign, verify
from fallow.platforms.speakers import speaker_of

AT = datetime(2026, 1, 1, tzinfo=UTC)
BODY = b'{"answers":[]}'
ID = "msg_abcdefghijklmnop"
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
SHARED = HmacKey.from_text(SECRET)
KEY = SigningKey(bytes(range(32)))
TABLE = {
    "id": "larkchat",
    "category": "social",
    "contact": "x",
    "url": "https://api.larkchat.example/unbind",
    "shared_secret": SECRET,
}


def signed(shared: HmacKey | None = SHARED, at: datetime = AT) -> dict[str, str]:
    """Return headers with both signatures."""
    return sign(KEY, ID, at, BODY, shared)


def under_v1() -> dict[str, str]:
    """Return headers with the HMAC alone."""
    headers = signed()
    return {**headers, "webhook-signature": headers["webhook-signature"].split(" ")[1]}


def refused(headers: dict[str, str], *keys: HmacKey | PublicKey, body: bytes = BODY) -> bool:
    """Tell whether a message is refused under these keys."""
    try:
        receive(headers, body, keys, AT)
    except SignatureRefused:
        return True
    return False


def test_the_reference_package_verifies_what_we_sign() -> None:
    """The published verifier, given both signatures, finds the one that it knows."""
    now = datetime.now(UTC)

    assert Webhook(SECRET).verify(BODY, signed(at=now)) == {"answers": []}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, signed(None, now))


def test_what_the_reference_package_signs_is_accepted() -> None:
    """Under the shared secret, and under no other key."""
    headers = {**signed(None), "webhook-signature": Webhook(SECRET).sign(ID, AT, BODY.decode())}

    delivery = receive(headers, BODY, [SHARED], AT)

    verify([SHARED], delivery)
    assert refused(headers, HmacKey(bytes(32)))
    assert refused(headers, KEY.public)


def test_a_signature_made_by_hand_is_accepted() -> None:
    """What the specification's words say, done with the standard library alone, is what is sent and taken."""
    made = hmac.new(bytes(range(24)), f"{ID}.1767225600.".encode() + BODY, hashlib.sha256).digest()

    assert under_v1()["webhook-signature"] == "v1," + base64.b64encode(made).decode()
    assert not refused(under_v1(), SHARED)


def test_either_scheme_suffices_and_is_tried_under_its_own_keys_only() -> None:
    """A message with both passes under either key; one scheme's token is never judged by the other's key."""
    both, ed25519, hmac_only = signed(), signed(None), under_v1()

    assert not refused(both, KEY.public)
    assert not refused(both, SHARED)
    assert refused(ed25519, SHARED)
    assert refused(hmac_only, KEY.public)
    for headers in (ed25519, hmac_only):
        swapped = headers["webhook-signature"].split(",")
        swapped[0] = {"v1a": "v1", "v1": "v1a"}[swapped[0]]
        assert refused({**headers, "webhook-signature": ",".join(swapped)}, KEY.public, SHARED)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.rstrip("="),
        lambda text: text[:-2] + chr(ord(text[-2]) + 1) + "=",
        lambda text: text + "AAAA",
        lambda text: text.replace("v1,", "V1,"),
        lambda text: text.replace("v1,", "v1, "),
        lambda text: "v1," + bytes.hex(base64.b64decode(text[3:])),
        lambda text: f"{'v1,AAAA ' * 8}{text}",
    ],
)
def test_a_bad_signature_is_refused(change: object) -> None:
    """Length, alphabet, spelling and count are as strict as under v1a."""
    headers = under_v1()

    assert callable(change)
    assert refused({**headers, "webhook-signature": change(headers["webhook-signature"])}, SHARED)


def test_garbage_before_a_good_signature_hides_nothing() -> None:
    """Seven bad tokens and a good one: the good one counts, and only it is kept."""
    good = under_v1()["webhook-signature"]
    wrong = "v1," + base64.b64encode(bytes(32)).decode()
    headers = {**under_v1(), "webhook-signature": f"{wrong} v1a,x , v1,% {wrong} v2,y v1a, {good}"}

    assert receive(headers, BODY, [KEY.public, SHARED], AT).signature == good


def test_another_body_id_or_time_is_refused() -> None:
    """The HMAC covers all three."""
    assert refused(under_v1(), SHARED, body=BODY + b" ")
    assert refused({**under_v1(), "webhook-id": ID + "q"}, SHARED)
    assert refused({**under_v1(), "webhook-timestamp": "1767225601"}, SHARED)


def test_four_keys_of_each_scheme_are_the_most() -> None:
    """A sender's four public keys and its secret are all tried; a fifth of one scheme opens nothing."""
    four = [SigningKey.generate().public for _ in range(4)]

    assert not refused(under_v1(), *four, SHARED)
    assert refused(under_v1(), *four, KEY.public, SHARED)


def test_the_kind_of_the_key_tells_what_a_message_proves() -> None:
    """Signed by both, the message is evidence under the key that only its sender has; signed with the secret, it is not."""
    form, keys = WebhookForm(), (KEY.public, SHARED)
    both, hmac_only = (form.receive(headers, BODY, keys, AT) for headers in (signed(), under_v1()))

    assert (form.signer(keys, both).kind, form.signer(keys, hmac_only).kind) == ("ed25519", "hmac-sha256")


def test_a_secret_is_never_shown() -> None:
    """What prints is a mask; the fingerprint is the SHA-256 of the raw bytes, as for every key."""
    encoded = SECRET.removeprefix("whsec_")

    assert encoded not in f"{SHARED} {SHARED!r} {SHARED.text}"
    assert SHARED.fingerprint == hashlib.sha256(bytes(range(24))).hexdigest()
    assert SHARED.text == f"whsec_…{SHARED.fingerprint[:8]}"


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_" + "A" * 28, "whsec_" + "A" * 92, SECRET[:-1], SECRET + "=", SECRET[6:], "whsk_" + SECRET[6:]]
)
def test_a_malformed_secret_is_refused(text: str) -> None:
    """Prefix, base64 and 24 to 64 bytes are checked, and the error does not show it; a registration refuses it as well."""
    with pytest.raises(SettingRefused) as caught:
        HmacKey.from_text(text)

    assert "AAAA" not in str(caught.value)
    if text:
        with pytest.raises(MapRefused, match="shared_secret"):
            read_registration("a test", {**TABLE, "shared_secret": text})


def test_a_platform_may_have_a_secret_and_no_public_key() -> None:
    """Then its answers count under the secret; without either it has no voice."""
    entry = read_registration("a test", TABLE)
    speaker = speaker_of(entry, {"larkchat": entry})

    assert speaker is not None
    assert speaker.keys == (SHARED,)
    with pytest.raises(MapRefused, match="public_keys is missing"):
        read_registration("a test", {name: value for name, value in TABLE.items() if name != "shared_secret"})


def test_the_secret_speaks_beside_the_public_keys() -> None:
    """Public keys come first, so that evidence cites what only the platform could have made."""
    entry = PlatformEntry("larkchat", Category.SOCIAL, None, (KEY.public,), 50, 20.0, 60.0, 3, 5.0, "x", shared_secret=SECRET)
    speaker = speaker_of(entry, {"larkchat": entry})

    assert speaker is not None
    assert speaker.keys == (KEY.public, SHARED)
    assert SECRET not in repr(entry)


@settings(max_examples=300, deadline=None)
@given(st.text(), st.binary())
def test_no_header_makes_receive_crash(signature: str, body: bytes) -> None:
    """Whatever comes in, the only error is SignatureRefused."""
    headers = {"webhook-id": ID, "webhook-timestamp": "1767225600", "webhook-signature": signature}

    assert refused(headers, SHARED, KEY.public, body=body)

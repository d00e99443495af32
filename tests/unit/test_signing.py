"""Signatures: Standard Webhooks v1a, strict on the way in, the same refusal for every fault; test_hmac.py has v1."""

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from fallow.domain.errors import AnswerMalformed, SettingRefused, SignatureRefused
from fallow.domain.ports import SignedDelivery
from fallow.local import simulator_signing
from fallow.platforms.signing import PublicKey, SigningKey, new_delivery_id, receive, sign, verify

AT = datetime(2026, 1, 1, tzinfo=UTC)
BODY = b'{"answers":[]}'
KEY = SigningKey(bytes(range(32)))
KEYS = [KEY.public]
ID = "msg_abcdefghijklmnop"
PAGE = Path(__file__).parents[2] / "docs" / "platforms.md"

# Published by Svix as the vector of its own v1a implementation; made by neither side of ours.
SVIX_SECRET = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="  # noqa: S105 - published
SVIX_PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
SVIX_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SVIX_BODY = b'{"test": 2432232314}'
SVIX_SIGNATURE = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="


def signed(**changed: str) -> dict[str, str]:
    """Return good headers with some of them changed."""
    return {**sign(KEY, ID, AT, BODY), **{name.replace("_", "-"): value for name, value in changed.items()}}


def good() -> str:
    """Return a good signature header."""
    return signed()["webhook-signature"]


def test_the_published_vector_of_another_implementation_is_reproduced() -> None:
    """Our signature equals Svix's for the same key and message, byte for byte."""
    headers = sign(SigningKey.from_text(SVIX_SECRET), SVIX_ID, datetime.fromtimestamp(1614265330, UTC), SVIX_BODY)

    assert headers == {"webhook-id": SVIX_ID, "webhook-timestamp": "1614265330", "webhook-signature": SVIX_SIGNATURE}


def test_the_published_vector_of_another_implementation_verifies() -> None:
    """A kept message verifies years later, with the public key alone."""
    verify([PublicKey.from_text(SVIX_PUBLIC)], SignedDelivery(SVIX_ID, 1614265330, SVIX_SIGNATURE, SVIX_BODY))


def test_a_signature_made_by_hand_is_accepted() -> None:
    """What the specification's words say, done with the cryptography package alone, is what receive takes."""
    content = b"msg_byHandByHandByHand.1767225600." + BODY
    made = base64.b64encode(Ed25519PrivateKey.from_private_bytes(KEY.seed).sign(content)).decode()
    headers = {"webhook-id": "msg_byHandByHandByHand", "webhook-timestamp": "1767225600", "webhook-signature": f"v1a,{made}"}

    delivery = receive(headers, BODY, KEYS, AT)

    assert delivery == SignedDelivery("msg_byHandByHandByHand", 1767225600, f"v1a,{made}", BODY)


def test_the_simulator_and_the_engine_understand_each_other() -> None:
    """Two implementations that share no code verify each other's messages."""
    theirs = SigningKey.generate()
    headers = simulator_signing.sign(theirs.text, simulator_signing.new_message_id(), BODY)

    receive(headers, BODY, [theirs.public], datetime.now(UTC))

    assert simulator_signing.is_signed(KEY.public.text, sign(KEY, new_delivery_id(), datetime.now(UTC), BODY), BODY)
    assert simulator_signing.public_half(theirs.text) == theirs.public.text


def test_the_vector_of_the_documentation_verifies() -> None:
    """The worked example a platform's engineer tests against is a true one."""
    block = re.search(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    vector = dict(line.split(maxsplit=1) for line in block[1].splitlines())
    key, body = SigningKey.from_text(vector["secret"]), vector["body"].encode()

    headers = sign(key, vector["id"], datetime.fromtimestamp(int(vector["timestamp"]), UTC), body)

    assert key.public.text == vector["public"]
    assert headers["webhook-signature"] == vector["signature"]


def test_the_snippet_of_the_documentation_works_both_ways() -> None:
    """The Python on the page, run as printed, verifies our messages and signs ones that we accept."""
    snippet = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert snippet is not None
    names: dict[str, Any] = {}
    exec(snippet[1], names)  # noqa: S102 - our own page
    now = datetime.now(UTC)

    names["verify"](sign(KEY, ID, now, BODY), BODY, [KEY.public.text])
    receive(names["sign"](KEY.text, ID, int(now.timestamp()), BODY), BODY, KEYS, now)
    with pytest.raises(ValueError, match="too old"):
        names["verify"](signed(), BODY, [KEY.public.text])


def test_header_names_may_come_in_any_case() -> None:
    """HTTP header names are case-insensitive, and so are ours."""
    headers = {name.title(): value for name, value in signed().items()}

    assert receive(headers, BODY, KEYS, AT).delivery_id == ID


@pytest.mark.parametrize("skew", [-300, -299, 0, 299, 300])
def test_a_timestamp_inside_the_window_is_accepted(skew: int) -> None:
    """A clock may be wrong by five minutes either way."""
    receive(signed(), BODY, KEYS, AT + timedelta(seconds=skew))


@pytest.mark.parametrize("skew", [-86400, -301, 301, 86400])
def test_a_timestamp_outside_the_window_is_refused(skew: int) -> None:
    """A replayed or forward-dated message is refused."""
    with pytest.raises(SignatureRefused):
        receive(signed(), BODY, KEYS, AT + timedelta(seconds=skew))


@pytest.mark.parametrize(
    "header",
    [
        lambda: f"garbage {good()}",
        lambda: f"v1a, {good()}",
        lambda: f"v1a,%%% {good()}",
        lambda: f"v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4= {good()}",
        lambda: f"v1a,é {good()}",
        lambda: f",,, {good()} ,",
        lambda: f"{'v1a,AAAA ' * 7}{good()}",
        lambda: f"  {good()}  ",
    ],
)
def test_garbage_beside_a_good_signature_does_not_spoil_it(header: Callable[[], str]) -> None:
    """One good signature among at most eight tokens suffices, wherever it stands."""
    receive(signed(webhook_signature=header()), BODY, KEYS, AT)


@pytest.mark.parametrize(
    "header",
    [
        lambda: "",
        lambda: "v1a,",
        lambda: good().replace("v1a,", "v1,"),
        lambda: good().replace("v1a,", "v1A,"),
        lambda: good().replace("v1a,", ""),
        lambda: good()[:-4],
        lambda: good() + "AAAA",
        lambda: good().rstrip("="),
        lambda: good()[:10] + "*" + good()[10:],
        lambda: good().replace("v1a,", "v1a,\n"),
        lambda: good().replace(",", ", "),
        lambda: _second_spelling(good()),
        lambda: f"{'v1a,AAAA ' * 8}{good()}",
        lambda: f"{'x' * 3000} {good()}",
        lambda: sign(SigningKey(bytes(32)), ID, AT, BODY)["webhook-signature"],
        lambda: " ".join([good().replace("A", "B", 1) + "="] * 100),
    ],
)
def test_a_bad_signature_is_refused(header: Callable[[], str]) -> None:
    """Wrong scheme, length, alphabet, spelling, key or count: refused, never a crash."""
    with pytest.raises(SignatureRefused):
        receive(signed(webhook_signature=header()), BODY, KEYS, AT)


@pytest.mark.parametrize(
    "stamp",
    ["", "0", "01767225600", "+1767225600", "-1", " 1767225600", "1767225600.7", "1_767_225_600", "1e9", "\u0661\u0667", "9" * 30, "NaN"],
)
def test_a_timestamp_that_is_not_a_plain_integer_is_refused(stamp: str) -> None:
    """Only digits count as a timestamp."""
    with pytest.raises(SignatureRefused):
        receive(signed(webhook_timestamp=stamp), BODY, KEYS, AT)


@pytest.mark.parametrize(
    "id_",
    [
        "",
        "msg_",
        "msg_short",
        "+8613800138000",
        "8613800138000",
        "msg_8613800138000123",
        "msg_8613800138000-abc",
        "evt_abcdefghijklmnop",
        "msg_" + "a" * 65,
        "msg_abcdefghijklmnop\n",
        "msg_äbcdefghijklmnop",
    ],
)
def test_an_id_that_could_be_a_phone_number_is_refused(id_: str) -> None:
    """Ids are stored and logged, so their form rules out a phone number even when the signature over them is good."""
    with pytest.raises(SignatureRefused):
        receive(sign(KEY, id_, AT, BODY), BODY, KEYS, AT)


@pytest.mark.parametrize("id_", ["msg_x33199000000aaaaaaa", "msg_aaaaaaaaaaaaa1234567"])
def test_an_id_with_seven_digits_in_a_row_is_refused_by_name(id_: str) -> None:
    """Its sender is proved, so they are told what to mend, without their id; a kept message under such an id still verifies."""
    headers = sign(KEY, id_, AT, BODY)

    with pytest.raises(AnswerMalformed, match="webhook-id") as refused:
        receive(headers, BODY, KEYS, AT)

    assert id_ not in str(refused.value)
    verify(KEYS, SignedDelivery(id_, int(headers["webhook-timestamp"]), headers["webhook-signature"], BODY))


def test_an_id_with_seven_digits_under_a_bad_signature_is_refused_like_any_other() -> None:
    """Only who has signed is told more."""
    with pytest.raises(SignatureRefused):
        receive(sign(SigningKey(bytes(32)), "msg_x33199000000aaaaaaa", AT, BODY), BODY, KEYS, AT)


def test_our_own_ids_hold_no_seven_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that came out with seven digits in a row is thrown away and made again; the simulator's hold none at all."""
    digits = base64.b32decode("2345672" * 4 + "2345")
    drawn = iter([digits, bytes(20)])
    monkeypatch.setattr("fallow.platforms.signing.secrets.token_bytes", lambda _: next(drawn))

    assert new_delivery_id() == "msg_" + "a" * 26
    assert not any(letter.isdigit() for _ in range(200) for letter in simulator_signing.new_message_id())


JUNK = ["+33199000000", "v1,33199000000", "v1a,33199000000", "33199000000", f"v1a,33199000000{'A' * 73}w==", f"v1,33199000000{'A' * 32}="]


@pytest.mark.parametrize("junk", JUNK)
def test_what_is_kept_of_a_signature_is_the_signature(junk: str) -> None:
    """A token that no key has made can carry anything, a number too: it is ignored and left out of what is kept."""
    delivery = receive(signed(webhook_signature=f"{junk} {good()} {junk}"), BODY, KEYS, AT)

    assert delivery.signature == good()
    verify(KEYS, delivery)
    verify(KEYS, SignedDelivery(ID, delivery.signed_at, f"{good()} {junk}", BODY))  # as one was kept before


@pytest.mark.parametrize("dropped", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_refused(dropped: str) -> None:
    """All three headers are needed."""
    headers = signed()
    del headers[dropped]

    with pytest.raises(SignatureRefused):
        receive(headers, BODY, KEYS, AT)


def test_every_refusal_looks_the_same() -> None:
    """A sender can't learn from the refusal what was wrong."""
    faulty = [signed(webhook_id="x"), signed(webhook_timestamp="x"), signed(webhook_signature="x"), {}]

    refusals: set[str] = set()
    for headers in faulty:
        with pytest.raises(SignatureRefused) as caught:
            receive(headers, BODY, KEYS, AT)
        refusals.add(str(caught.value))

    assert len(refusals) == 1


def test_another_body_is_refused() -> None:
    """One changed byte is enough."""
    with pytest.raises(SignatureRefused):
        receive(signed(), BODY + b" ", KEYS, AT)


def test_any_of_four_keys_will_do_and_a_fifth_is_too_many() -> None:
    """Keys rotate with overlap; no key, or more than four, is a fault of ours that opens nothing."""
    others = [SigningKey.generate().public for _ in range(3)]
    receive(signed(), BODY, [*others, KEY.public], AT)

    for keys in ([], [*others, SigningKey.generate().public, KEY.public]):
        with pytest.raises(SignatureRefused):
            receive(signed(), BODY, keys, AT)


def test_a_key_survives_being_written_and_read() -> None:
    """The text of a key is the whole key, and only asking for it shows it."""
    key = SigningKey.generate()

    assert SigningKey.from_text(key.text) == key
    assert PublicKey.from_text(key.public.text) == key.public
    assert key.text not in f"{key} {key!r}"


@pytest.mark.parametrize(
    "text",
    ["", "whsk_", "whsk_AAAA", "whpk_" + "A" * 43 + "=", "whsk_" + "A" * 42 + "==", KEY.public.text, SVIX_SECRET[:-10] + "AAAAAAAA=="],
)
def test_a_malformed_secret_key_is_refused(text: str) -> None:
    """Prefix, base64, length and public half are checked, and the error does not show the key."""
    with pytest.raises(SettingRefused) as caught:
        SigningKey.from_text(text)
    error = caught.value

    assert "AAAA" not in str(error)


@pytest.mark.parametrize(
    "raw",
    [
        "00" * 32,
        "01" + "00" * 31,
        "00" * 31 + "80",
        "ec" + "ff" * 30 + "7f",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ],
)
def test_a_key_under_which_anybody_can_sign_is_refused(raw: str) -> None:
    """Points of small order are no keys."""
    with pytest.raises(SettingRefused):
        PublicKey.from_text("whpk_" + base64.b64encode(bytes.fromhex(raw)).decode())


def test_the_symmetric_scheme_is_not_accepted_under_a_public_key() -> None:
    """A v1 (HMAC) signature by the reference package, made with the bytes of a public key, is refused: everybody has those."""
    secret = base64.b64encode(KEY.public.raw).decode()
    headers = signed(webhook_signature=Webhook(secret).sign(ID, AT, BODY.decode()))

    with pytest.raises(SignatureRefused):
        receive(headers, BODY, KEYS, AT)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()), st.binary())
def test_no_input_makes_receive_crash(headers: dict[str, str], body: bytes) -> None:
    """Whatever comes in, the only error is SignatureRefused."""
    with pytest.raises(SignatureRefused):
        receive(headers, body, KEYS, AT)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.integers(0, 200), st.characters())
def test_no_mutation_of_a_good_message_is_accepted_as_another(name: str, at: int, put: str) -> None:
    """A changed header is refused, or leaves id, time and body as they were."""
    headers = signed()
    value = headers[name]
    headers[name] = value[: at % (len(value) + 1)] + put + value[at % (len(value) + 1) + 1 :]

    try:
        delivery = receive(headers, BODY, KEYS, AT)
    except SignatureRefused:
        return
    assert (delivery.delivery_id, delivery.signed_at, delivery.body) == (ID, 1767225600, BODY)


def _second_spelling(header: str) -> str:
    """Return the same signature with unused base64 bits set: equal bytes, other text."""
    assert header.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return header[:-3] + alphabet[alphabet.index(header[-3]) + 1] + "=="


def test_the_body_is_never_parsed() -> None:
    """Bytes that are no JSON and no text verify all the same: reading them is the next step's business."""
    body = b"\xff\x00" + json.dumps({}).encode()

    assert receive(sign(KEY, ID, AT, body), body, KEYS, AT).body == body

"""Shared signals: requests pushed as tokens, answers pushed back as tokens, and every way a token can lie."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from adapter_ground import ENGINE, ME, Ground, answering, ground, url_of
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from event_tokens import EVENT, claims, header, respelled, token
from memory_ports import SettableClock
from rude_server import response, transport_to

from fallow.domain.errors import MapRefused, RequestRejected, TargetUnavailable
from fallow.domain.events import Kind
from fallow.domain.number import E164
from fallow.domain.obligations import Outcome, Status
from fallow.platforms.adapters.catalogue import Way, make_platform
from fallow.platforms.adapters.shared_signals import RECYCLED, SharedSignalsPlatform
from fallow.platforms.platform_map import read_registration
from fallow.platforms.signing import PublicKey
from fallow.store import cycles

ED, STRANGER = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32), Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
_DER = RSA_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
KEYS = [PublicKey(ED.public_key().public_bytes_raw()).text, "rsapk_" + base64.b64encode(_DER).decode()]
ISSUER = "http://127.0.0.1:9/events"
TABLE = {"id": ME, "adapter": "shared-signals", "url": ISSUER, "public_keys": KEYS}
SENT = {"content-type": "application/secevent+jwt"}


def _good(here: Ground, event: str = "binding-cleared", **more: Any) -> dict[str, Any]:
    return claims(here.reference, event, here.world.clock.now(), more.pop("issuer", ISSUER), **more)


def _moves(here: Ground) -> int:
    with here.world.installation.db.read() as tx:
        events = cycles.events(tx, here.cycle_id)
    return sum(event.kind is Kind.OBLIGATION_MOVED and event.body["target_id"] == ME for event in events)


def _decoded(text: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


async def test_a_request_is_one_signed_token_a_number(tmp_path: Path) -> None:
    """What is pushed is a token of the engine's key with the number in its subject, and nowhere else."""
    async with answering(lambda _, __: response("202 Accepted")) as server, ground(tmp_path, {**TABLE, "url": url_of(server)}) as here:
        tally = await here.ask()
        http_head, _, body = server.requests[0].partition(b"\r\n\r\n")
        signed, _, signature = body.decode().rpartition(".")
        head, said = (_decoded(each) for each in signed.split("."))
        number = said.pop("sub_id")

        Ed25519PublicKey.from_public_bytes(ENGINE.public.raw).verify(base64.urlsafe_b64decode(signature + "=="), signed.encode())
        assert (tally.failed, len(server.requests), here.owed().asked) == (0, 1, 1)
        assert b"content-type: application/secevent+jwt" in http_head.lower()
        assert head == {"alg": "EdDSA", "typ": "secevent+jwt", "kid": ENGINE.public.fingerprint}
        assert number == {"format": "phone_number", "phone_number": "+33199000000"}
        assert set(said) == {"iss", "jti", "iat", "aud", "txn", "events"}
        assert (said["iss"], said["aud"], said["txn"]) == ("urn:fallow:engine:alpha-pay", url_of(server), here.reference)
        (details,) = said["events"].values()
        assert list(said["events"]) == [EVENT + "unbind-requested"]
        assert {"disconnected_at", "reminder", "legal_basis", "language"} <= set(details)
        assert "33199000000" not in json.dumps(said)


@pytest.mark.parametrize(("key", "alg"), [(ED, "EdDSA"), (ED, "Ed25519"), (RSA_KEY, "RS256")])
async def test_a_pushed_answer_settles_and_the_gate_believes_it(tmp_path: Path, key: Any, alg: str) -> None:
    """A token under either kind of key is acknowledged with an empty 202 and proves the clearance."""
    async with answering(lambda _, __: response("202 Accepted")) as server, ground(tmp_path, {**TABLE, "url": url_of(server)}) as here:
        await here.ask()

        replied = await here.call_back(SENT, token(key, _good(here, issuer=url_of(server)), header(alg)).encode())

        proof = here.proof()
        assert (replied.status_code, replied.content, replied.headers.get("content-type")) == (202, b"", None)
        assert proof is not None
        assert (here.owed().status, proof.genuine, proof.outcome) == (Status.DISCHARGED, True, Outcome.CLEAR)
        assert here.released()


@pytest.mark.parametrize(
    ("event", "status", "attention"),
    [
        ("binding-refused", Status.REFUSED, "platform-refused"),
        ("needs-human", Status.OPEN, "platform-needs-human"),
        ("accepted", Status.OPEN, ""),
    ],
)
async def test_each_event_has_its_effect(tmp_path: Path, event: str, status: Status, attention: str) -> None:
    """A refusal, a call for a person and a mere receipt move the obligation as the words of our own protocol do."""
    async with ground(tmp_path, TABLE) as here:
        replied = await here.call_back(SENT, token(ED, _good(here, event), header("EdDSA")).encode())

        with here.world.installation.db.read() as tx:
            raised = cycles.get(tx, here.cycle_id).attention
        assert (replied.status_code, here.owed().status) == (202, status)
        assert attention in raised


async def test_a_repeat_days_later_has_no_second_effect(tmp_path: Path) -> None:
    """The same token again, unsigned anew as tokens are, is acknowledged alike; its id under another body is refused."""
    async with ground(tmp_path, TABLE) as here:
        said = _good(here)
        first = await here.call_back(SENT, token(ED, said, header("EdDSA")).encode())
        here.world.clock.pass_by(timedelta(days=6))
        again = await here.call_back(SENT, token(ED, said, header("EdDSA")).encode())
        other = await here.call_back(SENT, token(ED, {**said, "events": {EVENT + "binding-refused": {}}}, header("EdDSA")).encode())

        assert [each.status_code for each in (first, again, other)] == [202, 202, 400]
        assert (_moves(here), other.json()["err"]) == (1, "invalid_request")


UNPROVED: dict[str, Callable[[Ground], str]] = {
    "alg none": lambda here: token(None, _good(here), header("none")),
    "no signature under a good alg": lambda here: token(None, _good(here), header("EdDSA")),
    "HMAC under the public key's text": lambda here: token(KEYS[0].encode(), _good(here), header("HS256")),
    "HMAC under the public key's bytes": lambda here: token(ED.public_key().public_bytes_raw(), _good(here), header("HS256")),
    "HMAC under the RSA key's DER": lambda here: token(_DER, _good(here), header("HS256")),
    "HMAC called EdDSA": lambda here: token(ED.public_key().public_bytes_raw(), _good(here), header("EdDSA")),
    "Ed25519 called RS256": lambda here: token(ED, _good(here), header("RS256")),
    "Ed25519 called none": lambda here: token(ED, _good(here), header("none")),
    "RSA called EdDSA": lambda here: token(RSA_KEY, _good(here), header("EdDSA")),
    "a curve nobody registered": lambda here: token(EC_KEY, _good(here), header("ES256")),
    "a stranger's key": lambda here: token(STRANGER, _good(here), header("EdDSA")),
    "a stranger's key brought along": lambda here: token(
        STRANGER, _good(here), header("EdDSA", jwk={"kty": "OKP", "x": base64.b64encode(STRANGER.public_key().public_bytes_raw()).decode()})
    ),
    "a stranger's key under a kid that is a path": lambda here: token(STRANGER, _good(here), header("EdDSA", kid="../../../dev/null")),
    "a key's address in a good header": lambda here: token(ED, _good(here), header("EdDSA", jku="https://evil.example/jwks")),
    "crit in a good header": lambda here: token(ED, _good(here), header("EdDSA", crit=["b64"], b64=False)),
    "an endless kid": lambda here: token(ED, _good(here), header("EdDSA", kid="k" * 201)),
    "algs": lambda here: token(ED, _good(here), header(["EdDSA"])),  # type: ignore[arg-type]
    "a typ that is a list": lambda here: token(ED, _good(here), header("EdDSA", typ=["secevent+jwt"])),
    "a number as kid": lambda here: token(ED, _good(here), header("EdDSA", kid="+447700900123")),
    "another typ": lambda here: token(ED, _good(here), header("EdDSA", typ="JWT")),
    "a header with a key twice": lambda here: token(ED, _good(here), b'{"alg":"none","alg":"EdDSA","typ":"secevent+jwt"}'),
    "eight days old": lambda here: token(ED, _good(here, iat=int(here.world.clock.now().timestamp()) - 8 * 86400), header("EdDSA")),
    "from the future": lambda here: token(ED, _good(here, iat=int(here.world.clock.now().timestamp()) + 301), header("EdDSA")),
    "an instant that is a text": lambda here: token(ED, _good(here, iat="1"), header("EdDSA")),
    "truncated": lambda here: token(ED, _good(here), header("EdDSA"))[:-1],
    "a signature in another spelling": lambda here: respelled(token(ED, _good(here), header("EdDSA"))),
    "padded": lambda here: token(ED, _good(here), header("EdDSA")) + "==",
    "a fourth part": lambda here: token(ED, _good(here), header("EdDSA")) + ".e30",
    "two parts": lambda here: token(ED, _good(here), header("EdDSA")).rpartition(".")[0],
    "a line feed behind": lambda here: token(ED, _good(here), header("EdDSA")) + "\n",
    "another letter in the claims": lambda here: token(ED, _good(here), header("EdDSA")).replace(".ey", ".eY", 1),
    "nothing": lambda _: "",
    "dots": lambda _: "..",
    "sixty thousand dots": lambda _: "." * 60_000,
    "over 16 KiB": lambda here: token(ED, _good(here, txn="x" * 20_000), header("EdDSA")),
    "JSON": lambda here: json.dumps(_good(here)),
}


@pytest.mark.parametrize("forge", UNPROVED.values(), ids=list(UNPROVED))
async def test_an_unproved_token_is_nothing(tmp_path: Path, forge: Callable[[Ground], str]) -> None:
    """Whatever is wrong with signature, header or age: one and the same 400, and nothing changes."""
    async with ground(tmp_path, TABLE) as here:
        replied, garbage = await here.call_back(SENT, forge(here).encode()), await here.call_back(SENT, b"garbage")

        assert (replied.status_code, replied.json()["err"]) == (400, "authentication_failed")
        assert replied.content == garbage.content
        assert _moves(here) == 0


WRONG: dict[str, tuple[str, Callable[[Ground], object]]] = {
    "another audience": ("invalid_audience", lambda here: _good(here, aud="urn:fallow:engine:beta-chat")),
    "two audiences": ("invalid_audience", lambda here: _good(here, aud=["urn:fallow:engine:alpha-pay", "x"])),
    "another issuer": ("invalid_issuer", lambda here: _good(here, iss="https://evil.example/")),
    "no audience": ("invalid_request", lambda here: _good(here, aud=None)),
    "no txn": ("invalid_request", lambda here: _good(here, txn=None)),
    "a subject with a number": (
        "invalid_request",
        lambda here: _good(here, sub_id={"format": "phone_number", "phone_number": "+447700900123"}),
    ),
    "sub": ("invalid_request", lambda here: _good(here, sub="x")),
    "exp": ("invalid_request", lambda here: _good(here, exp=1)),
    "two events": ("invalid_request", lambda here: _good(here, events={EVENT + "accepted": {}, EVENT + "binding-cleared": {}})),
    "no event": ("invalid_request", lambda here: _good(here, events={})),
    "a stranger's event": ("invalid_request", lambda here: _good(here, events={RECYCLED: {}})),
    "more in the event": ("invalid_request", lambda here: _good(here, events={EVENT + "binding-cleared": {"note": "+447700900123"}})),
    "a reason of nobody's": ("invalid_request", lambda here: _good(here, events={EVENT + "binding-refused": {"reason": "+447700900123"}})),
    "a number as txn": ("invalid_request", lambda here: _good(here, txn="+447700900123")),
    "a list as txn": ("invalid_request", lambda here: _good(here, txn=["x"])),
    "a number as id": ("invalid_request", lambda here: _good(here, jti="447700900123")),
    "a number in the id": ("invalid_request", lambda here: _good(here, jti="tel.447700900123")),
    "a claim twice": (
        "invalid_request",
        lambda here: json.dumps(_good(here)).replace('{"iss"', '{"txn": "ref_' + "b" * 26 + '", "iss"').encode(),
    ),
    "a fraction": ("invalid_request", lambda here: json.dumps(_good(here)).replace('"iat": ', '"iat": 0.').encode()),
    "deep": ("invalid_request", lambda _: b"[" * 9_000),
    "no UTF-8": ("invalid_request", lambda _: b"\xff"),
}


@pytest.mark.parametrize(("err", "said"), WRONG.values(), ids=list(WRONG))
async def test_a_proved_token_of_another_form_is_named(tmp_path: Path, err: str, said: Callable[[Ground], object]) -> None:
    """Well signed and not an answer to us: 400 with the error that RFC 8935 has for it, nothing kept, nothing repeated."""
    async with ground(tmp_path, TABLE) as here:
        replied = await here.call_back(SENT, token(ED, said(here), header("EdDSA")).encode())

        assert (replied.status_code, replied.json()["err"], _moves(here)) == (400, err, 0)
        assert set(replied.json()) == {"err", "description"}
        assert b"7700900" not in replied.content


async def test_a_megabyte_is_refused(tmp_path: Path) -> None:
    """The bound of the callback path holds for tokens, too."""
    async with ground(tmp_path, TABLE) as here:
        assert (await here.call_back(SENT, b"e" * 1_000_000)).status_code == 413


@pytest.mark.parametrize(
    ("raw", "error", "shown"),
    [
        (response("400 Bad Request", body=b'{"err":"invalid_request","description":"+447700900123"}'), RequestRejected, "invalid_request"),
        (response("400 Bad Request", body=b'{"err":"invalid_issuer","description":"?"}'), TargetUnavailable, "invalid_issuer"),
        (response("400 Bad Request", body=b'{"err":"+447700900123"}'), RequestRejected, "RFC 8935"),
        (response("400 Bad Request", body=b"x" * 100_000), RequestRejected, "RFC 8935"),
        (response("201 Created"), TargetUnavailable, "201"),
        (response("503 Service Unavailable"), TargetUnavailable, "503"),
    ],
    ids=["about the token", "about names", "an error nobody knows", "no JSON", "201", "503"],
)
async def test_a_refused_push_blames_what_is_to_blame(raw: bytes, error: type[Exception], shown: str) -> None:
    """An error about one token is the number's, an error about keys or names the platform's; nothing of its text is repeated."""
    async with answering(lambda _, __: raw) as server:
        with pytest.raises(error) as caught:
            await _announced(url_of(server))

    assert shown in str(caught.value)
    assert "7700900" not in str(caught.value)


async def _announced(url: str) -> None:
    async with transport_to() as transport:
        entry = read_registration("test", {**TABLE, "url": url, "category": "payment", "contact": "x", "allow_loopback": True})
        platform = make_platform(entry, {}, Way(transport, ENGINE, SettableClock()))
        assert isinstance(platform, SharedSignalsPlatform)
        await platform.announce([E164("+447700900123")])


async def test_a_resale_is_announced_in_the_words_of_risc() -> None:
    """`identifier-recycled` with the number as its subject and nothing else: no attributes, no transaction."""
    async with answering(lambda _, __: response("202 Accepted")) as server:
        await _announced(url_of(server))
        said = _decoded(server.requests[0].partition(b"\r\n\r\n")[2].decode().split(".")[1])

    assert said["events"] == {RECYCLED: {}}
    assert said["sub_id"] == {"format": "phone_number", "phone_number": "+447700900123"}
    assert set(said) == {"iss", "jti", "iat", "aud", "sub_id", "events"}


def test_keyed_hashes_have_no_subject() -> None:
    """A platform that wants its numbers hashed is refused rather than sent plain ones."""
    table = {**TABLE, "category": "payment", "contact": "x", "allow_loopback": True}
    key = "whnk_" + base64.b64encode(bytes(32)).decode()
    entry = read_registration("test", {**table, "number_form": "keyed-hash", "number_key": key})

    with pytest.raises(MapRefused, match="keyed-hash"):
        make_platform(entry, {}, Way(None, ENGINE, None))  # type: ignore[arg-type]

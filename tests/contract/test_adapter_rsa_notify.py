"""RSA-signed notifications: signature over timestamp, nonce and body, the key by its serial, `success`, and repeats for a day."""

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from adapter_ground import ME, Ground, answering, ground, url_of
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rude_server import response

from fallow.domain.errors import MapRefused
from fallow.domain.events import Kind
from fallow.domain.obligations import Outcome, Status
from fallow.platforms.platform_map import read_registration
from fallow.platforms.rsa_form import NONCE_HEADER, SERIAL_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from fallow.platforms.rsa_key import RsaKey
from fallow.platforms.signing import SigningKey
from fallow.store import cycles

Sent = tuple[dict[str, str], bytes]
_NONCE = "n" * 32
_ID = "ntf-2026-0001-abc"


def _text(key: Any) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "rsapk_" + base64.b64encode(der).decode()


KEY, NEXT_KEY, STRANGER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3))
TABLE = {"id": ME, "adapter": "rsa-notify", "url": "http://127.0.0.1:9/x", "public_keys": [_text(KEY), _text(NEXT_KEY)]}


def _serial(key: rsa.RSAPrivateKey) -> str:
    return RsaKey.from_text(_text(key)).serial


def _signed(key: rsa.RSAPrivateKey, body: bytes, at: datetime, nonce: str = _NONCE, serial: str = "") -> dict[str, str]:
    timestamp = int(at.timestamp())
    signature = key.sign(f"{timestamp}\n{nonce}\n".encode() + body + b"\n", PKCS1v15(), SHA256())
    return {
        TIMESTAMP_HEADER: str(timestamp),
        NONCE_HEADER: nonce,
        SERIAL_HEADER: serial or _serial(key),
        SIGNATURE_HEADER: base64.b64encode(signature).decode(),
    }


def _body(reference: str, outcome: str = "clear", id_: str = _ID) -> bytes:
    said = [{"reference": reference, "outcome": outcome}]
    return json.dumps({"id": id_, "event_type": "UNBIND.RESULT", "answers": said}).encode()


def _moves(here: Ground) -> int:
    with here.world.installation.db.read() as tx:
        events = cycles.events(tx, here.cycle_id)
    return sum(event.kind is Kind.OBLIGATION_MOVED and event.body["target_id"] == ME for event in events)


@pytest.mark.parametrize("key", [KEY, NEXT_KEY], ids=["first key", "second key"])
async def test_a_notification_settles_and_is_acknowledged_literally(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    """A request is taken with 202, the answer comes by callback, `success` is all we say, and the gate believes it."""
    async with answering(lambda _, __: response("202 Accepted")) as server, ground(tmp_path, {**TABLE, "url": url_of(server)}) as here:
        await here.ask()
        body = _body(here.reference)

        replied = await here.call_back(_signed(key, body, here.world.clock.now()), body)

        assert (replied.status_code, replied.content) == (200, b"success")
        assert replied.headers["content-type"].partition(";")[0] == "text/plain"
        proof = here.proof()
        assert here.owed().status == Status.DISCHARGED
        assert proof is not None
        assert (proof.genuine, proof.outcome) == (True, Outcome.CLEAR)
        assert here.released()


async def test_an_answer_in_the_response_counts(tmp_path: Path) -> None:
    """The response may carry the signed answer at once."""
    made: list[Ground] = []

    def answer(_: bytes, body: bytes) -> bytes:
        said = _body(json.loads(body)["items"][0]["reference"], "unbound")
        headers = _signed(KEY, said, made[0].world.clock.now())
        return response("200 OK", *(f"{name}: {value}" for name, value in headers.items()), body=said)

    async with answering(answer) as server, ground(tmp_path, {**TABLE, "url": url_of(server)}) as here:
        made.append(here)
        tally = await here.ask()

        assert (tally.discharged, tally.failed, here.owed().status) == (1, 0, Status.DISCHARGED)


async def test_day_long_repeats_change_state_once(tmp_path: Path) -> None:
    """Eight repeats over 25 hours, each signed anew under another nonce, are all acknowledged and have one effect."""
    async with ground(tmp_path, TABLE) as here:
        body = _body(here.reference)
        replied: list[httpx.Response] = []
        for repeat, minutes in enumerate([0, 4, 10, 10, 60, 120, 360, 900]):
            here.world.clock.pass_by(timedelta(minutes=minutes))
            replied.append(await here.call_back(_signed(KEY, body, here.world.clock.now(), f"nonceofrepeat{repeat:03d}"), body))

        assert {(each.status_code, each.content) for each in replied} == {(200, b"success")}
        assert _moves(here) == 1


async def test_a_nonce_is_no_identity(tmp_path: Path) -> None:
    """The same nonce on another signed message is another message; the same id on another body is refused."""
    async with ground(tmp_path, TABLE) as here:
        now = here.world.clock.now()
        bodies = [_body(here.reference), _body(here.reference, "refused", "ntf-2026-0002-abc"), _body(here.reference, "refused")]

        replied = [await here.call_back(_signed(KEY, body, now), body) for body in bodies]

        assert [each.status_code for each in replied] == [200, 200, 400]
        assert (here.owed().status, _moves(here)) == (Status.REFUSED, 2)


def _with(name: str, value: Callable[[str], str]) -> Callable[[Sent], Sent]:
    return lambda sent: ({**sent[0], name: value(sent[0][name])}, sent[1])


FORGED: dict[str, Callable[[Sent, datetime], Sent]] = {
    "a stranger's key": lambda sent, at: (_signed(STRANGER, sent[1], at), sent[1]),
    "a stranger's key under a registered serial": lambda sent, at: (_signed(STRANGER, sent[1], at, serial=_serial(KEY)), sent[1]),
    "another registered key's serial": lambda sent, at: (_signed(KEY, sent[1], at, serial=_serial(NEXT_KEY)), sent[1]),
    "an unknown serial": lambda sent, at: (_signed(KEY, sent[1], at, serial="A" * 40), sent[1]),
    "a serial that is a path": lambda sent, at: (_signed(KEY, sent[1], at, serial="../../etc/passwd"), sent[1]),
    "301 s old": lambda sent, at: (_signed(KEY, sent[1], at - timedelta(seconds=301)), sent[1]),
    "301 s ahead": lambda sent, at: (_signed(KEY, sent[1], at + timedelta(seconds=301)), sent[1]),
    "another nonce": lambda sent, _: _with(NONCE_HEADER, lambda _: "m" * 32)(sent),
    "a nonce that moves a line": lambda sent, _: _with(NONCE_HEADER, lambda _: "n" * 31)(sent),
    "another timestamp": lambda sent, _: _with(TIMESTAMP_HEADER, lambda text: str(int(text) - 1))(sent),
    "a timestamp with a fraction": lambda sent, _: _with(TIMESTAMP_HEADER, lambda text: text + ".0")(sent),
    "another body": lambda sent, _: (sent[0], sent[1].replace(b"clear", b"unbound")),
    "a line more": lambda sent, _: (sent[0], sent[1] + b"\n"),
    "an empty body": lambda sent, _: (sent[0], b""),
    "no headers": lambda sent, _: ({}, sent[1]),
    "a truncated signature": lambda sent, _: _with(SIGNATURE_HEADER, lambda text: text[:-4])(sent),
    "a signature in another spelling": lambda sent, _: _with(SIGNATURE_HEADER, lambda text: text[:100] + "\t" + text[100:])(sent),
    "an endless signature": lambda sent, _: _with(SIGNATURE_HEADER, lambda text: text * 30)(sent),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=list(FORGED))
async def test_a_forged_notification_is_nothing(tmp_path: Path, forge: Callable[[Sent, datetime], Sent]) -> None:
    """What the platform did not sign just now, under the serial it names, is refused and changes nothing."""
    async with ground(tmp_path, TABLE) as here:
        body, now = _body(here.reference), here.world.clock.now()
        headers, sent = forge((_signed(KEY, body, now), body), now)

        replied = await here.call_back(headers, sent)

        assert (replied.status_code, _moves(here)) == (401, 0)
        assert b"success" not in replied.content


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"[]",
        lambda _: b"\xff",
        lambda _: b"[" * 60_000,
        lambda body: body.replace(b'"id"', b'"ID"'),
        lambda body: body.replace(b"UNBIND.RESULT", b"TRANSACTION.SUCCESS"),
        lambda body: body.replace(_ID.encode(), b"447700900123"),
        lambda body: body.replace(_ID.encode(), b"tel.447700900123"),
        lambda body: body.replace(b'{"id"', b'{"id": "ntf-other-abcdef", "id"'),
        lambda body: body.replace(b'"answers": [', b'"extra": 1, "answers": ['),
        lambda body: body.replace(b'"clear"', b'"+447700900123"'),
        lambda body: body.replace(b'"clear"', b"1.5"),
    ],
    ids=[
        "a list",
        "no UTF-8",
        "deep",
        "no id",
        "another event",
        "a number as id",
        "a number in the id",
        "a key twice",
        "a key more",
        "a number",
        "a fraction",
    ],
)
async def test_a_signed_notification_of_another_form_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """Well signed and outside the form: 400, nothing kept, nothing repeated of it."""
    async with ground(tmp_path, TABLE) as here:
        body = change(_body(here.reference))

        replied = await here.call_back(_signed(KEY, body, here.world.clock.now()), body)

        assert (replied.status_code, _moves(here)) == (400, 0)
        assert b"7700900" not in replied.content


async def test_a_megabyte_is_refused(tmp_path: Path) -> None:
    """The bound of the callback path holds for this form, too."""
    async with ground(tmp_path, TABLE) as here:
        body = b"x" * 1_000_000

        assert (await here.call_back(_signed(KEY, body, here.world.clock.now()), body)).status_code == 413


@pytest.mark.parametrize(
    "text",
    [
        _text(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - that is what is refused
        _text(rsa.generate_private_key(public_exponent=3, key_size=2048)),
        _text(ec.generate_private_key(ec.SECP256R1())),
        _text(KEY)[:-4],
        _text(KEY) + "AAAA",
        "rsapk_",
        "rsapk_" + "A" * 5000,
        SigningKey.generate().public.text,
    ],
    ids=["1024 bits", "exponent 3", "no RSA", "short", "long", "empty", "endless", "Ed25519"],
)
def test_an_unsound_key_is_not_registered(text: str) -> None:
    """2048 bits and exponent 65537 are the least, in one canonical spelling; another adapter's kind is refused."""
    with pytest.raises(MapRefused, match="public_keys"):
        read_registration("test", {**TABLE, "category": "payment", "contact": "x", "allow_loopback": True, "public_keys": [text]})


def test_an_rsa_key_is_no_key_of_our_own_protocol() -> None:
    """The generic adapter verifies Ed25519 only."""
    with pytest.raises(MapRefused, match="public_keys"):
        read_registration("test", {**TABLE, "adapter": "generic", "category": "payment", "contact": "x", "allow_loopback": True})


async def test_a_nonce_that_could_be_a_number_is_refused(tmp_path: Path) -> None:
    """It is kept as it came, beside the body that is sealed."""
    async with ground(tmp_path, TABLE) as here:
        body = _body(here.reference)

        replied = await here.call_back(_signed(KEY, body, here.world.clock.now(), "nonce447700900123"), body)

        assert (replied.status_code, _moves(here)) == (400, 0)
        assert b"7700900" not in replied.content

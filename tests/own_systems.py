"""Somebody's own systems, written for the tests and sharing nothing with the sample: a database, an endpoint, the three files."""

import base64
import json
import secrets
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

#: Numbers that Germany reserves for fiction (BNetzA): the one under test, and a bystander's.
NUMBER, BYSTANDER = "+491713920001", "+491713920002"
DISCONNECTED_AT = "2026-02-01T12:00:00+01:00"
HEADER = "number,country,carrier,range_holder,class,disconnected_at,reason,prior_holders,hold_reference,source_ref"

_POLICY = """
id = "own"
version = 1
[[rule]]
quarantine = "2s"
observed = "1s"
demo = true
source = "a test"
"""
_RECORDS = """
[line_register]
system = "kundendb"
table = "anschluss"
number = { column = "rufnummer", spelling = "e164" }
status = "zustand"
off = ["aus"]
in_service = ["ein"]

[[system]]
id = "kundendb"
url = "sqlite:///kunden.db"

[[system.collection]]
id = "vertrag"
table = "vertrag"
number = { column = "nummer", spelling = "digits" }
until = "seit"
offset = "+01:00"
strategy = "restrict"

[system.collection.restrict]
set = { aktiv = 0 }
basis_column = "grund"
basis = "the law of the test"
expiry_column = "bis"
keep_for = "365d"

[[system.collection]]
id = "gespraech"
table = "gespraech"
number = { column = "von", spelling = "digits" }
until = "beginn"
strategy = "delete"
"""
_PLATFORM = """
[[platform]]
id = "{platform}"
category = "{category}"
url = "http://127.0.0.1:{port}/{platform}"
allow_loopback = true
public_keys = ["{public_key}"]
contact = "the test"
remind_after = "30s"
"""
PLATFORMS = {"own-pay": "payment", "own-chat": "social"}


def a_line(number: str = NUMBER, **cells: str) -> str:
    """Return one line of a file of cancelled numbers."""
    row = {
        "number": number,
        "country": "DE",
        "carrier": "own-tel",
        "range_holder": "own-tel",
        "class": "mobile",
        "disconnected_at": DISCONNECTED_AT,
        "reason": "ordinary",
        "prior_holders": "1",
        "hold_reference": "",
        "source_ref": "T 1",
        **cells,
    }
    return ",".join(row[column] for column in HEADER.split(","))


def a_file_of(*lines: str) -> str:
    """Return a file of cancelled numbers."""
    return "\n".join((HEADER, *lines)) + "\n"


def make_database(path: Path, numbers: tuple[str, ...] = (NUMBER,)) -> None:
    """Make somebody's database: contracts and calls of ``numbers``, and calls of a bystander to them."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            """
            CREATE TABLE anschluss (rufnummer TEXT, zustand TEXT);
            CREATE TABLE vertrag (id INTEGER PRIMARY KEY, nummer TEXT, seit TEXT, aktiv INTEGER, grund TEXT, bis TEXT);
            CREATE TABLE gespraech (id INTEGER PRIMARY KEY, von TEXT, nach TEXT, beginn TEXT);
            """
        )
        for number in numbers:
            digits, other = number.removeprefix("+"), BYSTANDER.removeprefix("+")
            connection.execute("INSERT INTO anschluss VALUES (?, 'aus')", (number,))
            connection.execute("INSERT INTO vertrag (nummer, seit, aktiv) VALUES (?, '2020-01-01', 1)", (digits,))
            for caller, called in ((digits, other), (other, digits)):
                connection.execute("INSERT INTO gespraech (von, nach, beginn) VALUES (?, ?, '2026-01-05T10:00:00Z')", (caller, called))


def write_maps(folder: Path, port: int, public_keys: Mapping[str, str]) -> None:
    """Write policy.toml, records.toml and platforms.toml into ``folder``."""
    (folder / "policy.toml").write_text(_POLICY)
    (folder / "records.toml").write_text(_RECORDS)
    tables = [
        _PLATFORM.format(platform=platform, category=PLATFORMS[platform], port=port, public_key=public_keys[platform])
        for platform in PLATFORMS
    ]
    (folder / "platforms.toml").write_text("\n".join(tables))


@dataclass
class Endpoint:
    """Two platforms behind one HTTP address: own-pay answers in the response, own-chat by signed callback.

    Attributes:
        callback_url: where answers go, with ``{platform_id}`` in it.
        engine_key: ``whpk_…`` of the engine; requests of others are refused.
        asked: platform -> numbers that the engine asked about.
        acknowledged: what the engine replied to callbacks.
    """

    callback_url: str = ""
    engine_key: str = ""
    asked: dict[str, list[str]] = field(default_factory=dict)
    acknowledged: list[Any] = field(default_factory=list)
    _keys: dict[str, Ed25519PrivateKey] = field(default_factory=lambda: {each: Ed25519PrivateKey.generate() for each in PLATFORMS})

    @property
    def public_keys(self) -> dict[str, str]:
        """The platforms' public keys, as they stand in the map."""
        return {each: "whpk_" + base64.b64encode(key.public_key().public_bytes_raw()).decode() for each, key in self._keys.items()}

    def answer(self, platform: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """Take one request of the engine's; return status, body and headers of the response."""
        whole = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        signature = base64.b64decode(headers["webhook-signature"].removeprefix("v1a,"))
        Ed25519PublicKey.from_public_bytes(base64.b64decode(self.engine_key.removeprefix("whpk_"))).verify(signature, whole)
        order = json.loads(body)
        if order["type"] == "fallow.ping.v1":
            pong = json.dumps({"type": "fallow.pong.v1", "challenge": order["challenge"]}).encode()
            return 200, pong, self._signed(platform, pong)
        items = order["items"]
        self.asked.setdefault(platform, []).extend(item["number"] for item in items)
        said = json.dumps({"answers": [{"reference": item["reference"], "outcome": "clear"} for item in items]}).encode()
        if platform == "own-pay":
            return 200, said, self._signed(platform, said)
        threading.Thread(target=self._call_back, args=(platform, said)).start()
        return 202, b"", {}

    def _signed(self, platform: str, body: bytes) -> dict[str, str]:
        delivery, at = "msg_" + "".join(secrets.choice(ascii_lowercase) for _ in range(24)), str(int(time.time()))
        signature = base64.b64encode(self._keys[platform].sign(f"{delivery}.{at}.".encode() + body)).decode()
        return {
            "webhook-id": delivery,
            "webhook-timestamp": at,
            "webhook-signature": f"v1a,{signature}",
            "content-type": "application/json",
        }

    def _call_back(self, platform: str, body: bytes) -> None:
        url = self.callback_url.replace("{platform_id}", platform)
        with urllib.request.urlopen(urllib.request.Request(url, body, self._signed(platform, body)), timeout=10) as reply:  # noqa: S310 - loopback
            self.acknowledged.append(json.load(reply))


@contextmanager
def listening(endpoint: Endpoint) -> Iterator[int]:
    """Serve ``endpoint`` on a free port of 127.0.0.1 and yield the port."""

    class Requests(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, said, headers = endpoint.answer(
                self.path.strip("/"), {name.lower(): value for name, value in self.headers.items()}, body
            )
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(said))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()

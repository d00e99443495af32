"""A record system that speaks the protocol of docs/record-systems.md on a real socket, written apart from the engine's side.

It verifies and signs with the simulator's own code, keeps rows in a list, and can be told to lie. Used by contract tests.
"""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fallow.domain.ports import RecordSystem
from fallow.local import simulator_signing
from fallow.platforms.signed_exchange import SignedExchanges
from fallow.platforms.signing import SigningKey
from fallow.records.http import open_http
from fallow.records.kinds import OpenContext

SYSTEM, ENGINE, STRANGER = ("whsk_" + base64.b64encode(bytes([each]) * 32).decode() for each in (1, 2, 3))

MAP = Path("records.toml")
EARLIER, LATER = "2026-01-01T08:00:00Z", "2026-05-01T08:00:00Z"
LETTERS = {"id": "letters", "strategy": "delete"}
CONTRACTS = {"id": "contracts", "strategy": "restrict", "basis": "tax", "keep_for": "730d"}


@dataclass
class Row:
    """One row of the system.

    Attributes:
        kept_until: for a row kept by law, until when.
    """

    collection: str
    number: str
    began_at: str
    kept_until: str | None = None


@dataclass
class Reply:
    """What is sent back: what a lie may change.

    Attributes:
        signer: whose key signs; None leaves the headers away.
        message_id: the ``webhook-id``.
    """

    status: int
    body: bytes
    message_id: str
    signer: str | None = SYSTEM
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def said(self) -> dict[str, Any]:
        """The body as JSON."""
        answer: dict[str, Any] = json.loads(self.body)
        return answer

    def saying(self, said: object) -> None:
        """Say something else."""
        self.body = json.dumps(said).encode()


@dataclass
class Asked:
    """One request that came in."""

    verb: str
    message_id: str
    head: bytes
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        """The body as JSON."""
        question: dict[str, Any] = json.loads(self.body)
        return question


Lie = Callable[[str, Reply], None]


@dataclass
class RecordServer:
    """The system.

    Attributes:
        rows: what it holds.
        lie: changes a reply before it is signed; gets the verb.
        asked: each request, in order.
        ending: set when the server ends, for a lie that waits.
        lost: once set, every connection ends without an answer.
        drops: verbs whose next answer is lost after the work was done.
    """

    url: str = ""
    strategies: dict[str, str] = field(default_factory=lambda: {"letters": "delete", "contracts": "restrict"})
    rows: list[Row] = field(default_factory=list)
    lie: Lie | None = None
    asked: list[Asked] = field(default_factory=list)
    drops: list[str] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)
    lost: threading.Event = field(default_factory=threading.Event)

    def answer(self, verb: str, body: bytes) -> dict[str, Any]:
        """Do what a request asks; it was verified before."""
        said = json.loads(body)
        assert said["type"] == f"fallow.records.{verb}.v1"
        assert {each["id"]: each["strategy"] for each in said["collections"]} == self.strategies
        return {
            "collections": list(self.strategies),
            "answers": {each["reference"]: self._about(verb, each) for each in said["orders"]},
        }

    def _about(self, verb: str, order: dict[str, Any]) -> dict[str, dict[str, int]]:
        if verb == "expire":
            return {collection: self._expire(order["number"], collection, until) for collection, until in order["kept_until"].items()}
        return {collection: getattr(self, f"_{verb}")(order, collection) for collection in self.strategies}

    def _sorted(self, order: dict[str, Any], collection: str) -> tuple[list[Row], list[Row], list[Row]]:
        """Return the former holder's rows in use, those kept by law, and a newer holder's."""
        at = datetime.fromisoformat(order["disconnected_at"])
        mine = [row for row in self.rows if (row.collection, row.number) == (collection, order["number"])]
        former = [row for row in mine if datetime.fromisoformat(row.began_at) <= at]
        return (
            [row for row in former if not row.kept_until],
            [row for row in former if row.kept_until],
            [r for r in mine if r not in former],
        )

    def _list(self, order: dict[str, Any], collection: str) -> dict[str, int]:
        used, _, newer = self._sorted(order, collection)
        return {"in_scope": len(used), "undecided": 0, "newer": len(newer)}

    def _clear(self, order: dict[str, Any], collection: str) -> dict[str, int]:
        used, _, _ = self._sorted(order, collection)
        for row in used:
            if self.strategies[collection] == "restrict":
                row.kept_until = order["kept_until"][collection]
            else:
                self.rows.remove(row)
        return {"affected": len(used)}

    def _verify(self, order: dict[str, Any], collection: str) -> dict[str, int]:
        used, kept, newer = self._sorted(order, collection)
        return {"remaining": len(used), "newer": len(newer), "kept": len(kept)}

    def _expire(self, number: str, collection: str, until: str) -> dict[str, int]:
        over = [row for row in self.rows if (row.collection, row.number, row.kept_until) == (collection, number, until)]
        for row in over:
            self.rows.remove(row)
        return {"affected": len(over), "remaining": 0}


@contextmanager
def serving_records() -> Iterator[RecordServer]:
    """Serve until the end of the block."""
    system = RecordServer()

    class Connection(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Answer one request."""
            verb, body = self.path.rpartition("/")[2], self.rfile.read(int(self.headers["content-length"]))
            message_id = self.headers["webhook-id"]
            system.asked.append(Asked(verb, message_id, self.requestline.encode() + bytes(self.headers), body))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if not simulator_signing.is_signed(simulator_signing.public_half(ENGINE), headers, body):
                self.send_error(401)
                return
            reply = Reply(200, json.dumps(system.answer(verb, body)).encode(), message_id)
            if system.lost.is_set():
                self.close_connection = True
                return
            if verb in system.drops:
                system.drops.remove(verb)
                self.close_connection = True
                return
            if system.lie is not None:
                system.lie(verb, reply)
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            signed = simulator_signing.sign(reply.signer, reply.message_id, reply.body) if reply.signer else {}
            self.send_response(reply.status)
            for name, value in {**signed, **reply.headers, "content-length": str(len(reply.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Connection)
    system.url = f"http://127.0.0.1:{server.server_port}/records"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield system
    finally:
        system.ending.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Wall:
    """A clock that shows the time, or another one."""

    def __init__(self, ahead: timedelta = timedelta()) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        """Return this instant."""
        return datetime.now(UTC) + self.ahead


@dataclass
class Archive:
    """A record system that serves, and the engine's side of it.

    Attributes:
        clock: the engine's.
    """

    server: RecordServer
    clock: Wall = field(default_factory=Wall)

    def open(self, **changed: object) -> RecordSystem:
        """Open the engine's side with keys of its entry changed."""
        entry = {
            "id": "archive",
            "url": self.server.url,
            "public_keys": [simulator_signing.public_half(SYSTEM)],
            "collections": [LETTERS, CONTRACTS],
            "timeout": "2s",
            "allow_loopback": True,
            **changed,
        }
        return open_http(entry, OpenContext(MAP, SignedExchanges(MAP, lambda: SigningKey.from_text(ENGINE), self.clock)))

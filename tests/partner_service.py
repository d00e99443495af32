"""A platform's service as an engineer would write it after reading one page, on a real socket; and the ways to write it badly.

It shares no code with the engine but verifies and signs by the snippet of examples/verify. A vice is the name of one mistake.
"""

import contextlib
import hashlib
import hmac
import importlib.util
import json
import threading
import time
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SNIPPET = Path(__file__).parents[1] / "examples" / "verify" / "python" / "verify.py"
_MOST_ANSWERS = 500
_ATTEMPTS = 5


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("verify_snippet", _SNIPPET)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SNIPPET = _load()


def mac(key: bytes, content: bytes, digest: str = "sha256") -> bytes:
    """Return an HMAC."""
    return hmac.digest(key, content, digest)


def raw(secret: str) -> bytes:
    """Return the bytes of a shared secret."""
    return b64decode(secret.removeprefix("whsec_"))


def v1(made: bytes) -> str:
    """Return the token of an HMAC."""
    return "v1," + b64encode(made).decode()


#: How HMAC is mistaken, by vice: of the secret, what stands before the body, and the body.
_MISTAKES: dict[str, Callable[[str, bytes, bytes], str]] = {
    "text-key": lambda secret, head, body: v1(mac(secret.encode(), head + body)),
    "base64-key": lambda secret, head, body: v1(mac(secret.removeprefix("whsec_").encode(), head + body)),
    "hmac-of-body": lambda secret, _, body: v1(mac(raw(secret), body)),
    "no-id": lambda secret, head, body: v1(mac(raw(secret), head.partition(b".")[2] + body)),
    "hex": lambda secret, head, body: "v1," + mac(raw(secret), head + body).hex(),
}
#: The same in what it signs, and more.
HMAC_SPELLINGS: dict[str, Callable[[str, bytes, bytes], str]] = {
    **{f"signs-{vice}": made for vice, made in _MISTAKES.items()},
    "signs-sha512": lambda secret, head, body: v1(mac(raw(secret), head + body, "sha512")),
    "signs-as-v1a": lambda secret, head, body: v1(mac(raw(secret), head + body)).replace("v1,", "v1a,"),
    "signs-bare": lambda secret, head, body: v1(mac(raw(secret), head + body)).removeprefix("v1,"),
    "signs-other-secret": lambda _, head, body: v1(mac(b"x" * 32, head + body)),
}
#: And in what it believes.
HMAC_READINGS = {f"reads-{vice}": made for vice, made in _MISTAKES.items()}


def raw_number_key(key: str) -> bytes:
    """Return the bytes of a key for numbers."""
    return b64decode(key.removeprefix("whnk_"))


#: How services hash a number under the key of their registration: rightly, or by vice.
HASHES: dict[str, Callable[[str, str], str]] = {
    "hash": lambda key, number: mac(raw_number_key(key), number.encode()).hex(),
    "hash-text-key": lambda key, number: mac(key.encode(), number.encode()).hex(),
    "hash-base64-key": lambda key, number: mac(key.removeprefix("whnk_").encode(), number.encode()).hex(),
    "hash-no-plus": lambda key, number: mac(raw_number_key(key), number[1:].encode()).hex(),
    "hash-upper": lambda key, number: mac(raw_number_key(key), number.encode()).hex().upper(),
    "hash-base64": lambda key, number: b64encode(mac(raw_number_key(key), number.encode())).decode(),
    "hash-no-key": lambda _, number: hashlib.sha256(number.encode()).hexdigest(),
    "hash-national": lambda key, number: mac(raw_number_key(key), number.replace("+44", "0").encode()).hex(),
}


@dataclass
class PartnerService:
    """One platform.

    Attributes:
        engine_key: whose requests it believes.
        callbacks: where it answers later.
        later: whether it answers everything later; else only what one response can't hold.
        vices: its mistakes.
        port: where it listens.
        said: its answer by reference: it acts once.
        numbers: every number it was asked about.
        ids: callbacks' ids with how often each was sent.
        number_key: what it hashes numbers under, `whnk_…`; "" where it knows numbers.
        bound: numbers that accounts hang on, where it hashes.
        secret: what it signs and verifies with instead of keys, `whsec_…`.
    """

    engine_key: str
    callbacks: str
    later: bool = False
    vices: frozenset[str] = frozenset()
    port: int = 0
    said: dict[str, str] = field(default_factory=dict)
    numbers: set[str] = field(default_factory=set)
    ids: dict[str, int] = field(default_factory=dict)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    secret: str = ""
    number_key: str = ""
    bound: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    callers: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it takes requests."""
        return f"http://127.0.0.1:{self.port}/unbind"

    @property
    def status_url(self) -> str:
        """Where it takes status queries."""
        return f"{self.url}/status"

    @property
    def public_key(self) -> str:
        """What it gives the operator."""
        return "whpk_" + b64encode(self.key.public_key().public_bytes_raw()).decode()

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Return status and body of the response."""
        if not self._believes(headers, body):
            return 401, b""
        asked = json.loads(body)
        if asked["type"] == "fallow.ping.v1":
            return 200, json.dumps({"type": "fallow.pong.v1", "challenge": asked["challenge"]}).encode()
        if asked["type"] == "fallow.status.v1":
            return self._status(asked["references"])
        items = asked["items"]
        self.numbers |= {item["number" if not self.number_key or "wants-number" in self.vices else "number_hash"] for item in items}
        refusal = self._refusal(asked)
        if refusal:
            return refusal, b""
        answers = [{"reference": item["reference"], "outcome": self._act(item)} for item in items]
        if "foreign" in self.vices:
            answers[0]["reference"] = "ref_" + "a" * 26
        if self.later:
            self._later(answers)
            return 202, b""
        self._later(answers[_MOST_ANSWERS:])
        return 200, json.dumps({"answers": answers[:_MOST_ANSWERS]}).encode()

    def signed(self, message_id: str, body: bytes) -> dict[str, str]:
        """Return the headers of a response or a callback."""
        at = int(time.time()) - 1000 * ("late-clock" in self.vices)
        secret = self.secret or "whsk_" + b64encode(self.key.private_bytes_raw()).decode()
        signature = SNIPPET.sign(secret, message_id, at, body)
        if self.vices & HMAC_SPELLINGS.keys():
            (vice,) = self.vices
            signature = HMAC_SPELLINGS[vice](self.secret, f"{message_id}.{at}.".encode(), body)
        elif "body-alone" in self.vices:
            signature = "v1a," + b64encode(self.key.sign(body)).decode()
        headers = {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": signature}
        return {} if "unsigned" in self.vices else headers

    def _status(self, references: list[str]) -> tuple[int, bytes]:
        """Return the response to a status query: what it has said, and nothing of what it was never asked."""
        mistaken = {"status-missing": 404, "status-silent": 204, "status-elsewhere": 202, "status-choosy": 400}
        for vice in self.vices & mistaken.keys():
            return mistaken[vice], b""
        known = [each for each in references if each in self.said or "status-guessing" in self.vices]
        if "status-partial" in self.vices:
            known = known[1:]
        if "status-foreign" in self.vices:
            known.append("ref_" + "a" * 26)
        if not known and "status-empty" not in self.vices:
            return 204, b""
        outcome = "accepted" if "status-vague" in self.vices else "clear"
        return 200, json.dumps({"answers": [{"reference": each, "outcome": outcome} for each in known]}).encode()

    def _believes(self, headers: dict[str, str], body: bytes) -> bool:
        given = [headers.get(f"webhook-{name}") for name in ("id", "timestamp", "signature")]
        if "trusting" in self.vices or ("status-trusting" in self.vices and b"fallow.status.v1" in body):
            return True
        if "fragile" in self.vices and None in given:
            raise KeyError
        if "first-token" in self.vices and given[2]:
            given[2] = given[2].split(" ")[0]
        now = int(given[1] or 0) if "timeless" in self.vices else None
        if vice := next(iter(self.vices & HMAC_READINGS.keys()), None):
            wanted = HMAC_READINGS[vice](self.secret, f"{given[0]}.{given[1]}.".encode(), body)
            return given[2] is not None and wanted in given[2].split(" ")
        return bool(SNIPPET.verify(*given, body, [self.secret or self.engine_key], now))

    def _refusal(self, asked: dict[str, Any]) -> int:
        """Return the status of a refusal that no page asks for; 0: none."""
        shows = {
            "closed-schema": (400, "sandbox_field" in asked),
            "small": (413, len(asked["items"]) > 100),
            "conflict": (409, any(item["reference"] in self.said for item in asked["items"])),
        }
        return next((status for vice, (status, does) in shows.items() if does and vice in self.vices), 0)

    def _act(self, item: dict[str, Any]) -> str:
        reference = item["reference"]
        with self.lock:
            if "forgetful" in self.vices and reference in self.said:
                return "not_bound"
            if reference not in self.said:
                self.said[reference] = "unbound" if "forgetful" in self.vices else self._cut(item)
            return self.said[reference]

    def _cut(self, item: dict[str, Any]) -> str:
        """Unbind the account of a keyed hash and say whether there was one; a service that knows numbers says only that all is clear."""
        if not self.number_key:
            return "clear"
        mine = next((HASHES[vice] for vice in self.vices if vice in HASHES), HASHES["hash"])
        found = {number for number in self.bound if mine(self.number_key, number) == item["number_hash"]}
        self.bound -= found
        words = {True: "unbound", False: "not_bound"}
        return "clear" if "discreet" in self.vices else words[bool(found) or "finds-all" in self.vices]

    def _later(self, answers: list[dict[str, str]]) -> None:
        if "silent" in self.vices:
            return
        for start in range(0, len(answers), _MOST_ANSWERS):
            body = json.dumps({"answers": answers[start : start + _MOST_ANSWERS]}).encode()
            body += b" " * 70_000 * ("wordy" in self.vices)
            caller = threading.Thread(target=self._call, args=(new_id(), body), daemon=True)
            self.callers.append(caller)
            caller.start()

    def _call(self, message_id: str, body: bytes) -> None:
        for _ in range(1 if "giving-up" in self.vices else _ATTEMPTS):
            message_id = new_id() if "new-id" in self.vices else message_id
            self.ids[message_id] = self.ids.get(message_id, 0) + 1
            request = urllib.request.Request(self.callbacks, body, self.signed(message_id, body))  # noqa: S310 - the test's own URL
            try:
                with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - same
                    return
            except (urllib.error.URLError, OSError):
                threading.Event().wait(0.1)


def new_id() -> str:
    """Return an id of letters alone."""
    return "msg_" + "".join(chr(ord("a") + each % 26) for each in Ed25519PrivateKey.generate().private_bytes_raw())


@contextmanager
def serving(service: PartnerService) -> Iterator[PartnerService]:
    """Serve on a free port until the end of the block."""

    class Desk(BaseHTTPRequestHandler):
        """One request after the other of a connection."""

        protocol_version = "HTTP/1.0" if "one-at-a-time" in service.vices else "HTTP/1.1"

        def do_POST(self) -> None:
            """Answer a request."""
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                status, answer = service.answer({name.lower(): value for name, value in self.headers.items()}, body)
            except KeyError:
                status, answer = 500, b""
            self.send_response(status)
            message_id = "msg_" + "s" * 26 if "status-stale" in service.vices else new_id()
            for name, value in (service.signed(message_id, answer) if answer else {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer)))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    kind = HTTPServer if "one-at-a-time" in service.vices else ThreadingHTTPServer
    with kind(("127.0.0.1", 0), Desk) as server:
        service.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
            for caller in service.callers:
                caller.join(5)

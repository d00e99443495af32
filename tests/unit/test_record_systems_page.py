"""The page for whoever builds an HTTP record system: its vector is what the engine sends and takes."""

import json
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fallow.domain.number import E164
from fallow.domain.ports import WipeOrder
from fallow.local import simulator_signing
from fallow.platforms.signing import PublicKey, SigningKey, receive, sign
from fallow.records.http import HttpRecordSystem, open_http
from fallow.records.http_protocol import COUNTS, read_answer
from fallow.records.http_schema import HttpSystem
from fallow.records.kinds import OpenContext

PAGE = (Path(__file__).parents[2] / "docs" / "record-systems.md").read_text("utf-8")
ORDER = WipeOrder("n_example/1", E164("+447700900123"), datetime(2026, 1, 31, 23, 59, tzinfo=UTC), "S-77")


class Sent(Exception):
    """A request, caught before it left."""


def caught(verb: str, delivery_id: str, body: bytes) -> bytes:
    """Catch a request."""
    raise Sent(verb, delivery_id, body)


def system() -> HttpRecordSystem:
    """Open the system of the page's own entry."""
    entry = re.search(r"(?s)```toml\n\[\[system\]\]\n(.*?)```", PAGE)
    assert entry is not None
    table = {key: value for key, value in tomllib.loads(entry[1]).items() if key != "kind"}
    return open_http(table, OpenContext(Path("records.toml"), lambda *_, **__: caught))


@pytest.fixture
def vector() -> dict[str, str]:
    """Return the vector, line by line."""
    block = re.search(r"(?s)```text\n(.*?)```", PAGE)
    assert block is not None
    return dict(line.split(maxsplit=1) for line in block[1].splitlines())


def test_the_vectors_request_is_what_is_sent(vector: dict[str, str]) -> None:
    """Body, idempotency key and signature are the engine's own, to the byte."""
    with pytest.raises(Sent) as sent:
        system().wipe([ORDER])

    verb, delivery_id, body = sent.value.args
    key, at = SigningKey.from_text(vector["engine-secret"]), datetime.fromtimestamp(int(vector["timestamp"]), UTC)
    assert (verb, delivery_id, body.decode()) == ("clear", vector["webhook-id"], vector["request"])
    assert sign(key, delivery_id, at, body)["webhook-signature"] == vector["request-signature"]
    assert key.public.text == vector["engine-public"]


def test_the_vectors_answer_is_taken(vector: dict[str, str]) -> None:
    """It is signed by the system's key under the request's id, and has the counts that the page names."""
    body, at = vector["answer"].encode(), datetime.fromtimestamp(int(vector["timestamp"]), UTC)
    names = {"webhook-id": "webhook-id", "webhook-timestamp": "timestamp", "webhook-signature": "answer-signature"}
    headers = {name: vector[line] for name, line in names.items()}
    delivery = receive(headers, body, [PublicKey.from_text(vector["system-public"])], at)
    (reference,) = json.loads(vector["answer"])["answers"]

    counts = read_answer("clear", delivery.body, {reference: ("letters", "contracts")}, ("letters", "contracts"))

    assert counts[reference] == {"letters": {"affected": 3}, "contracts": {"affected": 1}}
    assert simulator_signing.public_half(vector["system-secret"]) == vector["system-public"]


def test_the_pages_examples_are_the_vectors() -> None:
    """The two bodies that are printed to be read say the same as the vector."""
    request, answer = (json.loads(block) for block in re.findall(r"(?s)```json\n(.*?)```", PAGE))
    block = re.search(r"(?m)^request +(.*)\n.*\nanswer +(.*)$", PAGE)

    assert block is not None
    assert (request, answer) == (json.loads(block[1]), json.loads(block[2]))


def test_the_page_names_every_count_and_key() -> None:
    """What an answer must hold and what an entry may hold is on the page."""
    words = set(re.findall(r"[a-z_]+", PAGE))

    assert {count for counts in COUNTS.values() for count in counts} <= words
    assert set(HttpSystem.model_fields) <= words

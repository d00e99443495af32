"""Shared signals fetched: tokens that wait at the platform (RFC 8936), acknowledged once kept, named where they are bad."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from adapter_ground import ENGINE, ME, Ground, answering, ground, url_of
from builders import references
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from event_tokens import claims, header, token
from memory_ports import START
from rude_server import response

from fallow.domain.collecting import Collecting
from fallow.domain.errors import AnswerMalformed, TargetUnavailable
from fallow.domain.obligations import Status
from fallow.operations.collecting import collect, visited
from fallow.platforms.adapters.shared_signals import MOST_SETS
from fallow.platforms.signing import PublicKey, receive
from workers import loops

KEY, STRANGER = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32), Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)
ISSUER = "http://127.0.0.1:9/events"


@dataclass
class Queue:
    """A platform's end of RFC 8936: tokens wait until they are acknowledged.

    Attributes:
        waiting: tokens by id.
        asked: every poll's body.
        heads: every poll's head and body, raw.
        errors: what it was told of bad tokens.
        emptied: set once something waited and all of it is settled.
    """

    waiting: dict[str, object] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    heads: list[tuple[bytes, bytes]] = field(default_factory=list)
    errors: dict[str, Any] = field(default_factory=dict)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, head: bytes, body: bytes) -> bytes:
        """Answer one poll."""
        self.heads.append((head, body))
        self.asked.append(json.loads(body))
        for jti in [*self.asked[-1]["ack"], *self.asked[-1]["setErrs"]]:
            self.waiting.pop(jti, None)
        self.errors |= self.asked[-1]["setErrs"]
        if not self.waiting:
            self.emptied.set()
        sets = dict(list(self.waiting.items())[: self.asked[-1]["maxEvents"]])
        said = {"sets": sets, "moreAvailable": len(sets) < len(self.waiting)}
        return response("200 OK", "content-type: application/json", body=json.dumps(said).encode())

    def put(self, said: dict[str, Any], key: Any = KEY) -> str:
        """Let an answer wait."""
        self.waiting[said["jti"]] = token(key, said, header("EdDSA"))
        return str(said["jti"])


def _table(url: str) -> dict[str, Any]:
    public = PublicKey(KEY.public_key().public_bytes_raw()).text
    return {"id": ME, "adapter": "shared-signals", "url": ISSUER, "status_url": url, "public_keys": [public]}


def _platform(here: Ground) -> Collecting:
    (platform,) = visited(here.world.installation)
    assert isinstance(platform, Collecting)
    return platform


def _said(here: Ground, event: str = "binding-cleared", **more: Any) -> dict[str, Any]:
    return claims(here.reference, event, here.world.clock.now(), ISSUER, **more)


async def test_a_fetched_answer_settles_and_is_acknowledged(tmp_path: Path) -> None:
    """A token that waits is kept, believed by the gate, and acknowledged with the next poll of the same visit."""
    queue = Queue()
    async with answering(queue.answer) as server, ground(tmp_path, _table(url_of(server))) as here:
        jti = queue.put(_said(here))

        kept = await collect(here.world.installation, _platform(here))

        proof = here.proof()
        assert (kept, here.owed().status) == (1, Status.DISCHARGED)
        assert proof is not None
        assert proof.genuine
        assert [each["ack"] for each in queue.asked] == [[], [jti]]
        assert queue.waiting == {}
        assert {"maxEvents", "returnImmediately", "ack", "setErrs"} == set(queue.asked[0])
        assert here.released()


async def test_a_poll_is_signed_by_the_engine(tmp_path: Path) -> None:
    """The platform can tell who fetches: a poll bears the three headers of our own protocol."""
    queue = Queue()
    async with answering(queue.answer) as server, ground(tmp_path, _table(url_of(server))) as here:
        await collect(here.world.installation, _platform(here))
        head, body = queue.heads[0]
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])

        assert receive(headers, body, [ENGINE.public], START, window=10**9).body == body


async def test_bad_tokens_hide_no_good_one(tmp_path: Path) -> None:
    """Each bad token is named with its error and comes no more; the good one among them counts."""
    queue = Queue()
    async with answering(queue.answer) as server, ground(tmp_path, _table(url_of(server))) as here:
        forged = queue.put(_said(here, "binding-refused"), STRANGER)
        foreign = queue.put(_said(here, aud="urn:fallow:engine:beta-chat"))
        queue.waiting |= {
            "not-a-text-1": 7,
            "not-a-token": "a.b.c",
            "list-as-alg": token(KEY, _said(here), header(["EdDSA"])),  # type: ignore[arg-type]
            "surrogate-x": "\ud800",
            "another-id": token(KEY, _said(here), header("EdDSA")),
        }
        queue.put(_said(here))

        kept = await collect(here.world.installation, _platform(here))

        assert (kept, here.owed().status, queue.waiting) == (1, Status.DISCHARGED, {})
        assert {jti: each["err"] for jti, each in queue.errors.items()} == {
            forged: "authentication_failed",
            foreign: "invalid_audience",
            "not-a-text-1": "authentication_failed",
            "not-a-token": "authentication_failed",
            "list-as-alg": "authentication_failed",
            "surrogate-x": "authentication_failed",
            "another-id": "invalid_request",
        }


async def test_an_acknowledgement_that_got_lost_is_given_again(tmp_path: Path) -> None:
    """After a visit that broke off the token comes again, has no second effect, and is acknowledged then."""
    queue = Queue()
    async with answering(queue.answer) as server, ground(tmp_path, _table(url_of(server))) as here:
        platform, jti = _platform(here), queue.put(_said(here))
        (delivery,) = await platform.collect()

        kept = await collect(here.world.installation, platform)

        assert delivery.delivery_id.startswith("set_")
        assert (kept, queue.asked[-1]["ack"], queue.waiting) == (1, [jti], {})


async def test_an_answer_about_another_s_reference_is_unknown(tmp_path: Path) -> None:
    """A token fetched from one platform settles nothing of another's."""
    queue = Queue()
    async with answering(queue.answer) as server, ground(tmp_path, _table(url_of(server))) as here:
        queue.put(claims(references(here.world, here.cycle_id)["gamma-bank"], "binding-cleared", here.world.clock.now(), ISSUER))

        await collect(here.world.installation, _platform(here))

        assert (here.owed("gamma-bank").status, here.owed().status) == (Status.OPEN, Status.OPEN)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (response("200 OK", body=b""), AnswerMalformed),
        (response("200 OK", body=b'{"sets":[]}'), AnswerMalformed),
        (response("200 OK", body=b'{"sets":{},"more":1}'), AnswerMalformed),
        (response("200 OK", body=b'{"sets":{},"sets":{}}'), AnswerMalformed),
        (response("200 OK", body=json.dumps({"sets": {f"id-{n:08d}": "x" for n in range(MOST_SETS + 1)}}).encode()), AnswerMalformed),
        (response("200 OK", body=b"[" * 200_000), AnswerMalformed),
        (response("200 OK", body=b"x" * 300_000), TargetUnavailable),
        (response("500 Internal Server Error"), TargetUnavailable),
    ],
    ids=["empty", "a list", "a key more", "a key twice", "too many", "deep", "too long", "500"],
)
async def test_a_poll_that_is_answered_badly_is_told_apart(tmp_path: Path, raw: bytes, error: type[Exception]) -> None:
    """Another form, too much or no success: an error of its own, and nothing is taken."""
    async with answering(lambda _, __: raw) as server, ground(tmp_path, _table(url_of(server))) as here:
        with pytest.raises(error):
            await collect(here.world.installation, _platform(here))

        assert here.owed().status == Status.OPEN


async def test_a_worker_fetches_by_itself(tmp_path: Path) -> None:
    """The loop of a worker visits the platform without being told, and ends when it is stopped."""
    queue, stop = Queue(), asyncio.Event()
    async with answering(queue.answer) as server, ground(tmp_path, _table(url_of(server))) as here:
        queue.put(_said(here))
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(loops.visit(here.world.installation, stop))
            while len(queue.asked) < 2:
                await asyncio.wait([asyncio.ensure_future(server.asked.wait())], timeout=0.01)
                server.asked.clear()
            stop.set()

        assert (here.owed().status, queue.waiting) == (Status.DISCHARGED, {})


async def test_without_an_address_nothing_is_fetched(tmp_path: Path) -> None:
    """A platform that pushes only is never polled."""
    async with ground(tmp_path, _table("")) as here:
        assert await collect(here.world.installation, _platform(here)) == 0

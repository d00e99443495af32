"""An HTTP record system that lies, refuses or is gone: none of it is ever a receipt, and none of it shows a number."""

import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from carrier_database import FORMER, OTHER, order
from record_server import ENGINE, STRANGER, SYSTEM, Archive, Reply

from fallow.domain.errors import FallowError, MapRefused, TargetUnavailable, WipeRefused
from fallow.local.simulator_signing import sign


def demand_silent(error: FallowError) -> None:
    """Check that an error shows no number, with all that is chained to it."""
    assert "13800000001" not in "".join(traceback.format_exception(error, chain=True))


def changed(*path: str | None, to: object) -> Callable[[Reply], None]:
    """Return a lie: one thing in the answers is something else; None stands for the only key, ``to=None`` takes it out."""

    def lie(reply: Reply) -> None:
        said = reply.said
        inner = said
        for key in path[:-1]:
            inner = inner[key if key is not None else next(iter(inner))]
        last = path[-1] if path[-1] is not None else next(iter(inner))
        if to is None:
            del inner[last]
        else:
            inner[last] = to
        reply.saying(said)

    return lie


def says(body: bytes) -> Callable[[Reply], None]:
    """Return a lie: the body is another, signed."""
    return lambda reply: setattr(reply, "body", body)


def renamed(reply: Reply) -> None:
    """Answer for another number's reference."""
    said = reply.said
    reply.saying({**said, "answers": dict.fromkeys(["ref_" + "b" * 32], next(iter(said["answers"].values())))})


def doubled(reply: Reply) -> None:
    """Name one collection twice, first with other counts."""
    reply.body = reply.body.replace(b'"letters": {', b'"letters": {}, "letters": {')


COUNT = ("answers", None, "letters", "remaining")
LIES: dict[str, Callable[[Reply], None]] = {
    "a missing reference": changed("answers", None, to=None),
    "another number's answer": renamed,
    "one reference too many": changed("answers", "ref_" + "b" * 32, to={}),
    "a missing collection": changed("answers", None, "letters", to=None),
    "a collection too many": changed("answers", None, "extra", to={"remaining": 0, "newer": 0, "kept": 0}),
    "a collection twice": doubled,
    "a missing count": changed("answers", None, "letters", "kept", to=None),
    "a count too many": changed("answers", None, "letters", "affected", to=0),
    "a negative count": changed(*COUNT, to=-1),
    "a huge count": changed(*COUNT, to=2**53 + 1),
    "a count of 5,000 digits": says(b'{"collections":["letters","contracts"],"answers":{"r":' + b"9" * 5_000 + b"}}"),
    "a truth value": changed(*COUNT, to=False),
    "a fraction": changed(*COUNT, to=0.0),
    "a text": changed(*COUNT, to="0"),
    "the number": changed(*COUNT, to=FORMER.text),
    "answers in a list": changed("answers", to=[]),
    "one more key": changed("done", to=True),
    "no list of collections": changed("collections", to=None),
    "a refusal of a look": lambda reply: reply.saying({"refused": list(reply.said["answers"])}),
    "no JSON": says(b"wiped 13800000001"),
    "no object": says(b"[]"),
    "not UTF-8": says(b"\xff"),
    "deep nesting": says(b"[" * 100_000),
    "nothing": says(b""),
    "unsigned": lambda reply: setattr(reply, "signer", None),
    "signed by a stranger": lambda reply: setattr(reply, "signer", STRANGER),
    "signed by ourselves": lambda reply: setattr(reply, "signer", ENGINE),
    "altered after it was signed": lambda reply: reply.headers.update(sign(SYSTEM, reply.message_id, b"other")),
    "an answer to another request": lambda reply: setattr(reply, "message_id", "msg_" + "a" * 32),
    "too long": lambda reply: setattr(reply, "body", reply.body + b" " * 300_000),
    "compressed": lambda reply: reply.headers.update({"content-encoding": "gzip"}),
    "a redirect": lambda reply: (setattr(reply, "status", 307), reply.headers.update(location="http://127.0.0.1:1/x"))[0],
    "an error": lambda reply: setattr(reply, "status", 500),
    "not found": lambda reply: setattr(reply, "status", 404),
    "a bad request": lambda reply: setattr(reply, "status", 400),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lie_is_no_receipt(archive: Archive, lie: Callable[[Reply], None]) -> None:
    """Whatever is not the signed, complete answer to this very request counts as none, is asked again, and shows no number."""
    archive.server.lie = lambda verb, reply: lie(reply) if verb == "verify" else None
    system = archive.open()

    with pytest.raises(TargetUnavailable) as caught:
        system.wipe([order()])

    demand_silent(caught.value)
    archive.server.lie = None
    assert [each.remaining for each in system.wipe([order()])[0].collections] == [0, 0]


def test_a_replayed_answer_is_no_receipt(archive: Archive) -> None:
    """A true answer of yesterday's request, or of this batch's other look, is not this one's: each look has an id of its own."""
    system, heard = archive.open(), list[Reply]()
    archive.server.lie = lambda _, reply: heard.append(replace(reply))
    system.read_back([order()])
    archive.server.lie = lambda _, reply: (setattr(reply, "body", heard[0].body), setattr(reply, "message_id", heard[0].message_id))[0]

    with pytest.raises(TargetUnavailable, match="another request"):
        system.read_back([order()])


@pytest.mark.parametrize("minutes", [-10, 10])
def test_an_answer_of_another_time_is_no_receipt(archive: Archive, minutes: int) -> None:
    """A signature that is not of now is not believed, whoever made it, nor does the system believe ours."""
    archive.clock.ahead = timedelta(minutes=minutes)

    with pytest.raises(TargetUnavailable):
        archive.open().find([order()])


def test_an_answer_to_clear_is_none_to_verify(archive: Archive) -> None:
    """The counts of one question do not pass for those of another."""
    archive.server.lie = lambda verb, reply: changed("answers", None, "letters", to={"affected": 0})(reply) if verb == "verify" else None

    with pytest.raises(TargetUnavailable):
        archive.open().wipe([order()])


@pytest.mark.parametrize("status", [200, 409, 422])
def test_a_signed_refusal_is_a_refusal(archive: Archive, status: int) -> None:
    """What the system will not clear is said by reference and signed; the status beside it, which nobody signs, does not matter."""

    def refuse(_: str, reply: Reply) -> None:
        reply.saying({"refused": list(reply.said["answers"])[:1]})
        reply.status = status

    archive.server.lie = refuse

    with pytest.raises(WipeRefused, match="1 of 2 orders") as caught:
        archive.open().wipe([order(), replace(order(OTHER), cycle_id="number-2/1")])

    demand_silent(caught.value)


@pytest.mark.parametrize(
    "lie",
    [
        lambda reply: setattr(reply, "signer", None),
        lambda reply: reply.saying({"refused": ["ref_" + "b" * 32]}),
        lambda reply: reply.saying({"refused": []}),
        lambda reply: reply.saying({"refused": [[]]}),
    ],
    ids=["unsigned", "of a stranger", "of nothing", "of no reference"],
)
def test_a_refusal_that_proves_nothing_is_trouble(archive: Archive, lie: Callable[[Reply], None]) -> None:
    """Any proxy can answer 409: without the system's signature and our references it is asked again."""

    def refuse(_: str, reply: Reply) -> None:
        reply.saying({"refused": list(reply.said["answers"])})
        lie(reply)
        reply.status = 409

    archive.server.lie = refuse

    with pytest.raises(TargetUnavailable):
        archive.open().wipe([order()])


def test_a_system_that_is_slow_or_down_is_unavailable(archive: Archive) -> None:
    """Neither hangs: a request has a time limit, and a closed port is known at once."""
    archive.server.lie = lambda _verb, _reply: (archive.server.ending.wait(30), None)[1]

    for system in (archive.open(timeout="1s"), archive.open(url="http://127.0.0.1:1/records")):
        with pytest.raises(TargetUnavailable) as caught:
            system.wipe([order()])
        demand_silent(caught.value)
    archive.server.ending.set()


def test_other_collections_are_a_fault_of_the_map(archive: Archive) -> None:
    """A system that clears more, or less, than the map names is refused by name before a number is sent, and when one is."""
    system = archive.open()
    system.check()
    assert archive.server.asked[0].said["orders"] == []
    archive.server.lie = lambda _, reply: reply.saying({**reply.said, "collections": ["contracts", "backups"]})

    with pytest.raises(MapRefused, match="does not know letters"):
        system.check()
    with pytest.raises(MapRefused):
        system.wipe([order()])

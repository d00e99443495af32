"""Files out and in: written whole, read within bounds, moved once; and a folder that its other party has filled with traps."""

import csv
import os
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from adapter_ground import ENGINE, ME, Ground, ground
from memory_ports import START

from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.domain.events import Kind
from fallow.domain.obligations import Outcome, Status
from fallow.operations.collecting import collect, visited
from fallow.platforms.adapters.catalogue import Way, make_platform
from fallow.platforms.adapters.file_drop import COLUMNS, FileDropPlatform
from fallow.platforms.platform_map import read_registration
from fallow.platforms.signing import SigningKey, new_delivery_id, receive, sign
from fallow.store import cycles

KEY, STRANGER = SigningKey(bytes([5] * 32)), SigningKey(bytes([6] * 32))
_ID = "msg_fileFileFileFileFile"


def _table(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "drop"
    folder.mkdir(exist_ok=True)
    return {"id": ME, "adapter": "file-drop", "folder": str(folder), "public_keys": [KEY.public.text], "contract": "C-1, second part"}


def _proof(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\n" for name, value in headers.items()).encode()


def _put(tmp_path: Path, body: bytes, *, name: str = "answers.csv", key: SigningKey = KEY, id_: str = _ID, at: datetime = START) -> None:
    folder = tmp_path / "drop" / "in"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.sig").write_bytes(_proof(sign(key, id_, at, body)))
    (folder / name).write_bytes(body)


def _answer(here: Ground, outcome: str = "clear", head: str = "reference,outcome", more: str = "") -> bytes:
    return f"{head}\n{here.reference},{outcome}{more}\n".encode()


async def _visit(here: Ground) -> int:
    (platform,) = visited(here.world.installation)
    assert isinstance(platform, FileDropPlatform)
    return await collect(here.world.installation, platform)


def _lying(tmp_path: Path, folder: str) -> list[str]:
    place = tmp_path / "drop" / folder
    return sorted(each.name for each in place.iterdir() if not each.is_dir() or each.is_symlink()) if place.exists() else []


def _moves(here: Ground) -> int:
    with here.world.installation.db.read() as tx:
        events = cycles.events(tx, here.cycle_id)
    return sum(event.kind is Kind.OBLIGATION_MOVED and event.body["target_id"] == ME for event in events)


async def test_a_request_is_a_signed_file_written_whole(tmp_path: Path) -> None:
    """One CSV file and its signature lie in `out`, named by the delivery, verifiable with the engine's key, nothing half-written."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        tally = await here.ask()
        proof, body = (tmp_path / "drop" / "out" / name for name in sorted(_lying(tmp_path, "out"), reverse=True))
        headers = dict(line.split(": ") for line in proof.read_text().splitlines())
        head, row = csv.reader(body.read_text().splitlines())

        assert (tally.failed, here.owed().asked, len(_lying(tmp_path, "out"))) == (0, 1, 2)
        assert (body.name, proof.name) == (f"{headers['webhook-id']}.csv", f"{headers['webhook-id']}.csv.sig")
        assert receive(headers, body.read_bytes(), [ENGINE.public], here.world.clock.now()).delivery_id == headers["webhook-id"]
        assert tuple(head) == COLUMNS
        assert row[:2] == [here.reference, "+33199000000"]
        assert row[-2] == "C-1, second part"
        assert "33199000000" not in body.name


async def test_an_answer_that_lay_for_weeks_settles(tmp_path: Path) -> None:
    """No time window: a file signed long ago is believed by collector and gate, and moved to `done`."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        await here.ask()
        _put(tmp_path, _answer(here), at=here.world.clock.now() - timedelta(days=40))

        kept = await _visit(here)

        proof = here.proof()
        assert proof is not None
        assert (kept, here.owed().status, proof.genuine, proof.outcome) == (1, Status.DISCHARGED, True, Outcome.CLEAR)
        assert (_lying(tmp_path, "in"), _lying(tmp_path, "in/done")) == ([], ["answers.csv", "answers.csv.sig"])
        assert here.released()


async def test_a_refusal_may_give_its_reason(tmp_path: Path) -> None:
    """The third column is read, and only for a refusal."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        _put(tmp_path, _answer(here, "refused", "reference,outcome,reason", ",debt"))

        assert (await _visit(here), here.owed().status) == (1, Status.REFUSED)


async def test_the_same_file_again_has_no_second_effect(tmp_path: Path) -> None:
    """A file that is dropped again is done again with no effect; its delivery id on another body is refused."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        for name, body in (("a.csv", _answer(here)), ("a.csv", _answer(here)), ("b.csv", _answer(here, "refused"))):
            _put(tmp_path, body, name=name)
            await _visit(here)

        assert (_moves(here), here.owed().status) == (1, Status.DISCHARGED)
        assert len(_lying(tmp_path, "in/done")) == 4
        assert _lying(tmp_path, "in/refused") == ["b.csv", "b.csv.reason", "b.csv.sig"]


async def test_two_files_under_one_id_are_taken_one_after_the_other(tmp_path: Path) -> None:
    """The second of two files with one delivery id does not displace the first."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        _put(tmp_path, _answer(here), name="a.csv")
        _put(tmp_path, _answer(here, "refused"), name="b.csv")

        await _visit(here)

        assert here.owed().status == Status.DISCHARGED
        assert (_lying(tmp_path, "in/done"), len(_lying(tmp_path, "in/refused"))) == (["a.csv", "a.csv.sig"], 3)


async def test_what_is_not_complete_waits(tmp_path: Path) -> None:
    """A file without its signature, and one that still has a name with a dot in front, stay where they are."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        _put(tmp_path, _answer(here))
        (tmp_path / "drop" / "in" / "answers.csv.sig").unlink()
        _put(tmp_path, _answer(here), name=".half.csv")

        assert (await _visit(here), _moves(here)) == (0, 0)
        assert _lying(tmp_path, "in") == [".half.csv", ".half.csv.sig", "answers.csv"]


UNSIGNED: dict[str, Callable[[Path, Ground], None]] = {
    "a stranger's key": lambda path, here: _put(path, _answer(here), key=STRANGER),
    "our own key": lambda path, here: _put(path, _answer(here), key=ENGINE),
    "another body": lambda path, here: (_put(path, _answer(here)), (path / "drop/in/answers.csv").write_bytes(b"reference,outcome\n"))[0],
    "an empty signature": lambda path, here: (_put(path, _answer(here)), (path / "drop/in/answers.csv.sig").write_bytes(b""))[0],
    "a signature with a line more": lambda path, here: (
        _put(path, _answer(here)),
        (path / "drop/in/answers.csv.sig").write_bytes((path / "drop/in/answers.csv.sig").read_bytes() + b"webhook-id: x\n"),
    )[0],
    "an endless signature": lambda path, here: (_put(path, _answer(here)), (path / "drop/in/answers.csv.sig").write_bytes(b"x" * 5000))[0],
    "too long": lambda path, here: _put(path, _answer(here) + b"\n" * 65_536),
    "a number as id": lambda path, here: _put(path, _answer(here), id_="msg_x447700900123aaaaaaa"),
}
MALFORMED: dict[str, Callable[[Ground], bytes]] = {
    "no head": lambda here: f"{here.reference},clear\n".encode(),
    "another head": lambda here: _answer(here, head="reference,outcome,note", more=","),
    "a column more": lambda here: _answer(here, more=",x"),
    "a column less": lambda here: _answer(here, head="reference,outcome,reason"),
    "a number for an outcome": lambda here: _answer(here, "+447700900123"),
    "a number for a reason": lambda here: _answer(here, "refused", "reference,outcome,reason", ",+447700900123"),
    "a reason of a clearance": lambda here: _answer(here, "clear", "reference,outcome,reason", ",debt"),
    "quotes": lambda here: f'reference,outcome\n"{here.reference}",clear\n'.encode(),
    "no rows": lambda _: b"reference,outcome\n",
    "a row twice": lambda here: _answer(here) + f"{here.reference},refused\n".encode(),
    "an empty row": lambda here: _answer(here) + b"\n\n",
    "nothing": lambda _: b"",
    "no ASCII": lambda here: _answer(here) + "é".encode(),
    "a byte of nothing": lambda here: _answer(here, "clear\0"),
}


@pytest.mark.parametrize("put", UNSIGNED.values(), ids=list(UNSIGNED))
async def test_a_file_that_is_not_the_platform_s_is_refused(tmp_path: Path, put: Callable[[Path, Ground], None]) -> None:
    """It goes to `refused` with a reason that repeats nothing of it, and has no effect."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        put(tmp_path, here)

        assert (await _visit(here), _moves(here), _lying(tmp_path, "in")) == (0, 0, [])
        assert _lying(tmp_path, "in/refused") == ["answers.csv", "answers.csv.reason", "answers.csv.sig"]
        assert "Remedy" in (tmp_path / "drop/in/refused/answers.csv.reason").read_text()


@pytest.mark.parametrize("made", MALFORMED.values(), ids=list(MALFORMED))
async def test_a_signed_file_of_another_form_is_refused(tmp_path: Path, made: Callable[[Ground], bytes]) -> None:
    """Columns are strict: nothing but a reference, an outcome and a reason has a place."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        _put(tmp_path, made(here))

        assert (await _visit(here), _moves(here)) == (0, 0)
        reason = (tmp_path / "drop/in/refused/answers.csv.reason").read_text()
        assert "Remedy" in reason
        assert "7700900" not in reason


async def test_no_link_is_followed(tmp_path: Path) -> None:
    """A link is moved away as a link, whatever it points to, and a pipe does not hold the visit up."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        _put(tmp_path, _answer(here))
        folder, elsewhere = tmp_path / "drop" / "in", tmp_path / "elsewhere.csv"
        (folder / "answers.csv").rename(elsewhere)
        (folder / "answers.csv").symlink_to(elsewhere)
        os.mkfifo(folder / "pipe.csv")
        os.mkfifo(folder / "pipe.csv.sig")

        assert (await _visit(here), _moves(here)) == (0, 0)
        assert elsewhere.read_bytes() == _answer(here)
        assert (folder / "refused" / "answers.csv").is_symlink()


@pytest.mark.parametrize("name", ["in", "out", "in/done"])
async def test_a_folder_that_became_a_link_is_not_used(tmp_path: Path, name: str) -> None:
    """Neither requests nor answers leave the folder through a link, and the trouble is the platform's."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        _put(tmp_path, _answer(here))
        (platform,) = visited(here.world.installation)
        assert isinstance(platform, FileDropPlatform)
        place = tmp_path / "drop" / name
        if place.exists():
            place.rename(tmp_path / "moved")
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")

        tally = await here.ask()
        with pytest.raises(TargetUnavailable) if name != "out" else nullcontext():
            await collect(here.world.installation, platform)

        assert tally.failed == (1 if name == "out" else 0)
        assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_missing_folder_is_trouble_of_the_platform(tmp_path: Path) -> None:
    """A disk that is not mounted is tried again, as a server that is down is."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        (tmp_path / "drop").rmdir()

        assert (await here.ask()).failed == 1
        with pytest.raises(TargetUnavailable, match=ME):
            await _visit(here)


async def test_a_platform_of_files_may_call_back_as_well(tmp_path: Path) -> None:
    """The same CSV by callback counts within the window of callbacks, and only there."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        body, now = _answer(here), here.world.clock.now()
        old = await here.call_back(sign(KEY, new_delivery_id(), now - timedelta(days=1), body), body)
        fresh = await here.call_back(sign(KEY, new_delivery_id(), now, body), body)

        proof = here.proof()
        assert (old.status_code, fresh.status_code) == (401, 200)
        assert proof is not None
        assert proof.genuine


async def test_a_json_answer_is_no_file(tmp_path: Path) -> None:
    """A message of our own protocol in a file is refused: each scheme is read in its own way."""
    async with ground(tmp_path, _table(tmp_path)) as here:
        _put(tmp_path, b'{"answers":[{"reference":"%s","outcome":"clear"}]}' % here.reference.encode())

        assert (await _visit(here), _moves(here)) == (0, 0)


@pytest.mark.parametrize("more", [{"number_form": "keyed-hash", "number_key": "whnk_" + "A" * 43 + "="}])
def test_a_form_that_files_do_not_have_is_refused(tmp_path: Path, more: dict[str, str]) -> None:
    """A platform that wants its numbers hashed is refused rather than sent plain ones."""
    entry = read_registration("test", {**_table(tmp_path), "category": "payment", "contact": "x", **more})

    with pytest.raises(MapRefused, match="keyed-hash"):
        make_platform(entry, {}, Way(None, ENGINE, None))  # type: ignore[arg-type]

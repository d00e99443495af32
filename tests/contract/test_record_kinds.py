"""What each kind of record system must keep, ours or another's: the contract over kinds."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from carrier_database import FORMER, OTHER, order
from record_server import EARLIER, LATER, LETTERS, Archive, Row, serving_records

from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.domain.ports import RecordSystem
from fallow.records.kinds import OpenContext, open_system

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "record-system-files"
SQL = (ROOT / "examples" / "records.toml").read_text("utf-8")
FILES = '\n[[system]]\nid = "letters"\nkind = "files"\nfolder = "letters"\ncollections = ["sent"]\n'
LETTERS_TABLE = """
id = "letters"
url = "sqlite:///letters.db"
[[collection]]
id = "sent"
table = "letters"
number = { column = "number", spelling = "e164" }
until = "began_at"
strategy = "delete"
"""
ROWS = [(FORMER.text, EARLIER), (FORMER.text, LATER), (OTHER.text, EARLIER)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example as its README says, into a folder of its own, from a copy: building leaves files behind."""
    source, target = tmp_path_factory.mktemp("source") / "example", tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLE, source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True, timeout=120)
    return target


@dataclass
class Ground:
    """A system of some kind that holds :data:`ROWS`, and what its owner sees of it."""

    system: RecordSystem
    rows: Callable[[], list[tuple[str, str]]]
    lose: Callable[[], object]


def _http(_tmp_path: Path, _installed: Path) -> Iterator[Ground]:
    with serving_records() as server:
        server.strategies = {"letters": "delete"}
        server.rows += [Row("letters", *row) for row in ROWS]
        system = Archive(server).open(collections=[LETTERS])
        yield Ground(system, lambda: [(row.number, row.began_at) for row in server.rows], server.lost.set)


def _files(tmp_path: Path, installed: Path) -> Iterator[Ground]:
    file = tmp_path / "letters" / "sent.jsonl"
    file.parent.mkdir()
    file.write_text("".join(f"{json.dumps({'number': number, 'began_at': at})}\n" for number, at in ROWS))
    sys.path.insert(0, str(installed))
    try:
        system = open_system(
            "files", {"id": "letters", "folder": "letters", "collections": ["sent"]}, OpenContext(tmp_path / "records.toml")
        )
    finally:
        sys.path.remove(str(installed))

    def rows() -> list[tuple[str, str]]:
        return [(row["number"], row["began_at"]) for row in map(json.loads, file.read_text().splitlines())]

    yield Ground(system, rows, file.unlink)


def _sql(tmp_path: Path, _installed: Path) -> Iterator[Ground]:
    file = tmp_path / "letters.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE letters (number TEXT, began_at TEXT)")
        connection.executemany("INSERT INTO letters VALUES (?, ?)", ROWS)
    system = open_system("sql", tomllib.loads(LETTERS_TABLE), OpenContext(tmp_path / "records.toml"))

    def rows() -> list[tuple[str, str]]:
        with closing(sqlite3.connect(file)) as connection:
            return connection.execute("SELECT number, began_at FROM letters ORDER BY rowid").fetchall()

    def lose() -> None:
        system.close()
        file.unlink()

    yield Ground(system, rows, lose)
    system.close()


@pytest.fixture(params=[_http, _files, _sql], ids=["http", "files", "sql"])
def ground(request: pytest.FixtureRequest, tmp_path: Path, installed: Path) -> Iterator[Ground]:
    """Give a system of each kind."""
    yield from request.param(tmp_path, installed)


def test_every_kind_clears_the_former_holders_rows_only(ground: Ground) -> None:
    """A newer holder's row is counted and stays, a stranger's stays, and the receipt is of every collection."""
    (receipt,) = ground.system.wipe([order()])

    (only,) = receipt.collections
    assert (only.affected, only.remaining, only.newer, only.kept) == (1, 0, 1, 0)
    assert (receipt.cycle_id, receipt.system_id, (only.collection,)) == ("number-1/1", ground.system.system_id, ground.system.collections)
    assert ground.rows() == ROWS[1:]


def test_every_kind_can_be_asked_again(ground: Ground) -> None:
    """A repeat clears nothing twice and gives a full receipt."""
    ground.system.wipe([order()])

    (receipt,) = ground.system.wipe([order()])

    assert (receipt.collections[0].affected, receipt.collections[0].remaining) == (0, 0)
    assert ground.rows() == ROWS[1:]


def test_every_kind_looks_without_changing(ground: Ground) -> None:
    """Check, find and read-back leave everything as it is and count what a wipe would find."""
    ground.system.check()
    ((found,),) = ground.system.find([order()])
    (left,) = ground.system.read_back([order()])

    assert (found.in_scope, found.undecided, found.newer) == (1, 0, 1)
    assert (left.collections[0].affected, left.collections[0].remaining, left.collections[0].newer) == (0, 1, 1)
    assert ground.rows() == ROWS


def test_every_kind_answers_in_order(ground: Ground) -> None:
    """Each order has its own receipt, at its place, however many there are."""
    orders = [replace(order(FORMER if place == 70 else OTHER), cycle_id=f"n_x/{place}") for place in range(1, 120)]

    receipts = ground.system.wipe(orders)

    assert [receipt.cycle_id for receipt in receipts] == [each.cycle_id for each in orders]
    assert [place for place, receipt in enumerate(receipts, start=1) if receipt.collections[0].newer] == [70]


def test_every_kind_claims_nothing_when_it_is_gone(ground: Ground) -> None:
    """What can't be reached is unavailable, and the error shows no number."""
    ground.lose()

    with pytest.raises(TargetUnavailable) as caught:
        ground.system.wipe([order()])

    assert "13800000001" not in "".join(traceback.format_exception(caught.value, chain=True))


def test_every_kind_says_how_it_is_to_be_asked(ground: Ground) -> None:
    """Its collections, its batch and what it comes after are known before anything is connected, and closing twice does no harm."""
    assert ground.system.batch >= 1
    assert ground.system.after == frozenset()
    ground.system.close()
    ground.system.close()


def test_the_example_is_found_where_it_is_installed(tmp_path: Path, installed: Path) -> None:
    """Once it is installed, a map can name its kind beside SQL systems, and wipe and read-back are real."""
    (tmp_path / "records.toml").write_text(SQL + FILES)
    (tmp_path / "letters").mkdir()
    file = tmp_path / "letters" / "sent.jsonl"
    file.write_text("".join(f"{json.dumps({'number': number, 'began_at': at})}\n" for number, at in ROWS))
    file.chmod(0o640)
    program = """
import sys
from datetime import datetime
from pathlib import Path
from fallow.domain.number import E164
from fallow.domain.ports import WipeOrder
from fallow.records.records_map import load_records_map
records = load_records_map(Path(sys.argv[1]))
order = WipeOrder("n_x/1", E164("+" + sys.stdin.read()), datetime.fromisoformat("2026-04-30T18:00:00+00:00"))
system = records.systems["letters"]
system.check()
print(records.collections["letters"], *[(each.affected, each.remaining, each.newer) for each in system.wipe([order])[0].collections])
print(system.read_back([order])[0].collections[0].remaining, records.meanings["letters"])
records.close()
"""
    found = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "records.toml")],
        env={**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{ROOT}"},
        input=FORMER.text.removeprefix("+"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert found.stdout.splitlines() == ["('sent',) (1, 0, 1)", "0 {}"]
    assert [json.loads(line)["number"] for line in file.read_text().splitlines()] == [FORMER.text, OTHER.text]
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "line", ['{"number": "+447700900123"}', '{"number": "07700900123", "began_at": "2026-01-01T08:00:00Z"}', "[]", "x"]
)
def test_the_example_stops_at_a_line_it_cannot_read(tmp_path: Path, installed: Path, line: str) -> None:
    """Such a line may be anybody's, so nothing is claimed and nothing of it is quoted."""
    ground = next(_files(tmp_path, installed))
    with (tmp_path / "letters" / "sent.jsonl").open("a") as file:
        file.write(f"{line}\n")

    with pytest.raises(MapRefused, match=r"sent\.jsonl") as caught:
        ground.system.wipe([order()])

    assert "900123" not in str(caught.value)

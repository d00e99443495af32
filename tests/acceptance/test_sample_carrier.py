"""The sample carrier as its own program, wiped by the engine's record systems."""

import json
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fallow.domain.errors import TargetUnavailable
from fallow.domain.gate import LineStatus
from fallow.domain.ports import KeptRow, WipeOrder
from fallow.intake.cancelled_file import Row, read_rows
from fallow.local import crowd
from fallow.local.carrier_rows import digest
from fallow.local.processes import Child, free_ports, start_child, wait_until_ready
from fallow.records.records_map import RecordsMap, load_records_map

EXAMPLES = Path(__file__).parents[2] / "examples"
#: Digits of a line as letters: a pseudonym has none.
LETTERS = str.maketrans("0123456789", "bcdefghijk")
NOT_WIPED = {"ported", "in-service", "held", "crime", "reclaim", "retire"}


class RunningCarrier:
    """The carrier's program, its files and its control channel."""

    def __init__(self, directory: Path, child: Child, port: int) -> None:
        """Take what was started."""
        self.directory, self.child = directory, child
        self.control = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)

    def state(self) -> dict[str, Any]:
        """Ask how far it is."""
        told: dict[str, Any] = self.control.get("/state").json()
        return told

    def answers(self) -> bool:
        """Tell whether the control channel answers."""
        try:
            return bool(self.state())
        except httpx.TransportError:
            return False

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition of the running carrier."""
        wait_until_ready(self.child, holds, timedelta(seconds=15))

    def rows(self, table: str) -> dict[int, tuple[object, ...]]:
        """Return all rows of a table by primary key."""
        with closing(sqlite3.connect(self.directory / "carrier.db", timeout=10)) as connection:
            return {row[0]: row for row in connection.execute(f"SELECT * FROM {table}")}

    def planted(self, fate: str) -> list[dict[str, Any]]:
        """Return what the carrier says it planted with this fate."""
        listed: list[dict[str, Any]] = json.loads((self.directory / "planted.json").read_text())[fate]
        return listed


@pytest.fixture
def carrier(tmp_path: Path) -> Iterator[RunningCarrier]:
    """Run the carrier on thirty lines of the sample."""
    chosen = crowd.select_lines(crowd.load(EXAMPLES), 30)
    chosen.save(tmp_path)
    (tmp_path / "records.toml").write_text((EXAMPLES / "records.toml").read_text().replace('"10s"', '"2s"'))
    (port,) = free_ports(1)
    files = {"numbers": crowd.NUMBERS, "scenario": crowd.SCENARIO, "database": "carrier.db", "planted": "planted.json"}
    options = [part for name, file in files.items() for part in (f"--{name}", tmp_path / file)]
    command = [sys.executable, "-m", "fallow.local.sample_carrier", "--port", str(port), *options]
    child = start_child("sample carrier", command, log_path=tmp_path / "carrier.log", directory=EXAMPLES.parent)
    running = RunningCarrier(tmp_path, child, port)
    running.wait_until(running.answers)
    yield running
    running.control.close()
    child.kill()


@pytest.fixture
def records(carrier: RunningCarrier) -> Iterator[RecordsMap]:
    """Load the sample's map against the running carrier."""
    loaded = load_records_map(carrier.directory / "records.toml")
    yield loaded
    loaded.close()


def accepted(carrier: RunningCarrier) -> list[Row]:
    """Return the rows that the engine takes."""
    read = read_rows((carrier.directory / crowd.NUMBERS).read_bytes(), datetime.now(UTC))
    return [row for row in read if isinstance(row, Row)]


def orders(carrier: RunningCarrier) -> list[WipeOrder]:
    """Return the orders that the engine would give: for every line that comes to wiping."""
    plays = crowd.plays_of((carrier.directory / crowd.SCENARIO).read_text())
    wiped = [row for row in accepted(carrier) if plays.get(row.line) not in NOT_WIPED]
    return [
        WipeOrder(f"line-{row.line}/1", row.number, row.disconnected_at, row.subscription, f"{row.line:a>26}".translate(LETTERS))
        for row in wiped
    ]


class Kept:
    """Stands for the engine's own keeping."""

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self.rows: list[KeptRow] = []

    def keep(self, system_id: str, rows: Sequence[KeptRow]) -> None:
        """Keep them."""
        assert system_id == "crm"
        self.rows += rows


def test_wiping_leaves_exactly_what_must_stay(carrier: RunningCarrier, records: RecordsMap) -> None:
    """Former holders' rows are gone, archived, sealed or rewritten; other parties', newer holders' and untouched lines' are as planted."""
    kept = Kept()
    receipts = [receipt for system in records.systems.values() for receipt in system.wipe(orders(carrier), kept)]
    assert {each.remaining for receipt in receipts for each in receipt.collections} == {0}
    assert {receipt.cycle_id for receipt in receipts for each in receipt.collections if each.newer} == {"line-9/1"}

    fates = ("gone", "archived", "sealed", "rewritten", "survives")
    left = {table: carrier.rows(table) for table in {entry["table"] for fate in fates for entry in carrier.planted(fate)}}
    taken = [entry for fate in ("gone", "archived", "sealed") for entry in carrier.planted(fate)]
    assert all(carrier.planted(fate) for fate in fates)
    assert [entry for entry in taken if entry["key"] in left[entry["table"]]] == []
    assert [each for each in carrier.planted("survives") if digest(left[each["table"]].get(each["key"], ())) != each["digest"]] == []
    archive = carrier.rows("subscribers_archive")
    assert {entry["key"] for entry in carrier.planted("archived")} == set(archive)
    assert {(row[-2], str(row[-1])[:4]) for row in archive.values()} == {("contract data, kept two years after service ends", "2028")}
    assert len(kept.rows) == len(carrier.planted("sealed"))
    for entry in carrier.planted("rewritten"):
        key, caller, handset, cell, *rest = left["call_statistics"][entry["key"]]
        assert (len(str(caller)), str(caller).isalpha(), handset, cell) == (26, True, "***", None)
        assert digest((key, *rest)) == entry["left"]


def test_the_map_leaves_nothing_out(carrier: RunningCarrier, records: RecordsMap) -> None:
    """Every column with numbers is mapped, every look has its index, and no foreign key stands in the way of a wipe."""
    carrier.wait_until(lambda: carrier.state()["passing"] >= 1)

    assert [doubt for survey in records.surveys.values() for doubt in survey.doubts()] == []


def test_the_final_bill_goes_with_its_subscription(carrier: RunningCarrier, records: RecordsMap) -> None:
    """A bill issued after the disconnect is the former holder's where it carries their subscription; without it, it stops the number."""
    (seed, *_) = [order for order in orders(carrier) if order.cycle_id == "line-2/1"]
    billing = records.systems["billing"]

    (unknown,) = billing.find([replace(seed, subscription=None)])
    (known,) = billing.find([seed])

    assert {each.collection: (each.in_scope, each.newer) for each in unknown}["bills"] == (3, 1)
    assert {each.collection: (each.in_scope, each.newer) for each in known}["bills"] == (4, 0)


def test_the_database_lives_meanwhile(carrier: RunningCarrier) -> None:
    """New rows come and short locks happen without anybody's doing."""
    carrier.wait_until(lambda: carrier.state()["passing"] >= 2 and carrier.state()["locks"] >= 1)


def test_one_line_comes_back_once_its_rows_are_wiped(carrier: RunningCarrier, records: RecordsMap) -> None:
    """The second look at the line register finds what the first could not."""
    plays = crowd.plays_of((carrier.directory / crowd.SCENARIO).read_text())
    numbers = {plays[row.line]: row.number for row in accepted(carrier) if row.line in plays}
    asked = [numbers[each] for each in ("seed", "ported", "in-service", "reactivated")]
    before = records.line_register.statuses(asked)

    for system in records.systems.values():
        system.wipe(orders(carrier), Kept())

    assert before == [LineStatus.OFF, LineStatus.PORTED, LineStatus.IN_SERVICE, LineStatus.OFF]
    carrier.wait_until(lambda: records.line_register.statuses(asked)[-1] is LineStatus.IN_SERVICE)


def test_the_freeze_falls_between_the_effect_and_its_read_back(carrier: RunningCarrier, records: RecordsMap) -> None:
    """Rows are already gone when the lock falls, and the wipe can't report it; after the thaw a repeat goes on and can."""
    network = records.systems["network"]
    network.check()
    carrier.control.post("/freeze-after", json={"wiped": 1, "seconds": 30})

    with pytest.raises(TargetUnavailable):
        network.wipe(orders(carrier))

    assert carrier.state()["frozen"]
    assert carrier.state()["wiped"] == len(orders(carrier))
    carrier.control.post("/thaw")
    carrier.wait_until(lambda: not carrier.state()["frozen"])
    receipts = network.wipe(orders(carrier))
    assert {receipt.collections[0].affected for receipt in receipts} == {0}
    assert {each.remaining for receipt in receipts for each in receipt.collections} == {0}


def test_it_ends_when_asked(carrier: RunningCarrier) -> None:
    """SIGTERM ends it in good order."""
    carrier.child.send(signal.SIGTERM)

    assert carrier.child.wait(timedelta(seconds=10)) == 0

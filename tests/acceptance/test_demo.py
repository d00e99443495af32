"""The demo from outside: what it reports, and that no number of it lies anywhere but where it must."""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from fallow.local import crowd, leaks, stack
from fallow.local.processes import environment_with
from workers.connection import connect

NUMBERS, PLATFORMS = 30, 4
#: What belongs to the carrier and to the platforms, who know the numbers, and the file that an administrator brings.
OUTSIDE = ("carrier.db", "planted.json", "simulator.db", "simulator.log", "crowd", "logs/carrier.log", "logs/simulator.log")


@dataclass(frozen=True)
class Played:
    """A demo that has been played to its end."""

    directory: Path
    code: int
    printed: str
    report: dict[str, object]

    def numbers(self) -> list[str]:
        """Every number that was enrolled."""
        rows = crowd.rows_of((self.directory / "crowd" / crowd.NUMBERS).read_text("utf-8"))
        ends = crowd.load(self.directory / "crowd").lines
        return [rows[position]["number"] for position, line in enumerate(ends, start=2) if line.enrollable]

    def personal(self) -> list[str]:
        """What else betrays a former holder: every name that the carrier planted, and every subscription that was enrolled."""
        with closing(sqlite3.connect(self.directory / "carrier.db")) as connection:
            held = "SELECT holder FROM subscribers UNION SELECT holder FROM subscribers_archive"
            names = [name for (name,) in connection.execute(held)]
        rows = crowd.rows_of((self.directory / "crowd" / crowd.NUMBERS).read_text("utf-8"))
        return sorted({*names, *(row["subscription"] for row in rows.values() if row["subscription"])})

    def inside(self) -> list[Path]:
        """Everything of the engine's own: its database, Temporal's, logs, metrics, histories, what was printed and reported."""
        outside = {self.directory / each for each in OUTSIDE}
        found = (path for path in self.directory.rglob("*") if path.is_file())
        return [path for path in found if path not in outside and not outside & set(path.parents) and "-journal" not in path.name]


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Play one demo, with every fault it has, and export every history from the kept Temporal database."""
    folder = tmp_path_factory.mktemp("demo")
    directory, report = folder / "state", folder / "report.json"
    command = [sys.executable, "-m", "fallow.cli", "demo", "--numbers", str(NUMBERS), "--platforms", str(PLATFORMS)]
    command += ["--keep", str(directory), "--report", str(report)]
    environment = environment_with({"FALLOW_LOG_LEVEL": "debug", "COLUMNS": "160"})
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280, check=False)
    assert report.exists(), ran.stdout[-3000:] + ran.stderr[-3000:]
    (directory / "printed.txt").write_text(ran.stdout + ran.stderr)
    shutil.copyfile(report, directory / "report.json")
    export_histories(directory)
    return Played(directory, ran.returncode, ran.stdout, json.loads(report.read_text()))


def export_histories(directory: Path) -> None:
    """Start Temporal again on the kept folder and write every history as JSON."""
    settings = stack.settings_of(directory)
    server = stack.temporal(directory, print, port=int(settings.temporal_address.rsplit(":", 1)[1]))
    try:
        asyncio.run(_export(directory))
    finally:
        server.stop()


async def _export(directory: Path) -> None:
    client = await connect(stack.settings_of(directory).model_copy(update={"metrics_port": 0}))
    folder = directory / "histories"
    folder.mkdir()
    async for found in client.list_workflows(""):
        history = await client.get_workflow_handle(found.id, run_id=found.run_id).fetch_history()
        (folder / f"{found.id.replace('/', '-')}.{found.run_id}.json").write_text(history.to_json())


class TestReport:
    def test_is_written_and_free_of_violations(self, played: Played) -> None:
        """The report has every figure that is asked of it, no violation and one killed worker, and the exit code says so too."""
        keys = {"numbers", "states", "rejected_rows", "violations", "worker_kills", "seconds"}
        keys |= {"history_events_median", "history_events_max"}

        assert keys == set(played.report)
        assert (played.code, played.report["violations"]) == (0, 0), played.printed[-4000:]
        assert (played.report["numbers"], played.report["worker_kills"]) == (NUMBERS, 1)

    def test_counts_every_line_once(self, played: Played) -> None:
        """Lines that became cycles and rejected lines add up to the lines of the file."""
        lines = crowd.load(played.directory / "crowd").lines
        states = {name: count for name, count in played.report["states"].items() if name not in ("HELD", "ATTENTION")}

        assert len(lines) == sum(states.values()) + played.report["rejected_rows"]

    def test_a_history_stays_small(self, played: Played) -> None:
        """A number's history has at most 40 events, and at most 4 more where a worker was lost."""
        assert played.report["history_events_median"] <= 40
        assert played.report["history_events_max"] <= 44

    def test_killed_the_worker_while_wiping_and_sending(self, played: Played) -> None:
        """The worker died with effects done at the carrier and at a platform, neither of them reported."""
        assert "worker killed (SIGKILL) with wiping and sending in flight" in played.printed

    def test_tells_the_first_number_line_by_line(self, played: Played) -> None:
        """The buyer's number is told from enrolment to RESELLABLE, with what the next buyer must be shown."""
        told = ("lies fallow until", "record wiping is complete", "unbinding is complete", "disclosure tag issued", "RESELLABLE: the gate")

        assert [each for each in told if each not in played.printed] == []

    def test_tells_what_wiping_plans_and_proves(self, played: Played) -> None:
        """Before it is wiped the number's plan is told, then each receipt with its strategy, what is left and until when; then the key."""
        told = played.printed.partition("the crowd")[0]
        lines = [" ".join(line.split()) for line in told.splitlines()]
        plan, receipts = told.index("fallow records plan"), told.index("read back on another connection")

        assert plan < receipts < told.index("holder key destroyed, receipt ")
        assert "crm.identity seal 2 rows · until 2028-04-30: identity check, kept two years after service ends" in lines
        assert [line.partition(" · backups")[0] for line in lines if line.startswith("billing.bills")] == [
            "billing.bills delete 4 rows",
            "billing.bills delete 4 rows, 0 left",
        ]
        assert [line for line in lines if line.startswith("network.statistics rewrite 3 rows, 0 left · backups until 20")]

    def test_tells_of_the_denied_claim_and_of_the_newer_holder(self, played: Played) -> None:
        """A claim whose identity check failed gives nobody the number; rows of a newer holder stop theirs, untouched."""
        flat = " ".join(played.printed.split())

        assert "the second person denies it: the photo differs" in flat
        assert "1 failed identity check, two lock it; it went on: RESELLABLE" in flat
        assert "newer-holder billing, crm, network: rows of a newer holder are there, untouched" in flat
        assert "crm: 5 rows of the former holder, 0 left; 3 rows of a newer holder, untouched" in flat


class TestPrivacy:
    def test_no_number_lies_where_it_must_not(self, played: Played) -> None:
        """No number in any form, no holder's name, no subscription: in no database, log, metric, history or report."""
        assert list((played.directory / "histories").iterdir())
        assert (played.directory / "logs" / "metrics.prom").read_bytes().count(b"temporal_") > 10
        assert len(played.personal()) > NUMBERS
        found = leaks.search(played.inside(), played.numbers(), texts=played.personal())
        assert [(leak.path.name, leak.place, leak.form) for leak in found] == []

    @pytest.mark.parametrize("place", ["temporal.db", "worker-1.log", "metrics.prom", "report.json", "history", "printed.txt"])
    def test_the_same_search_finds_a_planted_number(self, played: Played, tmp_path: Path, place: str) -> None:
        """A number planted in a copy of each of those places is found by that very search."""
        copies = {path.name: path for path in played.inside()}
        name = next(each for each in copies if each.endswith(".json") and each.startswith("recycling")) if place == "history" else place
        source = copies.get(name) or next(path for path in played.inside() if path.parent.name == "temporal" and _is_database(path))
        victim = tmp_path / source.name
        shutil.copyfile(source, victim)
        number = played.numbers()[3]
        _plant(victim, number)

        assert [leak.index for leak in leaks.search([victim], played.numbers())][:1] == [3]


def _is_database(path: Path) -> bool:
    return path.read_bytes()[:15] == b"SQLite format 3"


def _plant(path: Path, number: str) -> None:
    if not _is_database(path):
        with path.open("ab") as file:
            file.write(b"\n" + number.encode() + b"\n")
        return
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE planted (cell BLOB)")
        connection.execute("INSERT INTO planted VALUES (?)", (b"\x0a\x20" + number.encode(),))

"""`python -m bench`: rows in the agreed form, one clear line for a part that does not exist. How fast is nobody's promise here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import wiping_world
from fallow.local import postgres

ROOT = Path(__file__).parents[2]


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks in a process of their own."""
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def postgresql() -> None:
    """PostgreSQL's programs; a visible skip where they are not installed, a failure under CI."""
    try:
        postgres.find_programs()
    except postgres.PostgresNotInstalled as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


@pytest.mark.timeout(200)
def test_a_tiny_run_writes_the_rows(tmp_path: Path) -> None:
    """Three numbers, once: the pipeline's row with its baseline and their ratio, and both printed."""
    results = tmp_path / "results" / "latest.json"

    ran = bench("pipeline", "--numbers", "3", "--repeats", "1", "--results", results)

    assert ran.returncode == 0, ran.stderr
    (row,) = json.loads(results.read_text())
    assert list(row) == ["name", "value", "unit", "baseline", "baseline_value", "ratio"]
    assert (row["name"], row["unit"], row["baseline"]) == ("pipeline.20", "numbers/s", "bare workflow")
    assert row["value"] > 0
    assert row["baseline_value"] > 0
    assert row["ratio"] == pytest.approx(row["value"] / row["baseline_value"], abs=0.01)
    assert "pipeline.20: " in ran.stdout
    assert "baseline, bare workflow: " in ran.stdout


@pytest.mark.timeout(200)
@pytest.mark.usefixtures("postgresql")
def test_a_tiny_wiping_writes_its_rows(tmp_path: Path) -> None:
    """Twenty numbers, once: batches, senders and a plan each beside the script, and every single value beside the rows."""
    ran = bench("wiping", "--numbers", "20", "--repeats", "1", "--results", tmp_path / "latest.json")

    assert ran.returncode == 0, ran.stderr
    rows = json.loads((tmp_path / "latest.json").read_text())
    samples = json.loads((tmp_path / "latest.samples.json").read_text())
    assert [(row["name"], row["unit"]) for row in rows] == [
        ("wiping.sql", "numbers/s"),
        ("wiping.sent", "numbers/s"),
        ("wiping.plan", "ms"),
    ]
    assert all(row["value"] > 0 and "hand-written script" in row["baseline"] for row in rows)
    assert [(len(samples[row["name"]]["values"]), len(samples[row["name"]]["baseline_values"])) for row in rows] == [
        (1, 1),
        (1, 1),
        (20, 20),
    ]


@pytest.mark.timeout(200)
@pytest.mark.usefixtures("postgresql")
@pytest.mark.parametrize(("part", "row"), [("sending", "sending.batch"), ("isolation", "isolation")])
def test_a_tiny_sending_writes_its_row(part: str, row: str, tmp_path: Path) -> None:
    """Twenty numbers, once, at four platforms: all settled, or the figure is void; and beside it the baseline of the same run."""
    ran = bench(part, "--numbers", "20", "--repeats", "1", "--results", tmp_path / "latest.json")

    assert ran.returncode == 0, ran.stderr
    (written,) = json.loads((tmp_path / "latest.json").read_text())
    assert written["name"] == row
    assert written["value"] > 0
    assert written["baseline_value"] > 0


@pytest.mark.timeout(200)
@pytest.mark.usefixtures("postgresql")
def test_tiny_callbacks_write_their_rows(tmp_path: Path) -> None:
    """Twenty callbacks and two hundred answers in batches, once: speed and p99 of both, each beside its ceiling."""
    ran = bench("callbacks", "--numbers", "20", "--repeats", "1", "--results", tmp_path / "latest.json")

    assert ran.returncode == 0, ran.stderr
    rows = json.loads((tmp_path / "latest.json").read_text())
    assert [(row["name"], row["unit"], row["baseline"]) for row in rows] == [
        ("callbacks.single", "callbacks/s", "empty handler"),
        ("callbacks.batch", "answers/s", "bare inserts"),
        ("callbacks.single.p99", "ms", "empty handler"),
        ("callbacks.batch.p99", "ms", "empty handler"),
    ]
    assert all(row["value"] > 0 and row["baseline_value"] > 0 for row in rows)


@pytest.mark.usefixtures("postgresql")
def test_a_wiping_that_is_not_done_is_void() -> None:
    """A run after which the rows are as before, or another's have changed as well, has no figure."""
    with wiping_world.running(2) as world:
        copy = world.afresh("wiped")
        with pytest.raises(wiping_world.Void, match="crm"):
            world.demand_right(copy.contents(), world.orders, copy.contents())
        with copy.connect(wiping_world.SYSTEMS[0]) as connection:
            connection.execute("UPDATE subscribers SET status = 'RESTRICTED'")
        with pytest.raises(wiping_world.Void, match="crm"):
            world.demand_right(copy.contents(), world.orders, copy.contents())


@pytest.mark.parametrize(("arguments", "named"), [(["no-such-part"], "no-such-part"), (["pipeline", "--numbers", "0"], "--numbers")])
def test_what_does_not_exist_is_refused(arguments: list[str], named: str) -> None:
    """An unknown part or a wrong option: exit code 2, the last line names it, nothing is measured."""
    ran = bench(*arguments)

    assert ran.returncode == 2
    assert named in ran.stderr.splitlines()[-1]
    assert ran.stdout == ""


def test_parts_are_listed() -> None:
    """`--list` names every part and measures nothing."""
    assert bench("--list").stdout.split() == ["pipeline", "wiping", "callbacks", "sending", "isolation"]

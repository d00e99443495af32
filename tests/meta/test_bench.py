"""`python -m bench`: rows in the agreed form, one clear line for a part that does not exist. How fast is nobody's promise here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks in a process of their own."""
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


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


@pytest.mark.parametrize(("arguments", "named"), [(["no-such-part"], "no-such-part"), (["pipeline", "--numbers", "0"], "--numbers")])
def test_what_does_not_exist_is_refused(arguments: list[str], named: str) -> None:
    """An unknown part or a wrong option: exit code 2, the last line names it, nothing is measured."""
    ran = bench(*arguments)

    assert ran.returncode == 2
    assert named in ran.stderr.splitlines()[-1]
    assert ran.stdout == ""


def test_parts_are_listed() -> None:
    """`--list` names every part and measures nothing."""
    assert bench("--list").stdout.split() == ["pipeline"]

"""The Makefile and `.ci/run`: what a newcomer types is there, listed, and fails with one clear line."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from fallow.settings import Settings

ROOT = Path(__file__).parents[2]
TARGETS = ("help", "setup", "demo", "up", "test", "check", "bench", "lock", "clean")
INTERNAL = {"temporal", "postgresql", "mariadb"}
OF_THE_CALLER = {"ARGS", "PART", "PYTHON", "FALLOW_TEMPORAL_CLI", "FALLOW_CACHE"}


def make(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run make in the repository, without the variables of an outer make."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name not in OF_THE_CALLER}
    if path is not None:
        environment["PATH"] = path
    command = ["/usr/bin/env", "make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_help_lists_every_target() -> None:
    """`make help`, and `make` alone, show all there is to type."""
    shown = make("help").stdout
    phony = re.search(r"(?m)^\.PHONY: (.*)$", (ROOT / "Makefile").read_text())

    assert re.findall(r"make (\w+)", shown) == list(TARGETS)
    assert phony is not None
    assert set(phony[1].split()) - set(TARGETS) == INTERNAL
    assert shown == make().stdout


def test_arguments_reach_the_demo() -> None:
    """`make demo ARGS=…` hands its arguments to `fallow demo` unchanged."""
    assert "fallow demo --numbers 5 --keep there" in make("-n", "demo", "ARGS=--numbers 5 --keep there").stdout


@pytest.mark.parametrize("target", ["demo", "up", "test", "bench"])
def test_the_temporal_server_is_sought_before_anything_runs(target: str) -> None:
    """What takes minutes the first time happens first, with its lines of progress."""
    commands = make("-n", target).stdout
    started = commands.index({"test": "-m pytest", "bench": "-m bench"}.get(target, f"fallow {target}"))

    assert commands.index("fallow.local.temporal_binary") < started


def test_the_tests_ask_for_a_server_that_skips_time() -> None:
    """A 180-day quarantine is tested by time skipping, so `make test` insists on it."""
    assert re.search(r"temporal_binary[\s\\]+--need-time-skipping", make("-n", "test").stdout)


def test_the_variables_it_reads_are_settings() -> None:
    """What the Makefile passes on from the environment is a setting of that name, or `fallow` would refuse it."""
    read = set(re.findall(r"\$\(FALLOW_(\w+)\)", (ROOT / "Makefile").read_text(encoding="utf-8")))

    assert read == {"TEMPORAL_CLI", "CACHE"}
    assert {name.lower() for name in read} <= set(Settings.model_fields)


def test_a_missing_python_is_one_clear_line(tmp_path: Path) -> None:
    """With too old a Python only, set-up names what to install and changes nothing."""
    for name in ("python3.11", "python3.12", "python3.13", "python3"):
        old = tmp_path / name
        old.write_text("#!/bin/sh\nexit 1\n")
        old.chmod(0o755)
    result = make("setup", "VENV=" + str(tmp_path / "venv"), path=f"{tmp_path}:/usr/bin:/bin")

    assert result.returncode != 0
    assert result.stderr.startswith("error: Python 3.11 or newer is needed")
    assert not (tmp_path / "venv").exists()


def test_ci_runs_check_and_test_and_nothing_else() -> None:
    """What the pipeline proves is exactly what a developer can run."""
    lines = (ROOT / ".ci/run").read_text().splitlines()

    assert lines[:2] == ["#!/usr/bin/env bash", "set -euo pipefail"]
    assert [line for line in lines[2:] if line.startswith("make")] == ["make check", "make test"]
    assert os.access(ROOT / ".ci/run", os.X_OK)

"""Children of a local run: they become ready or say why not, end when told, and die with their parent."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from fallow.local.processes import ChildNotReady, free_ports, is_port_free, start_child, wait_until, wait_until_ready

PARENT = """
import os, signal, sys
from pathlib import Path
from fallow.local.processes import start_child
child = start_child("sleeper", ["sleep", "1000"], log_path=Path(sys.argv[1]))
while Path(f"/proc/{child.pid}/comm").read_text().strip() != "sleep":  # before that it does not know its death signal
    pass
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def has_ended(child_id: int) -> bool:
    """Tell whether a process is gone, or a zombie that nobody has collected yet."""
    try:
        state = Path(f"/proc/{child_id}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_a_child_that_ends_too_early_is_reported_with_its_log(tmp_path: Path) -> None:
    """The error shows what the child itself said last."""
    child = start_child("loser", ["sh", "-c", "echo out of luck; exit 7"], log_path=tmp_path / "log")

    with pytest.raises(ChildNotReady, match=r"(?s)loser ended with exit code 7 .*out of luck"):
        wait_until_ready(child, lambda: False, timedelta(seconds=30))


def test_a_child_that_never_answers_is_reported(tmp_path: Path) -> None:
    """Waiting ends at the limit with an error, not never."""
    child = start_child("mute", ["sleep", "1000"], log_path=tmp_path / "log")
    try:
        with pytest.raises(ChildNotReady, match="mute was not ready"):
            wait_until_ready(child, lambda: False, timedelta(0))
    finally:
        child.stop()


def test_stopping_and_killing_twice_does_no_harm(tmp_path: Path) -> None:
    """Cleaning up needs no knowledge of what has ended already."""
    child = start_child("sleeper", ["sleep", "1000"], log_path=tmp_path / "log")
    child.stop()
    child.stop()
    child.kill()

    assert child.exit_code is not None


def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    """A deaf child can't keep the parent waiting."""
    ready = tmp_path / "ready"
    child = start_child("deaf", ["sh", "-c", f"trap '' TERM; touch {ready}; sleep 1000"], log_path=tmp_path / "log")
    wait_until_ready(child, ready.exists, timedelta(seconds=30))
    child.stop(within=timedelta(milliseconds=50))

    assert child.exit_code == -9


def test_a_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL to the parent leaves no orphan behind."""
    parent = subprocess.run([sys.executable, "-c", PARENT, str(tmp_path / "log")], capture_output=True, text=True, check=False)
    child_id = int(parent.stdout)

    assert wait_until(lambda: has_ended(child_id), timedelta(seconds=30))


def test_free_ports_differ_and_are_free() -> None:
    """Ports handed out together can be bound together."""
    ports = free_ports(8)

    assert len(set(ports)) == 8
    assert all(is_port_free(port) for port in ports)

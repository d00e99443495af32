"""`fallow up` with the sample's systems: everything is where it says, once only, healed when a part dies, gone when it ends."""

import os
import signal
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import own_systems
import pytest
from command_line import CommandLine, RunningUp, assert_one_clear_line, free_addresses, is_gone, running_up

from fallow.local.processes import wait_until

WITHIN = timedelta(seconds=60)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    """One `up`, shared by the tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("up")
    with running_up(CommandLine(folder / "state", free_addresses()), folder / "up.log") as running:
        yield running


@pytest.fixture
def cli(up: RunningUp) -> CommandLine:
    """The program as another terminal runs it: knowing the state folder and nothing else."""
    return CommandLine(Path(up.ready["state"]))


def status_of(url: str) -> int:
    """Return the status of a page."""
    with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310 - loopback
        return int(reply.status)


def test_everything_is_where_it_says(up: RunningUp, cli: CommandLine) -> None:
    """The API answers, so does Temporal's own page, and the keys are in files that only their owner can read."""
    assert status_of(f"{up.ready['api']}/readyz") == 200
    assert up.ready["temporal_ui"].startswith("none") or status_of(up.ready["temporal_ui"]) == 200
    keys = Path(up.ready["api_keys"])
    assert {path.name for path in keys.iterdir()} == {"administrator", "operator", "approver-1", "approver-2", "auditor", "shop"}
    assert {path.stat().st_mode & 0o777 for path in (*keys.iterdir(), cli.state / "settings.env")} == {0o600}
    assert not any(path.read_text().strip() in up.log.read_text() for path in keys.iterdir())


def test_another_terminal_needs_the_state_folder_only(up: RunningUp, cli: CommandLine) -> None:
    """Settings, addresses and the operator's key come from the folder; the doctor finds nothing red."""
    checkup = cli.run("doctor", "--json")

    assert cli.run("numbers", "count").code == 0
    assert [each for each in checkup.json["checks"] if each["colour"] == "red"] == []
    assert checkup.code == 0


def test_a_second_up_says_so_and_harms_nothing(up: RunningUp, cli: CommandLine) -> None:
    """One line, non-zero, and the first runs on with the same children."""
    before = up.children()
    ran = cli.run("up")

    assert ran.code == 1
    assert str(up.process.pid) in ran.err
    assert_one_clear_line(ran)
    assert up.children() == before
    assert status_of(f"{up.ready['api']}/readyz") == 200


@pytest.mark.parametrize(("name", "word"), [("worker", " worker "), ("API", " api "), ("Temporal server", "temporal")])
def test_what_dies_is_started_again(up: RunningUp, cli: CommandLine, name: str, word: str) -> None:
    """A killed part is named with its log, comes back after a moment, and another terminal finds it where it was."""
    (process_id,) = (pid for pid, command in up.children().items() if word in f"{command} ".replace("fallow.cli", ""))
    already = up.log.read_text().count(f"{name} runs again")
    os.kill(process_id, signal.SIGKILL)

    assert wait_until(lambda: up.log.read_text().count(f"{name} runs again") > already, WITHIN)
    assert up.says(f"{name} ended with exit code -9")
    assert wait_until(lambda: cli.run("doctor").code == 0, WITHIN)


def test_nothing_survives_it_and_it_can_be_started_again(tmp_path: Path) -> None:
    """SIGKILL leaves no child; the next run in the folder goes on; SIGTERM ends that one in good order."""
    cli = CommandLine(tmp_path / "state", free_addresses())
    with running_up(cli, tmp_path / "first.log") as up:
        orphans = up.children()
        up.process.kill()
        up.process.wait()
        assert len(orphans) == 5
        assert wait_until(lambda: all(map(is_gone, orphans)), WITHIN)
    with running_up(cli, tmp_path / "second.log") as up:
        children = up.children()
        assert up.ready["api"].endswith(cli.settings["FALLOW_API_PORT"])
        assert cli.run("numbers", "count").code == 0
        up.process.terminate()
        assert up.process.wait(60) == 0
        assert all(map(is_gone, children))
        assert up.says("stopped")


def test_a_worker_without_its_namespace_says_what_to_run(up: RunningUp, tmp_path: Path) -> None:
    """Setup makes the namespace; before it a worker ends at once with the remedy, after it the doctor finds it."""
    settings = {"FALLOW_TEMPORAL_ADDRESS": up.ready["temporal"], "FALLOW_TEMPORAL_NAMESPACE": "another"}
    other = CommandLine(tmp_path / "other", settings)
    other.run("setup", "--no-temporal")
    own_systems.make_database(other.state / "kunden.db")
    own_systems.write_maps(other.state, 9, own_systems.Endpoint().public_keys)
    too_early = other.run("worker", FALLOW_LOG_LEVEL="error")

    assert too_early.code == 4
    assert "fallow setup" in too_early.err
    assert_one_clear_line(too_early)
    assert other.run("doctor").code == 4
    assert [other.run("setup").code, other.run("setup").code] == [0, 0]
    assert other.run("doctor").code == 0


def test_a_taken_port_is_said_before_anything_starts(up: RunningUp, tmp_path: Path) -> None:
    """A second installation on the same port is refused with the setting to change, and leaves nothing running."""
    ran = CommandLine(tmp_path / "other").run("up", FALLOW_API_PORT=up.ready["api"].rpartition(":")[2])

    assert ran.code == 4
    assert "FALLOW_API_PORT" in ran.err
    assert not (tmp_path / "other" / "temporal").exists()
    assert_one_clear_line(ran)

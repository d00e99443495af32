"""A laid-out state folder, and the care for programs that end."""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from fallow.domain.errors import SettingRefused
from fallow.local import stack
from fallow.local.processes import start_child, wait_until
from fallow.local.supervision import FIRST_WAIT, Service
from fallow.local.up import choose_maps
from fallow.settings import Settings


def lay_out(directory: Path, **more: str) -> None:
    """Lay out a folder."""
    maps = directory / "maps"
    stack.lay_out(
        directory,
        policy=maps / "policy.toml",
        records=maps / "records.toml",
        platforms=maps / "platforms.toml",
        temporal_address="127.0.0.1:7233",
        api_port=8470,
        more=more,
    )


def test_what_is_laid_out_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values with spaces, quotes and dollar signs survive, and the caller's own environment does not mix in."""
    monkeypatch.setenv("FALLOW_DATABASE_URL", "sqlite:////somebody/elses.db")
    directory = tmp_path / "it's a $HOME folder"
    lay_out(directory, FALLOW_TEMPORAL_NAMESPACE="o'hara ${HOME} \\ x")
    settings = stack.settings_of(directory)

    assert settings.folder == directory
    assert settings.file("records") == directory / "maps" / "records.toml"
    assert settings.temporal_namespace == "o'hara ${HOME} \\ x"
    assert settings.url() == f"sqlite:///{directory / 'fallow.db'}"
    assert (directory / "settings.env").stat().st_mode & 0o777 == 0o600


def test_laying_out_again_keeps_what_else_was_said(tmp_path: Path) -> None:
    """A second layout changes its own lines only."""
    lay_out(tmp_path, FALLOW_TURN_SECONDS="5")
    lay_out(tmp_path)

    assert stack.settings_of(tmp_path).turn_seconds == 5


def test_without_own_maps_the_samples_are_taken(tmp_path: Path) -> None:
    """The sample's own folder is never mistaken for the user's maps."""
    first = choose_maps(Settings(state=tmp_path), None, None, None)
    stack.copy_sample(tmp_path / "sample")
    second = choose_maps(Settings(state=tmp_path, policy=first.policy, records=first.records, platforms=first.platforms), None, None, None)

    assert first == second
    assert first.sample


def test_half_of_ones_own_maps_is_refused(tmp_path: Path) -> None:
    """What is missing is named."""
    (tmp_path / "records.toml").touch()
    with pytest.raises(SettingRefused, match="platforms, policy"):
        choose_maps(Settings(state=tmp_path), None, None, None)


def test_what_keeps_ending_is_started_ever_more_slowly(tmp_path: Path) -> None:
    """Each end is said with its code, and the wait doubles."""
    said: list[str] = []
    with ExitStack() as children:
        service = Service("loser", lambda: start_child("loser", [sys.executable, "-c", "exit(3)"], log_path=tmp_path / "log"), children)
        service.begin()

        def looks_until(count: int) -> bool:
            service.look(said.append)
            return len(said) >= count

        assert wait_until(lambda: looks_until(3), stack.READY_WITHIN)

    assert said[0].startswith("loser ended with exit code 3")
    assert said[0].endswith(f"started again in {FIRST_WAIT:.0f} s")
    assert said[1].startswith("loser runs again")
    assert said[2].endswith(f"started again in {2 * FIRST_WAIT:.0f} s")

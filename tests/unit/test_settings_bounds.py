"""What settings are refused: beyond their bounds, misspelt, or leading to a place where nothing is."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from fallow.domain.errors import SettingRefused
from fallow.settings import Settings, load


@pytest.mark.parametrize("seconds", [0.0, -1.0, 600.1, float("inf"), float("nan")])
def test_a_turn_has_a_length_that_the_workflow_allows(seconds: float) -> None:
    """A turn of no length would never send, and one beyond ten minutes would be cut off as timed out."""
    with pytest.raises(ValidationError):
        Settings(turn_seconds=seconds)


def test_a_turn_may_be_short() -> None:
    """Anything up to ten minutes is a turn."""
    assert Settings(turn_seconds=0.5).turn_seconds == 0.5
    assert Settings(turn_seconds=600).turn_seconds == 600


def test_a_misspelt_line_of_the_file_is_named_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader finds the very word in settings.env, and never the value that stands there."""
    (tmp_path / "settings.env").write_text("FALLOW_POLCY=letmein\n")
    monkeypatch.setenv("FALLOW_STATE", str(tmp_path))

    with pytest.raises(SettingRefused, match=r"There is no setting FALLOW_POLCY, .*settings\.env") as refused:
        load()

    assert "letmein" not in str(refused.value)


def test_a_folder_without_an_installation_is_named(tmp_path: Path) -> None:
    """A forgotten or mistyped FALLOW_STATE is what is said, not a fault of the database; and nothing is made there."""
    with pytest.raises(SettingRefused, match="no installation in") as refused:
        Settings(state=tmp_path).demand_installed()

    assert str(tmp_path) in refused.value.what
    assert "FALLOW_STATE" in refused.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["", "postgresql+psycopg://fallow@db.example/fallow", "sqlite:///:memory:", "nonsense"])
def test_where_a_database_may_be_nothing_is_refused(tmp_path: Path, url: str) -> None:
    """An existing file passes; servers, and addresses that are none, are judged by who connects to them."""
    (tmp_path / "fallow.db").touch()

    Settings(state=tmp_path, database_url=SecretStr(url)).demand_installed()


def test_a_named_file_that_is_not_there_is_blamed_on_its_setting(tmp_path: Path) -> None:
    """Who has set the address is told to correct the address, not the state folder."""
    with pytest.raises(SettingRefused) as refused:
        Settings(state=tmp_path, database_url=SecretStr(f"sqlite:///{tmp_path}/none/x.db")).demand_installed()

    assert "FALLOW_DATABASE_URL" in refused.value.remedy

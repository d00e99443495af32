"""Settings: the only reader of the environment. ``docs/settings.md`` explains each; a test compares the two."""

import os
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fallow.domain.errors import SettingRefused


class Settings(BaseSettings):
    """What an installation is told from outside: variables named ``FALLOW_…``, or ``settings.env`` in the state folder.

    Attributes:
        state: folder of everything this installation keeps by default.
        database_url: ``sqlite:///…`` or ``postgresql+psycopg://…``; default: ``fallow.db`` in the state folder.
        database_url_file: file that holds the URL (a container's secret); wins over ``database_url``.
        keys: folder of the keys; default: ``keys`` in the state folder.
        policy, records, platforms: the three TOML files; default: in the state folder.
        temporal_address: host:port of Temporal's frontend.
        temporal_namespace: namespace of all workflows.
        temporal_cli: path of a local Temporal server or CLI to use instead of looking for one.
        cache: folder for a downloaded or built Temporal server.
        api_host, api_port: where the API listens.
        metrics_port: where a worker serves Prometheus metrics on loopback; 0: nowhere.
        turn_seconds: length of a sender's turn, at most 600.
        key_epoch_hours: age at which workers replace the key that wraps holder keys.
        api_key: the key that the command line acts with.
        log_level: debug, info, warning or error.
    """

    model_config = SettingsConfigDict(env_prefix="FALLOW_", extra="forbid", frozen=True)

    state: Path = Path("~/.local/state/fallow")
    database_url: SecretStr = SecretStr("")
    database_url_file: Path | None = None
    keys: Path = Path()
    policy: Path = Path()
    records: Path = Path()
    platforms: Path = Path()
    temporal_address: str = "127.0.0.1:7233"
    temporal_namespace: str = "fallow"
    temporal_cli: Path | None = None
    cache: Path = Path("~/.cache/fallow")
    api_host: str = "127.0.0.1"
    api_port: int = 8470
    metrics_port: int = 0
    turn_seconds: float = Field(default=600.0, gt=0, le=600)
    key_epoch_hours: float = Field(default=24.0, gt=0, le=8784)
    api_key: SecretStr = SecretStr("")
    log_level: str = "info"

    def url(self) -> str:
        """Return the database's URL.

        Raises:
            SettingRefused: the file that should hold it can't be read.
        """
        if self.database_url_file is not None:
            return _read(self.database_url_file)
        return self.database_url.get_secret_value() or f"sqlite:///{self.folder / 'fallow.db'}"

    def demand_installed(self) -> None:
        """Refuse a place where nothing was set up: SQLite would make an empty database there, and the fault would be sought in it.

        Raises:
            SettingRefused: there is no such SQLite file; a server is not looked at.
        """
        file = _sqlite_file(self.url())
        if file is None or file.is_file():
            return
        what = f"There is no installation in {file.parent}: no database {file.name} is there."
        given = self.database_url_file is not None or bool(self.database_url.get_secret_value())
        name = "FALLOW_DATABASE_URL" if given else "FALLOW_STATE"
        raise SettingRefused(what, remedy=f"set {name} to where yours is, or run `fallow setup` (or `fallow up`) to make one there.")

    @property
    def folder(self) -> Path:
        """The state folder, absolute."""
        return self.state.expanduser().absolute()

    @property
    def wrapping(self) -> Path:
        """The folder of wrapping keys, inside the folder of keys."""
        return self.file("keys") / "wrapping"

    def file(self, name: str) -> Path:
        """Return the path of "policy", "records", "platforms" or "keys", which default to the state folder."""
        given: Path = getattr(self, name)
        if given != Path():
            return given.expanduser().absolute()
        return self.folder / (name if name == "keys" else f"{name}.toml")


def load() -> Settings:
    """Read the settings: environment first, then ``settings.env`` in the state folder.

    Raises:
        SettingRefused: a variable is unknown or has a wrong value; the message names it, never its value.
    """
    state = Path(os.environ.get("FALLOW_STATE", "~/.local/state/fallow")).expanduser()
    unknown = sorted(name for name in os.environ if name.startswith("FALLOW_") and name[7:].lower() not in Settings.model_fields)
    if unknown:
        what = f"There is no setting {', '.join(unknown)}."
        raise SettingRefused(what, remedy="see docs/settings.md for the names.")
    try:
        return Settings(_env_file=state / "settings.env")
    except ValidationError as wrong:
        raise _refused(wrong, state / "settings.env") from None


def _refused(wrong: ValidationError, file: Path) -> SettingRefused:
    """Name what is wrong, never what it was set to."""
    faults = [(fault["type"], str(fault["loc"][0]).upper()) for fault in wrong.errors()]
    unknown = sorted({name for kind, name in faults if kind == "extra_forbidden"})  # as written: with its prefix, if it has one
    if unknown:
        what = f"There is no setting {', '.join(unknown)}, which {file} names."
        return SettingRefused(what, remedy="see docs/settings.md for the names.")
    what = f"A setting has a wrong value: {', '.join(sorted({f'FALLOW_{name}' for _, name in faults}))}."
    return SettingRefused(what, remedy="see docs/settings.md for what it takes.")


def _sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite URL; None for a server, and for a database that has no plain file."""
    scheme, _, rest = url.partition(":///")
    path = rest.partition("?")[0]
    plain = scheme.partition("+")[0] == "sqlite" and path not in ("", ":memory:") and not path.startswith("file:")
    return Path(path).absolute() if plain else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        what = f"The file {path} can't be read: {error.strerror}."
        raise SettingRefused(what, remedy="mount the secret there, or correct FALLOW_DATABASE_URL_FILE.") from None

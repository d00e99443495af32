"""Who acts on what: the installation from the settings, the person from the API key. Heavy: import it inside commands only."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fallow.bootstrap import open_database, wire
from fallow.cli import logs
from fallow.cli.asking import ask_key
from fallow.domain.people import Person
from fallow.operations.installation import Installation
from fallow.operations.people import authenticate
from fallow.settings import Settings, load
from fallow.store.engine import Database
from fallow.store.keys import Keys


@contextmanager
def acting(key_file: Path | None) -> Iterator[tuple[Installation, Person]]:
    """Yield the installation and who acts on it; closed at the end.

    Raises:
        SettingRefused, PolicyRefused, MapRefused: the installation can't be put together.
        PersonRefused: no key, or one that is not valid.
    """
    settings = load()
    logs.configure(at_a_terminal(settings))
    settings.demand_installed()
    with wire(settings) as wired:
        here = wired.installation
        yield here, who(settings, here.db, here.keys, key_file)


@contextmanager
def opened() -> Iterator[tuple[Settings, Database, Keys]]:
    """Yield settings, database and keys: what is needed where neither policy nor maps are.

    Raises:
        SettingRefused: the database or a key can't be used.
    """
    settings = load()
    logs.configure(at_a_terminal(settings))
    settings.demand_installed()
    ring = Keys(settings.file("keys"))
    db = open_database(settings)
    try:
        yield settings, db, ring
    finally:
        db.close()


def who(settings: Settings, db: Database, ring: Keys, key_file: Path | None) -> Person:
    """Return who acts: the key of the file, else of the settings, else the one that is asked for."""
    text = key_file.read_text() if key_file is not None else settings.api_key.get_secret_value()
    with db.read() as tx:
        return authenticate(tx, ring, text.strip() or ask_key())


def at_a_terminal(settings: Settings) -> str:
    """Return the log level of a command for people: only what is wrong, unless more is asked for."""
    return "debug" if settings.log_level == "debug" else "warning"

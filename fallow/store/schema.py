"""The schema's version: bring a database up to it, and refuse to work on any other."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from fallow.domain.errors import SettingRefused


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to ``revision``; does nothing where it is there already.

    Raises:
        SettingRefused: the database can't be reached.
    """
    with _connected(engine) as connection:
        command.upgrade(_config(connection), revision)
        connection.commit()


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to ``revision`` ("base": empty)."""
    with _connected(engine) as connection:
        command.downgrade(_config(connection), revision)
        connection.commit()


def check(engine: Engine) -> None:
    """Refuse a database of another version.

    Raises:
        SettingRefused: it can't be reached, or its schema is older or newer than this code.
    """
    with _connected(engine) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        wanted = ScriptDirectory.from_config(_config(connection)).get_current_head()
    if found != wanted:
        what = f"The database has schema {found or 'none'}, this code needs {wanted}."
        raise SettingRefused(what, remedy="run `fallow setup`; if the schema is newer than the code, install the newer code.")


def _connected(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except SQLAlchemyError as error:
        what = f"The database at {engine.url.render_as_string(hide_password=True)} can't be reached ({type(error).__name__})."
        raise SettingRefused(what, remedy="start it, or correct FALLOW_DATABASE_URL.") from None


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config

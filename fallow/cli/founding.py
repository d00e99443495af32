"""Setting an installation up: what must exist before the first process starts. Every step does nothing where it was done."""

import asyncio

from alembic.util import CommandError
from sqlalchemy import inspect
from sqlmodel import func, select

from fallow.cli import logs
from fallow.cli.acting import at_a_terminal
from fallow.domain.errors import SettingRefused
from fallow.operations import key_epochs
from fallow.operations.registry_founding import found_or_compare
from fallow.operations.sale import DEMO_FACT, is_demo
from fallow.settings import Settings, load
from fallow.store import epochs, keys, schema
from fallow.store.engine import Database
from fallow.store.tables import CycleRow, FactRow, NumberRow
from fallow.store.wrapping import WrappingKeys


def found(*, demo: bool, temporal: bool) -> dict[str, str]:
    """Make what is missing; return what became of each part.

    Raises:
        SettingRefused: a part can't be made, or must not be.
    """
    settings = load()
    logs.configure(at_a_terminal(settings))
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    db = Database(settings.url())
    try:
        done = {"keys": _make_keys(settings, db), "schema": _upgrade(db), "wrapping key": _begin_epoch(settings, db)}
        if demo:
            done["demo"] = _mark_demo(db)
    finally:
        db.close()
    platforms = _import_platforms(settings)
    if platforms:
        done["platforms"] = platforms
    if temporal:
        done["temporal"] = _prepare_temporal(settings)
    return done


def _make_keys(settings: Settings, db: Database) -> str:
    folder = settings.file("keys")
    missing = [name for name in keys.NAMES if not (folder / f"{name}.key").exists()]
    if missing and _holds_numbers(db):
        what = f"The database holds numbers, but the keys {', '.join(missing)} are missing in {folder}."
        raise SettingRefused(
            what, remedy="restore them from the keys' own backup or correct FALLOW_KEYS; new keys could not open the numbers."
        )
    try:
        keys.create(folder)
    except OSError as error:
        what = f"The keys can't be written into {folder} ({error.strerror})."
        raise SettingRefused(what, remedy="make the folder writable for this user, or set FALLOW_KEYS.") from None
    keys.Keys(folder)  # refuses keys that others may read
    return f"made in {folder}" if missing else f"in {folder}"


def _holds_numbers(db: Database) -> bool:
    if not inspect(db.engine).has_table("numbers"):
        return False
    with db.read() as tx:
        return tx.session.exec(select(NumberRow.number_id).limit(1)).first() is not None


def _upgrade(db: Database) -> str:
    try:
        schema.upgrade(db.engine)
    except CommandError:
        what = "The database has a schema that this code does not know."
        raise SettingRefused(
            what, remedy="it was made by newer code: install that, or name another database in FALLOW_DATABASE_URL."
        ) from None
    schema.check(db.engine)
    return "up to date"


def _begin_epoch(settings: Settings, db: Database) -> str:
    try:
        return epochs.name(key_epochs.prepare(db, WrappingKeys(settings.wrapping)))
    except OSError as error:
        what = f"The wrapping key can't be written into {settings.wrapping} ({error.strerror})."
        raise SettingRefused(what, remedy="make the folder of keys writable for this user, or set FALLOW_KEYS.") from None


def _mark_demo(db: Database) -> str:
    with db.begin() as tx:
        if is_demo(tx):
            return "yes"
        if tx.session.exec(select(func.count()).select_from(CycleRow)).one():
            what = "The database holds cycles and was not set up for demonstrations."
            raise SettingRefused(what, remedy="use an empty database: set FALLOW_STATE or FALLOW_DATABASE_URL to a new one.")
        tx.session.add(FactRow(name=DEMO_FACT, value="yes"))
    return "yes"


def _import_platforms(settings: Settings) -> str:
    """Import the platforms map where the registry is empty, if there is one already; say what came of it, "" where there is none."""
    path = settings.file("platforms")
    if not path.exists():
        return ""
    from fallow.bootstrap import open_records, open_registry  # noqa: PLC0415 - heavy

    systems: tuple[str, ...] = ()
    if settings.file("records").exists():
        records = open_records(settings)
        systems = tuple(records.systems)
        records.close()
    db = Database(settings.url())
    try:
        registered = open_registry(settings, db)
        found = found_or_compare(db, registered, path, systems)
    finally:
        db.close()
    differing = f"; {path} says otherwise of {', '.join(found)}, and the registry stands" if found else ""
    return f"{len(registered.present.entries)} registered{differing}"


def _prepare_temporal(settings: Settings) -> str:
    from workers import namespace  # noqa: PLC0415 - Temporal's SDK is not needed with --no-temporal

    asyncio.run(namespace.prepare(settings))
    return f"namespace {settings.temporal_namespace} at {settings.temporal_address} is ready"

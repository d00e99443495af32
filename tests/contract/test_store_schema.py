"""The schema on both databases: up, down and up again; no other version; and the gate's last bar in the database itself."""

from collections.abc import Collection
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from builders import World, advance, an_installation, enrolled, state_of
from builders_cycles import engine
from sqlalchemy import Column, MetaData, Table, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from fallow.domain.cycle import ref
from fallow.domain.errors import SettingRefused
from fallow.domain.lifecycle import State
from fallow.store import schema
from fallow.store.engine import Database
from fallow.store.keeping_tables import EpochRow, HolderRow, RetentionKeyRow, RetentionRow, SealedRow


def test_up_down_and_up_again_with_rows_in_it(database_url: str, tmp_path: Path) -> None:
    """A database with a released number in it can be taken down to nothing and brought up to work again."""
    world = an_installation(tmp_path, url=database_url)
    db = world.installation.db
    advance(world, enrolled(world)[0], State.RESELLABLE)

    schema.downgrade(db.engine, "base")
    left = set(inspect(db.engine).get_table_names())
    schema.upgrade(db.engine)
    schema.upgrade(db.engine)  # already there: nothing to do

    schema.check(db.engine)
    again = enrolled(world)[0]
    advance(world, again, State.RESELLABLE)
    assert left <= {"alembic_version"}
    assert state_of(world, again) is State.RESELLABLE
    db.close()


#: Tables that the migrations after the second make, and columns that they add to tables that were there.
LATER = {
    *("epochs", "holders", "retention", "retention_keys", "sealed_rows"),
    *("platforms", "platform_proposals", "registry_events", "exchanges"),
}
LATER_COLUMNS = {"deadline_at", "looked_at", "paused_at", "paused_by", "rate_per_second", "batch", "lanes"}


def rows_of(db: Database, but: Collection[str]) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table but some, without columns added later, in an order that does not depend on the database."""
    metadata = MetaData()
    metadata.reflect(db.engine)
    with db.engine.connect() as connection:
        return {
            name: sorted((tuple(row) for row in connection.execute(select(*_first(table)))), key=repr)
            for name, table in metadata.tables.items()
            if name not in {*but, "alembic_version"}
        }


def _first(table: Table) -> list[Column[Any]]:
    added = LATER_COLUMNS if table.name in {"obligations", "targets"} else set[str]()
    return [each for each in table.columns if each.name not in added]


def test_what_a_migration_adds_can_be_taken_back_and_leaves_every_other_row(database_url: str, tmp_path: Path) -> None:
    """Down and up again with rows in the new tables: each row of the others is as before, and the engine goes on."""
    world = an_installation(tmp_path, url=database_url)
    db = world.installation.db
    released, waiting = enrolled(world, 2)
    advance(world, released, State.RESELLABLE)
    advance(world, waiting, State.UNBINDING)
    keep_something_of(db, waiting)
    before = rows_of(db, LATER)

    schema.downgrade(db.engine, "0002")
    left = set(inspect(db.engine).get_table_names())
    schema.upgrade(db.engine)

    schema.check(db.engine)
    assert before["cycles"]
    assert rows_of(db, LATER) == before
    assert left & LATER == set()
    assert rows_of(db, before) == {table: [] for table in LATER}
    keep_something_of(db, waiting)
    advance(world, waiting, State.RESELLABLE)
    assert state_of(world, waiting) is State.RESELLABLE
    db.close()


def keep_something_of(db: Database, cycle_id: str) -> None:
    """Write a row into each of the tables of holder keys and of what the law keeps."""
    until, at = date(2028, 1, 1), datetime(2026, 3, 1, tzinfo=UTC)
    where = {"target_id": "crm", "collection": "contacts", "kept_until": until}
    with db.begin() as tx:
        tx.session.merge(EpochRow(kind="a test", epoch=1, began_at=at))
        tx.session.merge(HolderRow(cycle_id=cycle_id, epoch=1, wrapped=b"w", sealed=b"s"))
        tx.session.merge(RetentionRow(cycle_id=cycle_id, **where, how="sealed", basis="a law", rows=1, tries=0, due_at=at))
        tx.session.merge(RetentionKeyRow(cycle_id=cycle_id, kept_until=until, wrapped_by="a key", wrapped=b"w"))
        tx.session.merge(SealedRow(mark="m", cycle_id=cycle_id, **where, sealed=b"s"))


def test_the_migrations_make_what_the_tables_say(database_url: str) -> None:
    """A migrated database differs in nothing from the tables the code reads and writes."""
    db = Database(database_url)
    schema.upgrade(db.engine)

    with db.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts={"compare_type": False}), SQLModel.metadata)

    assert differences == []
    db.close()


@pytest.mark.parametrize("version", ["0000", "9999"])
def test_an_older_or_newer_schema_is_refused(database_url: str, version: str) -> None:
    """The code works on its own schema only, and the refusal names both versions and the remedy."""
    db = Database(database_url)
    schema.upgrade(db.engine)
    with db.begin() as tx:
        tx.session.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})

    with pytest.raises(SettingRefused, match=f"schema {version}, this code needs") as refused:
        schema.check(db.engine)

    assert "fallow setup" in refused.value.remedy
    db.close()


def test_an_empty_database_is_refused(database_url: str) -> None:
    """Without a schema nothing is begun."""
    db = Database(database_url)

    with pytest.raises(SettingRefused, match="schema none"):
        schema.check(db.engine)

    db.close()


def test_an_unreachable_database_is_named_without_its_password() -> None:
    """Where nothing listens, the refusal says which database, and keeps its password."""
    db = Database("postgresql+psycopg://fallow:sesame@127.0.0.1:1/fallow")

    with pytest.raises(SettingRefused, match="can't be reached") as refused:
        schema.check(db.engine)

    assert "sesame" not in str(refused.value)
    db.close()


def tagged(world: World) -> str:
    """Return a cycle in TAGGING whose tag is issued: one step before the gate."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.TAGGING)
    engine(world).disclosure.issue_tag(ref(cycle_id))
    return cycle_id


def forced(world: World, cycle_id: str, *spoilt: str) -> None:
    """Spoil rows, then write RESELLABLE past every line of our code."""
    with world.installation.db.begin() as tx:
        for statement in (*spoilt, "UPDATE cycles SET state = 'RESELLABLE' WHERE cycle_id = :cycle_id"):
            names = {"cycle_id": cycle_id} if ":cycle_id" in statement else {}
            tx.session.execute(text(statement), names)


OWED = "WHERE cycle_id = :cycle_id"


SPOILT = [
    *[f"UPDATE cycles SET state = '{state}' {OWED}" for state in State if state not in (State.TAGGING, State.RESELLABLE)],
    f"UPDATE cycles SET tag = NULL {OWED}",
    f"UPDATE cycles SET held = true {OWED}",
    f"UPDATE cycles SET attention = '[\"crime\"]' {OWED}",
    f"UPDATE obligations SET status = 'OPEN' {OWED} AND target_id = 'gamma-bank'",
    f"UPDATE obligations SET status = 'REFUSED' {OWED} AND target_id = 'crm'",
    f"UPDATE obligations SET evidence = NULL {OWED} AND target_id = 'alpha-pay'",
    f"DELETE FROM obligations {OWED} AND kind = 'records'",
    f"DELETE FROM obligations {OWED} AND kind = 'platform'",
    f"DELETE FROM obligations {OWED}",
    f"DELETE FROM events {OWED} AND kind = 'HolderKeyDestroyed'",
    f"INSERT INTO holders (cycle_id, epoch, wrapped, sealed) SELECT cycle_id, 1, '', '' FROM cycles {OWED}",
]


def test_no_statement_writes_resellable_past_the_gate(damaged: World) -> None:
    """The database itself refuses RESELLABLE with anything open, held, untagged or unproved."""
    cycle_id = tagged(damaged)

    for spoilt in SPOILT:
        with pytest.raises(DBAPIError):
            forced(damaged, cycle_id, spoilt)
        assert state_of(damaged, cycle_id) is State.TAGGING, spoilt


def test_the_bar_gives_way_only_when_everything_is_discharged(damaged: World) -> None:
    """The refusals above come from what was spoilt: unspoilt, the same statement passes."""
    cycle_id = tagged(damaged)

    forced(damaged, cycle_id)

    assert state_of(damaged, cycle_id) is State.RESELLABLE


def test_no_cycle_is_born_resellable(damaged: World) -> None:
    """A row can't be inserted in any other state than ENROLLED."""
    cycle_id = enrolled(damaged)[0]
    with damaged.installation.db.begin() as tx:
        columns = [column["name"] for column in inspect(tx.session.connection()).get_columns("cycles")]
    copied = ", ".join({"cycle_id": "'n_forged/9'", "cycle_no": "9", "state": "'RESELLABLE'"}.get(name, name) for name in columns)

    with pytest.raises(DBAPIError), damaged.installation.db.begin() as tx:
        tx.session.execute(text(f"INSERT INTO cycles ({', '.join(columns)}) SELECT {copied} FROM cycles {OWED}"), {"cycle_id": cycle_id})

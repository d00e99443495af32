"""The sessions that a carrier's database is used by, and what counts as a refusal of the change on each kind of database."""

from collections.abc import Callable

import pytest
from carrier_database import FORMER, Carrier, add_calls, by_collection, order
from sqlalchemy import text

from fallow.domain.errors import TargetUnavailable, WipeRefused
from fallow.records.records_map import RecordsMap

_MARIADB = """SELECT @@time_zone, @@max_statement_time, @@innodb_lock_wait_timeout, @@lock_wait_timeout, @@idle_transaction_timeout,
    @@tx_isolation, @@sql_mode"""
_POSTGRESQL = "SELECT " + ", ".join(
    f"current_setting('{name}')"
    for name in ("timezone", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_isolation")
)


@pytest.mark.parametrize("side", ["reading", "writing"])
def test_a_session_waits_for_nothing_longer_than_the_map_says(carrier: Carrier, records: RecordsMap, side: str) -> None:
    """UTC, the limits, one isolation and one reading of statements, whatever the server's own settings are."""
    if carrier.kind == "mariadb":
        carrier.run("SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT', GLOBAL time_zone = '+05:00'")
    try:
        with getattr(records.systems["crm"].database, side)() as connection:
            ask = {"mariadb": _MARIADB, "postgresql": _POSTGRESQL}.get(carrier.kind, "PRAGMA busy_timeout")
            found = tuple(connection.execute(text(ask)).one())
    finally:
        if carrier.kind == "mariadb":
            carrier.run("SET GLOBAL sql_mode = DEFAULT, GLOBAL time_zone = '+00:00'")

    strict = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
    assert (
        found
        == {
            "mariadb": ("+00:00", 1.0, 1, 1, 60, "READ-COMMITTED", strict),
            "postgresql": ("UTC", "1s", "1s", "1min", "read committed"),
            "sqlite": (1000,),
        }[carrier.kind]
    )


def test_a_table_that_is_being_altered_is_waited_for_no_longer(carrier: Carrier, records: RecordsMap) -> None:
    """MariaDB would wait a day for a table's definition, whatever the limit of locks on rows is."""
    if carrier.kind == "sqlite":
        pytest.skip("SQLite locks the database as a whole")
    crm = records.systems["crm"]
    crm.check()
    with carrier.engine.connect() as other:
        other.execute(text("SELECT count(*) FROM calls"))
        other.exec_driver_sql("LOCK TABLES calls WRITE" if carrier.kind == "mariadb" else "LOCK TABLE calls IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TargetUnavailable):
            crm.wipe([order()])
        other.invalidate()

    crm.wipe([order()])


@pytest.mark.parametrize("signal", ["SQLSTATE '45000'", "SQLSTATE '45000' SET MYSQL_ERRNO = 30001", "SQLSTATE '23000'"])
def test_what_a_trigger_of_mariadb_raises_is_a_refusal(carrier: Carrier, records: RecordsMap, signal: str) -> None:
    """By the usual state, under a number of its own, or as a constraint would."""
    if carrier.kind != "mariadb":
        pytest.skip("the triggers are MariaDB's")
    add_calls(carrier)
    carrier.run(f"CREATE TRIGGER keep BEFORE DELETE ON calls FOR EACH ROW SIGNAL {signal}")

    with pytest.raises(WipeRefused):
        records.systems["crm"].wipe([order()])

    assert carrier.ids("calls") == [1, 2, 3, 4, 5]


def test_a_check_that_stands_against_the_change_is_a_refusal(carrier: Carrier, records: RecordsMap) -> None:
    """A status that the table does not allow won't be allowed at the next attempt either."""
    if carrier.kind == "sqlite":
        pytest.skip("SQLite adds no constraint to a table that is there")
    carrier.run("ALTER TABLE subscribers ADD CONSTRAINT known CHECK (status IN ('active', 'ended'))")
    insert = "INSERT INTO subscribers (id, msisdn, activated_at, status) VALUES (1, :n, '2020-01-01T00:00:00Z', 'ended')"
    carrier.run(insert, n=FORMER.text)

    with pytest.raises(WipeRefused):
        records.systems["crm"].wipe([order()])


def test_an_account_that_may_not_is_an_outage(carrier: Carrier, load: Callable[[str, str], RecordsMap]) -> None:
    """A password that was changed is mended at the target, and refuses no number."""
    if carrier.kind == "sqlite":
        pytest.skip("SQLite knows no accounts")
    password = str(carrier.engine.url.password)

    crm = load(password, "another").systems["crm"]

    with pytest.raises(TargetUnavailable) as caught:
        crm.wipe([order()])
    assert "another" not in str(caught.value)


def test_a_transaction_that_reads_first_may_still_write(carrier: Carrier, records: RecordsMap) -> None:
    """On SQLite too: it takes its turn at the beginning, and does not fail later because another wrote in between."""
    add_calls(carrier)
    database = records.systems["crm"].database
    with database.writing() as connection:
        assert connection.execute(text("SELECT count(*) FROM calls")).scalar_one() == 5
        if carrier.kind == "sqlite":
            with pytest.raises(Exception, match="locked"):  # the carrier's own program waits, not the transaction that has begun
                _delete_without_waiting(carrier)
        connection.execute(text("DELETE FROM calls WHERE id = 5"))

    assert carrier.ids("calls") == [1, 2, 3, 4]
    assert by_collection(records.systems["crm"].wipe([order()])[0].collections)["calls"] == (2, 0)


def _delete_without_waiting(carrier: Carrier) -> None:
    with carrier.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        connection.exec_driver_sql("DELETE FROM calls WHERE id = 4")

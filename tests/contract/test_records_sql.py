"""What a SQL record system promises, on SQLite, PostgreSQL and MariaDB."""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from carrier_database import BRITISH, FORMER, LEFT_AT, MAP, OTHER, Carrier, add_calls, by_collection, order

from fallow.domain.errors import MapRefused, TargetUnavailable, WipeRefused
from fallow.domain.gate import LineStatus
from fallow.records.records_map import RecordsMap, load_records_map


def test_only_the_former_holders_rows_are_deleted(carrier: Carrier, records: RecordsMap) -> None:
    """Rows up to the last instant go; the newer holder's, the other party's and other people's stay."""
    add_calls(carrier)

    (receipt,) = records.systems["crm"].wipe([order()])

    assert carrier.ids("calls") == [3, 4, 5]
    assert by_collection(receipt.collections)["calls"] == (2, 0)


def test_a_repeat_clears_nothing_twice_and_gives_a_full_receipt(carrier: Carrier, records: RecordsMap) -> None:
    """After a crash the same order can be done again: the same proof, nothing more changed."""
    add_calls(carrier)
    crm = records.systems["crm"]
    (first,) = crm.wipe([order()])

    (second,) = crm.wipe([order()])

    assert carrier.ids("calls") == [3, 4, 5]
    assert by_collection(second.collections)["calls"] == (0, 0)
    assert tuple(receipt.collection for receipt in second.collections) == crm.collections
    assert [(each.statement, each.query) for each in first.collections] == [(each.statement, each.query) for each in second.collections]


def test_the_register_is_restricted_with_basis_and_expiry(carrier: Carrier, records: RecordsMap) -> None:
    """The register entry stays, out of use, with why and until when; the newer holder's entry is as it was."""
    for key, since in ((1, "2020-01-01T00:00:00+08:00"), (2, "2026-05-02T00:00:00+08:00")):
        insert = "INSERT INTO subscribers (id, msisdn, name, activated_at, status) VALUES (:i, :n, 'X', :t, 'ended')"
        carrier.run(insert, i=key, n=FORMER.text, t=since)

    (receipt,) = records.systems["crm"].wipe([order()])

    kept = "status = 'RESTRICTED' AND legal_basis = 'kept by law' AND restricted_until = '2028-04-29'"
    assert carrier.ids("subscribers", kept) == [1]
    assert carrier.ids("subscribers", "status = 'ended' AND legal_basis IS NULL") == [2]
    register = receipt.collections[0]
    assert (register.affected, register.remaining, register.legal_basis, register.kept_until) == (
        1,
        0,
        "kept by law",
        "2028-04-29",
    )


def test_a_batch_gives_one_receipt_per_order(carrier: Carrier, records: RecordsMap) -> None:
    """Each number has its own instant and its own receipt, in the order asked."""
    add_calls(carrier)
    orders = [order(OTHER), order(FORMER, LEFT_AT - timedelta(days=60)), order(BRITISH)]

    receipts = records.systems["crm"].wipe([replace(each, cycle_id=f"n/{place}") for place, each in enumerate(orders)])

    assert [receipt.cycle_id for receipt in receipts] == ["n/0", "n/1", "n/2"]
    assert [by_collection(receipt.collections)["calls"] for receipt in receipts] == [(1, 0), (1, 0), (0, 0)]
    assert carrier.ids("calls") == [2, 3, 4]


def test_a_batch_that_fails_in_the_middle_goes_on_there(carrier: Carrier, records: RecordsMap) -> None:
    """Where the last table fails nothing is claimed; the repeat goes on there, and its receipt covers every table."""
    add_calls(carrier)
    crm = records.systems["crm"]
    crm.check()
    carrier.run("ALTER TABLE notes RENAME TO elsewhere")

    with pytest.raises(TargetUnavailable):
        crm.wipe([order()])
    carrier.run("ALTER TABLE elsewhere RENAME TO notes")
    (receipt,) = crm.wipe([order()])

    assert carrier.ids("calls") == [3, 4, 5]
    assert tuple(each.collection for each in receipt.collections) == crm.collections
    assert {remaining for _, remaining in by_collection(receipt.collections).values()} == {0}


def test_a_lost_table_is_named_at_the_next_attempt(carrier: Carrier, records: RecordsMap) -> None:
    """A table that the carrier renamed is a fault of the map, said with its name."""
    carrier.run("ALTER TABLE notes RENAME TO elsewhere")

    with pytest.raises(MapRefused, match="table notes: there is no such table"):
        records.systems["crm"].wipe([order()])


def test_a_missing_column_is_named(carrier: Carrier, records: RecordsMap) -> None:
    """A column that does not exist is a fault of the map, said with its name."""
    carrier.run("ALTER TABLE calls RENAME COLUMN began_at TO started_at")

    with pytest.raises(MapRefused, match="table calls: there is no column began_at"):
        records.systems["crm"].check()


def test_a_locked_table_is_unavailable_and_leaks_nothing(carrier: Carrier, records: RecordsMap) -> None:
    """A lock that outlasts the time limit gives an error without statement, value or number, not even in its context."""
    add_calls(carrier)
    crm = records.systems["crm"]
    crm.check()
    with carrier.locking("calls"), pytest.raises(TargetUnavailable) as caught:
        crm.wipe([order()])

    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert not any(secret in str(caught.value) for secret in ("13800000001", "SELECT", "DELETE", "UPDATE"))
    assert by_collection(crm.wipe([order()])[0].collections)["calls"] == (2, 0)


def test_a_refused_change_is_not_an_unreachable_system(carrier: Carrier, records: RecordsMap) -> None:
    """A trigger that stands against one number is said as such, without number or statement; the others go when sent alone."""
    add_calls(carrier)
    carrier.raise_on_delete("calls", "old.caller = '8613800000001'")
    crm = records.systems["crm"]

    with pytest.raises(WipeRefused) as caught:
        crm.wipe([order(OTHER), order(FORMER)])

    assert carrier.ids("calls") == [1, 2, 3, 4, 5]
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert not any(secret in str(caught.value) for secret in ("13800000001", "DELETE"))
    assert by_collection(crm.wipe([order(OTHER)])[0].collections)["calls"] == (1, 0)


def test_a_row_that_another_needs_is_a_refused_change(carrier: Carrier, records: RecordsMap) -> None:
    """A foreign key of a table outside the map stands against the deletion, now and at each repeat."""
    if carrier.engine.dialect.name == "sqlite":
        pytest.skip("SQLite leaves foreign keys alone unless a connection asks for them")
    add_calls(carrier)
    carrier.run("CREATE TABLE disputes (call_id INTEGER REFERENCES calls (id))")
    carrier.run("INSERT INTO disputes VALUES (1)")

    with pytest.raises(WipeRefused):
        records.systems["crm"].wipe([order()])

    assert carrier.ids("calls") == [1, 2, 3, 4, 5]


def test_each_receipt_carries_what_the_map_meant(records: RecordsMap) -> None:
    """The digest of each collection's entry stands in its receipt."""
    crm = records.systems["crm"]

    (receipt,) = crm.wipe([order()])

    assert {each.collection: each.meaning for each in receipt.collections} == crm.meanings == records.meanings["crm"]
    assert len(set(crm.meanings.values())) == len(crm.collections)


def test_the_read_back_sees_what_came_after_the_deletion(carrier: Carrier, records: RecordsMap) -> None:
    """A row that a trigger of the carrier writes back is found: the read-back looks, it does not trust the statement."""
    if carrier.engine.dialect.name != "sqlite":
        pytest.skip("the trigger is written for SQLite")
    add_calls(carrier)
    carrier.run(
        "CREATE TRIGGER back AFTER DELETE ON calls WHEN old.id = 1 "
        "BEGIN INSERT INTO calls VALUES (9, old.caller, old.callee, old.began_at); END"
    )

    (receipt,) = records.systems["crm"].wipe([order()])

    assert by_collection(receipt.collections)["calls"] == (2, 1)


def test_two_senders_at_once_clear_everything_once(carrier: Carrier, records: RecordsMap) -> None:
    """Two wipes of the same number at the same time both end with nothing remaining."""
    add_calls(carrier)
    start, remaining = threading.Barrier(2), list[int]()

    def wipe() -> None:
        start.wait()
        (receipt,) = records.systems["crm"].wipe([order()])
        remaining.extend(each.remaining for each in receipt.collections)

    both = [threading.Thread(target=wipe) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()

    assert remaining == [0] * 8
    assert carrier.ids("calls") == [3, 4, 5]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], LineStatus.UNKNOWN),
        (["disconnected"], LineStatus.OFF),
        (["suspended"], LineStatus.IN_SERVICE),
        (["ported_out"], LineStatus.PORTED),
        (["paused"], LineStatus.UNKNOWN),
        ([None], LineStatus.UNKNOWN),
        (["disconnected", "ported_out", "active"], LineStatus.IN_SERVICE),
        (["disconnected", "ported_out"], LineStatus.PORTED),
        (["disconnected", "paused"], LineStatus.UNKNOWN),
    ],
)
def test_the_line_register_lets_the_least_through(carrier: Carrier, records: RecordsMap, rows: list[str | None], says: LineStatus) -> None:
    """Of several rows the strictest counts, and only a listed value says that a line is off."""
    for status in rows:
        carrier.run("INSERT INTO lines VALUES (:n, :s)", n=FORMER.text, s=status)
    carrier.run("INSERT INTO lines VALUES (:n, 'active')", n=OTHER.text)

    assert records.line_register.statuses([FORMER, OTHER]) == [says, LineStatus.IN_SERVICE]


def test_a_missing_sqlite_file_is_not_a_clean_database(tmp_path: Path) -> None:
    """A misspelt path is unavailable; it does not become a new, empty database."""
    path = tmp_path / "records.toml"
    path.write_text(MAP.format(url="sqlite:///absent.db"))
    loaded = load_records_map(path)

    with pytest.raises(TargetUnavailable):
        loaded.systems["crm"].wipe([order()])

    loaded.close()
    assert not (tmp_path / "absent.db").exists()


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mariadb+pymysql"])
def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path, driver: str) -> None:
    """A refused connection is worth another attempt, and the message keeps the password."""
    path = tmp_path / "records.toml"
    path.write_text(MAP.format(url=f"{driver}://me:secret@127.0.0.1:1/carrier"))
    loaded = load_records_map(path)

    with pytest.raises(TargetUnavailable) as caught:
        loaded.line_register.statuses([FORMER])

    loaded.close()
    assert "secret" not in str(caught.value)

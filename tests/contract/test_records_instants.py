"""Texts and types that say when a row began, at their edges, on every database; and MariaDB's own types."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from carrier_database import FORMER, Carrier, by_collection, order

from fallow.domain.errors import WipeRefused
from fallow.records.records_map import RecordsMap


@pytest.mark.parametrize(
    "written_at",
    [
        "2026-02-30T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31",
        "2026-13-01",
        "2026-00-10",
        "0000-01-01",
        "2026-04-30T24:00:00Z",
        "2026-04-30T18:60:00Z",
        "2026-04-30T18:00:00+19:00",
        "2026-04-30T18:00:00.1234567Z",
        "2026-04-30T18:00:00Z\n",
        "2026-04-30\n",
        "2026-04-30T18:00:00Z; x",
    ],
)
def test_a_day_that_there_is_not_fails_one_row_and_no_statement(carrier: Carrier, records: RecordsMap, written_at: str) -> None:
    """What looks like an instant and is none is left alone and counted, and the other rows of the batch go."""
    if carrier.kind == "sqlite":
        pytest.skip("SQLite reads the 31st of any month as the day that follows, and its instants by shape alone")
    carrier.run("INSERT INTO notes VALUES (1, 8613800000001, :t), (2, 8613800000001, '2026-01-01')", t=written_at)

    (receipt,) = records.systems["crm"].wipe([order()])

    assert carrier.ids("notes") == [1]
    assert by_collection(receipt.collections)["notes"] == (1, 1)


@pytest.mark.parametrize(
    ("written_at", "goes"),
    [
        ("0001-01-01T00:00:00+15:59", True),
        ("1900-01-01", True),
        ("1969-12-31T23:59:59.999999-12:00", True),
        ("2024-02-29T12:00Z", True),
        ("2000-02-29", True),
        ("2026-05-01T01:59:59.999999+0800", True),
        ("2026-05-01T02:00:00.000001+08", False),
        ("2026-04-30T12:30:00-05:30", True),
        ("2026-04-30T12:30:00.000001-05:30", False),
        ("2040-01-01T00:00:00Z", False),
        ("9999-12-31T23:59:59.999999-15:59", False),
    ],
)
def test_years_offsets_and_fractions_at_their_edges(carrier: Carrier, records: RecordsMap, written_at: str, *, goes: bool) -> None:
    """Before 1970, after 2038, each way to write an offset, to the microsecond."""
    if carrier.kind == "sqlite":
        pytest.skip("SQLite reads fewer ways to write an offset, and milliseconds")
    carrier.run("INSERT INTO notes VALUES (1, 8613800000001, :t)", t=written_at)

    (receipt,) = records.systems["crm"].wipe([order()])

    assert by_collection(receipt.collections)["notes"] == (int(goes), 0)
    assert carrier.ids("notes") == ([] if goes else [1])


@pytest.mark.parametrize(("zone", "kept"), [("+00:00", [2]), ("+08:00", [2]), ("-05:00", [2])])
def test_mariadbs_timestamp_is_an_instant_in_any_zone(
    carrier: Carrier, load: Callable[[str, str], RecordsMap], zone: str, kept: list[int]
) -> None:
    """Whatever the server's zone and the map's offset, a TIMESTAMP says which instant it is, and needs no offset."""
    if carrier.kind != "mariadb":
        pytest.skip("the type is MariaDB's")
    carrier.run("CREATE TABLE stamped (id INTEGER PRIMARY KEY, digits BIGINT, at TIMESTAMP(6) NULL)")
    insert = "INSERT INTO stamped VALUES (:i, 8613800000001, CONVERT_TZ(:t, '+00:00', @@session.time_zone))"
    for key, at in ((1, "2026-04-30 18:00:00"), (2, "2026-04-30 18:00:00.000001")):
        carrier.run(insert, i=key, t=at)
    carrier.run(f"SET GLOBAL time_zone = '{zone}'")
    load('table = "notes"', 'table = "stamped"').close()

    (receipt,) = load('until = "written_at"\noffset = "+00:00"', 'until = "at"').systems["crm"].wipe([order()])

    carrier.run("SET GLOBAL time_zone = '+00:00'")
    assert carrier.ids("stamped") == kept
    assert by_collection(receipt.collections)["notes"] == (1, 0)


@pytest.mark.parametrize("began_at", ["0000-00-00 00:00:00", "2026-00-00 00:00:00", "2026-04-00 00:00:00"])
def test_mariadbs_day_that_is_none_fails_the_read_back(carrier: Carrier, records: RecordsMap, began_at: str) -> None:
    """A zero in a date says that it isn't known; it is not the earliest of all."""
    if carrier.kind != "mariadb":
        pytest.skip("no other database keeps such dates")
    with carrier.engine.connect() as connection:
        connection.exec_driver_sql("SET sql_mode = ''")
        connection.exec_driver_sql(f"INSERT INTO calls VALUES (1, '8613800000001', 'x', '{began_at}')")
        connection.exec_driver_sql(f"INSERT INTO contacts VALUES (1, '013800000001', 'CN', '{began_at[:10]}')")
        connection.commit()
        connection.invalidate()

    (receipt,) = records.systems["crm"].wipe([order()])

    found = by_collection(receipt.collections)
    assert (found["calls"], found["contacts"]) == ((0, 1), (0, 1))


def test_a_value_that_does_not_fit_is_refused_and_not_cut_off(carrier: Carrier, load: Callable[[str, str], RecordsMap]) -> None:
    """Whatever the server's own mode is: a legal basis that is cut off is none."""
    if carrier.kind != "mariadb":
        pytest.skip("no other database cuts off")
    carrier.run("SET GLOBAL sql_mode = ''")
    carrier.run(
        "INSERT INTO subscribers (id, msisdn, activated_at, status) VALUES (1, :n, :t, 'x')", n=FORMER.text, t="2020-01-01T00:00:00Z"
    )

    try:
        with pytest.raises(WipeRefused):
            load('status = "RESTRICTED"', f'status = "{"R" * 65}"').systems["crm"].wipe([order()])
    finally:
        carrier.run("SET GLOBAL sql_mode = DEFAULT")

    assert carrier.ids("subscribers", "status = 'x'") == [1]


def test_the_instants_of_the_tests_are_what_they_seem() -> None:
    """The order's instant is the one that the texts above are written around."""
    assert order().disconnected_at == datetime(2026, 4, 30, 18, tzinfo=UTC)

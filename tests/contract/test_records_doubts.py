"""What a look at the tables says against a records map, on SQLite, PostgreSQL and MariaDB."""

import re
from collections.abc import Callable

import pytest
from carrier_database import FORMER, Carrier

from fallow.domain.errors import TargetUnavailable
from fallow.records.doubts import Doubt
from fallow.records.records_map import RecordsMap


def add_callers(carrier: Carrier, *callers: str) -> None:
    """Plant one call of each."""
    for key, caller in enumerate(callers):
        carrier.run("INSERT INTO calls VALUES (:i, :a, '8613900000009', '2026-01-01 08:00:00')", i=key, a=caller)


def add_lines(carrier: Carrier, *statuses: str | None) -> None:
    """Plant one line for each status."""
    for place, status in enumerate(statuses):
        carrier.run("INSERT INTO lines VALUES (:n, :s)", n=f"+861380000{place:04}", s=status)


def assert_no_number(doubts: list[Doubt]) -> None:
    """Fail where anything said could be a number or most of one."""
    assert not [each for each in doubts if re.search(r"[0-9]{4}", each.what + each.remedy)]


def test_nothing_is_said_of_tables_that_are_as_mapped(carrier: Carrier, records: RecordsMap) -> None:
    """Empty tables, and every spelling as its map says, an integer without its sign included: no doubt."""
    assert records.systems["crm"].doubts() == []
    assert records.line_register.doubts() == []
    add_callers(carrier, "8613800000001", "442079460001", "")
    add_lines(carrier, "disconnected", "active")
    carrier.run("INSERT INTO subscribers (id, msisdn) VALUES (1, '+8613800000001'), (2, NULL)")
    carrier.run("INSERT INTO contacts VALUES (1, '013800000001', 'CN', '2025-01-01'), (2, '02079460001', 'JE', '2025-01-01')")
    carrier.run("INSERT INTO notes VALUES (1, 8613800000001, '2026-01-01T00:00:00Z')")

    assert records.systems["crm"].doubts() == []
    assert records.line_register.doubts() == []


@pytest.mark.parametrize(
    ("mapped", "callers"),
    [
        ('spelling = "e164"', ["442079460001", "442079460002"]),
        ('spelling = "e164"', ["+44 20 7946 0001"]),
        ('spelling = "digits"', ["+442079460001"]),
        ('spelling = "digits"', ["00442079460001"]),
        ('spelling = "digits"', ["13800000001", "13800000002"]),
        ('spelling = "national", country = "GB"', ["02079460001"]),
        ('spelling = "national", country = "CN"', ["8613800000001"]),
        ('spelling = "national", trunk_prefix = "0", country = "GB"', ["2079460001"]),
        ('spelling = "national", country = "GB"', ["13800000001"]),
    ],
)
def test_a_spelling_that_no_value_has_is_a_grave_doubt(
    carrier: Carrier, load: Callable[[str, str], RecordsMap], mapped: str, callers: list[str]
) -> None:
    """Collection, column, mapped spelling and how many were looked at; no value."""
    add_callers(carrier, *callers)

    doubts = load('column = "caller", spelling = "digits"', f'column = "caller", {mapped}').systems["crm"].doubts()

    assert [each.grave for each in doubts] == [True]
    assert doubts[0].what.startswith(f"collection calls: no value of caller is spelt {mapped.split(chr(34))[1]}")
    assert f"({len(callers)} looked at)" in doubts[0].what
    assert "caller in table calls" in doubts[0].remedy
    assert_no_number(doubts)


def test_a_spelling_that_some_values_do_not_have_is_a_doubt(carrier: Carrier, records: RecordsMap) -> None:
    """How many of how many, and it is not grave."""
    add_callers(carrier, "8613800000001", "+8613800000002", "anonymous", "8613800000003")

    doubts = records.systems["crm"].doubts()

    assert [(each.what, each.grave) for each in doubts] == [("collection calls: 2 of 4 values of caller are not spelt digits.", False)]
    assert_no_number(doubts)


def test_a_hundred_values_are_looked_at(carrier: Carrier, load: Callable[[str, str], RecordsMap]) -> None:
    """However many rows there are."""
    rows = ", ".join(f"({key}, '8613800000{key:03}', 'x', '2026-01-01 08:00:00')" for key in range(150))
    carrier.run(f"INSERT INTO calls VALUES {rows}")

    (doubt,) = load('column = "caller", spelling = "digits"', 'column = "caller", spelling = "e164"').systems["crm"].doubts()

    assert "(100 looked at)" in doubt.what


def test_an_integer_column_is_judged_without_sign_and_zeros(carrier: Carrier, load: Callable[[str, str], RecordsMap]) -> None:
    """What an integer can't keep is no fault of the map; national digits where the whole number is mapped are."""
    carrier.run("INSERT INTO notes VALUES (1, 2079460001, '2026-01-01T00:00:00Z')")
    change = 'column = "digits", spelling = "digits"'

    as_digits = load(change, 'column = "digits", spelling = "e164"').systems["crm"].doubts()
    national = 'column = "digits", spelling = "national", trunk_prefix = "0", country = "GB"'
    as_national = load('column = "digits", spelling = "e164"', national).systems["crm"].doubts()

    assert ([each.grave for each in as_digits], as_national) == ([True], [])


def test_the_registers_numbers_are_looked_at_too(carrier: Carrier, records: RecordsMap) -> None:
    """A register spelt otherwise knows no line."""
    carrier.run("INSERT INTO lines VALUES ('8613800000001', 'disconnected')")

    (doubt,) = records.line_register.doubts()

    assert doubt.grave
    assert doubt.what == "the line register: no value of msisdn is spelt e164 (1 looked at)."


def test_a_status_in_no_list_is_named(carrier: Carrier, records: RecordsMap) -> None:
    """The words and how many rows; a value that could be a number is counted and not shown."""
    add_lines(carrier, "disconnected", "paused", "paused", None, FORMER.text, "13 80 00 00 00 1")

    doubts = records.line_register.doubts()

    assert [each.what for each in doubts] == ["the line register: 5 rows have a status that no list names: NULL, paused, 2 not shown."]
    assert not doubts[0].grave
    assert_no_number(doubts)


def test_a_column_of_many_values_is_not_quoted(carrier: Carrier, records: RecordsMap) -> None:
    """Somebody's names or numbers in the mapped column are not states, and are not told."""
    add_lines(carrier, "disconnected", *(f"Person {place}" for place in range(11)))

    (doubt,) = records.line_register.doubts()

    assert "11 different values" in doubt.what
    assert "Person" not in doubt.what + doubt.remedy


def test_a_word_for_off_that_never_occurs_is_a_doubt(carrier: Carrier, load: Callable[[str, str], RecordsMap]) -> None:
    """Of the words listed as off, the one that no row has."""
    add_lines(carrier, "disconnected", "active")

    (doubt,) = load('off = ["disconnected"]', 'off = ["disconnected", "Disconnected"]').line_register.doubts()

    assert doubt.what == "the line register: no row has the status Disconnected, which the map lists as off."
    assert not doubt.grave


def test_a_table_that_is_gone_is_no_doubt_but_an_error(carrier: Carrier, records: RecordsMap) -> None:
    """What can't be looked at is not passed over."""
    records.line_register.check()
    carrier.run("ALTER TABLE lines RENAME TO elsewhere")

    with pytest.raises(TargetUnavailable):
        records.line_register.doubts()

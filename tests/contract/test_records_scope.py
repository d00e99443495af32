"""Which rows are a former holder's: by number and country, by instant, day and offset, by what was restricted before."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from carrier_database import BRITISH, FORMER, JERSEY, Carrier, add_calls, by_collection, order

from fallow.domain.errors import MapRefused
from fallow.domain.gate import LineStatus
from fallow.domain.number import E164
from fallow.records.records_map import RecordsMap


@pytest.mark.parametrize(
    ("written_at", "goes"),
    [
        ("2026-05-01T02:00:00+08:00", True),
        ("2026-05-01T02:00:01+08:00", False),
        ("2026-04-30T17:59:59Z", True),
        ("2026-04-30 18:00:00", True),
        ("2026-04-30T12:00:01-06:00", False),
        ("2026-04-30", True),
    ],
)
def test_text_instants_are_compared_as_instants(carrier: Carrier, records: RecordsMap, written_at: str, *, goes: bool) -> None:
    """Offsets count: text is never compared as text, and what says no offset has the map's."""
    carrier.run("INSERT INTO notes VALUES (1, 8613800000001, :t)", t=written_at)

    (receipt,) = records.systems["crm"].wipe([order()])

    assert carrier.ids("notes") == ([] if goes else [1])
    assert by_collection(receipt.collections)["notes"] == (int(goes), 0)


@pytest.mark.parametrize("written_at", [None, "", "last spring", "30.04.2026", "now", "12:00", "2450000.5"])
def test_a_row_without_a_readable_instant_fails_the_read_back(carrier: Carrier, records: RecordsMap, written_at: str | None) -> None:
    """Whose row it is can't be told: it is not touched, and it does not pass for clean."""
    carrier.run("INSERT INTO notes VALUES (1, 8613800000001, :t)", t=written_at)

    (receipt,) = records.systems["crm"].wipe([order()])

    assert carrier.ids("notes") == [1]
    assert by_collection(receipt.collections)["notes"] == (0, 1)


def test_a_national_number_of_another_country_is_another_number(carrier: Carrier, records: RecordsMap) -> None:
    """The same national digits under another country code are somebody else's."""
    for key, country in ((1, "GB"), (2, "DE")):
        carrier.run("INSERT INTO contacts VALUES (:i, '02079460001', :c, '2025-01-01')", i=key, c=country)

    (receipt,) = records.systems["crm"].wipe([order(BRITISH)])

    assert carrier.ids("contacts") == [2]
    assert by_collection(receipt.collections)["contacts"] == (1, 0)


@pytest.mark.parametrize(
    ("country", "number", "written"),
    [
        ("GB", JERSEY.text, "07797712345"),
        ("US", "+17872345678", "07872345678"),
        ("US", "+14165550123", "04165550123"),
        ("RU", "+77012345678", "07012345678"),
        ("IT", "+390669812345", "00669812345"),
    ],
)
def test_regions_of_one_calling_code_share_a_table(
    carrier: Carrier, load: Callable[[str, str], RecordsMap], country: str, number: str, written: str
) -> None:
    """A Jersey number in a British table is that number: the calling code counts, not the region; another code is another's."""
    carrier.run("INSERT INTO contacts VALUES (1, :p, NULL, '2025-01-01')", p=written)
    crm = load('country_column = "country"', f'country = "{country}"').systems["crm"]

    other, mine = crm.wipe([order(E164("+49" + written[1:])), order(E164(number))])

    assert [by_collection(each.collections)["contacts"] for each in (other, mine)] == [(0, 0), (1, 0)]
    assert carrier.ids("contacts") == []


def test_a_row_without_a_known_country_fails_the_read_back(carrier: Carrier, records: RecordsMap) -> None:
    """Any region of the calling code is the number's; no or no known code is left alone and counted; another code is another's."""
    for key, country in enumerate(["JE", "GB", None, "je", "UK", "", "DE"]):
        carrier.run("INSERT INTO contacts VALUES (:i, '07797712345', :c, '2025-01-01')", i=key, c=country)
    carrier.run("INSERT INTO contacts VALUES (7, '07797712345', NULL, '2026-05-02')")

    (receipt,) = records.systems["crm"].wipe([order(JERSEY)])

    small_counts_too = carrier.kind == "mariadb"  # there, text is compared without regard to case
    assert carrier.ids("contacts") == ([2, 4, 5, 6, 7] if small_counts_too else [2, 3, 4, 5, 6, 7])
    assert by_collection(receipt.collections)["contacts"] == ((3, 3) if small_counts_too else (2, 4))


@pytest.mark.parametrize(("country", "says"), [("JE", LineStatus.OFF), ("GB", LineStatus.OFF), (None, LineStatus.UNKNOWN)])
def test_the_line_register_knows_the_regions_of_a_calling_code(
    carrier: Carrier, load: Callable[[str, str], RecordsMap], country: str | None, says: LineStatus
) -> None:
    """A line whose country is not known has no status to go by."""
    carrier.run("ALTER TABLE lines ADD COLUMN country TEXT")
    carrier.run("INSERT INTO lines VALUES ('7797712345', 'disconnected', :c)", c=country)
    number = 'column = "msisdn", spelling = "national", country_column = "country" }\nstatus'

    register = load('column = "msisdn", spelling = "e164" }\nstatus', number).line_register

    assert register.statuses([JERSEY]) == [says]


@pytest.mark.parametrize(
    ("table", "row", "goes"),
    [
        ("calls", "'8613800000001', 'x', '2026-05-01 02:00:00'", True),
        ("calls", "'8613800000001', 'x', '2026-05-01 02:00:01'", False),
        ("contacts", "'013800000001', 'CN', '2026-05-01'", True),
        ("contacts", "'013800000001', 'CN', '2026-05-02'", False),
        ("notes", "8613800000001, '2026-05-01T02:00'", True),
        ("notes", "8613800000001, '2026-05-01 02:00:01'", False),
        ("notes", "8613800000001, '2026-05-01'", True),
        ("notes", "8613800000001, '2026-05-02'", False),
        ("notes", "8613800000001, '2026-04-30T18:00:00Z'", True),
        ("notes", "8613800000001, '2026-04-30T18:00:01+00:00'", False),
    ],
)
def test_local_times_and_days_are_those_of_the_maps_offset(
    carrier: Carrier, load: Callable[[str, str], RecordsMap], table: str, row: str, *, goes: bool
) -> None:
    """A line cut at 02:00 east of Greenwich takes its local night with it; what says its own offset keeps to that."""
    carrier.run(f"INSERT INTO {table} VALUES (1, {row})")

    (receipt,) = load('offset = "+00:00"', 'offset = "+08:00"').systems["crm"].wipe([order()])

    assert carrier.ids(table) == ([] if goes else [1])
    assert by_collection(receipt.collections)[table] == (int(goes), 0)


@pytest.mark.parametrize(("collection", "until"), [("calls", "began_at"), ("contacts", "added_on"), ("notes", "written_at")])
def test_a_map_must_say_the_offset_of_local_times(
    carrier: Carrier, load: Callable[[str, str], RecordsMap], collection: str, until: str
) -> None:
    """Whose offset nobody knows is not guessed to be UTC: refused, naming file, collection and remedy."""
    add_calls(carrier)
    carrier.run("INSERT INTO notes VALUES (1, 8613900000009, '2026-01-01 08:00:00')")
    crm = load(f'until = "{until}"\noffset = "+00:00"', f'until = "{until}"').systems["crm"]

    for first_use in (crm.check, lambda: crm.wipe([order()])):
        with pytest.raises(MapRefused, match=rf'records\.toml.*collection {collection}: column {until} .*offset = "\+08:00"'):
            first_use()

    assert carrier.ids("calls") == [1, 2, 3, 4, 5]


def test_a_local_time_that_comes_later_fails_the_read_back(carrier: Carrier, load: Callable[[str, str], RecordsMap]) -> None:
    """Text that said its offset when the map was checked may stop doing so: such a row is left alone and counted."""
    crm = load('until = "written_at"\noffset = "+00:00"', 'until = "written_at"').systems["crm"]
    carrier.run("INSERT INTO notes VALUES (1, 8613800000001, '2026-01-01T08:00:00Z')")
    crm.check()
    carrier.run("INSERT INTO notes VALUES (2, 8613800000001, '2026-01-01 08:00:00')")

    (receipt,) = crm.wipe([order()])

    assert carrier.ids("notes") == [2]
    assert by_collection(receipt.collections)["notes"] == (1, 1)


def test_an_earlier_holders_expiry_is_not_pushed_forward(carrier: Carrier, records: RecordsMap) -> None:
    """What the last cycle restricted keeps its date; flag, basis and date: none of them may be missing."""
    crm = records.systems["crm"]
    insert = "INSERT INTO subscribers (id, msisdn, activated_at, status, legal_basis) VALUES (:i, :n, :t, :s, :b)"
    carrier.run(insert, i=1, n=FORMER.text, t="2020-01-01T00:00:00Z", s="ended", b=None)
    crm.wipe([order(at=datetime(2021, 1, 1, tzinfo=UTC))])
    carrier.run(insert, i=2, n=FORMER.text, t="2022-01-01T00:00:00Z", s="ended", b=None)
    carrier.run(insert, i=3, n=FORMER.text, t="2022-01-01T00:00:00Z", s="RESTRICTED", b="kept by law")
    carrier.run(insert, i=4, n=FORMER.text, t="2022-01-01T00:00:00Z", s="RESTRICTED", b="another law")
    carrier.run(insert, i=5, n=FORMER.text, t="2022-01-01T00:00:00Z", s="ended", b="kept by law")
    carrier.run("UPDATE subscribers SET restricted_until = '2030-01-01' WHERE id > 3")

    (receipt,) = crm.wipe([order()])

    assert by_collection(receipt.collections)["register"] == (4, 0)
    assert receipt.collections[0].kept == 5
    assert carrier.ids("subscribers", "restricted_until = '2023-01-01'") == [1]
    assert carrier.ids("subscribers", "restricted_until = '2028-04-29'") == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("mapped", "written"),
    [
        ('spelling = "digits"', "+8613800000001"),
        ('spelling = "digits"', "008613800000001"),
        ('spelling = "e164"', "8613800000001"),
        ('spelling = "national", country = "CN"', "+8613800000001"),
        ('spelling = "national", country = "CN"', "8613800000001"),
        ('spelling = "national", trunk_prefix = "0", country = "CN"', "008613800000001"),
        ('spelling = "national", trunk_prefix = "0", country = "CN"', "13800000001"),
        ('spelling = "national", country = "CN"', "013800000001"),
        ('spelling = "national", country = "GB"', "+8613800000001"),
        ('spelling = "national", country = "GB"', "8613800000001"),
    ],
)
def test_a_number_spelt_otherwise_than_the_map_says_fails_the_read_back(
    carrier: Carrier, load: Callable[[str, str], RecordsMap], mapped: str, written: str
) -> None:
    """A wrong spelling in the map wipes nothing, and what it misses does not pass for clean; later rows and others' do not count."""
    later, others = "2026-04-30 18:00:01", "+8613800000002"
    for key, caller, began_at in ((1, written, "2026-01-01 08:00:00"), (2, written, later), (3, others, "2026-01-01 08:00:00")):
        carrier.run("INSERT INTO calls VALUES (:i, :a, '8613900000009', :t)", i=key, a=caller, t=began_at)

    (receipt,) = load('column = "caller", spelling = "digits"', f'column = "caller", {mapped}').systems["crm"].wipe([order()])

    assert carrier.ids("calls") == [1, 2, 3]
    assert by_collection(receipt.collections)["calls"] == (0, 1)


@pytest.mark.parametrize(
    ("written", "country", "remaining"),
    [
        ("442079460001", "GB", 1),
        ("442079460001", "JE", 1),
        ("442079460001", None, 1),
        ("2079460001", "GB", 1),
        ("+442079460001", "CN", 1),
        ("00442079460001", None, 1),
        ("442079460001", "CN", 0),
        ("2079460001", "CN", 0),
    ],
)
def test_where_rows_name_their_country_it_says_whose_digits_they_are(
    carrier: Carrier, records: RecordsMap, written: str, country: str | None, remaining: int
) -> None:
    """With + or 00 a number is whole anywhere; digits are the holder's in a row of their country or of none, not in another's."""
    carrier.run("INSERT INTO contacts VALUES (1, :p, :c, '2025-01-01')", p=written, c=country)

    (receipt,) = records.systems["crm"].wipe([order(BRITISH)])

    assert carrier.ids("contacts") == [1]
    assert by_collection(receipt.collections)["contacts"] == (0, remaining)


def test_digits_that_are_another_national_number_do_not_count(carrier: Carrier, load: Callable[[str, str], RecordsMap]) -> None:
    """In a table of German numbers 491713920001 is dialled as another line than +491713920001."""
    carrier.run("INSERT INTO contacts VALUES (1, '491713920001', NULL, '2025-01-01')")
    contacts = 'spelling = "national", trunk_prefix = "0", country_column = "country"'

    crm = load(contacts, 'spelling = "national", country = "DE"').systems["crm"]
    (receipt,) = crm.wipe([order(E164("+491713920001"))])

    assert by_collection(receipt.collections)["contacts"] == (0, 0)


def test_a_narrow_integer_column_is_wiped_and_searched(carrier: Carrier, load: Callable[[str, str], RecordsMap]) -> None:
    """A column too narrow for the number with its country's code can't hold it; looking for it is no error."""
    carrier.run("CREATE TABLE narrow (id INTEGER PRIMARY KEY, digits INTEGER, written_at TEXT)")
    carrier.run("INSERT INTO narrow VALUES (1, 2015550123, '2026-01-01T00:00:00Z')")
    load('table = "notes"', 'table = "narrow"').close()

    crm = load('column = "digits", spelling = "digits"', 'column = "digits", spelling = "national", country = "US"').systems["crm"]
    (receipt,) = crm.wipe([order(E164("+12015550123"))])

    assert carrier.ids("narrow") == []
    assert by_collection(receipt.collections)["notes"] == (1, 0)


def test_an_integer_column_is_searched_for_the_whole_number(carrier: Carrier, load: Callable[[str, str], RecordsMap]) -> None:
    """An integer that holds the whole number where the map says national digits is found."""
    carrier.run("INSERT INTO notes VALUES (1, 8613800000001, '2026-01-01T00:00:00Z')")

    crm = load('column = "digits", spelling = "digits"', 'column = "digits", spelling = "national", country = "CN"').systems["crm"]
    (receipt,) = crm.wipe([order()])

    assert by_collection(receipt.collections)["notes"] == (0, 1)

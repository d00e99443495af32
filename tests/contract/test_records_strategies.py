"""What each strategy of a records map does to a former holder's rows, on every kind of database."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from carrier_database import FORMER, LEFT_AT, OTHER, Carrier, order
from people_table import BEFORE, SUBSCRIBED, Shelf, collection, only, rows

from fallow.domain.errors import MapRefused, TargetUnavailable, WipeRefused
from fallow.domain.ports import ExpiryOrder
from fallow.records.records_map import RecordsMap

ARCHIVE = """
[system.collection.restrict]
archive = { table = "people_archive" }
basis_column = "basis"
basis = "kept by law"
expiry_column = "kept_until"
keep_for = "730d"
"""


def archive_others(people: Carrier) -> None:
    """Archive rows like the former holder's, but one on another basis, one with another expiry, one of another number."""
    for key, number, basis, until in (
        (7, FORMER, "another law", "2028-04-29"),
        (8, FORMER, "kept by law", "2030-01-01"),
        (9, OTHER, "kept by law", "2028-04-29"),
    ):
        values = {"i": key, "n": number.text, "b": basis, "u": until}
        people.run("INSERT INTO people_archive (id, msisdn, basis, kept_until) VALUES (:i, :n, :b, :u)", **values)


class TestArchive:
    """Rows that the law wants kept, moved out of reach of service systems."""

    def test_the_row_is_moved(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """The former holder's row stands in the archive with basis and expiry, whole, and nowhere else."""
        receipt = only(mapped(collection("restrict") + ARCHIVE))

        assert people.ids("people") == [2, 3]
        assert [tuple(map(str, row)) for row in rows(people, "people_archive", "id, msisdn, name, basis, kept_until")] == [
            ("1", FORMER.text, "Li Lei", "kept by law", "2028-04-29")
        ]
        assert (receipt.affected, receipt.remaining, receipt.kept, receipt.kept_until) == (1, 0, 1, "2028-04-29")

    def test_a_repeat_moves_nothing_twice(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """After a crash the same order gives a receipt that still says what is kept."""
        records = mapped(collection("restrict") + ARCHIVE)
        only(records)

        receipt = only(records)

        assert people.ids("people_archive") == [1]
        assert (receipt.affected, receipt.remaining, receipt.kept) == (0, 0, 1)

    def test_only_the_orders_own_rows_are_kept_by_it(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """What is archived on another basis, until another day or of another number is no part of the receipt's figure."""
        archive_others(people)

        assert only(mapped(collection("restrict") + ARCHIVE)).kept == 1

    def test_what_either_of_two_columns_led_to_expires(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """A row that was archived by the second number column is found by it again when it expires."""
        people.run("UPDATE people SET msisdn = 'none' WHERE id = 1")
        both = '[{ column = "msisdn", spelling = "e164" }, { column = "rest", spelling = "national", country = "CN" }]'
        records = mapped(collection("restrict", number=both) + ARCHIVE)
        assert only(records).kept == 1

        records.systems["crm"].expire([ExpiryOrder("number-1/1", "people", FORMER, LEFT_AT.date() + timedelta(days=730), "kept by law")])

        assert people.ids("people_archive") == []

    def test_an_archive_that_lacks_a_column_is_refused(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """What would get lost on the way is named before anything is moved."""
        people.run("ALTER TABLE people_archive DROP COLUMN name")

        with pytest.raises(MapRefused, match="table people_archive: there is no column name"):
            only(mapped(collection("restrict") + ARCHIVE))

        assert people.ids("people") == [1, 2, 3]

    def test_the_table_itself_is_no_archive(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Moving a row to where it was would look done and keep nothing out of reach."""
        people.run("ALTER TABLE people ADD COLUMN basis VARCHAR(80)")
        people.run("ALTER TABLE people ADD COLUMN kept_until DATE")

        with pytest.raises(MapRefused, match="own table"):
            only(mapped(collection("restrict") + ARCHIVE.replace("people_archive", "people")))

    def test_what_expired_is_destroyed_and_nothing_else(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Only rows of the number with this very basis and expiry go; a second time there are none left."""
        records = mapped(collection("restrict") + ARCHIVE)
        receipt = only(records)
        archive_others(people)
        expired = ExpiryOrder("number-1/1", "people", FORMER, LEFT_AT.date() + timedelta(days=730), "kept by law")
        assert expired.kept_until.isoformat() == receipt.kept_until

        assert [records.systems["crm"].expire([expired]) for _ in range(2)] == [[0], [0]]

        assert people.ids("people_archive") == [7, 8, 9]

    def test_what_the_map_no_longer_restricts_is_not_called_destroyed(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Where nobody can look any more the rows count as left, and the others of the batch go all the same."""
        records = mapped(collection("delete"))

        left = records.systems["crm"].expire([ExpiryOrder("number-1/1", "people", FORMER, LEFT_AT.date(), "kept by law")])

        assert left == [1]
        assert people.ids("people") == [1, 2, 3]

    def test_an_archive_by_another_name_for_the_table_is_refused(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """A view over the table would take the copies back to where they were, to be deleted with the originals."""
        people.run("CREATE VIEW shelf AS SELECT id, msisdn, prefix, rest, sub, name, since, basis, kept_until FROM people_archive")

        with pytest.raises(MapRefused, match="or a view"):
            only(mapped(collection("restrict") + ARCHIVE.replace("people_archive", "shelf")))

        assert people.ids("people") == [1, 2, 3]


FLAG = """
[system.collection.restrict]
set = { name = "OUT OF USE" }
basis_column = "rest"
basis = "kept by law"
expiry_column = "prefix"
keep_for = "730d"
"""


class TestFlag:
    """Rows that the law wants kept, flagged where they are; ``prefix`` serves as the column of the expiry."""

    @pytest.fixture
    def wide(self, people: Carrier) -> Carrier:
        """Give people whose expiry column is wide enough for a day."""
        people.run("ALTER TABLE people ADD COLUMN expiry VARCHAR(20)")
        return people

    @pytest.mark.parametrize("expiry", ["2099-01-01", "9999-12-31", "never", "", " ", "20280429", "x2020-01-01"])
    def test_a_row_that_somebody_flagged_for_longer_does_not_pass(
        self, wide: Carrier, mapped: Callable[[str], RecordsMap], expiry: str
    ) -> None:
        """Flag and basis with an expiry that no wipe of this number gave would hide a row for ever: it is left, and fails."""
        wide.run("UPDATE people SET name = 'OUT OF USE', rest = 'kept by law', expiry = :e", e=expiry)

        receipt = only(mapped(collection("restrict") + FLAG.replace('"prefix"', '"expiry"')))

        assert (receipt.affected, receipt.remaining, receipt.newer, receipt.kept) == (0, 1, 1, 0)

    def test_a_newer_holders_flagged_row_is_a_newer_holders(self, wide: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """No marks make a row that began after the disconnect one of the former holder's."""
        wide.run("UPDATE people SET name = 'OUT OF USE', rest = 'kept by law', expiry = '2028-04-29'")

        receipt = only(mapped(collection("restrict") + FLAG.replace('"prefix"', '"expiry"')))

        assert (receipt.affected, receipt.remaining, receipt.newer, receipt.kept) == (0, 0, 1, 1)

    @pytest.mark.parametrize("change", ["name = 'back in use'", "name = NULL", "msisdn = '8613800000001'"])
    def test_what_was_changed_since_is_destroyed_or_counts_as_left(
        self, wide: Carrier, mapped: Callable[[str], RecordsMap], change: str
    ) -> None:
        """A row is looked for by its number in any spelling, basis and expiry; a flag that a service reset hides it from nobody."""
        records = mapped(collection("restrict") + FLAG.replace('"prefix"', '"expiry"'))
        only(records)
        wide.run(f"UPDATE people SET {change} WHERE id = 1")
        other = "INSERT INTO people (id, msisdn, rest, expiry) VALUES (:i, :n, :b, :e)"
        wide.run(other, i=7, n=FORMER.text, b="kept by law", e="2030-01-01")
        wide.run(other, i=8, n=FORMER.text, b="another law", e="2028-04-29")
        wide.run(other, i=9, n=OTHER.text, b="kept by law", e="2028-04-29")

        (left,) = records.systems["crm"].expire(
            [ExpiryOrder("number-1/1", "people", FORMER, LEFT_AT.date() + timedelta(days=730), "kept by law")]
        )

        assert (left, wide.ids("people")) == ((1, [1, 2, 3, 7, 8, 9]) if "msisdn" in change else (0, [2, 3, 7, 8, 9]))

    def test_a_basis_that_the_map_words_otherwise_by_now_is_found(self, wide: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """What expires is known by the basis that was written beside it."""
        flag = collection("restrict") + FLAG.replace('"prefix"', '"expiry"')
        only(mapped(flag))
        records = mapped(flag.replace("kept by law", "kept by statute"))

        left = records.systems["crm"].expire(
            [ExpiryOrder("number-1/1", "people", FORMER, LEFT_AT.date() + timedelta(days=730), "kept by law")]
        )

        assert left == [0]
        assert wide.ids("people") == [2, 3]


SEAL = '[system.collection.seal]\nbasis = "kept by law"\nkeep_for = "730d"\n'


class TestSeal:
    """Rows that leave the system for the retention key."""

    def test_the_keeper_has_the_row_before_it_goes(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """The former holder's row, whole, with whose it was, why and until when; the newer holder's is not read."""
        shelf = Shelf()

        receipt = only(mapped(collection("seal") + SEAL), shelf=shelf)

        ((system_id, row),) = shelf.kept
        assert (system_id, row.cycle_id, row.collection, row.basis, row.kept_until.isoformat()) == (
            *("crm", "number-1/1", "people", "kept by law"),
            "2028-04-29",
        )
        assert json.loads(row.content) | {"since": ""} == {
            "id": 1,
            "msisdn": FORMER.text,
            "prefix": "86",
            "rest": FORMER.text[3:],
            "sub": "S-1",
            "name": "Li Lei",
            "since": "",
        }
        assert people.ids("people") == [2, 3]
        assert (receipt.affected, receipt.remaining, receipt.kept_until) == (1, 0, "2028-04-29")

    def test_a_keeper_that_fails_costs_no_row(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Nothing is deleted that is not kept."""
        records = mapped(collection("seal") + SEAL)

        with pytest.raises(TargetUnavailable, match="shelf"):
            only(records, shelf=Shelf(breaks=True))

        assert people.ids("people") == [1, 2, 3]

    def test_without_a_keeper_nothing_is_sealed(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Who has no place for the rows may not take them away."""
        with pytest.raises(MapRefused, match="sealed"):
            only(mapped(collection("seal") + SEAL))

        assert people.ids("people") == [1, 2, 3]

    def test_a_row_that_can_not_be_read_is_a_refused_change(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """What can't be sealed whole is not deleted; it is said of the number, without the value, and the system goes on."""
        if people.engine.dialect.name != "sqlite":
            pytest.skip("only SQLite keeps what a column's type can't be")
        people.run("ALTER TABLE people ADD COLUMN born DATE")
        people.run("UPDATE people SET born = '31.12.1980' WHERE id = 1")

        with pytest.raises(WipeRefused) as caught:
            only(mapped(collection("seal") + SEAL), shelf=Shelf())

        assert "1980" not in str(caught.value)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        assert people.ids("people") == [1, 2, 3]


REWRITE = """
[system.collection.rewrite]
basis = "statistics"
columns = { msisdn = "pseudonymise", rest = "null", name = "mask" }
"""


class TestRewrite:
    """Rows that stay without saying whose they were."""

    def test_the_row_says_nobodys_name(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Number to pseudonym, national number to NULL, name to a mask; the other rows as they were; a repeat changes nothing."""
        records = mapped(collection("rewrite", subscription='"sub"') + REWRITE.replace("columns = {", 'columns = { sub = "null",'))

        first, second = only(records, SUBSCRIBED), only(records, SUBSCRIBED)

        assert rows(people, "people", "id, msisdn, rest, name") == [
            (1, SUBSCRIBED.pseudonym, None, "***"),
            (2, FORMER.text, FORMER.text[3:], "Li Lei"),
            (3, OTHER.text, OTHER.text[3:], "Li Lei"),
        ]
        assert (first.affected, first.remaining, second.affected, second.remaining) == (1, 0, 0, 0)
        assert first.legal_basis == "statistics"

    def test_each_row_takes_its_own_holders_pseudonym(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Of several orders in one statement, in whichever order, no row is written as somebody else."""
        orders = [replace(order(OTHER), pseudonym="b" * 26), replace(SUBSCRIBED, cycle_id="number-2/1")]

        mapped(collection("rewrite") + REWRITE).systems["crm"].wipe(orders)

        written = [(1, SUBSCRIBED.pseudonym), (2, FORMER.text), (3, "b" * 26)]
        assert rows(people, "people", "id, msisdn") == written

    def test_without_a_holder_key_the_pseudonym_is_nobodys(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """A cycle older than holder keys gets a pseudonym that nobody can derive."""
        only(mapped(collection("rewrite") + REWRITE))

        written = str(rows(people, "people", "msisdn")[0][0])
        assert len(written) == len(SUBSCRIBED.pseudonym)
        assert not set(written) & set("0189+")

    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            ("ALTER TABLE people ADD COLUMN short VARCHAR(10)", "short can't be rewritten as pseudonymise"),
            ("ALTER TABLE people ADD COLUMN short INTEGER", "holds no text"),
        ],
    )
    def test_what_does_not_fit_is_refused_before(
        self, people: Carrier, mapped: Callable[[str], RecordsMap], change: str, fault: str
    ) -> None:
        """A column that can't take the pseudonym is named, and nothing is changed."""
        people.run(change)

        with pytest.raises(MapRefused, match=fault):
            only(mapped(collection("rewrite") + REWRITE.replace("columns = {", 'columns = { short = "pseudonymise",')))

        assert rows(people, "people", "name")[0] == ("Li Lei",)


class TestLook:
    """Looks that change nothing."""

    def test_a_plan_finds_what_a_wipe_would_change(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """In scope, undecided and newer, per collection; afterwards every row is as before."""
        people.run(f"INSERT INTO people VALUES (4, :n, '86', '', 'S-1', 'misspelt', '{BEFORE}')", n=FORMER.text[1:])
        records = mapped(collection("delete"))

        ((found,),) = records.systems["crm"].find([order()])

        assert (found.collection, found.strategy, found.in_scope, found.undecided, found.newer) == ("people", "delete", 1, 1, 1)
        assert people.ids("people") == [1, 2, 3, 4]

    def test_a_read_back_alone_has_the_receipts_query(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """An auditor's look finds what is there with the query that the receipt names, and changes nothing."""
        records = mapped(collection("delete"))

        (before,) = records.systems["crm"].read_back([order()])
        receipt = only(records)

        assert (before.collections[0].affected, before.collections[0].remaining) == (0, 1)
        assert (before.collections[0].query, before.collections[0].meaning) == (receipt.query, receipt.meaning)

    def test_receipts_say_what_deletion_does_not_reach(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Until when backups may hold the rows, counted from the read-back, and what else the map says."""
        text = people.map_path.read_text().replace(
            'timeout = "1s"', 'timeout = "1s"\nbackups_live_for = "35d"\nnot_reached = ["a replica"]'
        )
        people.map_path.write_text(text)

        receipt = only(mapped(collection("delete")))

        assert receipt.backups_until == (receipt.read_back_at + timedelta(days=35)).date().isoformat()
        assert receipt.not_reached == ("a replica",)

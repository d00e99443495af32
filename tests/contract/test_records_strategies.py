"""What each strategy of a records map does to a former holder's rows, on every kind of database."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from carrier_database import FORMER, LEFT_AT, OTHER, Carrier, order

from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.domain.ports import CollectionReceipt, ExpiryOrder, KeptRow, WipeOrder
from fallow.records.records_map import RecordsMap, load_records_map

SUBSCRIBED = replace(order(), subscription="S-1", pseudonym="abcdefghijklmnopqrstuvwxyz")
BEFORE, AFTER = "2026-01-01 00:00:00", "2026-05-02 00:00:00"


@dataclass
class Shelf:
    """A keeper in memory.

    Attributes:
        kept: every row it was given, with the system's id.
        breaks: whether it fails instead.
    """

    kept: list[tuple[str, KeptRow]] = field(default_factory=list)
    breaks: bool = False

    def keep(self, system_id: str, rows: Sequence[KeptRow]) -> None:
        """Keep them."""
        if self.breaks:
            what = "The shelf is broken."
            raise TargetUnavailable(what, remedy="mend it.")
        self.kept += [(system_id, row) for row in rows]


@pytest.fixture
def mapped(carrier: Carrier) -> Iterator[Callable[[str], RecordsMap]]:
    """Give a way to load the carrier's map with one system of the given collections instead of its own."""
    loaded = list[RecordsMap]()

    def load(collections: str) -> RecordsMap:
        head = carrier.map_path.read_text().partition("[[system.collection]]")[0]
        carrier.map_path.write_text(head + collections)
        loaded.append(load_records_map(carrier.map_path))
        return loaded[-1]

    yield load
    for each in loaded:
        each.close()


@pytest.fixture
def people(carrier: Carrier) -> Carrier:
    """Give a table of people with one row of the former holder, one of a newer one, one of somebody else; and an archive."""
    texts = {"msisdn": 32, "prefix": 8, "rest": 32, "sub": 32, "name": 40, "since": 40}
    columns = ", ".join(["id INTEGER PRIMARY KEY", *(f"{name} VARCHAR({length})" for name, length in texts.items())])
    carrier.run(f"CREATE TABLE people ({columns})")
    carrier.run(f"CREATE TABLE people_archive ({columns}, basis VARCHAR(80), kept_until DATE)")
    for key, number, sub, since in ((1, FORMER, "S-1", BEFORE), (2, FORMER, "S-2", AFTER), (3, OTHER, "S-3", BEFORE)):
        digits = number.text.removeprefix("+")
        values = {"i": key, "n": number.text, "p": digits[:2], "r": digits[2:], "s": sub, "t": since}
        carrier.run("INSERT INTO people VALUES (:i, :n, :p, :r, :s, 'Li Lei', :t)", **values)
    return carrier


def collection(strategy: str, **changes: str) -> str:
    """Return a map's entry for the people."""
    lines = {
        "id": '"people"',
        "table": '"people"',
        "number": '{ column = "msisdn", spelling = "e164" }',
        "until": '"since"',
        "offset": '"+00:00"',
        "strategy": f'"{strategy}"',
    } | changes
    return "[[system.collection]]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items() if value)


def only(records: RecordsMap, *orders: WipeOrder, shelf: Shelf | None = None) -> CollectionReceipt:
    """Wipe and return the one receipt of the one collection."""
    ((receipt,),) = ([*each.collections] for each in records.systems["crm"].wipe(orders or [order()], shelf))
    return receipt


def rows(carrier: Carrier, table: str, columns: str) -> list[tuple[object, ...]]:
    """Return some columns of a table's rows in the order of their keys."""
    with carrier.engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(f"SELECT {columns} FROM {table} ORDER BY id")]


class TestNewerHolder:
    """Rows of a newer holder."""

    def test_they_stay_and_are_said(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """The former holder's row goes, the newer one's stays as it is, and the receipt says that it is there."""
        receipt = only(mapped(collection("delete")))

        assert people.ids("people") == [2, 3]
        assert (receipt.affected, receipt.remaining, receipt.newer) == (1, 0, 1)

    def test_a_number_that_only_strangers_have_has_none(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Where nobody came after, nothing is said."""
        people.run("DELETE FROM people WHERE id = 2")

        assert only(mapped(collection("delete"))).newer == 0


class TestSubscription:
    """Rows told apart by the carrier's id of the subscription."""

    def test_a_late_row_of_the_former_holders_subscription_is_theirs(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """A final bill is written after the disconnect and goes all the same; the newer holder's row stays."""
        people.run(f"INSERT INTO people VALUES (4, :n, '86', '', 'S-1', 'bill', '{AFTER}')", n=FORMER.text)

        receipt = only(mapped(collection("delete", subscription='"sub"')), SUBSCRIBED)

        assert people.ids("people") == [2, 3]
        assert (receipt.affected, receipt.remaining, receipt.newer) == (2, 0, 1)

    def test_without_an_instant_only_the_subscription_tells(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Another subscription is a newer holder's, and one that is not stated can't be told: it is not touched and does not pass."""
        people.run(f"INSERT INTO people VALUES (4, :n, '86', '', NULL, 'unknown', '{BEFORE}')", n=FORMER.text)

        receipt = only(mapped(collection("delete", until="", offset="", subscription='"sub"')), SUBSCRIBED)

        assert people.ids("people") == [2, 3, 4]
        assert (receipt.affected, receipt.remaining, receipt.newer) == (1, 1, 1)

    def test_an_order_without_subscription_touches_nothing_there(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Where only the subscription tells and none is known, every row of the number is undecided."""
        receipt = only(mapped(collection("delete", until="", offset="", subscription='"sub"')))

        assert people.ids("people") == [1, 2, 3]
        assert (receipt.affected, receipt.remaining) == (0, 2)

    def test_an_id_that_differs_in_case_is_another(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """S-1 and s-1 are two subscriptions, whatever the database's collation says."""
        people.run("UPDATE people SET sub = 's-1' WHERE id = 2")

        assert only(mapped(collection("delete", subscription='"sub"')), SUBSCRIBED).newer == 1
        assert people.ids("people") == [2, 3]


class TestSpelling:
    """Numbers in several columns, or in two."""

    @pytest.mark.parametrize(("lead", "written"), [("", "86"), ("+", "+86"), ("00", "0086")])
    def test_a_split_number_is_found(self, people: Carrier, mapped: Callable[[str], RecordsMap], lead: str, written: str) -> None:
        """Calling code and national number in a column each; the same digits under another code are somebody else's."""
        people.run("UPDATE people SET msisdn = NULL, prefix = :p", p=written)
        people.run("UPDATE people SET rest = :r, prefix = '49' WHERE id = 3", r=FORMER.text[3:])
        split = f'{{ column = "rest", spelling = "split", prefix_column = "prefix", prefix_lead = "{lead}" }}'

        receipt = only(mapped(collection("delete", number=split)))

        assert people.ids("people") == [2, 3]
        assert (receipt.affected, receipt.remaining, receipt.newer) == (1, 0, 1)

    @pytest.mark.parametrize(("prefix", "remaining"), [("0086", 1), (None, 1), ("", 1), ("49", 0)])
    def test_a_split_number_with_another_lead_does_not_pass(
        self, people: Carrier, mapped: Callable[[str], RecordsMap], prefix: str | None, remaining: int
    ) -> None:
        """A calling code written otherwise than mapped, or not at all, fails the read-back; another country's does not."""
        people.run("DELETE FROM people WHERE id = 2")
        people.run("UPDATE people SET msisdn = NULL, prefix = :p WHERE id = 1", p=prefix)
        split = '{ column = "rest", spelling = "split", prefix_column = "prefix" }'

        receipt = only(mapped(collection("delete", number=split)))

        assert (receipt.affected, receipt.remaining) == (0, remaining)

    def test_each_of_several_columns_leads_to_the_row(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """A row that has the number in only one of the mapped columns is found by that one, and counted once where it has it in both."""
        people.run(f"INSERT INTO people VALUES (4, 'none', '86', :r, 'S-1', 'second column', '{BEFORE}')", r=FORMER.text[3:])
        both = '[{ column = "msisdn", spelling = "e164" }, { column = "rest", spelling = "national", country = "CN" }]'

        receipt = only(mapped(collection("delete", number=both)))

        assert people.ids("people") == [2, 3]
        assert (receipt.affected, receipt.remaining) == (2, 0)

    def test_a_counterpartys_row_is_never_touched(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Where the number is the other party's, the map says so, nothing happens, and no receipt speaks of it."""
        people.run("CREATE TABLE calls_of_others (id INTEGER PRIMARY KEY, callee VARCHAR(32))")
        people.run("INSERT INTO calls_of_others VALUES (1, :n)", n=FORMER.text)
        counterparty = {"id": '"others"', "table": '"calls_of_others"', "number": '{ column = "callee", spelling = "e164" }'}
        text = collection("delete", **counterparty, until="", offset="", subject='"counterparty"').replace('strategy = "delete"\n', "")

        records = mapped(collection("delete") + text)

        assert records.systems["crm"].collections == ("people",)
        assert only(records).collection == "people"
        assert people.ids("calls_of_others") == [1]


ARCHIVE = """
[system.collection.restrict]
archive = { table = "people_archive" }
basis_column = "basis"
basis = "kept by law"
expiry_column = "kept_until"
keep_for = "730d"
"""


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
        people.run("INSERT INTO people_archive (id, msisdn, basis, kept_until) VALUES (8, :n, 'kept by law', '2030-01-01')", n=FORMER.text)
        people.run("INSERT INTO people_archive (id, msisdn, basis, kept_until) VALUES (9, :n, 'kept by law', '2028-04-29')", n=OTHER.text)
        expired = ExpiryOrder("number-1/1", "people", FORMER, LEFT_AT.date() + timedelta(days=730))
        assert expired.kept_until.isoformat() == receipt.kept_until

        assert [records.systems["crm"].expire([expired]) for _ in range(2)] == [[0], [0]]

        assert people.ids("people_archive") == [8, 9]

    def test_an_expiry_in_a_collection_that_is_gone_is_refused(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """What the map no longer names can't be called destroyed."""
        records = mapped(collection("delete"))

        with pytest.raises(MapRefused, match="no longer restricts"):
            records.systems["crm"].expire([ExpiryOrder("number-1/1", "people", FORMER, LEFT_AT.date())])

        assert people.ids("people") == [1, 2, 3]


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


REWRITE = """
[system.collection.rewrite]
basis = "statistics"
columns = { msisdn = "pseudonymise", rest = "null", name = "mask" }
"""


class TestRewrite:
    """Rows that stay without saying whose they were."""

    def test_the_row_says_nobodys_name(self, people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
        """Number to pseudonym, national number to NULL, name to a mask; the other rows as they were; a repeat changes nothing."""
        records = mapped(collection("rewrite", subscription='"sub"') + REWRITE)

        first, second = only(records, SUBSCRIBED), only(records, SUBSCRIBED)

        assert rows(people, "people", "id, msisdn, rest, name") == [
            (1, SUBSCRIBED.pseudonym, None, "***"),
            (2, FORMER.text, FORMER.text[3:], "Li Lei"),
            (3, OTHER.text, OTHER.text[3:], "Li Lei"),
        ]
        assert (first.affected, first.remaining, second.affected, second.remaining) == (1, 0, 0, 0)
        assert first.legal_basis == "statistics"

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


def test_a_batch_of_hundreds_is_told_apart(people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
    """More numbers than fit into one statement: each receipt has its own rows, the others' stay."""
    people.run("DELETE FROM people")
    numbers = [replace(FORMER, text=f"+8613900{place:06d}") for place in range(450)]
    for key, number in enumerate(numbers):
        if key % 3:
            people.run(
                f"INSERT INTO people VALUES (:i, :n, '86', '', 'S', 'x', '{BEFORE if key % 3 == 1 else AFTER}')", i=key, n=number.text
            )
    orders = [replace(order(number), cycle_id=f"n/{place}") for place, number in enumerate(numbers[:430])]

    receipts = mapped(collection("delete")).systems["crm"].wipe(orders)

    assert [receipt.cycle_id for receipt in receipts] == [each.cycle_id for each in orders]
    told = [(each.affected, each.remaining, each.newer) for receipt in receipts for each in receipt.collections]
    assert told == [[(0, 0, 0), (1, 0, 0), (0, 0, 1)][place % 3] for place in range(430)]
    assert people.ids("people") == [place for place in range(450) if place % 3 == 2 or (place >= 430 and place % 3)]

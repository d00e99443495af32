"""Whose rows are whose: the former holder's, a newer holder's, a stranger's, on every kind of database."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from carrier_database import FORMER, Carrier, order
from people_table import AFTER, BEFORE, SUBSCRIBED, collection, only

from fallow.domain.errors import MapRefused
from fallow.records.records_map import RecordsMap


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


def test_a_number_column_without_a_type_is_refused(people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
    """Where SQLite compares a text with an integer they differ, whatever their digits: such a table would pass for clean."""
    if people.engine.dialect.name != "sqlite":
        pytest.skip("only SQLite has columns without a type")
    people.run("CREATE TABLE loose (id INTEGER PRIMARY KEY, msisdn, since VARCHAR(40))")

    with pytest.raises(MapRefused, match="column msisdn is declared neither"):
        only(mapped(collection("delete", table='"loose"')))

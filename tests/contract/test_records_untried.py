"""A kind of database that nobody has tried JSON with gets its orders as a fixed number of rows, and is wiped just the same."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from carrier_database import BRITISH, OTHER, Carrier, order
from people_table import collection
from sqlalchemy import String

from fallow.domain.number import E164
from fallow.records.database import Database
from fallow.records.order_set import Field, FixedRows, UnfoldedJson, order_set
from fallow.records.records_map import RecordsMap
from fallow.records.sql import SqlRecordSystem

AMERICAN = E164("+12025550123")
#: Its code has 25 regions, each of which may stand beside the national number.
NATIONAL, AMERICAN_IN_FULL = "2025550123", "12025550123"
BEFORE, AFTER = "2026-01-01 00:00:00.000000", "2026-05-02 00:00:00.000000"
ROWS = [
    (NATIONAL, "US", BEFORE),
    (NATIONAL, "CA", BEFORE),
    (NATIONAL, "US", AFTER),
    (NATIONAL, "DE", BEFORE),
    (NATIONAL, None, BEFORE),
    (AMERICAN_IN_FULL, "US", BEFORE),
    (NATIONAL, "US", None),
    ("2025550199", "US", BEFORE),
    (BRITISH.text[3:], "GB", BEFORE),
    (BRITISH.text[3:], "US", BEFORE),
]


class Untried(Database):
    """SQLite under a name that says nothing."""

    @property
    def dialect(self) -> str:
        """Say the name."""
        return "untried"


@pytest.fixture(params=[Database, Untried], ids=["json", "fixed-rows"])
def system(request: pytest.FixtureRequest, carrier: Carrier, mapped: Callable[[str], RecordsMap]) -> Iterator[SqlRecordSystem]:
    """Give a record system of each kind over rows of three holders."""
    carrier.run("CREATE TABLE dialled (id INTEGER PRIMARY KEY, phone VARCHAR(20), country VARCHAR(2), since DATETIME)")
    for key, (phone, country, since) in enumerate(ROWS, start=1):
        carrier.run("INSERT INTO dialled VALUES (:i, :p, :c, :s)", i=key, p=phone, c=country, s=since)
    number = '{ column = "phone", spelling = "national", country_column = "country" }'
    known = mapped(collection("delete", table='"dialled"', number=number)).systems["crm"]
    assert isinstance(known, SqlRecordSystem)
    url = carrier.engine.url.render_as_string(hide_password=False)
    database = request.param("crm", url, mapped_in=carrier.map_path, timeout_for=timedelta(seconds=5))
    made = SqlRecordSystem(known.mapped, database)
    yield made
    made.close()


@pytest.mark.parametrize("carrier", ["sqlite"], indirect=True)
def test_each_way_wipes_and_looks_alike(carrier: Carrier, system: SqlRecordSystem) -> None:
    """Two numbers, one with 25 regions: their rows go, a newer holder's and strangers' stay, undecided ones are counted, by either way."""
    orders = [replace(order(number), cycle_id=f"n/{place}") for place, number in enumerate((AMERICAN, BRITISH, OTHER))]

    found = [(each.in_scope, each.undecided, each.newer) for (each,) in system.find(orders)]
    receipts = [receipt.collections[0] for receipt in system.wipe(orders)]

    assert found == [(2, 3, 1), (1, 0, 0), (0, 0, 0)]
    assert [(each.affected, each.remaining, each.newer) for each in receipts] == [(2, 3, 1), (1, 0, 0), (0, 0, 0)]
    assert carrier.ids("dialled") == [3, 4, 5, 6, 7, 8, 10]


def test_only_what_was_tried_is_unfolded() -> None:
    """The kinds of database that the contract tests run on unfold JSON; any other is given rows, one order at a time."""
    fields = [Field("n", String())]

    assert all(isinstance(order_set(kind, fields), UnfoldedJson) for kind in ("sqlite", "postgresql", "mariadb", "mysql"))
    assert isinstance(order_set("untried", fields), FixedRows)
    assert order_set("untried", fields).most == 1


def test_more_rows_than_fit_are_refused_with_the_figures() -> None:
    """None is left out in silence: 160 fit, and one more is an error that says both."""
    fixed = FixedRows([Field("n", String())])

    assert fixed.bound([{"n": "x"}] * 160) == {f"n{place}": "x" for place in range(160)}
    with pytest.raises(ValueError, match="161 rows of orders do not fit into 160"):
        fixed.bound([{"n": "x"}] * 161)

"""Hostile text in everything that a records map or a row can hold: no statement changes by a value, and nobody else's row changes."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from carrier_database import FORMER, OTHER, Carrier, order
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, String, Table, event, insert, select

from fallow.domain.errors import MapRefused
from fallow.domain.ports import CollectionReceipt
from fallow.records.records_map import RecordsMap, load_records_map

EARLIER, BASIS = "2026-01-01T00:00:00Z", "kept by law"
NAMES = (
    'a "quoted" name',
    "it's",
    "a`tick",
    "50% (x)s %s %(n)s",
    "a:colon :n",
    "a[bracket]",
    "x; DROP TABLE lines; --",
    "a\\slash",
    "a.dot/*c*/",
    "Größe 電話",
    "select",
    "{brace}?",
)
VALUES = (
    "'",
    '"',
    "''; DELETE FROM lines; --",
    "' OR '1'='1",
    "\\",
    "\\' OR 1=1 #",
    "%",
    "_",
    "%s %(n)s :n ? {0}",
    "[a-z]*",
    "📞 电话",
    '{"n": "+8613800000001"}',
    '"}, {"k": 0}',
    "\r\n\t\x1a",
    "$$ $1 ${x}",
    "NULL",
)
STRATEGIES = {
    "delete": "",
    "restrict": """
[system.collection.restrict]
set = {{ {flag} = {value} }}
basis_column = {basis_column}
basis = {value}
expiry_column = {expiry}
keep_for = "730d"
""",
    "rewrite": """
[system.collection.rewrite]
basis = {value}
columns = {{ {number} = "null", {subscription} = "null", {flag} = "pseudonymise", {basis_column} = "mask" }}
""",
}
_MAP = """
[line_register]
system = "crm"
table = "lines"
number = {{ column = "msisdn", spelling = "e164" }}
status = "status"
off = ["disconnected"]
in_service = ["active"]

[[system]]
id = "crm"
url = {url}

[[system.collection]]
id = "hostile"
table = {table}
number = {{ column = {number}, spelling = "e164" }}
until = {until}
subscription = {subscription}
strategy = "{strategy}"
"""


class Hostile:
    """A table whose every name is hostile, and the map to it."""

    def __init__(self, carrier: Carrier, name: str) -> None:
        """Make the table in the carrier's database."""
        self._carrier, self._at = carrier, iter(range(1_000))
        kinds = {"number": 255, "until": 40, "subscription": 255, "flag": 255, "basis_column": 255, "expiry": 40}
        self.names = {part: f"{name} {part[0]}" for part in kinds} | {"table": f"{name} t"}
        columns = [Column(self.names[part], String(length), quote=True) for part, length in kinds.items()]
        self.table = Table(
            self.names["table"], MetaData(), Column("id", Integer, primary_key=True, autoincrement=False), *columns, quote=True
        )
        self.table.create(carrier.engine)

    def load(self, strategy: str, value: str) -> RecordsMap:
        """Load a map with a strategy and a value in each of its texts."""
        said = {part: json.dumps(name, ensure_ascii=False) for part, name in self.names.items()}
        url = json.dumps(self._carrier.engine.url.render_as_string(hide_password=False))
        text = json.dumps(value, ensure_ascii=False)
        path = self._carrier.map_path.with_name(f"records-{next(self._at)}.toml")
        path.write_text((_MAP + STRATEGIES[strategy]).format(**said, url=url, strategy=strategy, value=text), "utf-8")
        return load_records_map(path)

    def plant(self, key: int, **said: str | None) -> None:
        """Write one row."""
        with self._carrier.engine.begin() as connection:
            connection.execute(insert(self.table).values({"id": key, **{self.names[part]: value for part, value in said.items()}}))

    def rows(self) -> dict[int, dict[str, object]]:
        """Return every row by its key."""
        with self._carrier.engine.connect() as connection:
            found = connection.execute(select(self.table)).mappings().all()
        return {row["id"]: {part: row[name] for part, name in self.names.items() if part != "table"} for row in found}

    def clear(self) -> None:
        """Delete every row."""
        with self._carrier.engine.begin() as connection:
            connection.execute(self.table.delete())


@contextmanager
def statements(records: RecordsMap) -> Iterator[list[str]]:
    """Collect the text of each statement that a record system sends."""
    seen = list[str]()

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    database = records.systems["crm"].database
    engines = [database._writing, database._reading]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", look)
    yield seen
    for engine in engines:
        event.remove(engine, "before_cursor_execute", look)


def wiped(records: RecordsMap, subscription: str | None = None, pseudonym: str = "abcdefgh") -> CollectionReceipt:
    """Wipe the former holder's rows and return the receipt."""
    (receipt,) = records.systems["crm"].wipe([replace(order(), subscription=subscription, pseudonym=pseudonym)])
    return receipt.collections[0]


def becomes(strategy: str, value: str) -> dict[str, object] | None:
    """Return what of the former holder's row is as the strategy leaves it; None where it is gone."""
    restricted = {"flag": value, "basis_column": value, "expiry": "2028-04-29"}
    rewritten = {"number": None, "subscription": None, "flag": "abcdefgh", "basis_column": "***"}
    return {"delete": None, "restrict": restricted, "rewrite": rewritten}[strategy]


@pytest.fixture
def hostile(carrier: Carrier) -> Callable[[str], Hostile]:
    """Give a way to make a hostile table in an empty carrier of each kind."""
    carrier.run("INSERT INTO lines VALUES (:n, 'disconnected')", n=FORMER.text)
    return lambda name: Hostile(carrier, name)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_names_of_tables_and_columns_are_names(carrier: Carrier, hostile: Callable[[str], Hostile], strategy: str) -> None:
    """Whatever characters a carrier's names have, the map leads to that table and those columns, and to no other."""
    for name in NAMES:
        table = hostile(name)
        table.plant(1, number=FORMER.text, until=EARLIER, subscription="S-1", flag="here")
        table.plant(2, number=OTHER.text, until=EARLIER, subscription="S-2", flag="here")
        before = table.rows()
        records = table.load(strategy, BASIS)
        if "`" in name and carrier.kind == "mariadb":  # SQLAlchemy reads such a column's name otherwise than it is
            with pytest.raises(MapRefused, match="there is no column"):
                records.systems["crm"].check()
            records.close()
            continue
        receipt = wiped(records)
        records.close()

        after, expected = table.rows(), becomes(strategy, BASIS)
        assert (name, receipt.affected, receipt.remaining) == (name, 1, 0)
        assert after[2] == before[2]
        assert after.get(1) == (None if expected is None else before[1] | expected)
    with carrier.engine.connect() as connection:
        assert len(connection.exec_driver_sql(f"SELECT * FROM {connection.dialect.identifier_preparer.quote('lines')}").all()) == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_values_are_values(hostile: Callable[[str], Hostile], strategy: str) -> None:
    """Flags, bases, subscriptions and what other rows hold: written and compared as they are, in statements that stay the same."""
    table, texts = hostile("plain"), set[tuple[str, ...]]()
    for value in VALUES:
        table.clear()
        table.plant(1, number=FORMER.text, until="2030-01-01T00:00:00Z", subscription=value, flag="here")
        table.plant(2, number=OTHER.text, until=EARLIER, subscription=value, flag=value, basis_column=value)
        for key, number in enumerate((value, f"{FORMER.text}{value}", f"{value}{FORMER.text}"), 3):
            table.plant(key, number=number, until=EARLIER, subscription="S-2", flag=value)
        table.plant(9, number=OTHER.text, until=value[:40], subscription="S-2")
        before = table.rows()
        records = table.load(strategy, value)
        records.systems["crm"].check()
        with statements(records) as seen:
            receipt = wiped(records, subscription=value)
        records.close()
        texts.add(tuple(seen))

        after, expected = table.rows(), becomes(strategy, value)
        assert (value, receipt.affected, receipt.remaining, receipt.newer) == (value, 1, 0, 0)
        assert {key: row for key, row in after.items() if key != 1} == {key: row for key, row in before.items() if key != 1}
        assert after.get(1) == (None if expected is None else before[1] | expected)
    assert len(texts) == 1


def test_a_hostile_pseudonym_is_written_as_it_is(hostile: Callable[[str], Hostile]) -> None:
    """It comes from us, and is a value like any other."""
    table = hostile("plain")
    records = table.load("rewrite", BASIS)
    for key, value in enumerate(VALUES):
        table.plant(key, number=FORMER.text, until=EARLIER, flag="here")
        wiped(records, pseudonym=value)

        assert table.rows()[key]["flag"] == value
    records.close()


def test_any_text_at_all(carrier: Carrier, hostile: Callable[[str], Hostile]) -> None:
    """Found by no list: text of any characters in a subscription, a flag and a stranger's number."""
    table = hostile("plain")
    records = table.load("delete", BASIS)
    # PostgreSQL keeps no NUL in text.
    any_text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), min_size=1, max_size=40)

    @settings(max_examples=25)
    @given(any_text, any_text)
    def holds(value: str, other: str) -> None:
        table.clear()
        table.plant(1, number=FORMER.text, until="2030-01-01T00:00:00Z", subscription=value)
        table.plant(2, number=FORMER.text, until="2030-01-01T00:00:00Z", subscription=f"{value}{other}")
        table.plant(3, number=OTHER.text, until=EARLIER, subscription=value, flag=other)
        table.plant(4, number=f"{FORMER.text}x{other}", until=EARLIER, subscription=value)
        before = table.rows()

        receipt = wiped(records, subscription=value)

        assert (receipt.affected, receipt.remaining, receipt.newer) == (1, 0, 1)
        assert table.rows() == {key: row for key, row in before.items() if key != 1}

    holds()
    records.close()


@pytest.mark.parametrize("status", VALUES)
def test_a_line_registers_words_are_values(carrier: Carrier, status: str) -> None:
    """A status of hostile text is in no list, and the line is unknown."""
    carrier.run("INSERT INTO lines VALUES (:n, :s)", n=FORMER.text, s=status)
    records = load_records_map(carrier.map_path)

    assert [str(each) for each in records.line_register.statuses([FORMER])] == ["unknown"]
    assert FORMER.text not in str([each.what for each in records.line_register.doubts()])
    records.close()

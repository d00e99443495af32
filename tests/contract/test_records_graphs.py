"""Random carriers: tables, spellings, strategies, foreign keys, and crashes at any statement; the wiping is always exact."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import hypothesis
import pytest
from carrier_database import FORMER, OTHER, order
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError

from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.domain.number import E164
from fallow.domain.ports import KeptRow, WipeReceipt
from fallow.records.records_map import RecordsMap, load_records_map

SECOND = E164("+8613800000077")
HOLDERS = (FORMER, SECOND)
PSEUDONYMS = {FORMER.text: "a" * 26, SECOND.text: "b" * 26}
BEFORE, AFTER = "2026-01-01 00:00:00", "2026-05-02 00:00:00"
SPELLINGS = {
    "e164": ('{ column = "num", spelling = "e164" }', lambda n: (n.text, None)),
    "digits": ('{ column = "num", spelling = "digits" }', lambda n: (n.text[1:], None)),
    "national": ('{ column = "num", spelling = "national", country_column = "place" }', lambda n: (n.text[3:], "CN")),
    "trunk": ('{ column = "num", spelling = "national", trunk_prefix = "0", country = "CN" }', lambda n: ("0" + n.text[3:], None)),
    "split": ('{ column = "num", spelling = "split", prefix_column = "place" }', lambda n: (n.text[3:], "86")),
}
STRATEGIES = {
    "delete": 'strategy = "delete"',
    "flag": 'strategy = "restrict"\nrestrict = { set = { note = "out of use" }, basis_column = "basis", basis = "law", '
    'expiry_column = "kept_until", keep_for = "730d" }',
    "archive": 'strategy = "restrict"\nrestrict = { archive = { table = "NAME_archive" }, basis_column = "basis", basis = "law", '
    'expiry_column = "kept_until", keep_for = "730d" }',
    "seal": 'strategy = "seal"\nseal = { basis = "law", keep_for = "730d" }',
    "rewrite": 'strategy = "rewrite"\nrewrite = { basis = "statistics", columns = { num = "pseudonymise", note = "mask" } }',
}
#: After these a row is gone from its table, so that a row which points to it must go before.
REMOVING = ("delete", "archive", "seal")
COLUMNS = "id INTEGER PRIMARY KEY, parent INTEGER, num VARCHAR(40), place VARCHAR(8), since VARCHAR(40), note VARCHAR(20)"


@dataclass(frozen=True)
class TablePlan:
    """One table of a random carrier.

    Attributes:
        name: its name.
        spelling, strategy: keys of the two tables above.
        parent: the table its rows point to, or None.
        owners: whose rows it has: (number's text, "before" or "after" the disconnect), one row each.
    """

    name: str
    spelling: str
    strategy: str
    parent: str | None
    owners: tuple[tuple[str, str], ...]


@st.composite
def carriers(draw: st.DrawFn) -> list[TablePlan]:
    """Draw tables in any order of the map; a child points to a row of the same owner and time."""
    numbers = [number.text for number in (*HOLDERS, OTHER)]
    owner = st.tuples(st.sampled_from(numbers), st.sampled_from(["before", "after"]))
    tables = list[TablePlan]()
    for place in range(draw(st.integers(1, 5))):
        parents = [each for each in tables if each.strategy in REMOVING]
        parent = draw(st.none() | st.sampled_from(parents)) if parents else None
        strategy = draw(st.sampled_from(REMOVING if parent else sorted(STRATEGIES)))
        chosen = draw(st.lists(owner, unique=True, max_size=5))
        owners = tuple(each for each in chosen if parent is None or each in parent.owners)
        tables.append(TablePlan(f"t{place}", draw(st.sampled_from(sorted(SPELLINGS))), strategy, parent and parent.name, owners))
    return draw(st.permutations(tables))


@dataclass
class Shelf:
    """Keeps sealed rows in memory, each once."""

    kept: set[tuple[str, bytes]] = field(default_factory=set)

    def keep(self, system_id: str, rows: Sequence[KeptRow]) -> None:
        """Keep them."""
        assert system_id == "crm"
        self.kept |= {(row.collection, row.content) for row in rows}


class Ground:
    """A database of the carrier's, made anew for each example."""

    def __init__(self, url: str, folder: Path) -> None:
        """Work in ``url``; the map lies in ``folder``."""
        self.engine, self.folder = create_engine(url), folder
        self._url = make_url(url).render_as_string(hide_password=False)

    @contextmanager
    def carrier(self, tables: Sequence[TablePlan]) -> Iterator[RecordsMap]:
        """Make the tables with their rows, give the map, and remove them."""
        in_order = sorted(tables, key=lambda each: each.name)
        with self.engine.begin() as connection:
            for plan in in_order:
                points = "" if plan.parent is None else f", FOREIGN KEY (parent) REFERENCES {plan.parent} (id)"
                connection.execute(text(f"CREATE TABLE {plan.name} ({COLUMNS}, basis VARCHAR(20), kept_until DATE{points})"))
                connection.execute(text(f"CREATE TABLE {plan.name}_archive ({COLUMNS}, basis VARCHAR(20), kept_until DATE)"))
                self._fill(connection, plan, {each.name: each for each in tables})
        path = self.folder / "records.toml"
        path.write_text(_map(self._url, tables))
        records = load_records_map(path)
        try:
            yield records
        finally:
            records.close()
            with self.engine.begin() as connection:
                for plan in reversed(in_order):
                    connection.execute(text(f"DROP TABLE {plan.name}"))
                    connection.execute(text(f"DROP TABLE {plan.name}_archive"))

    def rows(self, table: str) -> dict[int, tuple[object, ...]]:
        """Return a table's rows by key."""
        with self.engine.connect() as connection:
            return {row[0]: tuple(row) for row in connection.execute(text(f"SELECT * FROM {table}"))}

    def _fill(self, connection: object, plan: TablePlan, by_name: dict[str, TablePlan]) -> None:
        for key, (number, when) in enumerate(plan.owners, start=1):
            num, place = SPELLINGS[plan.spelling][1](E164(number))
            parent = None if plan.parent is None else by_name[plan.parent].owners.index((number, when)) + 1
            values = {"i": key, "p": parent, "n": num, "w": place, "s": BEFORE if when == "before" else AFTER}
            statement = f"INSERT INTO {plan.name} (id, parent, num, place, since, note) VALUES (:i, :p, :n, :w, :s, 'as it was')"
            connection.execute(text(statement), values)  # type: ignore[attr-defined]


def _map(url: str, tables: Sequence[TablePlan]) -> str:
    register = 'number = { column = "num", spelling = "e164" }\nstatus = "note"\noff = ["off"]\nin_service = ["on"]\n'
    head = f'[line_register]\nsystem = "crm"\ntable = "t0"\n{register}[[system]]\nid = "crm"\nurl = "{url}"\nbatch = 1\n'
    return head + "".join(_entry(plan, [each.name for each in tables if each.parent == plan.name]) for plan in tables)


def _entry(plan: TablePlan, children: Sequence[str]) -> str:
    lines = [
        f'[[system.collection]]\nid = "{plan.name}"\ntable = "{plan.name}"\nuntil = "since"\noffset = "+00:00"',
        f"number = {SPELLINGS[plan.spelling][0]}",
        f"erase_after = {list(children)}",
        STRATEGIES[plan.strategy].replace("NAME", plan.name),
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def dying_at(statement_no: int) -> Iterator[list[int]]:
    """Let the connection break at the nth statement, once; count the statements."""
    seen = [0]

    def breaks(*_: object) -> None:
        seen[0] += 1
        if seen[0] == statement_no:
            what = "the connection broke"
            raise OperationalError(what, None, Exception(what))

    event.listen(Engine, "before_cursor_execute", breaks)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", breaks)


def wiped(records: RecordsMap, shelf: Shelf) -> list[WipeReceipt]:
    """Wipe until it is done, as a sender does."""
    orders = [replace(order(number), cycle_id=f"n-{number.text[-2:]}/1", pseudonym=PSEUDONYMS[number.text]) for number in HOLDERS]
    for _ in range(3):
        try:
            return records.systems["crm"].wipe(orders, shelf)
        except TargetUnavailable:
            continue
    pytest.fail("the wipe never ended")


def assert_exact(ground: Ground, plan: TablePlan, before: dict[int, tuple[object, ...]], shelf: Shelf) -> None:
    """Each row of a former holder is where its strategy puts it; every other row is as it was."""
    after, archived = ground.rows(plan.name), ground.rows(f"{plan.name}_archive")
    mine = {key for key, (number, when) in enumerate(plan.owners, start=1) if when == "before" and number != OTHER.text}
    assert {key: row for key, row in after.items() if key not in mine} == {key: row for key, row in before.items() if key not in mine}
    assert (set(after) & mine) == (set() if plan.strategy in REMOVING else mine)
    assert set(archived) == (mine if plan.strategy == "archive" else set())
    assert len({content for collection, content in shelf.kept if collection == plan.name}) == (len(mine) if plan.strategy == "seal" else 0)
    for key in mine:
        kept = archived.get(key, after.get(key))
        if plan.strategy in ("flag", "archive"):
            assert kept is not None
            assert (kept[6], str(kept[7])[:10]) == ("law", "2028-04-29")
        if plan.strategy == "rewrite":
            assert (after[key][2], after[key][5]) == (PSEUDONYMS[plan.owners[key - 1][0]], "***")


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Give an empty database of each kind."""
    folder = tmp_path_factory.mktemp("carrier")
    if request.param == "sqlite":
        with create_engine(f"sqlite:///{folder / 'carrier.db'}").begin() as connection:
            connection.execute(text("CREATE TABLE seed (id INTEGER)"))
        made = Ground(f"sqlite:///{folder / 'carrier.db'}", folder)
    else:
        new_database: Callable[[], str] = request.getfixturevalue(
            "new_postgres_database" if request.param == "postgresql" else "new_mariadb_database"
        )
        made = Ground(new_database(), folder)
    yield made
    made.engine.dispose()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tables=carriers(), dies_at=st.integers(0, 40))
def test_every_row_of_the_holders_is_gone_or_kept_and_no_other_changed(ground: Ground, tables: list[TablePlan], dies_at: int) -> None:
    """Whatever the tables, their order in the map and the statement at which the connection breaks."""
    with ground.carrier(tables) as records:
        before, shelf = {plan.name: ground.rows(plan.name) for plan in tables}, Shelf()

        with dying_at(dies_at) as seen:
            receipts = wiped(records, shelf)
        hypothesis.event(f"died: {0 < dies_at <= seen[0]}")

        for plan in tables:
            assert_exact(ground, plan, before[plan.name], shelf)
        for number, receipt in zip(HOLDERS, receipts, strict=True):
            said = {each.collection: (each.remaining, each.newer) for each in receipt.collections}
            assert said == {plan.name: (0, int((number.text, "after") in plan.owners)) for plan in tables}


@given(edges=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_a_circle_of_collections_is_refused_with_its_path(edges: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """A map loads exactly where its graph has no circle; where it has one, the message walks it."""
    after: dict[int, set[int]] = {place: {before for later, before in edges if later == place} for place in range(5)}
    path = tmp_path_factory.mktemp("map") / "records.toml"
    entry = 'number = { column = "num", spelling = "e164" }\nuntil = "since"\nstrategy = "delete"\n'
    head = _map("sqlite:///carrier.db", [])
    path.write_text(
        head
        + "".join(
            f'[[system.collection]]\nid = "t{place}"\ntable = "t{place}"\nerase_after = {[f"t{each}" for each in sorted(before)]}\n{entry}'
            for place, before in after.items()
        )
    )
    if not _has_circle(after):
        records = load_records_map(path)
        ordered = records.systems["crm"].collections
        records.close()
        assert all(ordered.index(f"t{before}") < ordered.index(f"t{later}") for later, before in edges)
        return

    with pytest.raises(MapRefused, match="circle") as caught:
        load_records_map(path)

    walked = [int(step.strip().rstrip(".").removeprefix("t")) for step in caught.value.what.partition("circle: ")[2].split("→")]
    assert walked[0] == walked[-1]
    assert all(one in after[other] or other in after[one] for one, other in pairwise(walked))


def _has_circle(after: dict[int, set[int]]) -> bool:
    """Tell by removing what nothing has to come before, over and over."""
    left = {place: set(before) for place, before in after.items()}
    while free := [place for place, before in left.items() if not before]:
        left = {place: before - set(free) for place, before in left.items() if place not in free}
    return bool(left)


def test_what_is_not_there_cannot_come_before(tmp_path: Path) -> None:
    """An edge to a collection that the map does not have is named."""
    path = tmp_path / "records.toml"
    path.write_text(_map("sqlite:///carrier.db", [TablePlan("t0", "e164", "delete", None, ())]).replace("[]", '["t9"]'))

    with pytest.raises(MapRefused, match="t9"):
        load_records_map(path)

"""What a survey of a whole database says against a records map, on SQLite, PostgreSQL and MariaDB."""

import random
import re
from collections.abc import Callable, Sequence

import pytest
from carrier_database import TYPES, Carrier

from fallow.domain.errors import TargetUnavailable
from fallow.records.doubts import Doubt
from fallow.records.mapped_table import MappedTable
from fallow.records.records_map import RecordsMap
from fallow.records.survey import survey

RANDOM = random.Random(7)  # noqa: S311 - values to look at, no secrets
#: Indexes on every column that the map looks for.
INDEXED = (
    "CREATE INDEX i1 ON subscribers (msisdn)",
    "CREATE INDEX i2 ON calls (caller, began_at)",
    "CREATE INDEX i3 ON contacts (phone)",
    "CREATE UNIQUE INDEX i4 ON notes (digits, id)",
    "CREATE INDEX i5 ON lines (msisdn)",
)
MAPPED_CALLEE = """
[[system.collection]]
id = "called"
table = "calls"
number = { column = "callee", spelling = "digits" }
until = "began_at"
offset = "+00:00"
strategy = "delete"
"""


@pytest.fixture
def whole(carrier: Carrier, load: Callable[[str, str], RecordsMap]) -> RecordsMap:
    """A database without fault: indexes, and a map that names its last number column, too."""
    for statement in (*INDEXED, "CREATE INDEX i6 ON calls (callee)"):
        carrier.run(statement)
    with carrier.map_path.open("a") as file:
        file.write(MAPPED_CALLEE)
    carrier.run("INSERT INTO subscribers (id, msisdn) VALUES (1, '+8613800000001'), (2, '+442079460001')")
    return load("", "")


def found(records: RecordsMap) -> list[Doubt]:
    """Return what the survey says, having made sure that no value is in it."""
    doubts = records.surveys["crm"].doubts()
    assert not [each for each in doubts if re.search(r"[0-9]{4}", each.what + each.remedy)]
    return doubts


def unmapped(records: RecordsMap) -> dict[str, str]:
    """Return each column that is said to be unmapped, and by what it shows."""
    said = [re.match(r"(?:table|view) (\S+): column (\S+) is not in the map and looks by (.+) like", each.what) for each in found(records)]
    return {f"{each[1]}.{each[2]}": each[3] for each in said if each is not None}


def plant(carrier: Carrier, column: str, kind: str, values: Sequence[object]) -> None:
    """Make the table ``other`` with one column besides its key and fill it."""
    carrier.run(f"CREATE TABLE other (id INTEGER PRIMARY KEY, {carrier.engine.dialect.identifier_preparer.quote(column)} {kind})")
    for key, value in enumerate(values):
        carrier.run("INSERT INTO other VALUES (:i, :v)", i=key, v=value)


def digits(prefix: str, count: int, times: int = 40) -> list[str]:
    """Return texts that begin with ``prefix`` and go on with ``count`` digits at random."""
    return [f"{prefix}{RANDOM.randrange(10**count):0{count}}" for _ in range(times)]


def checked(texts: Sequence[str]) -> list[str]:
    """Return the texts with the check digit of cards and devices behind them (Luhn)."""

    def weight(place: int, digit: int) -> int:
        return sum(divmod(digit * 2, 10)) if place % 2 == 0 else digit

    sums = [sum(weight(place, int(digit)) for place, digit in enumerate(reversed(text))) for text in texts]
    return [f"{text}{-total % 10}" for text, total in zip(texts, sums, strict=True)]


def test_nothing_is_said_of_a_database_that_is_mapped_whole(whole: RecordsMap) -> None:
    """Every number column mapped, every one with an index, nothing that refers to them: no doubt."""
    assert found(whole) == []


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        *(("msisdn", "TEXT"), ("Phone_2", "TEXT"), ("callerNumber", "VARCHAR(20)"), ("tel", "BIGINT"), ("subscriber_no", "NUMERIC(15)")),
        *(
            ("a_number", "TEXT"),
            ("cli", "TEXT"),
            ("ANI", "TEXT"),
            ("mobile", "TEXT"),
            ("手机", "TEXT"),
            ("联系电话", "TEXT"),
            ("rufnummer", "TEXT"),
        ),
    ],
)
def test_a_column_shows_by_its_name(carrier: Carrier, whole: RecordsMap, column: str, kind: str) -> None:
    """An unmapped column whose name says what it holds is named although its table is empty."""
    plant(carrier, column, kind, [])

    assert unmapped(whole) == {f"other.{column}": "its name"}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("TEXT", ["+8613800000001"]),
        ("TEXT", ["+86 138 0000 0001", "withheld", "+442079460001"]),
        ("TEXT", ["8613800000001", "8613800000002", "8613800000003"]),
        ("BIGINT", [int(each) for each in digits("86138", 8)]),
        ("TEXT", digits("008613", 9)),
        ("TEXT", digits("138", 8)),
        ("TEXT", digits("0202946", 4)),
        ("BIGINT", [int(each) for each in digits("7400", 6)]),
        ("TEXT", [None, None, *digits("138", 8)]),
    ],
)
def test_a_column_shows_by_its_values(carrier: Carrier, whole: RecordsMap, kind: str, values: list[object]) -> None:
    """Whatever its name, a column whose values are numbers of the countries in use is named, without any of them."""
    plant(carrier, "x", kind, values)

    assert unmapped(whole) == {"other.x": "its values"}


def test_name_and_values_are_both_told(carrier: Carrier, whole: RecordsMap) -> None:
    """A column that shows by both is named once, with both."""
    plant(carrier, "phone", "TEXT", ["+8613800000001"])

    assert unmapped(whole) == {"other.phone": "its name and its values"}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("INTEGER", [20260101 + day for day in range(28)]),
        ("TEXT", [f"2026-01-{day:02}" for day in range(1, 29)]),
        ("TEXT", [f"{day:02}.01.2026" for day in range(1, 29)]),
        ("TEXT", [f"202601{day:02}093000" for day in range(1, 29)]),
        ("BIGINT", [1_700_000_000 + RANDOM.randrange(10**7) for _ in range(40)]),
        ("BIGINT", [1_700_000_000_000 + RANDOM.randrange(10**10) for _ in range(40)]),
        ("INTEGER", list(range(40))),
        ("INTEGER", list(range(100_000_001, 100_000_041))),
        ("BIGINT", list(range(20_000_000_001, 20_000_000_041))),
        ("INTEGER", [RANDOM.randrange(10**7) for _ in range(40)]),
        ("NUMERIC(12, 2)", [RANDOM.randrange(10**10) / 100 for _ in range(40)]),
        ("TEXT", [f"{RANDOM.randrange(10**8)}.50" for _ in range(40)]),
        ("TEXT", [f"{RANDOM.getrandbits(256):064x}" for _ in range(40)]),
        ("TEXT", digits("DE89", 18)),
        ("TEXT", digits("46000", 10)),
        ("TEXT", digits("23415", 10)),
        ("TEXT", checked(digits("35", 12))),
        ("TEXT", checked(digits("86", 12))),
        ("TEXT", [f"212.58.{RANDOM.randrange(256)}.{RANDOM.randrange(256)}" for _ in range(40)]),
        ("TEXT", [f"{RANDOM.randrange(10**7):010}" for _ in range(40)]),
        ("TEXT", digits("", 5)),
        ("BIGINT", [RANDOM.randrange(10**9, 10**10) for _ in range(200)]),
        ("TEXT", ["8613800000001", "8613800000002"]),
    ],
)
def test_what_only_looks_like_numbers_is_no_alarm(carrier: Carrier, whole: RecordsMap, kind: str, values: list[object]) -> None:
    """Days, times, keys, amounts, digests, accounts, subscriber and device identities, addresses: nothing is said."""
    plant(carrier, "x", kind, values)

    assert unmapped(whole) == {}


@pytest.mark.parametrize(
    ("column", "kind", "values"),
    [
        *(("telemetry", "TEXT", []), ("hotel", "TEXT", []), ("client", "TEXT", []), ("animal", "TEXT", []), ("account_number", "TEXT", [])),
        *(("phone_type", "TEXT", []), ("is_mobile", "INTEGER", []), ("cell_id", "TEXT", []), ("电话类型", "TEXT", [])),
        *(("mobile", "BOOLEAN", []), ("caller_since", "DATE", []), ("phone_verified_at", "TEXT", [])),
        *(("mobile", "TEXT", ["android", "ios"]), ("phone", "INTEGER", [0, 1]), ("caller", "TEXT", ["2026-01-01"])),
    ],
)
def test_a_name_is_taken_by_its_parts_and_refuted_by_values(
    carrier: Carrier, whole: RecordsMap, column: str, kind: str, values: list[object]
) -> None:
    """A part of a longer word says nothing, nor does what else is known of a telephone, nor a name that the values belie."""
    plant(carrier, column, kind, values)

    assert unmapped(whole) == {}


def test_a_view_that_renames_a_column_is_looked_at(carrier: Carrier, whole: RecordsMap) -> None:
    """What a view only passes on from a table is said of the table, if at all; what it calls otherwise is said of the view."""
    carrier.run("CREATE VIEW passed AS SELECT caller, began_at FROM calls")
    carrier.run("CREATE VIEW renamed AS SELECT caller AS rufnummer FROM calls")

    assert unmapped(whole) == {"renamed.rufnummer": "its name"}


def test_every_mapped_column_without_an_index_is_named(carrier: Carrier, records: RecordsMap) -> None:
    """An index that only contains the column, covers some rows, or finds words, is none; a key that begins with it is one."""
    carrier.run("CREATE INDEX late ON subscribers (status, msisdn)")
    # MariaDB knows no index of some rows, but one of words.
    carrier.run(
        "CREATE FULLTEXT INDEX partly ON calls (caller)"
        if carrier.kind == "mariadb"
        else "CREATE INDEX partly ON calls (caller) WHERE id > 5"
    )
    carrier.run("CREATE INDEX whole ON contacts (phone, added_on)")
    places = [match[1] for each in found(records) if (match := re.match(r"(.+): no index of table \w+ begins with \w+;", each.what))]

    assert places == ["collection register", "collection calls", "collection notes", "the line register"]
    for statement in INDEXED:
        carrier.run(statement)
    assert not [each for each in found(records) if "no index" in each.what]


def test_rows_that_refer_to_deleted_ones_are_named(carrier: Carrier, whole: RecordsMap) -> None:
    """An unmapped child stands in the way, or goes along uncounted; a parent that is only restricted stays."""
    refers = "REFERENCES calls (id)"
    carrier.run(f"CREATE TABLE parts (id INTEGER PRIMARY KEY, part_of INTEGER {refers})")
    carrier.run(f"CREATE TABLE follows (id INTEGER PRIMARY KEY, part_of INTEGER {refers} ON DELETE CASCADE)")
    carrier.run(f"CREATE TABLE forgets (id INTEGER PRIMARY KEY, part_of INTEGER {refers} ON DELETE SET NULL)")
    carrier.run("CREATE TABLE cards (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES subscribers (id))")
    doubts = {doubt.what.split()[5]: doubt for doubt in found(whole)}

    assert set(doubts) == {"parts", "follows", "forgets"}
    assert all(doubt.grave for doubt in doubts.values())
    stays = "collection calls: rows of table parts refer to table calls by part_of, and their table is not in the map."
    assert doubts["parts"].what == stays
    for child in ("follows", "forgets"):
        assert doubts[child].what.endswith("and the database deletes or changes them with it, which no receipt counts.")


@pytest.mark.parametrize(("before", "said"), [("notes", ["they are deleted later, as collection late"]), ("", [])])
def test_the_order_of_the_map_is_compared_with_foreign_keys(
    carrier: Carrier, load: Callable[[str, str], RecordsMap], before: str, said: list[str]
) -> None:
    """A mapped child is in the way where the map clears it after its parent, and not where it comes before."""
    for statement in INDEXED:
        carrier.run(statement)
    carrier.run("ALTER TABLE calls RENAME COLUMN callee TO other_end")
    number = TYPES[carrier.kind]["number"]
    carrier.run(f"CREATE TABLE late (phone {number} PRIMARY KEY, at {number}, note INTEGER REFERENCES notes (id))")
    entry = MAPPED_CALLEE.replace("called", "late").replace('"calls"', '"late"').replace("callee", "phone").replace("began_at", "at")
    if before:
        with carrier.map_path.open("a") as file:
            file.write(entry)
        records = load("", "")
    else:
        first = '[[system.collection]]\nid = "calls"'
        records = load(first, entry + first)

    assert [each.what.partition(", and ")[2].rstrip(".") for each in found(records)] == said


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
def test_rows_to_be_kept_that_go_with_a_deleted_one_are_named(
    carrier: Carrier, load: Callable[[str, str], RecordsMap], action: str
) -> None:
    """What a restriction keeps and a foreign key then takes away would be kept by nobody."""
    for statement in INDEXED:
        carrier.run(statement)
    carrier.run("ALTER TABLE calls RENAME COLUMN callee TO other_end")
    number = TYPES[carrier.kind]["number"]
    refers = f"part_of INTEGER, FOREIGN KEY (part_of) REFERENCES notes (id) ON DELETE {action}"
    carrier.run(f"CREATE TABLE bills (phone {number} PRIMARY KEY, at {number}, mark {number}, why {number}, until_day {number}, {refers})")
    entry = MAPPED_CALLEE.replace("called", "bills").replace('"calls"', '"bills"').replace("callee", "phone").replace("began_at", "at")
    restrict = 'restrict = { set = { mark = "x" }, basis_column = "why", basis = "law", expiry_column = "until_day", keep_for = "9d" }'
    with carrier.map_path.open("a") as file:
        file.write(entry.replace('strategy = "delete"', f'strategy = "restrict"\n{restrict}'))

    (doubt,) = found(load("", ""))

    assert doubt.what.endswith("and they are to be kept, and the database deletes or changes them with it, which no receipt counts.")
    assert doubt.grave


def test_the_tables_of_another_system_in_the_same_database_are_mapped(carrier: Carrier, load: Callable[[str, str], RecordsMap]) -> None:
    """What another system of the map names in this very database is not said to be left out."""
    for statement in (*INDEXED, "CREATE INDEX i6 ON calls (callee)"):
        carrier.run(statement)
    url = re.search(r'url = "(.+)"', carrier.map_path.read_text())
    assert url
    with carrier.map_path.open("a") as file:
        file.write(f'[[system]]\nid = "network"\nurl = "{url[1]}"\n' + MAPPED_CALLEE)
    records = load("", "")

    assert found(records) == []
    assert unmapped(records) == {}
    assert records.surveys["network"].doubts() == []


def test_a_database_that_is_gone_is_unavailable(carrier: Carrier, load: Callable[[str, str], RecordsMap]) -> None:
    """A system that can't be reached is no database without fault."""
    (url,) = re.findall(r'url = ".+"', carrier.map_path.read_text())

    with pytest.raises(TargetUnavailable):
        load(url, 'url = "sqlite:///gone.db"').surveys["crm"].doubts()


def test_split_numbers_subscriptions_and_counterparties(carrier: Carrier) -> None:
    """A number in two columns wants an index on both in either order or on its own part, a subscription one too, a counterparty none."""
    columns = ", ".join(f"{name} {TYPES[carrier.kind]['number']}" for name in ("area", "phone", "callee", "subscription"))
    carrier.run(f"CREATE TABLE split (id INTEGER PRIMARY KEY, {columns})")
    split = MappedTable("collection split", "split", None, (("area", "phone"),), subscription="subscription", countries=frozenset({"DE"}))
    other = MappedTable("collection callee", "split", None, (("callee",),), subject="counterparty")

    def said() -> list[str]:
        with carrier.engine.connect() as connection:
            return [each.what for each in survey(connection, [split, other]) if "table split" in each.what]

    assert [re.search(r"begins with (.+);", each)[1] for each in said()] == ["area and phone", "subscription"]  # type: ignore[index]
    carrier.run("CREATE INDEX s1 ON split (subscription)")
    carrier.run("CREATE INDEX s2 ON split (area)")
    assert len(said()) == 1
    carrier.run("CREATE INDEX s3 ON split (phone, area)")
    assert said() == []
    carrier.run("DROP INDEX s3 ON split" if carrier.kind == "mariadb" else "DROP INDEX s3")
    carrier.run("CREATE INDEX s4 ON split (area, phone)")
    assert said() == []


@pytest.mark.parametrize("carrier", ["postgresql"], indirect=True)
def test_what_only_postgresql_has(carrier: Carrier, whole: RecordsMap) -> None:
    """Partitions are their table's rows, and a materialized view keeps rows of its own."""
    carrier.run("CREATE TABLE parted (msisdn TEXT, at DATE) PARTITION BY RANGE (at)")
    carrier.run("CREATE TABLE parted_2026 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')")
    carrier.run("CREATE MATERIALIZED VIEW kept AS SELECT caller FROM calls")

    assert unmapped(whole) == {"parted.msisdn": "its name", "kept.caller": "its name"}


@pytest.mark.parametrize("carrier", ["postgresql"], indirect=True)
def test_a_table_that_may_not_be_read_is_told(carrier: Carrier, whole: RecordsMap, load: Callable[[str, str], RecordsMap]) -> None:
    """Its names count all the same, and the look goes on behind it."""
    carrier.run("CREATE TABLE hidden (phone TEXT, x TEXT)")
    carrier.run("CREATE TABLE seen (x TEXT)")
    carrier.run("INSERT INTO seen VALUES ('+8613800000001')")
    carrier.run(f"CREATE ROLE looker LOGIN PASSWORD '{carrier.engine.url.password or ''}'")
    carrier.run("GRANT SELECT ON seen, calls, subscribers TO looker")
    del whole
    try:
        records = load("://fallow", "://looker")
        assert unmapped(records) == {"hidden.phone": "its name", "seen.x": "its values"}
        assert len([each for each in found(records) if each.what.startswith("table hidden could not be looked at")]) == 1
    finally:
        carrier.run("DROP OWNED BY looker")
        carrier.run("DROP ROLE looker")


@pytest.mark.parametrize("carrier", ["sqlite"], indirect=True)
def test_a_view_that_is_broken_is_told(carrier: Carrier, whole: RecordsMap) -> None:
    """A view that the database can't describe is named, and the look goes on."""
    carrier.run("CREATE TABLE gone (x TEXT)")
    carrier.run("CREATE VIEW broken AS SELECT x FROM gone")
    carrier.run("DROP TABLE gone")
    carrier.run("CREATE VIEW renamed AS SELECT caller AS rufnummer FROM calls")

    assert [each.what.partition(" (")[0] for each in found(whole)][:1] == ["view broken could not be looked at"]
    assert unmapped(whole) == {"renamed.rufnummer": "its name"}

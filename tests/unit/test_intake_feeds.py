"""Reading the files of residual traffic and of inventory: every line becomes what it states or a rejection."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.domain.errors import RowMalformed
from fallow.domain.traffic import DayCount
from fallow.intake import inventory_file, traffic_file
from fallow.intake.csv_lines import Rejection, pages
from fallow.intake.inventory_file import Statement, Status, read_statements
from fallow.intake.traffic_file import Counted, read_traffic

FEEDS = Path(__file__).parents[2] / "examples" / "feeds"
NOW = datetime(2026, 11, 1, 8, tzinfo=UTC)
TRAFFIC, INVENTORY = ",".join(traffic_file.COLUMNS), ",".join(inventory_file.COLUMNS)
COUNTED = "+8613800000001,CN,2026-10-30,12,3,1"
STATED = "+8613800000001,CN,on-sale,2026-10-30T18:00:00+08:00"


def traffic(*lines: str) -> list[Counted | Rejection]:
    """Read counters."""
    return list(read_traffic("\n".join((TRAFFIC, *lines)).encode(), NOW))


def statements(*lines: str) -> list[Statement | Rejection]:
    """Read statements."""
    return list(read_statements("\n".join((INVENTORY, *lines)).encode(), NOW))


def changed(line: str, columns: tuple[str, ...], column: str, cell: str) -> str:
    """Return a line with one other cell."""
    return ",".join((dict(zip(columns, line.split(","), strict=True)) | {column: cell}).values())


def test_a_line_of_traffic_is_read() -> None:
    """Every column arrives."""
    (read,) = traffic(COUNTED)

    assert isinstance(read, Counted)
    assert (read.line, read.number.text, read.day) == (2, "+8613800000001", DayCount(date(2026, 10, 30), 12, 3, 1))


def test_a_statement_is_read() -> None:
    """Every column arrives, the instant in UTC."""
    (read,) = statements(STATED)

    assert isinstance(read, Statement)
    assert (read.line, read.number.text) == (2, "+8613800000001")
    assert (read.status, read.since) == (Status.ON_SALE, datetime(2026, 10, 30, 10, tzinfo=UTC))


@pytest.mark.parametrize("cell", ["2026-11-01", "2024-02-29", "1999-12-31"])
def test_days_up_to_today_are_read(cell: str) -> None:
    """The day in UTC that goes on now is the last; how old one is does not matter."""
    (read,) = traffic(changed(COUNTED, traffic_file.COLUMNS, "date", cell))

    assert isinstance(read, Counted)
    assert read.day.on.isoformat() == cell


@pytest.mark.parametrize(
    ("column", "cell", "code"),
    [
        ("number", "13800000001x", "number-malformed"),
        ("number", "+12025550100", "number-malformed"),
        ("country", "", "row-malformed"),
        ("date", "2026-11-02", "instant-malformed"),
        ("date", "2025-02-29", "instant-malformed"),
        ("date", "20261030", "instant-malformed"),
        ("date", "2026-W44-5", "instant-malformed"),
        ("date", "30.10.2026", "instant-malformed"),
        ("date", "2026-10-30T00:00:00Z", "instant-malformed"),
        ("date", "", "instant-malformed"),
        ("call_attempts", "", "row-malformed"),
        ("call_attempts", "-1", "row-malformed"),
        ("call_attempts", "+1", "row-malformed"),
        ("call_attempts", " 1", "row-malformed"),
        ("call_attempts", "1.0", "row-malformed"),
        ("messages", "1e3", "row-malformed"),
        ("messages", "1000000001", "row-malformed"),
        ("messages", "1_000", "row-malformed"),
        ("otp_like_messages", "\uff11", "row-malformed"),
        ("otp_like_messages", "\u00b2", "row-malformed"),
        ("otp_like_messages", "13800000001", "row-malformed"),
    ],
)
def test_a_bad_counter_is_named_but_not_repeated(column: str, cell: str, code: str) -> None:
    """The rejection says line, column and remedy, and keeps the cell to itself; the next line goes on."""
    rejection, read = traffic(changed(COUNTED, traffic_file.COLUMNS, column, cell), COUNTED)

    assert isinstance(rejection, Rejection)
    assert (rejection.line, rejection.code) == (2, code)
    assert rejection.why.startswith(f"Line 2. Column {column}")
    assert len(cell) < 11 or cell not in rejection.why
    assert isinstance(read, Counted)


@pytest.mark.parametrize("count", [0, 1, traffic_file.MOST])
def test_counts_up_to_a_milliard_are_read(count: int) -> None:
    """None is a count too."""
    (read,) = traffic(changed(COUNTED, traffic_file.COLUMNS, "messages", str(count)))

    assert isinstance(read, Counted)
    assert read.day.messages == count


@pytest.mark.parametrize(
    ("column", "cell", "code"),
    [
        ("number", "", "number-malformed"),
        ("country", "cn", "row-malformed"),
        ("status", "sold", "row-malformed"),
        ("status", "On-Sale", "row-malformed"),
        ("status", "", "row-malformed"),
        ("since", "2026-10-30", "instant-malformed"),
        ("since", "2026-10-30T18:00:00", "instant-malformed"),
        ("since", "2026-11-01T18:00:00Z", "instant-malformed"),
    ],
)
def test_a_bad_statement_is_named_but_not_repeated(column: str, cell: str, code: str) -> None:
    """The rejection says line, column and remedy; the next line goes on."""
    rejection, read = statements(changed(STATED, inventory_file.COLUMNS, column, cell), STATED)

    assert isinstance(rejection, Rejection)
    assert (rejection.line, rejection.code) == (2, code)
    assert rejection.why.startswith(f"Line 2. Column {column}")
    assert isinstance(read, Statement)


@pytest.mark.parametrize("header", ["", "number,country", f"{TRAFFIC},caller", f"{TRAFFIC},number", INVENTORY])
def test_a_column_for_who_called_is_refused(header: str) -> None:
    """A file with a column that there is not, or without one that there is, is refused as a whole."""
    with pytest.raises(RowMalformed, match="header"):
        list(read_traffic(f"{header}\n{COUNTED}\n".encode(), NOW))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_readers(body: bytes) -> None:
    """Whatever follows the header, each line that is not blank gives one thing read or one rejection."""
    lines = [line for line in body.split(b"\n") if line.rstrip(b"\r\n")]

    assert len(list(read_traffic(TRAFFIC.encode() + b"\n" + body, NOW))) == len(lines)
    assert len(list(read_statements(INVENTORY.encode() + b"\n" + body, NOW))) == len(lines)


def test_pages_keep_every_line_once() -> None:
    """Whatever the page's length, what was read and what was not comes in order and whole."""
    read = traffic(COUNTED, "x", COUNTED, COUNTED, "y")
    for most in (1, 2, 5, 9):
        parted = list(pages(iter(read), most))
        assert sorted((each for taken, refused in parted for each in (*taken, *refused)), key=lambda each: each.line) == read
        assert max(len(taken) + len(refused) for taken, refused in parted) <= most


def test_the_sample_feeds_are_read() -> None:
    """Every line of the files that docs/feeds.md shows can be fed."""
    counted = list(read_traffic((FEEDS / "traffic.csv").read_bytes(), NOW))
    stated = list(read_statements((FEEDS / "inventory.csv").read_bytes(), NOW))

    assert not [each for each in (*counted, *stated) if isinstance(each, Rejection)]
    assert {each.status for each in stated if isinstance(each, Statement)} == set(Status)

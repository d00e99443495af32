"""Reading a file of cancelled numbers: every line becomes a row or a rejection."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.domain.claims import Channel
from fallow.domain.errors import RowMalformed
from fallow.intake.cancelled_file import COLUMNS, OPTIONAL, Rejection, Row, read_rows
from fallow.local import crowd

EXAMPLES = Path(__file__).parents[2] / "examples"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
HEADER = ",".join(COLUMNS)
GOOD = "+8613800000001,CN,china-mobile,china-mobile,mobile,2026-04-30T18:00:00+08:00,ordinary,2,,CM-0001"
SECOND = GOOD.replace("0001,CN", "0002,CN")


def read(*lines: str, header: str = HEADER, ending: str = "\n", encoding: str = "utf-8") -> list[Row | Rejection]:
    """Read lines under a header."""
    return list(read_rows((ending.join((header, *lines)) + ending).encode(encoding), NOW))


def with_cell(column: str, cell: str) -> str:
    """Return the good line with one other cell."""
    cells = dict(zip(COLUMNS, GOOD.split(","), strict=True)) | {column: cell}
    return ",".join(cells.values())


def test_a_good_line_becomes_a_row() -> None:
    """Every column arrives, the instant in UTC."""
    (row,) = read(GOOD)

    assert isinstance(row, Row)
    assert row.number.text == "+8613800000001"
    assert (row.line, row.country, row.carrier, row.range_holder) == (2, "CN", "china-mobile", "china-mobile")
    assert (row.number_class, row.reason, row.prior_holders) == ("mobile", "ordinary", 2)
    assert (row.disconnected_at, row.hold_reference, row.source_ref) == (datetime(2026, 4, 30, 10, tzinfo=UTC), None, "CM-0001")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_usual_kinds_of_file_are_read(delimiter: str, ending: str, encoding: str) -> None:
    """Comma, semicolon or TAB; both line ends; with or without byte order mark."""
    line, header = GOOD.replace(",", delimiter), HEADER.replace(",", delimiter)

    (row,) = read(line, header=header, ending=ending, encoding=encoding)

    assert isinstance(row, Row)
    assert row.source_ref == "CM-0001"


def test_columns_may_come_in_another_order() -> None:
    """The header says which is which."""
    (row,) = read(",".join(reversed(GOOD.split(","))), header=",".join(reversed(COLUMNS)))

    assert isinstance(row, Row)
    assert row.country == "CN"


def with_optional(*cells: str) -> str:
    """Return the good line with cells for the optional columns."""
    return ",".join((GOOD, *cells))


def test_without_the_optional_columns_they_are_empty() -> None:
    """A file as it was before they came is read as before."""
    (row,) = read(GOOD)

    assert isinstance(row, Row)
    assert (row.pool, row.reminded_at, row.reminder_channel) == ("", None, None)


@pytest.mark.parametrize("channel", Channel)
def test_pool_and_reminder_are_read(channel: Channel) -> None:
    """Every optional column arrives, the instant in UTC."""
    line = with_optional("residential", "2026-04-01T09:00:00+08:00", channel)

    (row,) = read(line, header=",".join((*COLUMNS, *OPTIONAL[:3])))

    assert isinstance(row, Row)
    assert (row.pool, row.reminded_at, row.reminder_channel) == ("residential", datetime(2026, 4, 1, 1, tzinfo=UTC), channel)


@pytest.mark.parametrize(("column", "cell"), [("pool", "residential"), ("pool", ""), ("holder_reminded_at", ""), ("reminder_channel", "")])
def test_any_of_the_optional_columns_may_be_left_out(column: str, cell: str) -> None:
    """Each may come alone, and may be empty."""
    (row,) = read(with_optional(cell), header=f"{HEADER},{column}")

    assert isinstance(row, Row)
    assert (row.pool, row.reminded_at) == (cell, None)


@pytest.mark.parametrize(
    ("cells", "column", "code"),
    [
        (("Residential", "", ""), "pool", "row-malformed"),
        (("p-138-0000-0001", "", ""), "pool", "row-malformed"),
        (("", "2026-04-01T09:00:00+08:00", ""), "reminder_channel", "row-malformed"),
        (("", "2026-04-01T09:00:00+08:00", "pigeon"), "reminder_channel", "row-malformed"),
        (("", "", "sms"), "holder_reminded_at", "instant-malformed"),
        (("", "2026-04-01", "sms"), "holder_reminded_at", "instant-malformed"),
        (("", "2026-11-01T00:00:01Z", "sms"), "holder_reminded_at", "instant-malformed"),
        (("", "2025-04-01T09:00:00+08:00", "sms"), "holder_reminded_at", "row-malformed"),
    ],
)
def test_a_reminder_is_whole_or_absent(cells: tuple[str, ...], column: str, code: str) -> None:
    """Instant and channel come together, the instant is past and belongs to this cancellation, and no cell is repeated."""
    (rejection,) = read(with_optional(*cells), header=",".join((*COLUMNS, *OPTIONAL[:3])))

    assert isinstance(rejection, Rejection)
    assert (rejection.line, rejection.code) == (2, code)
    assert f"olumn {column}" in rejection.why


@pytest.mark.parametrize("cell", ["sub-4711", "8613900000001234567", "A/1 b:c_d#e.f", ""])
def test_a_subscription_is_read(cell: str) -> None:
    """The carrier's own id may be all digits, as carriers' ids are; an empty cell states none."""
    (row,) = read(f"{GOOD},{cell}", header=f"{HEADER},subscription")

    assert isinstance(row, Row)
    assert row.subscription == (cell or None)
    assert not cell or cell not in repr(row)


@pytest.mark.parametrize("spelling", ["{}", "00{}", "sub {}", "{}-7"])
def test_a_subscription_is_not_the_number_itself(spelling: str) -> None:
    """Neither the number nor its national digits pass for a subscription, and the refusal does not repeat the cell."""
    digits = GOOD.split(",", maxsplit=1)[0].lstrip("+")
    for cell in (spelling.format(digits), spelling.format(digits[2:]), spelling.format(" ".join(digits[2:]))):
        (rejection,) = read(f"{GOOD},{cell}", header=f"{HEADER},subscription")

        assert isinstance(rejection, Rejection)
        assert "column subscription" in rejection.why.lower()
        assert digits[2:] not in rejection.why


@pytest.mark.parametrize(
    "cell", ["0", "-", "--", " ", "n/a", "N/A", "NA", "None", "NULL", "nil", "unknown", " Undefined ", "TBD", "x", "#", "_/:."]
)
def test_a_subscription_is_no_placeholder(cell: str) -> None:
    """What an export writes where there is none is refused: it would be everybody's."""
    (rejection,) = read(f"{GOOD},{cell}", header=f"{HEADER},subscription")

    assert isinstance(rejection, Rejection)
    assert rejection.code == "row-malformed"
    assert "olumn subscription" in rejection.why
    assert "leave it empty" in rejection.why


@pytest.mark.parametrize("cell", ["x" * 65, "é", "a;b", "=1+1"])
def test_a_subscription_is_short_and_plain(cell: str) -> None:
    """What a spreadsheet or another character set would make of it is refused."""
    (rejection,) = read(f"{GOOD},{cell}", header=f"{HEADER},subscription")

    assert isinstance(rejection, Rejection)


@pytest.mark.parametrize("content", [b"", b"\n", b"number,country\n", HEADER.encode("utf-16"), f"{HEADER},x\n".encode(), b"PK\x03\x04"])
def test_a_file_without_the_header_is_refused(content: bytes) -> None:
    """Nothing of it can be read, so nothing is."""
    with pytest.raises(RowMalformed, match="header"):
        list(read_rows(content, NOW))


@pytest.mark.parametrize(
    ("column", "cell", "code"),
    [
        ("number", "=+8613800000001", "number-malformed"),
        ("number", "+12025550100", "number-malformed"),
        ("country", "China", "row-malformed"),
        ("carrier", "", "row-malformed"),
        ("carrier", "China Mobile", "row-malformed"),
        ("carrier", "c8613800000001", "row-malformed"),
        ("range_holder", "", "row-malformed"),
        ("class", "Mobile", "row-malformed"),
        ("disconnected_at", "2026-03-29T17:00:00", "instant-malformed"),
        ("disconnected_at", "2099-04-30T18:00:00Z", "instant-malformed"),
        ("reason", "", "row-malformed"),
        ("prior_holders", "-1", "row-malformed"),
        ("prior_holders", "many", "row-malformed"),
        ("hold_reference", "call 8613800000001", "row-malformed"),
        ("source_ref", "138-0000-0001", "row-malformed"),
        ("source_ref", "called 138 0013 8000", "row-malformed"),
        ("hold_reference", "from 01/99--00.00_51", "row-malformed"),
        ("carrier", "c-138-0013-8000", "row-malformed"),
        ("source_ref", "=1+1", "row-malformed"),
        ("source_ref", "x" * 65, "row-malformed"),
        ("source_ref", "Frau M\u00fcller", "row-malformed"),
    ],
)
def test_a_bad_cell_is_named_but_not_repeated(column: str, cell: str, code: str) -> None:
    """The rejection says line, column and remedy, and keeps the cell to itself; the next line goes on."""
    rejection, row = read(with_cell(column, cell), SECOND)

    assert isinstance(rejection, Rejection)
    assert (rejection.line, rejection.code) == (2, code)
    assert rejection.why.startswith(f"Line 2. Column {column}")
    assert len(cell) < 7 or cell not in rejection.why
    assert isinstance(row, Row)


@pytest.mark.parametrize("line", ["a,b", f"{GOOD},more", '"open', f'{GOOD}"x', "x" * 10_000])
def test_a_broken_line_costs_only_itself(line: str) -> None:
    """Ragged, unclosed or endless lines are rejected under their own number, and the next is read."""
    rejection, row = read(line, GOOD)

    assert isinstance(rejection, Rejection)
    assert (rejection.line, rejection.code) == (2, "row-malformed")
    assert isinstance(row, Row)
    assert row.line == 3


def test_bytes_that_are_no_text_cost_only_their_line() -> None:
    """Another encoding in one line does not stop the file."""
    content = b"\n".join((HEADER.encode(), b"\xd0\xc2\xff," + GOOD.encode(), GOOD.encode()))

    rejection, row = read_rows(content, NOW)

    assert (type(rejection), type(row), row.line) == (Rejection, Row, 3)


def test_the_same_number_twice_is_taken_once() -> None:
    """However it is spelled, the first line counts and the second is told so."""
    row, again = read(GOOD, with_cell("number", "138 0000 0001"))

    assert isinstance(row, Row)
    assert again == Rejection(3, "duplicate-in-file", "Line 3, column number: the same number is on line 2.")


def test_a_rejected_line_does_not_block_the_good_one() -> None:
    """A number whose first line was refused for another column is taken from the second."""
    rejection, row = read(with_cell("reason", "bored"), GOOD)

    assert (type(rejection), type(row)) == (Rejection, Row)


@pytest.mark.parametrize("cell", ["", "unknown"])
def test_unknown_prior_holders_stay_unknown(cell: str) -> None:
    """Unknown is not zero: the buyer is told which."""
    (row,) = read(with_cell("prior_holders", cell))

    assert isinstance(row, Row)
    assert row.prior_holders is None


def test_blank_lines_are_no_rows() -> None:
    """An empty line counts for the numbering and for nothing else."""
    first, second = read(GOOD, "", SECOND, "")

    assert (first.line, second.line) == (2, 4)


def test_a_stream_is_read_as_it_comes() -> None:
    """The first row is there before the second line is read."""
    stream = io.BytesIO(f"{HEADER}\n{GOOD}\n{SECOND}\n".encode())
    rows = read_rows(stream, NOW)

    first = next(rows)

    assert first.line == 2
    assert stream.tell() < len(stream.getvalue())


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    """Whatever follows the header, each line that is not blank gives one row or one rejection, and no line an error."""
    lines = [line for line in io.BytesIO(body) if line.rstrip(b"\r\n")]

    assert len(list(read_rows(HEADER.encode() + b"\n" + body, NOW))) == len(lines)


def test_the_sample_is_accepted_and_rejected_as_expected() -> None:
    """Two hundred lines of the sample are taken; every other is refused with the code that expected.csv names."""
    sample = crowd.load(EXAMPLES)
    ends = {line: expected.ends for line, expected in enumerate(sample.lines, start=2)}

    outcome = list(read_rows((EXAMPLES / crowd.NUMBERS).read_bytes(), NOW))

    rejected = {each.line: f"REJECTED:{each.code}" for each in outcome if isinstance(each, Rejection)}
    taken = [each for each in outcome if isinstance(each, Row)]
    assert rejected == {line: end for line, end in ends.items() if end.startswith("REJECTED")}
    assert len(taken) == 200
    assert len({row.country for row in taken}) >= 6
    assert {"china-mobile", "china-telecom", "china-unicom", "yunqiao-virtual"} <= {row.carrier for row in taken}


def test_the_sample_is_what_its_generator_writes(tmp_path: Path) -> None:
    """The committed files and the script beside them do not drift apart."""
    generator = EXAMPLES / "generate.py"
    names: dict[str, object] = {"__file__": str(tmp_path / generator.name), "__name__": "__main__"}

    exec(compile(generator.read_text(), generator, "exec"), names)  # noqa: S102 - our own script, writing elsewhere

    for name in (crowd.NUMBERS, crowd.EXPECTED, crowd.SCENARIO):
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes()


@pytest.mark.parametrize(("limit", "enrollable"), [(1, 15), (20, 20), (200, 200), (1_000, 1_000)])
def test_a_crowd_of_any_size_is_all_enrollable(limit: int, enrollable: int) -> None:
    """Fewer keeps the special lines, more adds synthetic ones; bad lines are kept and duplicates stay duplicates."""
    chosen = crowd.select_lines(crowd.load(EXAMPLES), limit)

    outcome = list(read_rows(chosen.numbers.encode(), NOW))

    assert sum(isinstance(each, Row) for each in outcome) == chosen.enrollable == enrollable
    ends = {line: expected.ends for line, expected in enumerate(chosen.lines, start=2)}
    rejected = {each.line: f"REJECTED:{each.code}" for each in outcome if isinstance(each, Rejection)}
    assert rejected == {line: end for line, end in ends.items() if end.startswith("REJECTED")}


def test_a_saved_crowd_is_the_crowd(tmp_path: Path) -> None:
    """Writing and loading changes nothing."""
    chosen = crowd.select_lines(crowd.load(EXAMPLES), 50)
    chosen.save(tmp_path)

    assert crowd.load(tmp_path) == chosen

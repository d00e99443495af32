"""References of cases and rows: no phone number, whoever's and however spelt, passes for one."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.domain.errors import InputRefused
from fallow.domain.reference import REMEDY, holds_number, read_reference

SAMPLE = Path(__file__).parents[2] / "examples" / "cancelled_numbers.csv"


@pytest.mark.parametrize(
    "text",
    [
        "0475/12.34.56",
        "01/99/00/00/00",
        "138_0013_8000",
        "138:0013#8000",
        "33-1-99--00--00--00",
        "138  0013 - 8000",
        "called 01 99 00 00 51",
        "x1380013x8000000",
        "2026-000123",
        "2026.12.34.56",
        "20 26 12 34",
        "2012 3456",
        "1234567/2026",
        "case 12 2026-04-30",
        "20261234",
    ],
)
def test_a_spelt_number_is_no_reference(text: str) -> None:
    """Seven digits are refused through any separators, doubled ones too, and the refusal does not repeat them."""
    with pytest.raises(InputRefused) as refused:
        read_reference(text)

    assert text not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["CASE-4711", "court 12 file 34567", "12/2026", "2026/0815", "2026-04-30", "case 2026-04-30", "2026-123", "AZ 12-345"],
)
def test_what_cases_are_called_passes(text: str) -> None:
    """Letters between groups, dates, and a year with up to four digits."""
    assert read_reference(text) == text


@given(
    st.text("0123456789", min_size=9, max_size=15),
    st.lists(st.text(" ._:/#-", max_size=2), min_size=15, max_size=15),
    st.sampled_from(["", "tel ", "AZ-"]),
)
def test_nine_digits_are_refused_however_spelt(digits: str, separators: list[str], before: str) -> None:
    """No choice of separators carries nine digits or more past."""
    assert holds_number(before + "".join(map("".join, zip(digits, separators, strict=False))))


def test_the_remedy_names_references_that_pass() -> None:
    """Who follows it is not refused again."""
    named = REMEDY.split("`")[1::2]

    assert [read_reference(each) for each in named] == ["CASE-4711", "court 12 file 34567"]


def test_the_samples_references_pass() -> None:
    """All but those that the sample wants rejected."""
    with SAMPLE.open(encoding="utf-8-sig", newline="") as file:
        cells = {row["source_ref"] or "" for row in csv.DictReader(file)} | {"court order 12/2026"}

    assert len([cell for cell in cells if not holds_number(cell)]) > 200
    assert {cell for cell in cells if holds_number(cell)} == {"8613800000917", "138-0000-0918"}

"""What the command line takes for a phone number, what it says about errors, and what it writes for spreadsheets."""

from datetime import UTC, datetime

import pytest
import typer
from sqlalchemy.exc import OperationalError

from fallow.cli.ending import fault_of
from fallow.cli.selling import cells
from fallow.cli.words import NumberAsArgument, refuse_numbers
from fallow.domain import errors
from fallow.domain.number import E164
from fallow.operations.inventory import Released


@pytest.mark.parametrize(
    "argument",
    [
        *(
            "+8613800000001",
            "8613800000001",
            "13800000001",
            "+1 (201) 555-0123",
            "0171/3920001",
            "tel:+8613800000001",
            "--number=+8613800000001",
        ),
        *("%2B8613800000001", "\uff0b\uff18\uff16\uff11\uff13\uff18\uff10\uff10\uff10\uff10\uff10\uff10\uff10\uff11", "+44123456"),
    ],
)
def test_a_number_in_any_spelling_is_refused(argument: str) -> None:
    """The refusal does not repeat it."""
    with pytest.raises(NumberAsArgument) as refused:
        refuse_numbers(["numbers", "find", argument])

    assert not any(each.isdigit() for each in refused.value.what)


@pytest.mark.parametrize(
    "argument",
    [
        *("n_a2345672345672345672345672/1", "--limit=500", "1000000", "2026-12-01", "2099-01-01T00:00:00+08:00", "cancelled.csv", "-"),
        *("0" * 64, "case 7", "/srv/20261123/cancelled.csv", "--document-sha256", "127.0.0.1:7233"),
    ],
)
def test_what_commands_really_take_is_no_number(argument: str) -> None:
    """Cycles, counts, dates, instants, digests, paths and addresses pass."""
    refuse_numbers([argument])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CommandRefused("What.", remedy="do."), 1),
        (errors.SecondPersonNeeded("What.", remedy="do."), 1),
        (typer.BadParameter("what"), 2),
        (NumberAsArgument("What.", remedy="do."), 2),
        (errors.PolicyRefused("What.", remedy="do."), 4),
        (errors.SettingRefused("What.", remedy="do."), 4),
        (OperationalError("SELECT secret", {}, Exception("secret")), 4),
        (ModuleNotFoundError("No module named 'x'", name="x"), 4),
        (errors.NotKnown("What.", remedy="do."), 5),
        (errors.TargetUnavailable("What.", remedy="do."), 75),
        (ValueError("secret"), 70),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: Exception, code: int) -> None:
    """A script can tell them apart; the text of an unexpected error is not shown."""
    fault = fault_of(error)

    assert fault.exit_code == code
    assert fault.remedy
    assert "secret" not in fault.what


def test_a_spreadsheet_finds_no_formula() -> None:
    """The number stands without its plus sign, and a cell that would be a formula is marked as text."""
    row = Released(1, E164("+8613800000001"), "=cycle", "\uff0btag", datetime(2026, 11, 23, tzinfo=UTC))

    assert cells(row) == ["8613800000001", "'=cycle", "'\uff0btag", "2026-11-23T00:00:00+00:00"]

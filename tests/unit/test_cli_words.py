"""What the command line takes for a phone number, what it says about errors, and what it writes for spreadsheets."""

import io
from datetime import UTC, datetime

import pytest
import typer
from sqlalchemy.exc import OperationalError

from fallow.cli.app import app
from fallow.cli.asking import ask_number
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


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["enrol"], "Missing argument 'FILE'."),
        (["numbers", "show"], "Missing argument 'CYCLE'."),
        (["hold", "n_a2345672345672345672345672/1"], "Missing option '--reference' / '-r'."),
        (["keys", "admit", "--name", "x"], "Missing option '--role'. Choose from: "),
        (["number"], "No such command 'number'. Did you mean 'numbers'?"),
        (["numbers", "list", "--limit", "0"], "Invalid value for '--limit': "),
    ],
)
def test_wrong_usage_is_said_in_one_line(arguments: list[str], what: str) -> None:
    """What is missing or wrong has its name, and the sentence ends once."""
    with pytest.raises(typer.TyperException) as wrong:
        app(args=arguments, standalone_mode=False)
    said = fault_of(wrong.value).what

    assert said.startswith(what)
    assert said.endswith((".", "?"))
    assert not said.endswith((".?", "?.", ".."))
    assert "\n" not in said


@pytest.mark.parametrize("arguments", [[], ["numbers"], ["keys"]])
def test_where_only_help_is_asked_for_nothing_is_wrong(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A group without a command prints its help; no line says that something is missing."""
    with pytest.raises(typer.TyperException) as helped:
        app(args=arguments, standalone_mode=False)

    assert fault_of(helped.value).what == ""
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["+442079460140", "442079460140", " 442079460140\n"])
def test_a_number_is_taken_as_an_export_spells_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `numbers export` wrote, without the plus sign, is the same number."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    assert ask_number() == E164("+442079460140")


@pytest.mark.parametrize(
    "text", ["02079460140", "2079460140", "999999999999", "00442079460140", "4420794601", "44 2079460140", "\u0664\u0664442079460140"]
)
def test_digits_that_are_no_international_number_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plus sign is added only where a valid number comes of it; a national number is not guessed at."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    with pytest.raises(errors.NumberMalformed):
        ask_number()

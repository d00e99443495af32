"""Each command of the program with good and with bad input, on an installation whose worker does not run."""

import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import own_systems
import pytest
from command_line import ROOT, CommandLine, Ran, assert_one_clear_line
from own_systems import NUMBER, a_file_of, a_line
from typer.main import get_command

from fallow import cli as program
from fallow.cli import ending

OTHER = "+491713920003"
NOBODY = "n_aaaaaaaaaaaaaaaaaaaaaaaaaa/1"
REFERENCE = ("--reference", "case 7")
ROLES = {"operator": "operator", "one": "approver", "two": "approver", "auditor": "auditor", "shop": "shop"}


class Office:
    """An installation with staff and two enrolled numbers."""

    def __init__(self, state: Path) -> None:
        """Set it up; nothing runs in it."""
        self.cli = CommandLine(state)
        assert self.cli.run("setup", "--no-temporal").code == 0
        own_systems.make_database(state / "kunden.db", (NUMBER, OTHER))
        own_systems.write_maps(state, 9, own_systems.Endpoint().public_keys)
        root = self.cli.run("keys", "admit", "--name", "root", "--role", "administrator").out.strip()
        self.keys = {
            name: self.cli.run("keys", "admit", "--name", name, "--role", role, key=root).out.strip() for name, role in ROLES.items()
        }
        self.enrolled = self.run("operator", "enrol", "-", stdin=a_file_of(a_line(), a_line(OTHER, source_ref="T 2")))
        self.cycle = self.run("auditor", "numbers", "find", stdin=NUMBER).out.strip()

    def run(self, who: str, *arguments: str | Path, stdin: str = "") -> Ran:
        """Run a command as one of the staff."""
        return self.cli.run(*arguments, stdin=stdin, key=self.keys[who])


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """The office that tests only look at, or copy."""
    return Office(tmp_path_factory.mktemp("office") / "state")


@pytest.fixture
def office(founded: Office, tmp_path: Path) -> Office:
    """A copy of the office, in which a test may act."""
    copied = object.__new__(Office)
    copied.__dict__ |= founded.__dict__ | {"cli": founded.cli.copy(tmp_path / "state")}
    return copied


def paths(command: object = None, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every command of the program."""
    at = command or get_command(program.app)
    for name, below in getattr(at, "commands", {}).items():
        if hasattr(below, "commands"):
            yield from paths(below, (*before, name))
        else:
            yield (*before, name)


def test_every_command_explains_itself() -> None:
    """--help of each command says what it does, that it takes --json, and what the exit codes mean."""
    tree = get_command(program.app)
    for path in paths():
        command = tree
        for name in path:
            command = command.commands[name]  # type: ignore[attr-defined]
        options = {option for parameter in command.params for option in parameter.opts}

        assert command.help, path
        assert "--json" in options, path
        assert "Exit codes" in (command.epilog or ""), path


def test_every_command_is_documented() -> None:
    """docs/cli.md names each command of the program, and each exit code that the program can end with."""
    text = (ROOT / "docs" / "cli.md").read_text()
    codes = (ending.REFUSED, ending.USAGE, ending.PARTLY, ending.INSTALLATION, ending.NOT_KNOWN, ending.TRY_AGAIN, ending.BUG)

    assert [path for path in paths() if f"fallow {' '.join(path)}" not in text] == []
    assert [code for code in codes if f"\n| {code} |" not in text] == []


@pytest.mark.parametrize("path", [(), ("numbers",), ("numbers", "export"), ("propose",)], ids=" ".join)
def test_help_is_printed(path: tuple[str, ...], tmp_path: Path) -> None:
    """Help needs no installation, no settings and no key."""
    ran = CommandLine(tmp_path / "none").run(*path, "--help", FALLOW_NONSENSE="1")

    assert ran.code == 0
    assert "Usage: fallow" in ran.out
    assert "Exit codes" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("numbers", "find", NUMBER),
        ("numbers", "find", "--json", NUMBER[1:]),
        ("numbers", "find", "+49 171 392-0001"),
        ("numbers", "sell", f"--tag={NUMBER}"),
        ("hold", "tel:+491713920001", *REFERENCE),
        ("enrol", "\uff0b\uff14\uff19\uff11\uff17\uff11\uff13\uff19\uff12\uff10\uff10\uff10\uff11"),
        ("hold", NOBODY, "--reference", "0171 3920001"),
    ],
)
def test_a_number_is_no_argument(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """A number on the command line is refused with the remedy, is not repeated, and nothing else is looked at."""
    ran = CommandLine(tmp_path / "none").run(*arguments)

    assert ran.code == 2
    assert "standard input" in ran.err
    assert not re.search(r"[0-9]{5}", ran.out + ran.err)


def test_a_file_is_enrolled_line_by_line(office: Office, tmp_path: Path) -> None:
    """Good lines go on, bad ones are named by line and reason without their content, the same file again starts nothing."""
    file = tmp_path / "cancelled.csv"
    good = a_line("+491713920004")
    file.write_text(a_file_of(a_line("+4917139"), good, a_line("=+491713920005"), a_line(NUMBER), good))
    first, again = office.run("operator", "enrol", file, "--json"), office.run("operator", "enrol", file)

    assert (first.code, again.code) == (3, 3)
    assert (first.json["accepted"], first.json["again"]) == (1, False)
    assert [each["line"] for each in first.json["rejections"]] == [2, 4, 5, 6]
    assert "enrolled before" in again.out
    assert "3920" not in first.out + again.out


def test_feeds_are_kept_and_inventory_is_reconciled(office: Office, tmp_path: Path) -> None:
    """Counters and statements are counted, what is wrong is named by line and cycle, and no output holds a number."""
    counted, stated = tmp_path / "traffic.csv", tmp_path / "inventory.csv"
    counted.write_text(f"number,country,date,call_attempts,messages,otp_like_messages\n{NUMBER},DE,2026-05-02,1,0,0\n{OTHER},DE,x,1,0,0\n")
    stated.write_text(f"number,country,status,since\n{NUMBER},DE,on-sale,2026-05-02T00:00:00Z\n{OTHER},DE,ported,2026-05-02T00:00:00Z\n")
    traffic = [office.run("operator", "numbers", "traffic", counted, *options) for options in ((), ("--json",))]
    found = [office.run("auditor", "numbers", "reconcile", stated, *options) for options in ((), ("--json",))]
    fed = [office.run("operator", "numbers", "inventory", stated, *options) for options in (("--json",), ())]

    assert [ran.code for ran in (*traffic, *found, *fed)] == [3, 3, 3, 3, 0, 0]
    assert [each["line"] for each in traffic[1].json["rejections"]] == [3]
    assert [(each["line"], each["code"], each["cycle_id"]) for each in found[1].json["findings"]] == [(2, "in-cycle", office.cycle)]
    assert office.cycle in found[0].out
    assert len(fed[0].json["attention"]) == 1
    assert office.run("auditor", "numbers", "reconcile", "-", stdin="number,country,status,since\n").code == 0
    assert not [ran.out for ran in (*traffic, *found, *fed) if "3920" in ran.out + ran.err]


@pytest.mark.parametrize(
    ("content", "code"),
    [("", 1), ("one,two\n1,2\n", 1), (a_file_of(), 0)],
)
def test_a_file_that_is_none_is_refused_as_a_whole(office: Office, content: str, code: int) -> None:
    """Without the columns no line is guessed at; a file without lines enrols nothing."""
    ran = office.run("operator", "enrol", "-", stdin=content)

    assert ran.code == code
    assert "Traceback" not in ran.err


def test_a_file_that_is_not_there_is_wrong_usage(office: Office, tmp_path: Path) -> None:
    """A misspelt path is the caller's mistake: exit code 2."""
    assert office.run("operator", "enrol", tmp_path / "none.csv").code == 2


def test_who_may_not_is_refused(founded: Office) -> None:
    """Roles hold at the command line as they do at the API."""
    may_not = (
        founded.run("auditor", "enrol", "-", stdin=a_file_of()),
        founded.run("auditor", "hold", founded.cycle, *REFERENCE),
        founded.run("shop", "numbers", "list"),
        founded.run("auditor", "numbers", "export"),
        founded.run("operator", "numbers", "sell", "--tag", "0" * 64, "--acknowledgement", "x", stdin=NUMBER),
        founded.run("operator", "approve", "pr_x"),
    )
    for refused in may_not:
        assert refused.code == 1
        assert_one_clear_line(refused)


def test_numbers_are_listed_counted_and_shown(founded: Office) -> None:
    """Lists page, filters hold, and one cycle is shown with its timeline; no number is in any of it."""
    listed = founded.run("auditor", "numbers", "list", "--json").json
    page = founded.run("auditor", "numbers", "list", "--limit", "1")
    rest = founded.run("auditor", "numbers", "list", "--after", listed[0]["cycle_id"], "--json").json
    shown = founded.run("auditor", "numbers", "show", founded.cycle)

    assert founded.enrolled.code == 0
    assert len(listed) == 2
    assert f"--after {listed[0]['cycle_id']}" in page.out
    assert [each["cycle_id"] for each in rest] == [listed[1]["cycle_id"]]
    assert founded.run("auditor", "numbers", "list", "--held", "--json").json == []
    assert founded.run("auditor", "numbers", "count", "--json").json["ENROLLED"] == 2
    assert "CycleEnrolled" in shown.out
    assert "392000" not in shown.out + page.out
    assert founded.run("auditor", "numbers", "show", NOBODY).code == 5
    assert founded.run("auditor", "targets", "--json").json[0]["target_id"] == "kundendb"


def test_what_lies_ahead_and_behind_is_listed(founded: Office) -> None:
    """The forecast counts every waiting number, and where none is overdue that is said."""
    ahead = founded.run("auditor", "numbers", "forecast", "--days", "2", "--json").json
    table = founded.run("auditor", "numbers", "forecast")
    behind = founded.run("auditor", "numbers", "overdue")

    assert len(ahead["days"]) == 2
    assert ahead["total"] == {"expected": 2, "stopped": 0}
    assert [line.split()[:2] for line in table.out.splitlines()][-1] == ["total", "2"]
    assert behind.out == "No number is past its rule's maximum.\n"
    assert founded.run("auditor", "numbers", "overdue", "--json").json == {"overdue": [], "reviews_due": []}
    assert founded.run("auditor", "numbers", "overdue", "--after", NOBODY).code == 5
    assert founded.run("auditor", "numbers", "forecast", "--days", "367").code == 2
    assert founded.run("shop", "numbers", "forecast").code == 1


@pytest.mark.parametrize(
    ("text", "code"), [(NUMBER, 0), (f"{NUMBER}\n", 0), ("+491713920009", 5), ("0171 3920001", 1), ("", 1), (f"{NUMBER}\n{OTHER}", 1)]
)
def test_a_number_is_found_by_standard_input(founded: Office, text: str, code: int) -> None:
    """One number in E.164 form, unknown ones are not known, and anything else is refused without being repeated."""
    ran = founded.run("auditor", "numbers", "find", stdin=text)

    assert ran.code == code
    assert "392000" not in ran.out + ran.err
    if code:
        assert_one_clear_line(ran)


def test_a_number_is_asked_for_at_a_terminal(founded: Office) -> None:
    """Where there is nothing on standard input but a person, the person is asked, and answers are read from the keyboard."""
    keyboard, terminal = pty.openpty()
    variables = {**founded.cli.environment(), "FALLOW_API_KEY": founded.keys["auditor"]}
    command = founded.cli.command("numbers", "find")
    with subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables, cwd=ROOT) as asking:
        os.write(keyboard, f"{NUMBER}\n".encode())
        out, err = asking.communicate(timeout=60)
    os.close(keyboard)
    os.close(terminal)

    assert out.decode().strip() == founded.cycle
    assert err.startswith(b"Phone number")


def test_holds_are_placed_and_lifted(office: Office) -> None:
    """A hold is named when it is placed, shown while it is open, and lifted by its name, once."""
    held = office.run("operator", "hold", office.cycle, *REFERENCE, "--json").json["hold_id"]
    listed = office.run("auditor", "numbers", "list", "--held", "--json").json
    withdrawn = office.run("operator", "withdraw", office.cycle, *REFERENCE)
    lifted = office.run("operator", "lift", office.cycle, "--hold", held, *REFERENCE)
    again = office.run("operator", "lift", office.cycle, "--hold", held, *REFERENCE)

    assert [each["cycle_id"] for each in listed] == [office.cycle]
    assert (withdrawn.code, lifted.code, again.code) == (1, 0, 1)
    assert office.run("operator", "hold", NOBODY, *REFERENCE).code == 5
    assert office.run("operator", "hold", office.cycle).code == 2


def test_quarantine_is_only_ever_extended(office: Office) -> None:
    """A later instant with an offset is taken; an earlier one, one without offset and nonsense are not."""
    for until, code in (("2099-01-01T00:00:00+08:00", 0), ("2026-01-01T00:00:00Z", 1), ("2099-02-01T00:00:00", 1), ("soon", 1)):
        ran = office.run("operator", "extend", office.cycle, "--until", until, *REFERENCE)

        assert ran.code == code, until
        if code:
            assert_one_clear_line(ran)


def test_numbers_are_tried_again_returned_and_withdrawn(office: Office) -> None:
    """Each of the one-person commands is recorded, and a withdrawn number takes no further command."""
    tried = office.run("operator", "retry", office.cycle, *REFERENCE)
    returned = office.run("operator", "return", office.cycle, *REFERENCE)
    withdrawn = office.run("operator", "withdraw", office.cycle, *REFERENCE)
    kinds = [each["kind"] for each in office.run("auditor", "numbers", "show", office.cycle, "--json").json["timeline"]]

    assert (tried.code, returned.code, withdrawn.code) == (0, 0, 0)
    assert kinds[-1] == "NumberWithdrawn"
    assert {"RetryOrdered", "ReturnOrdered"} <= set(kinds)
    assert office.run("operator", "hold", office.cycle, *REFERENCE).code == 1


def test_some_things_take_two_people(office: Office) -> None:
    """One proposes, another approves; neither the proposer nor the enroller can be the second."""
    by_enroller = office.run("operator", "reclaim", office.cycle, *REFERENCE)
    proposed = office.run("one", "reclaim", office.cycle, *REFERENCE, "--json").json["proposal_id"]
    waiting = office.run("two", "proposals", "--json").json
    alone = office.run("one", "approve", proposed)
    done = office.run("two", "approve", proposed)
    late = office.run("two", "approve", proposed)

    assert [each["proposal_id"] for each in waiting] == [proposed]
    assert (by_enroller.code, alone.code, done.code, late.code) == (1, 1, 0, 1)
    assert office.run("auditor", "numbers", "show", office.cycle, "--json").json["state"] == "RECLAIMED"
    assert office.run("two", "proposals", "--json").json == []
    assert office.run("two", "approve", "pr_none").code == 5


def test_denied_claims_lock_and_are_unlocked(office: Office) -> None:
    """Two denials, the lock in clear words, and an unlocking by two others; the ground is kept."""
    for ground in ("former-holder", "successor"):
        claimed = office.run("one", "reclaim", office.cycle, "--ground", ground, *REFERENCE, "--json").json["proposal_id"]
        alone, denied = (office.run(who, "deny", claimed, *REFERENCE) for who in ("one", "two"))
        assert (alone.code, denied.code) == (1, 0)
    locked = office.run("one", "reclaim", office.cycle, *REFERENCE)
    unlocked = office.run("one", "unlock", office.cycle, *REFERENCE)
    waiting = office.run("auditor", "numbers", "list", "--attention", "--json").json

    assert (locked.code, unlocked.code) == (1, 1)
    assert_one_clear_line(locked)
    assert "unlock" in locked.err
    assert [each["attention"][0]["reason"] for each in waiting] == ["reclaim-locked"]
    assert office.run("two", "deny", "pr_none", *REFERENCE).code == 5
    assert office.run("two", "deny", claimed).code == 2


def test_reminders_and_review_dates_are_recorded(office: Office) -> None:
    """Both are shown with the cycle; what can't be one is refused."""
    remind = ("remind", office.cycle, "--channel", "sms", *REFERENCE)
    disconnected_at = office.run("auditor", "numbers", "show", office.cycle, "--json").json["disconnected_at"]
    codes = [office.run("operator", *remind, "--at", at).code for at in (disconnected_at, "2099-01-01T00:00:00Z", "soon")]
    held = [
        office.run("operator", "hold", office.cycle, "--review-on", day, *REFERENCE).code for day in ("2099-01-31", "2020-01-31", "soon")
    ]
    shown = office.run("auditor", "numbers", "show", office.cycle, "--json").json

    assert (codes, held) == ([0, 1, 1], [0, 1, 2])
    assert office.run("operator", "remind", office.cycle, "--channel", "pigeon", "--at", disconnected_at, *REFERENCE).code == 2
    assert (shown["reminded_at"], [each["review_on"] for each in shown["holds"]]) == (disconnected_at, ["2099-01-31"])


def test_what_does_not_fit_is_not_proposed(founded: Office) -> None:
    """Attest and recall have their time; a proposal needs exactly its own arguments."""
    digest = ("--document-sha256", "0" * 63 + "a")
    wrong = (
        (1, ("attest", founded.cycle, "--target", "own-pay", *digest, *REFERENCE)),
        (1, ("recall", founded.cycle, "--line-cancelled-at", "2026-01-01T00:00:00Z", *REFERENCE)),
        (1, ("recall", founded.cycle, "--line-cancelled-at", "yesterday", *REFERENCE)),
        (1, ("propose", "lift", founded.cycle, *REFERENCE)),
        (1, ("propose", "reclaim", founded.cycle, *REFERENCE)),
        (1, ("unlock", founded.cycle, *REFERENCE)),
        (1, ("retire", founded.cycle, "--reference", "call 555-123-4567")),
        (2, ("propose", "sell", founded.cycle, *REFERENCE)),
        (5, ("retire", NOBODY, *REFERENCE)),
    )
    for code, arguments in wrong:
        ran = founded.run("one", *arguments)

        assert ran.code == code, arguments
        assert_one_clear_line(ran)


def test_nothing_is_for_sale_before_its_time(founded: Office) -> None:
    """A tag is shown and a sale recorded only for released numbers; unknown and unready are told apart by nobody."""
    unready = founded.run("shop", "numbers", "tag", stdin=NUMBER)
    unknown = founded.run("shop", "numbers", "tag", stdin="+491713920009")
    sale = ("numbers", "sell", "--tag", "0" * 64, "--acknowledgement", "form 1")

    assert (unready.code, unready.err) == (5, unknown.err)
    assert founded.run("shop", *sale, stdin=NUMBER).code == 1
    assert founded.run("shop", *sale, stdin="+491713920009").code == 5


def test_an_export_says_where_it_went(founded: Office, tmp_path: Path) -> None:
    """Nothing released is an empty file with its columns; an existing file is never written over."""
    out = tmp_path / "stock.csv"
    first = founded.run("operator", "numbers", "export", "--output", out, "--json")
    second = founded.run("operator", "numbers", "export", "--output", out)

    assert first.json["exported"] == 0
    assert out.read_text() == '"number","cycle_id","tag","released_at"\n'
    assert out.stat().st_mode & 0o077 == 0
    assert founded.run("operator", "numbers", "export").out == out.read_text()
    assert founded.run("operator", "numbers", "export", "--withheld").out == out.read_text()
    assert founded.run("auditor", "numbers", "export", "--withheld").code == 1
    assert second.code == 1
    assert founded.run("operator", "numbers", "export", "--json").code == 1
    assert founded.run("operator", "numbers", "export", "--state", "WIPING").code == 2

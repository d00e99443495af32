"""`fallow records` as a person types it: a map tried before anything is installed, a dry run, and an auditor's second look."""

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import own_systems
import pytest
from builders import World, advance
from command_line import CommandLine, Ran, assert_one_clear_line
from memory_ports import SettableClock
from own_systems import BYSTANDER, NUMBER, a_file_of, a_line

from fallow.bootstrap import wire
from fallow.domain.lifecycle import State
from fallow.domain.ports import Keeper, RecordSystem, WipeOrder, WipeReceipt
from fallow.settings import Settings

OTHER = "+491713920003"
NOBODY = "n_aaaaaaaaaaaaaaaaaaaaaaaaaa/1"
STATED = ("--disconnected-at", "2026-02-01T12:00:00+01:00")
ALTER = 'url = "sqlite:///kunden.db"'


class Dated:
    """A record system whose own clock keeps step with the installation's."""

    def __init__(self, system: RecordSystem, clock: SettableClock) -> None:
        """Stand before ``system``."""
        self._system, self._clock = system, clock

    def __getattr__(self, name: str) -> Any:
        """Be as the system is."""
        return getattr(self._system, name)

    def wipe(self, orders: Sequence[WipeOrder], keeper: Keeper | None = None) -> list[WipeReceipt]:
        """Date the receipts by the clock."""
        return [
            replace(each, collections=tuple(replace(part, read_back_at=self._clock.now()) for part in each.collections))
            for each in self._system.wipe(orders, keeper)
        ]


class Office:
    """An installation with staff, one enrolled number, and one system whose address is in a file."""

    def __init__(self, state: Path) -> None:
        """Set it up; nothing runs in it."""
        self.cli = CommandLine(state)
        assert self.cli.run("setup", "--no-temporal").code == 0
        own_systems.make_database(state / "kunden.db", (NUMBER, OTHER))
        own_systems.write_maps(state, 9, own_systems.Endpoint().public_keys)
        root = self.cli.run("keys", "admit", "--name", "root", "--role", "administrator").out.strip()
        self.keys = {
            role: self.cli.run("keys", "admit", "--name", role, "--role", role, key=root).out.strip()
            for role in ("operator", "auditor", "shop")
        }
        assert self.run("operator", "enrol", "-", stdin=a_file_of(a_line())).code == 0
        self.cycle = self.run("auditor", "numbers", "find", stdin=NUMBER).out.strip()

    def run(self, who: str, *arguments: str | Path, stdin: str = "") -> Ran:
        """Run a command as one of the staff and see to it that it says no number."""
        ran = self.cli.run(*arguments, stdin=stdin, key=self.keys[who])
        assert "392000" not in ran.out + ran.err
        return ran

    def query(self, statement: str) -> None:
        """Do one statement in the carrier's database."""
        with closing(sqlite3.connect(self.cli.state / "kunden.db")) as connection, connection:
            connection.execute(statement)

    def wipe(self) -> None:
        """Take the cycle through wiping, as the worker would."""
        clock = SettableClock(datetime.now(UTC))
        with wire(Settings(_env_file=None, state=self.cli.state), clock) as wired:
            systems = wired.installation.record_systems
            for system_id, system in list(systems.items()):
                systems[system_id] = Dated(system, clock)  # type: ignore[index]
            advance(World(wired, clock, {}, {}, {}, wired.installation.line_register), self.cycle, State.UNBINDING)  # type: ignore[arg-type]


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


@pytest.fixture
def bare(tmp_path: Path) -> CommandLine:
    """A folder with a carrier's database and the three files, and nothing installed."""
    (tmp_path / "maps").mkdir()
    own_systems.make_database(tmp_path / "maps" / "kunden.db", (NUMBER, OTHER, "+491713920004"))
    own_systems.write_maps(tmp_path / "maps", 9, own_systems.Endpoint().public_keys)
    return CommandLine(tmp_path / "none")


def test_a_map_is_checked_before_anything_is_installed(bare: CommandLine) -> None:
    """Without database of ours and without a key: what the map leaves out and what has no index is named, with the remedy, no value."""
    records = bare.state.parent / "maps" / "records.toml"
    plain, machine = bare.run("records", "check", "--records", records), bare.run("records", "check", "--records", records, "--json")
    found = [(each["colour"], each["what"]) for each in machine.json["findings"]]

    assert (plain.code, machine.code) == (3, 3)
    assert [what.partition(" ")[0] for _, what in found if "no index" in what] == ["collection", "collection", "the"]
    assert [what for _, what in found if "column nach is not in the map" in what]
    assert all(each["remedy"] for each in machine.json["findings"] if each["colour"] != "green")
    assert len(plain.out.splitlines()) == len(found)
    assert not re.search("392000", plain.out + machine.out)


def test_what_is_wrong_is_told_first_and_counts_most(bare: CommandLine) -> None:
    """A key in the way is no finding among others: it heads the list, indexes end it, and the map does not fit."""
    maps = bare.state.parent / "maps"
    with closing(sqlite3.connect(maps / "kunden.db")) as connection, connection:
        connection.execute("CREATE TABLE anhang (an INTEGER REFERENCES gespraech)")
    ran = bare.run("records", "check", "--records", maps / "records.toml", "--json")
    found = [(each["colour"], each["what"]) for each in ran.json["findings"]]

    assert (ran.code, found[0][0], "table anhang refer to" in found[0][1]) == (4, "red", True)
    places = [2 if "no index" in what else 0 if colour == "red" else 1 for colour, what in found if colour != "green"]
    assert places == sorted(places)
    assert set(places) == {0, 1, 2}


def test_a_map_that_is_whole_passes(bare: CommandLine) -> None:
    """With its indexes made and its counterparties' column mapped, nothing is found."""
    maps = bare.state.parent / "maps"
    with closing(sqlite3.connect(maps / "kunden.db")) as connection, connection:
        for table, column in (("anschluss", "rufnummer"), ("vertrag", "nummer"), ("gespraech", "von"), ("gespraech", "nach")):
            connection.execute(f"CREATE INDEX by_{column} ON {table} ({column})")
    with (maps / "records.toml").open("a") as file:
        file.write(
            '[[system.collection]]\nid = "angerufen"\ntable = "gespraech"\nnumber = { column = "nach", spelling = "digits" }\n'
            'until = "beginn"\nstrategy = "delete"\n'
        )
    ran = bare.run("records", "check", "--records", maps / "records.toml")

    assert (ran.code, [line.split()[0] for line in ran.out.splitlines()]) == (0, ["green", "green"])


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        (ALTER, 'url = "sqlite:///records.toml"', 75, "could not do its part"),
        (ALTER, 'url = "sqlite:///gone.db"', 4, "there is no such file"),
        ('table = "vertrag"', 'table = "vertraege"', 4, "no such table"),
        ('column = "von"', 'column = "wer"', 4, "no column wer"),
    ],
)
def test_what_does_not_fit_is_told_apart_from_what_is_down(bare: CommandLine, old: str, new: str, code: int, said: str) -> None:
    """A map that does not fit wants another map; a system that is down wants another try."""
    records = bare.state.parent / "maps" / "records.toml"
    records.write_text(records.read_text().replace(old, new))
    ran = bare.run("records", "check", "--records", records, "--json")

    assert ran.code == code
    assert [each for each in ran.json["findings"] if each["colour"] == "red" and said in each["what"]]


def test_a_system_that_is_down_does_not_end_the_check(bare: CommandLine) -> None:
    """The next system is looked at all the same, and what is found there counts."""
    records = bare.state.parent / "maps" / "records.toml"
    first = f'[[system]]\nid = "down"\n{ALTER.replace("kunden.db", "records.toml")}\n[[system.collection]]\nid = "x"\ntable = "x"\n'
    first += 'number = { column = "x", spelling = "digits" }\nuntil = "x"\nstrategy = "delete"\n'
    records.write_text(records.read_text().replace("[[system]]", f"{first}[[system]]", 1))
    ran = bare.run("records", "check", "--records", records, "--json")

    assert ran.code == 3
    assert [each["subject"] for each in ran.json["findings"] if "could not do its part" in each["what"]] == ["records: down"]
    assert [each for each in ran.json["findings"] if each["subject"] == "records: kundendb"]


def test_a_file_that_is_no_map_is_refused(bare: CommandLine, tmp_path: Path) -> None:
    """Without a map there is nothing to check."""
    (tmp_path / "no.toml").write_text("[line_register")

    refused = bare.run("records", "check", "--records", tmp_path / "no.toml")
    assert refused.code == 4
    assert_one_clear_line(refused)
    assert bare.run("records", "check", "--records", tmp_path / "none.toml").code == 2
    assert bare.run("records", "check").code == 4


def test_a_plan_shows_what_would_be_cleared(office: Office) -> None:
    """Masked, in order, by the cycle's own disconnect or the stated one; bad lines are told by their number; nothing is changed."""
    lines = f"{NUMBER}\n\n{OTHER}\nnonsense\n+49x\n"
    ran = office.run("operator", "records", "plan", "--json", *STATED, stdin=lines)
    table = office.run("auditor", "records", "plan", *STATED, stdin=lines)

    assert (ran.code, table.code) == (3, 3)
    assert ran.json["order"] == ["kundendb"]
    assert [(each["line"], each["cycle_id"], each["number"]) for each in ran.json["numbers"]] == [
        (1, office.cycle, "+49********01"),
        (3, None, "+49********03"),
    ]
    assert [each["line"] for each in ran.json["refused"]] == [4, 5]
    assert {each["collection"]: each["in_scope"] for each in ran.json["numbers"][0]["found"]} == {"vertrag": 1, "gespraech": 1}
    assert "+49********01" in table.out
    assert office.run("operator", "records", "plan", "--json", *STATED, stdin=NUMBER).json["numbers"] == ran.json["numbers"][:1]


def test_a_plan_names_what_is_in_the_way(office: Office) -> None:
    """A row whose instant can't be read is neither cleared nor passed over."""
    office.query("UPDATE gespraech SET beginn = NULL")
    ran = office.run("auditor", "records", "plan", "--json", stdin=NUMBER)

    assert ran.code == 3
    assert [each.partition(" undecided")[0] for each in ran.json["numbers"][0]["in_the_way"]] == ["kundendb.gespraech: 1 row is"]
    assert "in the way of line 1" in office.run("auditor", "records", "plan", stdin=NUMBER).out


@pytest.mark.parametrize(
    ("stdin", "options", "code"),
    [("", (), 1), ("\n" * 3, (), 1), (f"{NUMBER}\n" * 1_001, (), 1), (OTHER, (), 3), (NUMBER, ("--disconnected-at", "yesterday"), 1)],
)
def test_a_plan_refuses_what_it_cannot_plan(founded: Office, stdin: str, options: tuple[str, ...], code: int) -> None:
    """Nothing, too much, no instant for a number without a cycle, and no real instant."""
    ran = founded.run("auditor", "records", "plan", *options, stdin=stdin)

    assert ran.code == code
    assert "Traceback" not in ran.err
    if code == 1:
        assert_one_clear_line(ran)


def test_a_plan_of_a_system_that_is_down_says_so(office: Office) -> None:
    """It is to be tried again."""
    (office.cli.state / "kunden.db").write_text("no database\n" * 100)
    ran = office.run("auditor", "records", "plan", "--json", stdin=NUMBER)

    assert ran.code == 75
    assert [each["system"] for each in ran.json["silent"]] == ["kundendb"]


def test_who_may_not_look_is_refused(founded: Office) -> None:
    """A shop sees neither plan nor recheck, and a number is no argument."""
    assert founded.run("shop", "records", "plan", stdin=NUMBER).code == 1
    assert founded.run("shop", "records", "recheck", "kundendb", stdin=founded.cycle).code == 1
    assert founded.cli.run("records", "plan", NUMBER).code == 2


def test_an_auditor_reads_back_with_their_own_account(office: Office, tmp_path: Path) -> None:
    """By an address of their own and without the map's: what the receipt says is found again, and a row that came back is, too."""
    office.wipe()
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy, closing(sqlite3.connect(office.cli.state / "kunden.db")) as live:
        live.backup(copy)
    secret = tmp_path / "mine"
    secret.write_text(f"sqlite:///{tmp_path / 'copy.db'}\n")
    records = office.cli.state / "records.toml"
    records.write_text(records.read_text().replace(ALTER, 'url_file = "not-for-auditors"'))
    asked = ("records", "recheck", "kundendb", "--url-file", secret)
    open_to_all = office.run("auditor", *asked, stdin=office.cycle)
    secret.chmod(0o600)
    clean, machine = office.run("auditor", *asked, stdin=office.cycle), office.run("auditor", *asked, "--json", stdin=office.cycle)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy, copy:
        digits = (NUMBER[1:], BYSTANDER[1:])
        copy.execute("INSERT INTO gespraech (von, nach, beginn) VALUES (?, ?, '2026-01-05T10:00:00Z')", digits)
    again = office.run("auditor", *asked, "--json", stdin=office.cycle)

    assert (open_to_all.code, clean.code, machine.code, again.code) == (4, 0, 0, 1)
    assert "chmod 600" in open_to_all.err
    assert [(each["collection"], each["remaining"], each["same_query"], each["same_meaning"]) for each in machine.json["found"]] == [
        ("vertrag", 0, True, True),
        ("gespraech", 0, True, True),
    ]
    assert [each["amiss"] for each in again.json["found"]] == [[], ["1 row of the former holder"]]


def test_a_recheck_sees_an_altered_receipt_and_an_altered_map(office: Office) -> None:
    """Both contradict what was proved then."""
    office.wipe()
    records = office.cli.state / "records.toml"
    records.write_text(records.read_text().replace("the law of the test", "another law"))
    remapped = office.run("auditor", "records", "recheck", "kundendb", "--json", stdin=office.cycle)
    with closing(sqlite3.connect(office.cli.state / "fallow.db")) as ours, ours:
        ours.execute("UPDATE evidence SET body = replace(body, 'vertrag', 'vortrag')")
    altered = office.run("auditor", "records", "recheck", "kundendb", "--json", stdin=office.cycle)

    assert (remapped.code, altered.code) == (1, 1)
    assert remapped.json["found"][0]["same_meaning"] is False
    assert [each["error"] for each in altered.json["unsaid"]] == ["gate-refused"]


@pytest.mark.parametrize(
    ("system", "stdin", "code"),
    [("kundendb", NOBODY, 5), ("kundendb", NUMBER, 5), ("kundendb", "", 1), ("other", NOBODY, 5)],
)
def test_a_recheck_of_what_is_not_known(founded: Office, system: str, stdin: str, code: int) -> None:
    """Unknown cycles, a number instead of one, nothing at all, an unknown system."""
    assert founded.run("auditor", "records", "recheck", system, stdin=stdin).code == code


def test_a_cycle_that_is_not_wiped_has_no_receipt(founded: Office) -> None:
    """It is named by its line, and nothing is claimed of it."""
    ran = founded.run("auditor", "records", "recheck", "kundendb", "--json", stdin=f"\n{founded.cycle}\n")

    assert ran.code == 5
    assert [(each["line"], each["error"]) for each in ran.json["unsaid"]] == [(2, "not-known")]
    assert json.loads(ran.out)["found"] == []

"""`fallow records held-by-law` as people type it, on an installation whose worker does not run."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import own_systems
import pytest
from command_line import ROOT, CommandLine, Ran, assert_one_clear_line
from own_systems import NUMBER, a_file_of, a_line

from fallow.domain.ports import KeptRow
from fallow.store import cycles, retention
from fallow.store.engine import Database
from fallow.store.keeping_tables import RetentionRow
from fallow.store.wrapping import WrappingKeys

OTHER = "+491713920003"
ROLES = {"operator": "operator", "enroller": "operator", "approver": "approver", "auditor": "auditor"}
CONTENT = {"name": "Erika Mustermann"}
LAW = ("records", "held-by-law")
#: Four months from now, so that nothing of it has expired whenever this runs.
KEPT_UNTIL = datetime.now(UTC).date() + timedelta(days=120)


class Registry:
    """An installation with staff, and one number of which a row is sealed and rows are restricted."""

    def __init__(self, state: Path) -> None:
        """Set it up; nothing runs in it."""
        self.cli = CommandLine(state)
        assert self.cli.run("setup", "--no-temporal").code == 0
        own_systems.make_database(state / "kunden.db", (NUMBER, OTHER))
        own_systems.write_maps(state, 9, own_systems.Endpoint().public_keys)
        root = self.cli.run("keys", "admit", "--name", "root", "--role", "administrator").out.strip()
        admit = ("keys", "admit", "--name")
        self.keys = {name: self.cli.run(*admit, name, "--role", role, key=root).out.strip() for name, role in ROLES.items()}
        assert self.run("enroller", "enrol", "-", stdin=a_file_of(a_line(), a_line(OTHER, source_ref="T 2"))).code == 0
        self.cycle = self.run("auditor", "numbers", "find", stdin=NUMBER).out.strip()
        keep(state, self.cycle)

    def run(self, who: str, *arguments: str | Path, stdin: str = "") -> Ran:
        """Run a command as one of the staff."""
        return self.cli.run(*arguments, stdin=stdin, key=self.keys[who])

    def opened(self) -> str:
        """Open the cycle by two people; return the proposal."""
        proposal: str = self.run("operator", *LAW, "open", self.cycle, "--reference", "court 12", "--json").json["proposal_id"]
        assert self.run("approver", "approve", proposal).code == 0
        return proposal

    def kinds(self) -> list[str]:
        """Return the kinds of the cycle's events."""
        return [each["kind"] for each in self.run("auditor", "numbers", "show", self.cycle, "--json").json["timeline"]]


def keep(state: Path, cycle_id: str) -> None:
    """Keep what a wipe would have kept."""
    db = Database(f"sqlite:///{state / 'fallow.db'}")
    row = KeptRow(cycle_id, "gespraech", "a law", KEPT_UNTIL, json.dumps(CONTENT).encode())
    with db.begin() as tx:
        cycle = cycles.lock_one(tx, cycle_id)
        retention.seal_all(tx, WrappingKeys(state / "keys" / "wrapping"), "kundendb", [row])
        for collection, how, count in (("gespraech", "seal", 1), ("vertrag", "restrict", 2)):
            place = {"cycle_id": cycle_id, "target_id": "kundendb", "collection": collection, "kept_until": KEPT_UNTIL}
            retention.note(tx, cycle, RetentionRow(**place, how=how, basis="a law", rows=count))
    db.close()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """One installation for all tests of this file: none takes anything away."""
    return Registry(tmp_path_factory.mktemp("registry") / "state")


def test_an_auditor_lists_what_is_kept(registry: Registry) -> None:
    """By table and as JSON, of all cycles and of one; never what the rows say."""
    shown, listed = registry.run("auditor", *LAW, "list"), registry.run("auditor", *LAW, "list", "--cycle", registry.cycle, "--json")

    assert (shown.code, listed.code) == (0, 0)
    assert [each["how"] for each in listed.json] == ["sealed here", "restricted there"]
    for word in (registry.cycle, "kundendb", "vertrag", "restricted there", "sealed here", str(KEPT_UNTIL), "a law"):
        assert word in shown.out
    assert "Erika" not in shown.out + listed.out
    assert registry.run("auditor", *LAW, "list", "--cycle", "n_none/1").code == 5
    assert registry.run("auditor", *LAW, "list", "--after", registry.cycle).out == "nothing is kept\n"


def test_whose_number_it_was_is_answered_from_standard_input(registry: Registry) -> None:
    """The number is never an argument and never printed; the cycle and what is kept of it are."""
    asked = registry.run("auditor", *LAW, "who", "--on", "2026-01-15", stdin=NUMBER)
    machine = registry.run("auditor", *LAW, "who", "--on", "2026-01-15", "--json", stdin=NUMBER).json
    typed = registry.run("auditor", *LAW, "who", "--on", "2026-01-15", NUMBER)

    assert (asked.code, registry.cycle in asked.out, "gespraech" in asked.out) == (0, True, True)
    assert (machine["cycle_id"], machine["on"], len(machine["kept"])) == (registry.cycle, "2026-01-15", 2)
    assert typed.code == 2
    assert NUMBER[1:] not in asked.out + asked.err + typed.err + json.dumps(machine)
    assert registry.run("auditor", *LAW, "who", "--on", "2026-02-05", "--json", stdin=NUMBER).json["cycle_id"] is None
    other = registry.run("auditor", *LAW, "who", "--on", "31.1.2026", stdin=NUMBER)
    assert (other.code, "write 2026-01-31" in " ".join(other.err.split())) == (2, True)


def test_two_people_open_and_read(registry: Registry) -> None:
    """Each row is one line of JSON; without approval, by a third person, or by the enroller it is refused in one clear line."""
    proposed = registry.run("operator", *LAW, "open", registry.cycle, "--reference", "court 12")
    proposal = next(word for word in proposed.out.split() if word.startswith("pr_"))
    early = registry.run("operator", *LAW, "read", proposal)
    approved = registry.run("approver", "approve", proposal)
    assert (approved.code, f"fallow records held-by-law read {proposal}" in approved.out) == (0, True)

    read = registry.run("approver", *LAW, "read", proposal)

    assert (proposed.code, read.code, read.err) == (0, 0, "")
    assert [json.loads(line)["content"] for line in read.out.splitlines()] == [CONTENT]
    by_enroller = registry.run("enroller", *LAW, "open", registry.cycle, "--reference", "court 12")
    for refused in (early, registry.run("auditor", *LAW, "read", proposal), by_enroller):
        assert refused.code == 1
        assert_one_clear_line(refused)
    assert registry.kinds().count("RetentionRead") == 1


def test_a_reading_is_recorded_although_nobody_gets_it(registry: Registry) -> None:
    """Where the output can't be written the reading stands in the timeline all the same."""
    proposal, before = registry.opened(), registry.kinds().count("RetentionRead")
    environment = {**registry.cli.environment(), "FALLOW_API_KEY": registry.keys["operator"]}
    with Path("/dev/full").open("wb") as full:
        command = registry.cli.command(*LAW, "read", proposal)
        ran = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, timeout=120, check=False, cwd=ROOT)

    assert ran.returncode != 0
    assert registry.kinds().count("RetentionRead") == before + 1


def test_a_hold_that_stops_no_number_says_so(registry: Registry) -> None:
    """Who holds a retired number is told that it only suspends what the law keeps."""
    cycle = registry.run("auditor", "numbers", "find", stdin=OTHER).out.strip()
    early = registry.run("operator", "hold", cycle, "--reference", "case 7")
    proposal = registry.run("operator", "retire", cycle, "--reference", "court 3", "--json").json["proposal_id"]
    assert registry.run("approver", "approve", proposal).code == 0

    late = registry.run("operator", "hold", cycle, "--reference", "case 8")

    assert (early.code, late.code) == (0, 0)
    assert ("only the end" in early.out, "RETIRED" in late.out, "only the end" in late.out) == (False, True, True)


def test_nothing_of_it_is_plain_in_the_state_folder(registry: Registry) -> None:
    """No file of the engine holds what is sealed; one that is planted is found."""
    planted = registry.cli.state / "planted.txt"

    def holding() -> list[str]:
        return [each.name for each in registry.cli.state.rglob("*") if each.is_file() and CONTENT["name"].encode() in each.read_bytes()]

    assert holding() == []
    planted.write_text(f"a line with {CONTENT['name']} in it")
    assert holding() == ["planted.txt"]
    planted.unlink()

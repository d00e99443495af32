"""The checker from outside: silent over a finished run, and loud over each way of corrupting one."""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from corruptions import CORRUPTIONS, lose_an_expected_line, sell_a_held_number, weaken_the_policy
from corruptions_records import change, rewrite_a_receipt
from corruptions_speaking import speak_by_hmac
from finished_run import FIRST, ROOT, SECOND, finish, send, step, wired_with_looks
from sqlmodel import select

from fallow.domain.events import canonical
from fallow.domain.lifecycle import Command
from fallow.local import crowd
from fallow.operations.two_person import TwoPerson
from fallow.store.tables import CycleRow


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every line of a small sample has ended where it must."""
    folder = tmp_path_factory.mktemp("finished")
    finish(folder)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """Copy the finished folder, to be corrupted."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def verdict(folder: Path) -> tuple[int, dict[str, Any]]:
    """Run the checker as its own program, as the demo does."""
    command = [sys.executable, "-I", str(ROOT / "fallow" / "local" / "checker"), "--directory", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def test_is_silent_over_an_untouched_run(finished: Path) -> None:
    """A finished run has no violation, and everything was really looked at."""
    code, report = verdict(finished)

    assert report["violations"] == []
    assert code == 0
    assert report["states"]["RESELLABLE"] >= 4
    kinds = ("expected", "events", "evidence", "gate", "holder-key", "looks", "obligations", "platforms", "records", "tag")
    assert all(report["checked"][kind] > 10 for kind in kinds)


@pytest.mark.parametrize(("corrupt", "kind"), CORRUPTIONS, ids=[corrupt.__name__ for corrupt, _ in CORRUPTIONS])
def test_finds_each_corruption(folder: Path, corrupt: Callable[[Path], None], kind: str) -> None:
    """Whatever is corrupted, the verdict turns, and for the right reason."""
    corrupt(folder)

    code, report = verdict(folder)

    assert code == 1
    assert kind in {violation["kind"] for violation in report["violations"]}


def test_refuses_a_receipt_that_lost_what_the_law_keeps(folder: Path) -> None:
    """A receipt, digest and all, that restricted rows and found one less kept discharges nothing."""
    with closing(sqlite3.connect(folder / "fallow.db")) as connection:
        cited = "SELECT body FROM evidence e WHERE kind = 'receipt' AND EXISTS (SELECT 1 FROM obligations o WHERE o.evidence = e.digest)"
        bodies = connection.execute(f"{cited} AND target_id = 'crm'").fetchall()
    found = (each for (body,) in bodies for each in json.loads(body)["collections"])
    whole = next(each for each in found if each["strategy"] == "restrict" and each["affected"] == each["kept"] > 0)
    rewrite_a_receipt(folder, canonical(whole), canonical(whole | {"kept": whole["kept"] - 1}))

    _, report = verdict(folder)

    assert any("differ on what is left" in violation["what"] for violation in report["violations"])


def test_names_no_number(folder: Path) -> None:
    """A verdict can be shown to anybody: it names lines and cycles, never digits."""
    for corrupt, _ in CORRUPTIONS:
        if corrupt not in (lose_an_expected_line, weaken_the_policy, sell_a_held_number):
            corrupt(folder)
    numbers = {row["number"] for row in crowd.rows_of((folder / crowd.NUMBERS).read_text()).values()}

    _, report = verdict(folder)

    assert len(report["violations"]) > 20
    shown = json.dumps(report)
    assert not [number for number in numbers if number.isascii() and number.lstrip("+=").isdigit() and number.lstrip("+=") in shown]


def but_for_the_gate(report: dict[str, Any]) -> set[str]:
    """Return the kinds of a run's violations, but for the gate's: it judged the messages as they were before they were signed anew."""
    return {each["kind"] for each in report["violations"] if not each["what"].endswith(": the gate judged other evidence")}


@pytest.mark.parametrize("over_a_hub", [False, True], ids=["by the platform", "by its hub"])
def test_judges_answers_under_a_shared_secret(folder: Path, *, over_a_hub: bool) -> None:
    """Answers signed with HMAC, by the platform or its hub, are genuine under the secret of the platforms map and under no other."""
    secret = speak_by_hmac(folder, "larkchat", "relay" if over_a_hub else "larkchat")
    _, good = verdict(folder)
    platforms = folder / "platforms.toml"
    platforms.write_text(platforms.read_text().replace(secret, "whsec_" + b64encode(b"another secret" * 2).decode()))
    code, bad = verdict(folder)

    assert but_for_the_gate(good) == set()
    assert code == 1
    assert but_for_the_gate(bad) == {"evidence", "looks"}


def test_a_hub_speaks_for_its_own_platforms_only(folder: Path) -> None:
    """What a hub signed for a platform that is not behind it proves nothing."""
    speak_by_hmac(folder, "larkchat", "relay")
    platforms = folder / "platforms.toml"
    platforms.write_text(platforms.read_text().replace('via = "relay"', 'status_url = "http://127.0.0.1:1/status"'))

    _, report = verdict(folder)

    assert but_for_the_gate(report) == {"evidence", "looks"}


def attest(folder: Path) -> None:
    """Clear the platform that refused by its own document, as two people do, and take the number to its end."""
    with wired_with_looks(folder) as wired:
        with wired.installation.db.read() as tx:
            cycle_id = tx.session.exec(select(CycleRow.cycle_id).where(CycleRow.state == "UNBINDING")).one()
        two = TwoPerson(wired.installation)
        arguments = {"target_id": "pennywell-pay", "document_sha256": "ab" * 32}
        two.approve(SECOND, two.propose(FIRST, cycle_id, Command.ATTEST, "letter 12", arguments))
        step(wired)
        asyncio.run(send(wired))
        step(wired)
    expected = folder / crowd.EXPECTED
    expected.write_text(expected.read_text().replace("UNBINDING+ATTENTION", "RESELLABLE"))


def test_accepts_an_attestation_by_two_people(folder: Path) -> None:
    """A platform's own document, brought by two people, counts; the account that the platform kept is not held against the number."""
    attest(folder)

    code, report = verdict(folder)

    assert report["violations"] == []
    assert code == 0


def test_refuses_an_attestation_by_the_enroller(folder: Path) -> None:
    """Who enrolled the number can't be one of the two."""
    attest(folder)
    change(folder, "fallow.db", "UPDATE cycles SET enrolled_by = 'p-operator'")

    _, report = verdict(folder)

    assert any("other than the enroller" in violation["what"] for violation in report["violations"])


def test_says_what_it_could_not_read(folder: Path) -> None:
    """Without its inputs there is no verdict, and no report that could pass for one."""
    (folder / "planted.json").unlink()
    command = [sys.executable, "-I", str(ROOT / "fallow" / "local" / "checker"), "--directory", str(folder)]

    ran = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert "planted.json" in ran.stderr

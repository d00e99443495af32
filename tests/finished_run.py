"""A small run of the sample, finished by the engine's own operations: real record systems and platforms, no Temporal."""

import asyncio
import hashlib
import secrets
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from memory_ports import signed_delivery
from sqlmodel import select

from fallow.bootstrap import Wired, wire
from fallow.domain.cycle import ref
from fallow.domain.lifecycle import ACTIVE, Command
from fallow.domain.obligations import Outcome, TargetKind
from fallow.domain.people import Person, Role
from fallow.domain.ports import Platform, SignedDelivery, UnbindItem
from fallow.local import crowd, sample_carrier
from fallow.local.processes import start_child, wait_until_ready
from fallow.operations.disclose import Disclosure
from fallow.operations.enrol import enrol_file
from fallow.operations.looking_rounds import AskingAndLooking, LookingRounds
from fallow.operations.release import Release
from fallow.operations.retention import Retention
from fallow.operations.sending import Rounds, Tally
from fallow.operations.stages import Stages
from fallow.operations.two_person import TwoPerson
from fallow.operations.unbinding_rounds import UnbindingRounds
from fallow.operations.wiping_rounds import WipingRounds
from fallow.platforms.platform_map import load_platform_map
from fallow.platforms.signing import SigningKey
from fallow.settings import Settings
from fallow.store import keys, leases, schema
from fallow.store.engine import Database
from fallow.store.signer import seed
from fallow.store.tables import CycleRow, PrincipalRow

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
ADMINISTRATOR, FIRST, SECOND = (Person(f"p-{role}", role) for role in (Role.ADMINISTRATOR, Role.OPERATOR, Role.APPROVER))
#: The platform of the sample that can be looked at.
WATCHED = "larkchat"
POLICY = '[[rule]]\nquarantine = "4s"\nobserved = "0s"\ndemo = true\nsource = "a test"\n'


def finish(folder: Path) -> None:
    """Take every line of a small sample to where it must end."""
    prepare(folder)
    with simulate(folder), wired_with_looks(folder) as wired:
        with wired.installation.db.begin() as tx:
            for person in (ADMINISTRATOR, FIRST, SECOND):
                row = PrincipalRow(principal_id=person.person_id, name=person.person_id, role=person.role, secret="0" * 64)
                row.created_at = tx.now
                tx.session.add(row)
        enrol_file(wired.installation, ADMINISTRATOR, (folder / crowd.NUMBERS).read_bytes())
        decide(wired, folder)
        asyncio.run(drive(wired, folder))


def prepare(folder: Path) -> None:
    """Write the maps, the keys, the database and the carrier of a small sample."""
    crowd.select_lines(crowd.load(EXAMPLES), 12).save(folder)
    (folder / "policy.toml").write_text(f'id = "test"\nversion = 1\n{POLICY}')
    shutil.copy(EXAMPLES / "records.toml", folder)
    keys.create(folder / "keys")
    database = Database(f"sqlite:///{folder / 'fallow.db'}")
    schema.upgrade(database.engine)
    database.close()
    sample_carrier.plant(folder / "carrier.db", folder / crowd.NUMBERS, folder / crowd.SCENARIO, folder / "planted.json")


@contextmanager
def simulate(folder: Path) -> Iterator[None]:
    """Run three platforms that answer at once, while the caller works."""
    engine_key = SigningKey(seed(keys.Keys(folder / "keys"), "request")).public.text
    options = {"numbers": folder / crowd.NUMBERS, "scenario": folder / crowd.SCENARIO, "directory": folder, "engine-key": engine_key}
    options |= {"platforms": "3", "behaviours": "at-once", "callback-url": "http://127.0.0.1:1/{platform_id}"}
    listed = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    child = start_child(
        "platforms",
        [sys.executable, "-m", "fallow.local.platform_simulator", *listed],
        log_path=folder / "platforms.log",
        directory=ROOT,
    )
    wait_until_ready(child, (folder / "platforms.toml").exists, timedelta(seconds=30))
    try:
        yield
    finally:
        child.stop()


class Watched:
    """A platform of the simulator with a status query in front of it, which has a key of its own and finds everything clear."""

    looks = True

    def __init__(self, platform: Platform, key: SigningKey) -> None:
        """Ask ``platform``; sign what is looked at with ``key``."""
        self.platform_id = platform.platform_id
        self._platform = platform
        self._key = key

    async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
        """Ask the platform itself."""
        return await self._platform.ask(items)

    async def look(self, references: Sequence[str]) -> SignedDelivery | None:
        """Find everything clear."""
        return signed_delivery(self._key, dict.fromkeys(references, Outcome.CLEAR), datetime.now(UTC))


@contextmanager
def wired_with_looks(folder: Path) -> Iterator[Wired]:
    """Wire the installation of a folder; whatever its map gives a status query can be looked at, also when nothing runs any more."""
    kept, platforms = folder / "status.key", folder / "platforms.toml"
    if not kept.exists():
        kept.write_bytes(secrets.token_bytes(32))
        platforms.write_text(_with_status(platforms.read_text(), kept.read_bytes()))
    secret, entries = kept.read_bytes(), load_platform_map(platforms)
    with wire(Settings(state=folder)) as wired:
        asked = wired.installation.platforms
        watched = {each: Watched(asked[each], _key_of(secret, each)) for each in asked if entries[each].status_url is not None}
        wired.installation = replace(wired.installation, platforms={**asked, **watched})
        yield wired


def _key_of(secret: bytes, platform_id: str) -> SigningKey:
    """Return the key of a platform's status query: each has one of its own."""
    return SigningKey(hashlib.sha256(secret + platform_id.encode()).digest())


def _with_status(text: str, secret: bytes) -> str:
    """Let a platforms map trust the status queries' keys as well, and give :data:`WATCHED` a status query where it has none."""
    tables = text.split("[[platform]]")
    return "[[platform]]".join([tables[0], *(_trusting(table, secret) for table in tables[1:])])


def _trusting(table: str, secret: bytes) -> str:
    platform_id = table.partition('id = "')[2].partition('"')[0]
    more = 'status_url = "http://127.0.0.1:1/status"\n' if platform_id == WATCHED and "status_url" not in table else ""
    key = _key_of(secret, platform_id).public.text
    return table.replace("public_keys = [", f'{more}public_keys = ["{key}", ')


def states(wired: Wired) -> dict[str, str]:
    """Return where every cycle stands."""
    with wired.installation.db.read() as tx:
        return dict(tx.session.exec(select(CycleRow.cycle_id, CycleRow.state)).all())


def decide(wired: Wired, folder: Path) -> None:
    """Let two people decide what the sample's story says: one number is taken back, one retired, and one claim is denied."""
    plays = crowd.plays_of((folder / crowd.SCENARIO).read_text())
    rows = crowd.rows_of((folder / crowd.NUMBERS).read_text())
    two = TwoPerson(wired.installation)
    with wired.installation.db.read() as tx:
        cycles = dict(tx.session.exec(select(CycleRow.source_ref, CycleRow.cycle_id)).all())
    for line, play in plays.items():
        command = Command.RECLAIM if play == "denied" else play
        if command in (Command.RECLAIM, Command.RETIRE):
            arguments = {"ground": "former-holder"} if command == Command.RECLAIM else {}
            proposal = two.propose(FIRST, cycles[rows[line]["source_ref"]], Command(command), "case 7", arguments)
            two.deny(SECOND, proposal, "photo differs") if play == "denied" else two.approve(SECOND, proposal)


def step(wired: Wired) -> None:
    """Let every active cycle take the steps that its workflow would take."""
    here = wired.installation
    stages, disclosure, release = Stages(here), Disclosure(here), Release(here)
    for cycle_id, state in states(wired).items():
        if state in ACTIVE:
            stages.begin_quarantine(ref(cycle_id))
            stages.end_quarantine(ref(cycle_id), datetime.now(UTC))
            stages.clear(ref(cycle_id), TargetKind.RECORDS)
            stages.clear(ref(cycle_id), TargetKind.PLATFORM)
            disclosure.issue_tag(ref(cycle_id))
            release.release(ref(cycle_id))


async def send(wired: Wired) -> None:
    """Let every target's sender do what is due."""
    here = wired.installation
    senders: list[Rounds] = [WipingRounds(here, system, Retention(here)) for system in here.record_systems.values()]
    senders += [AskingAndLooking(UnbindingRounds(here, each), LookingRounds(here, each)) for each in here.platforms]
    for sender in senders:
        with here.db.begin() as tx:
            fence = leases.take(tx, sender.target_id, "test")
        while fence is not None and await sender.round("test", fence, Tally()):
            pass


async def drive(wired: Wired, folder: Path) -> None:
    """Take every cycle as far as it can go."""
    for stage in range(5):
        step(wired)
        await send(wired)
        if stage == 1:
            reactivate(folder)
    await wired.transport.aclose()


def reactivate(folder: Path) -> None:
    """Put the line back in service that the sample wants back after its wiping."""
    plays = crowd.plays_of((folder / crowd.SCENARIO).read_text())
    rows = crowd.rows_of((folder / crowd.NUMBERS).read_text())
    numbers = [(rows[line]["number"],) for line, play in plays.items() if play == "reactivated"]
    with closing(sqlite3.connect(folder / "carrier.db")) as connection, connection:
        connection.executemany("UPDATE lines SET status = 'active' WHERE msisdn = ?", numbers)

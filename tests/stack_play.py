"""A whole local run as processes — Temporal, API, workers, sample carrier, platforms — whose parts a test kills; and what it left behind.

Used by the tests of faults. Every number of the play has an end that is known beforehand and reached by itself.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from builders_cycles import assert_folds
from sqlmodel import col, select

from fallow.domain.obligations import Outcome, TargetKind, shown
from fallow.local import crowd, postgres, stack
from fallow.local.demo_desk import Desk, control
from fallow.local.postgres import PostgresNotInstalled, RunningPostgres
from fallow.local.processes import Child, free_ports, wait_until
from fallow.local.simulator_signing import sign
from fallow.store.engine import Database
from fallow.store.inbox import Inbox
from fallow.store.keys import Keys
from fallow.store.tables import AttemptRow, CycleRow, DeliveryRow, EventRow, LeaseRow, LookRow, ObligationRow

Session = psycopg.Connection[tuple[Any, ...]]

#: Anything that a test waits for comes well within this, or the test says what did not come.
WITHIN = timedelta(seconds=60)
#: Platforms that keep their answers for a callback; none answers twice by being reminded, so what a callback loses is lost.
CALLBACKS_ONLY = ("--behaviours", "later,twice,disordered", "--remind-after", "10m", "--batch", "4")
_RULE = """
[[rule]]
reason = "{reason}"
quarantine = "{quarantine}"
observed = "0s"
demo = true
source = "a test"
"""
#: Two numbers wait for two people, with whom a quarantine of seconds would race.
_QUARANTINES = {"*": "1s", "wrongful": "1h", "nuisance": "1h"}


@dataclass
class Play:
    """A running stack.

    Attributes:
        directory: its state folder.
        sample: who is enrolled and where each must end.
        desk: the API, with everybody's keys.
        url: the API's address.
        carrier: the sample carrier's control address.
        simulator: the platform simulator's control address.
        db: the engine's database, to look into.
        api: the API's process, replaced when it was killed.
        workers: the workers' processes by name.
    """

    directory: Path
    sample: crowd.Crowd
    desk: Desk
    url: str
    carrier: str
    simulator: str
    db: Database
    api: Child
    workers: dict[str, Child] = field(default_factory=dict)

    def stop(self) -> None:
        """Stop whichever API and workers are the present ones, and close the database."""
        for child in (*self.workers.values(), self.api):
            child.stop()
        self.db.close()

    def start_api(self) -> None:
        """Start the API again, at the same address."""
        self.api = stack.api(self.directory)

    def enrol(self) -> None:
        """Enrol everybody; two people reclaim one number and retire another."""
        report = self.desk.enrol(self.sample.numbers)
        assert report["accepted"] == len(self.sample.lines), report
        rows = crowd.rows_of(self.sample.numbers)
        for line, play in crowd.plays_of(self.sample.scenario).items():
            if play in ("reclaim", "retire"):
                self.desk.two_people(self.desk.cycle_of(rows[line]["number"]), play, "case 7")

    def hold_responses(self, after: int = 1) -> None:
        """Let the platforms withhold their responses, effects applied, until they are released."""
        control(self.simulator, "/hold-responses", {"after": after, "seconds": WITHIN.total_seconds()})

    def release_responses(self) -> None:
        """Let withheld responses go."""
        control(self.simulator, "/release", {})

    @property
    def responses_held(self) -> int:
        """How many responses platforms withhold now."""
        return int(control(self.simulator, "/state")["held"])

    @property
    def callbacks_waiting(self) -> int:
        """How many callbacks platforms still owe."""
        return int(control(self.simulator, "/state")["callbacks_waiting"])

    @property
    def carrier_frozen(self) -> bool:
        """Whether the carrier's database is locked with a wipe done and not reported."""
        return bool(control(self.carrier, "/state")["frozen"])

    def log(self, event: str, **more: object) -> list[dict[str, Any]]:
        """Return what the platforms noted of a kind of event."""
        lines = map(json.loads, (self.directory / "simulator.log").read_text().splitlines())
        return [line for line in lines if line["event"] == event and more.items() <= line.items()]

    def taken(self) -> set[tuple[str, str]]:
        """Return (platform, delivery) of every callback that the engine acknowledged."""
        return {(line["platform"], line["delivery"]) for line in self.log("called-back", status=200)}

    def tried(self) -> set[tuple[str, str]]:
        """Return (platform, delivery) of every callback that a platform has sent, whatever came of it."""
        return {(line["platform"], line["delivery"]) for event in ("called-back", "callback-failed") for line in self.log(event)}

    def deliveries(self) -> list[DeliveryRow]:
        """Return every delivery that the engine keeps."""
        return self._all(select(DeliveryRow))

    def attempts(self) -> list[AttemptRow]:
        """Return every attempt that the engine noted."""
        return self._all(select(AttemptRow))

    def obligations(self) -> list[ObligationRow]:
        """Return every obligation."""
        return self._all(select(ObligationRow))

    def events(self) -> list[tuple[str, int]]:
        """Return (cycle, place) of every event."""
        return [(row.cycle_id, row.seq) for row in self._all(select(EventRow))]

    def holders(self) -> set[str]:
        """Return which workers hold a lease on a target now."""
        with self.db.read() as tx:
            rows = tx.session.exec(select(LeaseRow).where(col(LeaseRow.until) > tx.now)).all()
            # A holder's name ends in a token of its turn.
            return {row.holder.rpartition("/")[0] for row in rows if not row.name.startswith("~")}

    def ends(self) -> dict[str, str]:
        """Return where every number stands, by its source reference, in the words of ``expected.csv``."""
        return {row.source_ref: _stands(row) for row in self._all(select(CycleRow))}

    def expected(self) -> dict[str, str]:
        """Return where every number must end, by its source reference."""
        rows = crowd.rows_of(self.sample.numbers)
        return {rows[position]["source_ref"]: line.ends for position, line in enumerate(self.sample.lines, start=2)}

    def logged(self, worker: str = "worker") -> str:
        """Return what a worker has logged."""
        return self.workers[worker].log_path.read_text()

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait until something is so; fail, saying ``what`` did not come and where everybody stands, when it is not in time."""
        if not wait_until(is_so, WITHIN):
            logs = "\n".join(f"-- {child.name}\n{child.last_log_lines(8)}" for child in (self.api, *self.workers.values()))
            raise AssertionError(f"within {WITHIN.total_seconds():.0f} s it did not come that {what}; {self._unfinished()}\n{logs}")

    def until_all_have_ended(self) -> None:
        """Wait until every number is where it must end, no platform owes a callback any more, and the sample was looked at again."""
        self.until(self._have_all_ended, "every number ended as expected and nothing was on its way")

    def _have_all_ended(self) -> bool:
        return self.ends() == self.expected() and self.callbacks_waiting == 0 and not self._all(select(LookRow))

    def assert_nothing_was_lost(self) -> None:
        """Assert what must be true of every play's end, whatever was killed.

        Every callback was taken in the end and is one row; every answer of a platform moved its obligation; every
        cycle's events fold into its rows.
        """
        kept = [(row.platform_id, row.delivery_id) for row in self.deliveries()]
        assert len(kept) == len(set(kept))
        assert self.tried() == self.taken() <= set(kept)
        owed = {(row.target_id, row.reference): row.outcome for row in self.obligations() if row.kind == TargetKind.PLATFORM}
        said = {(line["platform"], line["reference"]): shown(Outcome(line["outcome"])) for line in self.log("answered")}
        assert owed == said != {}
        assert_folds(self.db)

    def repeat(self, row: DeliveryRow) -> httpx.Response:
        """Send a delivery that the engine has already taken once more, as its platform would: same id and bytes, signed now."""
        keys = json.loads((self.directory / "simulator_keys.json").read_text())
        kept = Inbox(Keys(self.directory / "keys")).open(row)
        assert kept is not None
        return self.call_back(row.platform_id, kept.body, sign(keys[row.platform_id], row.delivery_id, kept.body))

    def call_back(self, platform_id: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Send a callback to the API."""
        url = stack.callback_url_of(self.url).replace("{platform_id}", platform_id)
        return httpx.post(url, content=body, headers={**headers, "content-type": "application/json"}, timeout=30, trust_env=False)

    def get(self, path: str) -> httpx.Response:
        """Ask the API something that needs no key."""
        return httpx.get(self.url + path, timeout=30, trust_env=False)

    def _all(self, query: Any) -> list[Any]:
        with self.db.read() as tx:
            return list(tx.session.exec(query))

    def _unfinished(self) -> str:
        try:
            ends, callbacks = self.ends(), self.callbacks_waiting
        except Exception as error:  # noqa: BLE001 - whatever hides it, the first message must not be lost
            return f"where they stand can't be seen ({type(error).__name__})"
        missing = {ref: (ends.get(ref), wanted) for ref, wanted in self.expected().items() if ends.get(ref) != wanted}
        return f"not yet there (is, must be): {missing}; callbacks waiting: {callbacks}"


@contextmanager
def playing(
    directory: Path,
    *,
    database_url: str = "",
    numbers: int = 18,
    platforms: int = 3,
    workers: Sequence[str] = ("worker",),
    options: Sequence[str] = CALLBACKS_ONLY,
    turn_seconds: float = 600.0,
) -> Iterator[Play]:
    """Start the whole stack in ``directory``; stop it at the end.

    Args:
        directory: an empty folder.
        database_url: the engine's database; "" for SQLite in the folder.
        numbers: how many numbers; the special ones are among them.
        platforms: how many platforms.
        workers: names of the workers to start.
        options: of the platform simulator.
        turn_seconds: how long a sender's turn lasts.
    """
    with ExitStack() as running:
        sample = _sample(directory, numbers)
        files = directory / crowd.NUMBERS, directory / crowd.SCENARIO
        more = {"FALLOW_DATABASE_URL": database_url, "FALLOW_TURN_SECONDS": str(turn_seconds)}
        stack.copy_sample(directory)
        port, carrier = _together(
            lambda: _lay_out(directory, running, more), lambda: stack.carrier(directory, numbers=files[0], scenario=files[1])
        )
        running.callback(carrier.child.stop)
        url = f"http://127.0.0.1:{port}"
        simulator = stack.simulator(
            directory,
            platforms=platforms,
            numbers=files[0],
            scenario=files[1],
            callback_url=stack.callback_url_of(url),
            engine_key=stack.engine_key(directory),
            options=tuple(options),
        )
        running.callback(simulator.child.stop)
        desk = Desk(url, stack.admit_everyone(directory))
        api, *started = _together(lambda: stack.api(directory), *(partial(stack.worker, directory, name) for name in workers))
        db = Database(stack.settings_of(directory).url())
        play = Play(directory, sample, desk, url, carrier.url, simulator.url, db, api, dict(zip(workers, started, strict=True)))
        running.callback(play.stop)
        yield play


@dataclass
class LastingPostgres:
    """A PostgreSQL server that keeps what was committed when it goes down, and comes back on the same port.

    The session's own server (``conftest.py``) commits without waiting for the disk, so it would lose commits.

    Attributes:
        server: the present one.
    """

    server: RunningPostgres
    _first: RunningPostgres = field(init=False)

    def __post_init__(self) -> None:
        """Keep the one that owns the folder."""
        self._first = self.server

    @property
    def url(self) -> str:
        """SQLAlchemy URL of its database."""
        return self.server.url

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session of a test's own, each statement a transaction."""
        with psycopg.connect(self.url.replace("+psycopg", "", 1), autocommit=True) as session:
            yield session

    def go_down(self) -> None:
        """Go down at once, as ``pg_ctl stop -m immediate`` would have it: no session is ended in good order, nothing is written out."""
        self.server.child.send(signal.SIGQUIT)
        self.server.child.wait(WITHIN)

    def come_back(self) -> None:
        """Start again on the same files and port, recovering first."""
        assert self._first.temporary is not None
        self.server = postgres.start(Path(self._first.temporary.name), port=self._first.port)

    def stop(self) -> None:
        """End it and remove its files."""
        self.server.stop()
        self._first.stop()


@contextmanager
def lasting_postgres() -> Iterator[LastingPostgres]:
    """Run such a server; a visible skip where PostgreSQL is not installed, a failure under CI."""
    try:
        lasting = LastingPostgres(postgres.start())
    except PostgresNotInstalled as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    try:
        yield lasting
    finally:
        lasting.stop()


def _sample(directory: Path, numbers: int) -> crowd.Crowd:
    """Choose the numbers: no line that is refused, and not the one that the carrier puts back in service at a moment of its own."""
    everybody = crowd.select_lines(crowd.load(stack.EXAMPLES), numbers)
    lines = tuple(line for line in everybody.lines if line.enrollable and line.plays != "reactivated")
    sample = replace(everybody, lines=lines)
    sample.save(directory)
    return sample


def _together(*starts: Callable[[], Any]) -> list[Any]:
    """Start several programs at once: most of a start is one processor's work."""
    with ThreadPoolExecutor(len(starts)) as threads:
        return [future.result() for future in [threads.submit(start) for start in starts]]


def _lay_out(directory: Path, running: ExitStack, more: Mapping[str, str]) -> int:
    """Start Temporal, write policy and settings, set everything up; return the API's port."""
    rules = [_RULE.format(reason=reason, quarantine=quarantine) for reason, quarantine in _QUARANTINES.items()]
    (directory / "policy.toml").write_text('id = "play"\nversion = 1\n' + "".join(rules))
    temporal = stack.temporal(directory, print)
    running.callback(temporal.stop)
    maps = {name: directory / f"{name}.toml" for name in ("policy", "records", "platforms")}
    port = free_ports(1)[0]
    stack.lay_out(directory, **maps, temporal_address=temporal.address, api_port=port, more=more)
    stack.set_up(directory, demo=True)
    return port


def _stands(row: CycleRow) -> str:
    return row.state + "+HELD" * row.held + "+ATTENTION" * (row.attention != "[]")

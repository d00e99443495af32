"""``fallow up``: a whole installation on this machine until Ctrl-C, with the sample's systems or with one's own.

One `up` runs in a state folder at a time. Whatever it started ends with it, and what ends by itself is started again.
Imports ``fallow.local.stack`` and the loaders of the three files.
"""

import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from fallow.bootstrap import open_database, open_registry
from fallow.domain.errors import CommandRefused, FallowError, SettingRefused
from fallow.domain.obligations import Category
from fallow.domain.policy import Policy
from fallow.intake.policy_file import load_policy
from fallow.local import crowd, stack
from fallow.local.processes import LOOPBACK, Child, ChildNotReady, NoFreePort, is_port_free, wait_until
from fallow.local.supervision import Service, watch
from fallow.local.temporal_binary import NoTemporalServer
from fallow.local.temporal_server import RunningTemporal, TemporalAlreadyRunning, TemporalFileOfOtherKind, TemporalPortTaken
from fallow.platforms.platform_map import load_platform_map
from fallow.records.records_map import load_records_map
from fallow.settings import Settings

Say = Callable[[str], None]

_PLATFORMS = 8
#: How long the children of a killed predecessor may take to let go of its port and its files.
_PREDECESSOR_GOES_WITHIN = timedelta(seconds=5)
_WORKER_STOPS_WITHIN = timedelta(seconds=25)
#: Settings that `up` decides itself; every other one that was given is written down for its children.
_DECIDED = {"state", "policy", "records", "platforms", "temporal_address", "temporal_cli", "cache"}
_DECIDED |= {"api_host", "api_port", "api_key", "log_level"}


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM arrived."""


@dataclass(frozen=True)
class Maps:
    """The three files, whether they are the sample's, and whether the policy is one for demonstrations."""

    policy: Path
    records: Path
    platforms: Path
    sample: bool
    demo: bool


def run(settings: Settings, *, policy: Path | None, records: Path | None, platforms: Path | None, machine: bool) -> int:
    """Start everything, say where it is, and keep it running until SIGINT or SIGTERM; return the exit code.

    Args:
        settings: whose state folder to run in, and which API port to take.
        policy: the user's own, or None.
        records: same.
        platforms: same.
        machine: say things as JSON, one object a line.

    Raises:
        SettingRefused, PolicyRefused, MapRefused: a part can't be started; what was started before it is ended.
        CommandRefused: another `up` runs in the folder.
    """
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    say = _as_json if machine else _as_line
    maps = choose_maps(settings, policy, records, platforms)
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _only_one(settings.folder), ExitStack() as children:
        try:
            watch(_Start(settings, maps, children, say, machine=machine).everything(), say)
        except Stopped:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second signal must not cut the orderly end short
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            say("stopping")
        except (NoTemporalServer, TemporalAlreadyRunning, TemporalFileOfOtherKind, TemporalPortTaken, ChildNotReady, NoFreePort) as fault:
            raise SettingRefused(f"{fault}", remedy=f"see the logs in {settings.folder} and what `fallow doctor` says.") from None
    say("stopped")
    return 0


def choose_maps(settings: Settings, policy: Path | None, records: Path | None, platforms: Path | None) -> Maps:
    """Return the user's own files where there are any, else the sample's; own ones are read and checked before anything starts.

    Raises:
        SettingRefused: own maps, but not all three files.
        PolicyRefused, MapRefused: one of them can't be used.
    """
    sample = settings.folder / "sample"
    given = {"policy": policy, "records": records, "platforms": platforms}
    chosen = {name: path.absolute() if path is not None else settings.file(name) for name, path in given.items()}
    theirs = [name for name, path in chosen.items() if settings.folder / "sample" not in path.parents and path.exists()]
    if not theirs:
        return Maps(sample / "policy.toml", sample / "records.toml", sample / "platforms.toml", sample=True, demo=True)
    missing = sorted(set(chosen) - set(theirs))
    if missing:
        what = f"There is your own {', '.join(theirs)}, but no {', '.join(missing)}."
        raise SettingRefused(
            what, remedy=f"put {' and '.join(f'{name}.toml' for name in missing)} beside, or name them by option; see examples/own-systems."
        )
    loaded = _load(settings, chosen["policy"], chosen["records"], chosen["platforms"])
    return Maps(chosen["policy"], chosen["records"], chosen["platforms"], sample=False, demo=any(rule.demo for rule in loaded.rules))


def _load(settings: Settings, policy: Path, records: Path, platforms: Path) -> Policy:
    systems, written = load_records_map(records), load_platform_map(platforms)
    try:
        return load_policy(
            policy,
            record_systems=systems.collections,
            line_register=systems.line_register_id,
            platforms={**_registered(settings), **{platform_id: entry.category for platform_id, entry in written.items()}},
        )
    finally:
        systems.close()


def _registered(settings: Settings) -> dict[str, Category]:
    """Return the platforms that people registered in an installation of before: the policy may name them, and the file need not."""
    try:
        settings.demand_installed()
        db = open_database(settings)
    except FallowError:
        return {}  # there is none yet, or `fallow setup` is about to bring it up to date
    try:
        entries = open_registry(settings, db).present.entries
    finally:
        db.close()
    return {platform_id: entry.category for platform_id, entry in entries.items() if entry.adapter != "hub"}


class _Start:
    """Starting everything, in order; what was started is ended in reverse."""

    def __init__(self, settings: Settings, maps: Maps, children: ExitStack, say: Say, *, machine: bool) -> None:
        self._settings, self._maps, self._children, self._say, self._machine = settings, maps, children, say, machine
        self._directory = settings.folder
        self._api_url = f"http://{LOOPBACK}:{settings.api_port}"
        self._temporal: RunningTemporal | None = None

    def everything(self) -> list[Service]:
        """Start it all and say where it is."""
        self._demand_port()
        if self._maps.sample:
            self._say(f"no records.toml, platforms.toml, policy.toml of your own in {self._directory}: the sample's systems are used")
        temporal = Service("Temporal server", self._start_temporal, self._children)
        temporal.begin()
        self._lay_out()
        if self._maps.sample:
            self._start_sample()
        stack.admit_everyone(self._directory)
        self._say("starting API and worker")
        api = Service("API", lambda: stack.api(self._directory), self._children)
        worker = Service("worker", lambda: stack.worker(self._directory), self._children, _WORKER_STOPS_WITHIN)
        api.begin()
        worker.begin()
        self._tell()
        return [temporal, api, worker]

    def _demand_port(self) -> None:
        port = self._settings.api_port
        if not wait_until(lambda: is_port_free(port), _PREDECESSOR_GOES_WITHIN):
            what = f"The API can't listen on {LOOPBACK}:{port}: the port is taken."
            raise SettingRefused(what, remedy="end the program that holds it, or set FALLOW_API_PORT.")

    def _start_temporal(self) -> Child:
        try:
            self._temporal = self._begin_temporal()
        except TemporalAlreadyRunning:  # a killed predecessor's, which is ending
            lock = self._directory / "temporal" / "temporal.lock"
            wait_until(lambda: _is_free(lock), _PREDECESSOR_GOES_WITHIN)
            self._temporal = self._begin_temporal()
        return self._temporal.child

    def _begin_temporal(self) -> RunningTemporal:
        return stack.temporal(
            self._directory,
            self._say,
            port=self._port_of_before(),
            prefer_ui=True,
            given=self._settings.temporal_cli,
            cache=self._settings.cache.expanduser() / "temporal",
        )

    def _port_of_before(self) -> int:
        # A restart keeps the address, so that whoever is connected finds the server again.
        address = self._temporal.address if self._temporal else self._settings.temporal_address
        host, _, port = address.rpartition(":")
        return int(port) if host == LOOPBACK and port.isdecimal() and is_port_free(int(port)) else 0

    def _lay_out(self) -> None:
        maps, given = self._maps, self._settings.model_fields_set - _DECIDED
        stack.lay_out(
            self._directory,
            policy=maps.policy,
            records=maps.records,
            platforms=maps.platforms,
            temporal_address=self._temporal.address if self._temporal else "",
            api_port=self._settings.api_port,
            more={f"FALLOW_{name.upper()}": _plain(getattr(self._settings, name)) for name in sorted(given)},
        )
        self._say("preparing keys, database and Temporal's namespace")
        try:
            stack.set_up(self._directory, demo=maps.demo)
        except SettingRefused:
            if maps.sample or not maps.demo:
                raise
            # One's own database may hold cycles of a real policy already: then it is simply no demo database.
            stack.set_up(self._directory)

    def _start_sample(self) -> None:
        sample = self._directory / "sample"
        self._say("starting the sample's carrier and platforms")
        stack.copy_sample(sample)
        numbers, scenario = sample / crowd.NUMBERS, sample / crowd.SCENARIO
        for path in (numbers, scenario):
            path.write_bytes((stack.EXAMPLES / path.name).read_bytes())
        if not (sample / "carrier.db").exists():  # of an earlier `up`: a record system that remembers what was wiped
            carrier = stack.carrier(sample, numbers=numbers, scenario=scenario)
            self._children.callback(carrier.child.stop)
        simulator = stack.simulator(
            sample,
            platforms=_PLATFORMS,
            numbers=numbers,
            scenario=scenario,
            callback_url=stack.callback_url_of(self._api_url),
            engine_key=stack.engine_key(self._directory),
        )
        self._children.callback(simulator.child.stop)

    def _tell(self) -> None:
        directory, sample = self._directory, self._maps.sample
        facts = {
            "api": self._api_url,
            "temporal": self._temporal.address if self._temporal else "",
            "temporal_ui": (self._temporal.ui_url if self._temporal else None) or "none in this server",
            "state": str(directory),
            "api_keys": str(directory / stack.API_KEYS),
            "logs": str(directory / "logs"),
            "engine_key": stack.engine_key(directory),
            "callbacks": stack.callback_url_of(self._api_url),
            "systems": "the sample's" if sample else "your own",
        }
        if self._machine:
            _write({"ready": facts})
            return
        for name, value in facts.items():
            self._say(f"{name.replace('_', ' '):<12} {value}")
        file = directory / "sample" / crowd.NUMBERS if sample else "FILE.csv"
        self._say(f"ready; in another terminal: {stack.typed(directory, f'enrol {file}')}   Ctrl-C ends everything here")


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    path = directory / "up.lock"
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            what = f"fallow up already runs in {directory} (process {lock.read().strip() or 'unknown'})."
            raise CommandRefused(what, remedy="use that one, end it by Ctrl-C, or name another folder by --directory.") from None
        if not path.exists() or not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
            what = f"Another fallow up in {directory} has ended at this very moment, and its lock with it."
            raise CommandRefused(what, remedy="run it again.")
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is held: what ends leaves no lock behind


def _is_free(path: Path) -> bool:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _plain(value: object) -> str:
    reveal = getattr(value, "get_secret_value", None)
    return str(reveal() if reveal is not None else value)


def _stop(*_: object) -> NoReturn:
    raise Stopped


def _as_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _as_json(text: str) -> None:
    _write({"event": text})


def _write(content: object) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()

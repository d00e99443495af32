"""The parts of a local run, each a program of its own: lay out a state folder, set it up, start engine, carrier and simulator.

``fallow up`` and the demo put them together in the same way::

    lay_out(directory, policy=…, records=…, platforms=…, temporal_address=temporal.address, api_port=port)
    set_up(directory, demo=True)                       # keys, schema, Temporal's namespace
    carrier(directory, numbers=csv, scenario=csv)      # beside its records.toml
    simulator(directory, platforms=8, …)               # writes the platforms.toml that was laid out
    keys = admit_everyone(directory)                   # name -> API key
    worker(directory), api(directory)

Every child logs to ``directory/logs`` and dies with whoever started it. Imports its neighbours, the settings and the store.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

from dotenv import dotenv_values

from fallow.domain.errors import SettingRefused
from fallow.domain.people import Role
from fallow.local.processes import LOOPBACK, Child, start_child, wait_until_ready
from fallow.local.temporal_binary import NoTemporalServer, find_server
from fallow.local.temporal_server import RunningTemporal, TemporalFileOfOtherKind
from fallow.local.temporal_server import start as start_server
from fallow.operations import people
from fallow.platforms.signing import SigningKey
from fallow.settings import Settings
from fallow.store import keys
from fallow.store.engine import Database
from fallow.store.signer import seed

#: The sample files of the repository.
EXAMPLES = Path(__file__).parents[2] / "examples"
#: Folder in the state folder with one API key a file, each readable by its owner only.
API_KEYS = "api-keys"
#: Who is admitted to a local run: name -> role. Two approvers, because some commands take two people.
EVERYONE = {
    "administrator": Role.ADMINISTRATOR,
    "operator": Role.OPERATOR,
    "approver-1": Role.APPROVER,
    "approver-2": Role.APPROVER,
    "auditor": Role.AUDITOR,
    "shop": Role.SHOP,
}

READY_WITHIN = timedelta(seconds=60)
#: Where our packages are. Children start there, so that nothing in the caller's folder can be taken for one of them.
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Served:
    """A started program that answers HTTP on loopback.

    Attributes:
        url: ``http://127.0.0.1:port``.
        child: the program.
    """

    url: str
    child: Child


def lay_out(
    directory: Path,
    *,
    policy: Path,
    records: Path,
    platforms: Path,
    temporal_address: str,
    api_port: int,
    more: Mapping[str, str] | None = None,
) -> None:
    """Make a state folder: write its ``settings.env``, so that ``FALLOW_STATE=directory fallow …`` works from anywhere.

    Args:
        directory: the state folder; made if missing.
        policy: the policy file.
        records: the records map; relative paths in it are relative to it, so it is used where it is.
        platforms: the platforms map; may be written later (by the simulator), but before the worker starts.
        temporal_address: host:port of Temporal.
        api_port: where the API will listen on 127.0.0.1.
        more: further settings by full name, such as ``FALLOW_TURN_SECONDS``.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = {"FALLOW_POLICY": policy, "FALLOW_RECORDS": records, "FALLOW_PLATFORMS": platforms}
    _write_settings(
        directory,
        {
            **{name: str(path.absolute()) for name, path in files.items()},
            "FALLOW_TEMPORAL_ADDRESS": temporal_address,
            "FALLOW_API_HOST": LOOPBACK,
            "FALLOW_API_PORT": str(api_port),
            **(more or {}),
        },
    )


def copy_sample(directory: Path) -> Path:
    """Copy the sample's records map and demo policy into ``directory``, where the sample carrier's database will be.

    Returns:
        The directory: ``records.toml`` and ``policy.toml`` are in it; ``carrier.db`` and ``platforms.toml`` will be.

    Raises:
        SettingRefused: this installation came without the examples.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        shutil.copyfile(EXAMPLES / "records.toml", directory / "records.toml")
        shutil.copyfile(EXAMPLES / "policies" / "demo.toml", directory / "policy.toml")
    except FileNotFoundError:
        what = f"The examples are missing: there is no {EXAMPLES}."
        raise SettingRefused(what, remedy="run it from a checkout of the repository, or give your own maps.") from None
    return directory


def settings_of(directory: Path) -> Settings:
    """Return the settings of a state folder as its children see them: from its ``settings.env``, not from the caller's environment."""
    lines = dotenv_values(directory / "settings.env", interpolate=False)
    values = {name.removeprefix("FALLOW_").lower(): value for name, value in lines.items()}
    return Settings(_env_prefix="NO_SUCH_PREFIX_", **{**values, "state": directory})  # type: ignore[arg-type]


def temporal(
    directory: Path,
    progress: Callable[[str], None],
    *,
    port: int = 0,
    prefer_ui: bool = False,
    given: Path | None = None,
    cache: Path | None = None,
) -> RunningTemporal:
    """Start a Temporal server whose database is in ``directory/temporal``.

    Args:
        directory: the state folder.
        progress: receives a line for each thing tried.
        port: its frontend's port; 0: any free one.
        prefer_ui: look first for one with a web interface.
        given: the executable that the user named.
        cache: where fetched executables are kept.

    Raises:
        NoTemporalServer, ChildNotReady, TemporalAlreadyRunning, TemporalPortTaken: each says what to do.
    """
    folder = directory / "temporal"
    fault: NoTemporalServer | TemporalFileOfOtherKind | None = None
    for need_ui in (True, False) if prefer_ui else (False, True):
        try:
            binary = find_server(progress, need_ui=need_ui, given=given, cache=cache)
            return start_server(binary, folder, frontend_port=port)
        except (NoTemporalServer, TemporalFileOfOtherKind) as error:
            fault = fault or error
    raise fault or NoTemporalServer


def set_up(directory: Path, *, demo: bool = False) -> None:
    """Run ``fallow setup``: keys, schema, Temporal's namespace and current version. Again and again without harm.

    Args:
        directory: a folder that was laid out.
        demo: mark the database as one for demonstrations, so that demo cycles can be sold in it.

    Raises:
        SettingRefused: it failed; the message is its own.
    """
    command = [*_program(directory), "setup", "--json", *(["--demo"] if demo else [])]
    ran = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if ran.returncode == 0:
        return
    try:
        said = json.loads(ran.stderr.splitlines()[-1])
        what, remedy = said["what"], said["remedy"]
    except (LookupError, ValueError):
        what = f"`fallow setup` ended with exit code {ran.returncode}."
        remedy = f"run it by hand: FALLOW_STATE={directory} fallow --debug setup"
    raise SettingRefused(what, remedy=remedy)


def engine_key(directory: Path) -> str:
    """Return the public key ``whpk_…`` with which platforms verify the engine's requests. Needs :func:`set_up`."""
    ring = keys.Keys(settings_of(directory).file("keys"))
    return SigningKey(seed(ring, "request")).public.text


def admit_everyone(directory: Path) -> dict[str, str]:
    """Admit one person for each name of :data:`EVERYONE`, once; later calls return the same keys.

    The keys are kept in ``directory/api-keys``, one file each; the operator's is also what ``FALLOW_STATE=directory fallow …``
    acts with unless told otherwise.

    Returns:
        Name -> API key.
    """
    folder = directory / API_KEYS
    folder.mkdir(exist_ok=True, mode=0o700)
    settings = settings_of(directory)
    ring = keys.Keys(settings.file("keys"))
    db = Database(settings.url())
    try:
        with db.begin() as tx:
            made = {name: people.admit(tx, ring, name, role) for name, role in EVERYONE.items() if not (folder / name).exists()}
    finally:
        db.close()
    for name, key in made.items():
        _keep(folder / name, f"{key}\n")
    admitted = {name: (folder / name).read_text().strip() for name in EVERYONE}
    _write_settings(directory, {"FALLOW_API_KEY": admitted["operator"]})
    return admitted


def typed(directory: Path, arguments: str) -> str:
    """Return the line that a person types for a command on ``directory``: by the program's name where PATH leads to this very one."""
    program = Path(sys.executable).with_name("fallow")
    found = shutil.which("fallow")
    if found and Path(found).exists() and Path(found).samefile(program):
        name = "fallow"
    else:
        name = str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)
    return f"FALLOW_STATE={shlex.quote(str(directory.absolute()))} {shlex.quote(name)} {arguments}"


def worker(directory: Path, name: str = "worker") -> Child:
    """Start a worker and wait until it works; ``name`` names its log, ``directory/logs/name.log``.

    Raises:
        ChildNotReady: it did not start; the message shows the end of its log.
    """
    child, logged = _start(directory, name, [*_program(directory), "worker"])
    return _ready(child, lambda: b"worker started" in logged())


def api(directory: Path) -> Child:
    """Start the API on the port laid out and wait until it is ready.

    Raises:
        ChildNotReady: it did not start; the message shows the end of its log.
    """
    child, _ = _start(directory, "api", [*_program(directory), "api"])
    settings = settings_of(directory)
    return _ready(child, lambda: _answers(f"http://{settings.api_host}:{settings.api_port}/readyz"))


def carrier(directory: Path, *, numbers: Path, scenario: Path) -> Served:
    """Start the sample carrier: ``carrier.db`` and ``planted.json`` in ``directory``, beside its records map.

    Args:
        directory: where :func:`copy_sample` put the map; its logs go to ``logs`` beneath.
        numbers: the CSV whose holders it knows.
        scenario: what it plays.

    Raises:
        ChildNotReady: it did not start (also: there is such a database already); the message shows the end of its log.
    """
    files = {"database": directory / "carrier.db", "planted": directory / "planted.json", "numbers": numbers, "scenario": scenario}
    options = [part for name, path in files.items() for part in (f"--{name}", path.absolute())]
    command = [sys.executable, "-m", "fallow.local.sample_carrier", *map(str, options)]
    child, logged = _start(directory, "carrier", command)
    return Served(f"http://{LOOPBACK}:{json.loads(_first_line(child, logged))['port']}", child)


def simulator(
    directory: Path, *, platforms: int, numbers: Path, scenario: Path, callback_url: str, engine_key: str, options: tuple[str, ...] = ()
) -> Served:
    """Start the platform simulator; it writes ``platforms.toml`` and its own truth into ``directory`` before it is ready.

    Args:
        directory: its folder; its logs go to ``logs`` beneath.
        platforms: how many.
        numbers: the CSV whose accounts it knows.
        scenario: what it plays.
        callback_url: the API's address for answers, with ``{platform_id}`` in it; see :func:`callback_url_of`.
        engine_key: what :func:`engine_key` returns.
        options: further options of ``python -m fallow.local.platform_simulator``.

    Raises:
        ChildNotReady: it did not start; the message shows the end of its log.
    """
    files = {"directory": directory, "numbers": numbers, "scenario": scenario}
    paths = [part for name, path in files.items() for part in (f"--{name}", str(path.absolute()))]
    others = ("--platforms", str(platforms), "--callback-url", callback_url, "--engine-key", engine_key)
    command = [sys.executable, "-m", "fallow.local.platform_simulator", *paths, *others, *options]
    child, logged = _start(directory, "simulator", command)
    return Served(_first_line(child, logged).removeprefix("ready "), child)


def callback_url_of(api_url: str) -> str:
    """Return where platforms send their answers, with ``{platform_id}`` in it."""
    return f"{api_url}/v1/platforms/{{platform_id}}/answers"


def _engine() -> list[str]:
    # Whatever the caller's shell says must not lead a local run to another database: only its own folder counts.
    unset = [part for name in sorted(os.environ) if name.startswith("FALLOW_") for part in ("-u", name)]
    level = "debug" if os.environ.get("FALLOW_LOG_LEVEL") == "debug" else "info"  # readiness is read from a line of level info
    return ["/usr/bin/env", *unset, f"FALLOW_LOG_LEVEL={level}"]


def _program(directory: Path) -> list[str]:
    return [*_engine(), f"FALLOW_STATE={directory.absolute()}", sys.executable, "-m", "fallow.cli"]


def _start(directory: Path, name: str, command: list[str]) -> tuple[Child, Callable[[], bytes]]:
    """Start a program and return it with a way to read what it has logged since."""
    log = directory / "logs" / f"{name}.log"
    before = log.stat().st_size if log.exists() else 0
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    child = start_child(name, command, log_path=log, directory=_ROOT, variables={"PYTHONUNBUFFERED": "1"})
    return child, lambda: log.read_bytes()[before:]


def _ready(child: Child, is_ready: Callable[[], bool]) -> Child:
    try:
        wait_until_ready(child, is_ready, READY_WITHIN)
    except BaseException:
        child.kill()
        raise
    return child


def _first_line(child: Child, logged: Callable[[], bytes]) -> str:
    _ready(child, lambda: b"\n" in logged())
    return logged().decode().splitlines()[0]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - our own address
            return bool(reply.status == HTTPStatus.OK)
    except OSError:
        return False


def _write_settings(directory: Path, lines: Mapping[str, str]) -> None:
    path = directory / "settings.env"
    kept = {**dotenv_values(path, interpolate=False), **lines} if path.exists() else lines
    escaped = {name: (value or "").replace("\\", "\\\\").replace("'", "\\'") for name, value in kept.items()}
    _keep(path, "".join(f"{name}='{value}'\n" for name, value in escaped.items()))


def _keep(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)

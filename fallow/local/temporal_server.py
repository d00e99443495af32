"""Run one local Temporal server on a file that outlives it.

Everything listens on 127.0.0.1. Imports its neighbours that find the executable and start children,
and the Temporal SDK to ask whether the server is ready.
"""

import contextlib
import fcntl
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio.api.workflowservice.v1 import ListNamespacesRequest
from temporalio.client import Client
from temporalio.service import RPCError

from fallow.local.processes import (
    LOOPBACK,
    Child,
    ChildNotReady,
    free_ports,
    in_own_loop,
    is_port_free,
    start_child,
    wait_until_ready,
)
from fallow.local.temporal_config import dynamic_values, server_config
from fallow.local.temporal_probe import Kind, TemporalBinary

_STARTS = 3
_PORT_TAKEN = "address already in use"
_CLI_DATABASE = "temporal-cli.db"
_SERVER_DATABASE = "temporal.db"
_LOG = "temporal.log"


class TemporalFileOfOtherKind(RuntimeError):
    """The directory holds the database of the other kind of executable, which this one cannot go on with."""


class TemporalAlreadyRunning(RuntimeError):
    """A server already runs in the directory."""


class TemporalPortTaken(RuntimeError):
    """The port that was asked for is in use."""


@dataclass(frozen=True)
class RunningTemporal:
    """A running server.

    Attributes:
        address: `host:port` for clients.
        ui_url: Temporal's web interface, where the executable has one.
        child: the running program.
    """

    address: str
    ui_url: str | None
    child: Child

    @property
    def pid(self) -> int:
        """Operating system id of the server."""
        return self.child.pid

    @property
    def log_path(self) -> Path:
        """Its log file."""
        return self.child.log_path

    @property
    def frontend_port(self) -> int:
        """Port of `address`, to start the next server in the same place."""
        return int(self.address.rsplit(":", 1)[1])

    def stop(self) -> None:
        """Ask it to end; safe to call again."""
        self.child.stop()

    def kill(self) -> None:
        """End it by SIGKILL; safe to call again."""
        self.child.kill()


def start(  # one keyword for each property of the server
    binary: TemporalBinary,
    directory: Path,
    *,
    frontend_port: int = 0,
    dynamic_config: Mapping[str, object] | None = None,
    ready_within: timedelta = timedelta(seconds=60),
) -> RunningTemporal:
    """Start a server on the database file in a directory and wait until it answers.

    Started again on the same directory, also after SIGKILL, it goes on with every open workflow.

    Args:
        binary: a probed executable.
        directory: keeps database, configuration and log; made if missing.
        frontend_port: port for clients; 0 takes a free one.
        dynamic_config: settings of the server beside or instead of ours, key to value.
        ready_within: how long it may take to answer.

    Raises:
        ChildNotReady: it ended or did not answer in time; the message shows the end of its log.
        TemporalAlreadyRunning: a server runs in the directory.
        TemporalFileOfOtherKind: the directory was used with another kind of executable.
        TemporalPortTaken: the port that was asked for is in use.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _refuse_other_kind(binary.kind, directory)
    if frontend_port and not is_port_free(frontend_port):
        message = f"port {frontend_port} of {LOOPBACK} is in use; end the program that holds it or ask for another"
        raise TemporalPortTaken(message)
    settings = {**dynamic_values(binary), **(dynamic_config or {})}
    for _ in range(_STARTS - 1):
        try:
            return _start_once(binary, directory, frontend_port, settings, ready_within)
        except ChildNotReady as error:
            # Between choosing a port and the server's taking it another program may have taken it.
            if _PORT_TAKEN not in str(error):
                raise
    return _start_once(binary, directory, frontend_port, settings, ready_within)


def _start_once(
    binary: TemporalBinary,
    directory: Path,
    frontend_port: int,
    settings: Mapping[str, object],
    ready_within: timedelta,
) -> RunningTemporal:
    first, *others = free_ports(8)
    port = frontend_port or first
    if binary.kind == "server":
        command = _server_command(binary, directory, [port, *others], settings)
    else:
        command = _cli_command(binary, port, others[0], settings)
    with _only_server_in(directory) as lock:
        _forget_former_members(directory / _SERVER_DATABASE)
        child = start_child("Temporal server", command, log_path=directory / _LOG, directory=directory, inherited=(lock,))
    address = f"{LOOPBACK}:{port}"
    try:
        wait_until_ready(child, lambda: is_answering(address), ready_within)
    except BaseException:
        child.kill()
        raise
    ui_url = f"http://{LOOPBACK}:{others[0]}" if binary.has_ui else None
    return RunningTemporal(address, ui_url, child)


def is_answering(address: str) -> bool:
    """Tell whether a Temporal server answers there and reaches its database."""

    async def ask() -> None:
        client = await Client.connect(address)
        await client.workflow_service.list_namespaces(ListNamespacesRequest(page_size=1), timeout=timedelta(seconds=2), retry=False)

    try:
        in_own_loop(ask)
    except (RPCError, RuntimeError):
        return False
    return True


@contextlib.contextmanager
def _only_server_in(directory: Path) -> Iterator[int]:
    # The server inherits the lock, so it is held as long as the server lives, whatever becomes of us.
    with (directory / "temporal.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"a Temporal server is already running in {directory}; stop it or use another directory"
            raise TemporalAlreadyRunning(message) from error
        yield lock.fileno()


def _forget_former_members(database: Path) -> None:
    # A killed server stays in its own list of cluster members and would be waited for: an open
    # workflow went on 48 s after the restart (2.4 s on the same ports), without the list 0.1 s.
    if database.exists():
        with contextlib.closing(sqlite3.connect(database)) as connection, contextlib.suppress(sqlite3.OperationalError):
            connection.execute("DELETE FROM cluster_membership")
            connection.commit()


def _refuse_other_kind(kind: Kind, directory: Path) -> None:
    other = _CLI_DATABASE if kind == "server" else _SERVER_DATABASE
    if (directory / other).exists():
        message = (
            f"{directory / other} was written by another kind of Temporal executable than this `{kind}`; "
            "use the former one again, or another directory"
        )
        raise TemporalFileOfOtherKind(message)


def _server_command(binary: TemporalBinary, directory: Path, ports: list[int], settings: Mapping[str, object]) -> list[str | Path]:
    dynamic_path = directory / "temporal-dynamic.json"
    dynamic_path.write_text(json.dumps({key: [{"value": value}] for key, value in settings.items()}, indent=1))
    config_path = directory / "temporal.json"
    # YAML contains JSON, so the server's configuration needs no YAML library here.
    config_path.write_text(json.dumps(server_config(ports, _SERVER_DATABASE, dynamic_path.name), indent=1))
    return [binary.path.resolve(), "--config-file", config_path.name, "--allow-no-auth", "start"]


def _cli_command(binary: TemporalBinary, port: int, ui_port: int, settings: Mapping[str, object]) -> list[str | Path]:
    ui = ["--ui-ip", LOOPBACK, "--ui-port", str(ui_port)] if binary.has_ui else ["--headless"]
    values = [f"--dynamic-config-value={key}={json.dumps(value)}" for key, value in settings.items()]
    return [
        *(binary.path.resolve(), "server", "start-dev", "--ip", LOOPBACK, "--port", str(port)),
        *("--db-filename", _CLI_DATABASE, "--sqlite-pragma", "journal_mode=wal"),
        *("--log-format", "json", "--log-level", "info", *ui, *values),
    ]

"""Run a PostgreSQL server of one's own for tests and experiments, on 127.0.0.1 only.

Imports its neighbours that start children and give directories away, and psycopg to ask whether the server is ready.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from fallow.local.processes import LOOPBACK, Child, free_ports, start_child, wait_until_ready
from fallow.local.unprivileged import give_directory

_OLDEST = 15
_USER = "fallow"
_DEBIAN_ROOT = Path("/usr/lib/postgresql")
_UNPRIVILEGED = ("postgres", "nobody")
_INITDB_SECONDS = 120


class PostgresNotInstalled(RuntimeError):
    """No PostgreSQL 15 or newer was found; the message names the package to install."""


@dataclass(frozen=True)
class RunningPostgres:
    """A running server.

    Attributes:
        port: port on 127.0.0.1.
        password: password of its only user.
        child: the running program.
        temporary: directory to remove at the end, or None.
    """

    port: int
    password: str
    child: Child
    temporary: tempfile.TemporaryDirectory[str] | None

    @property
    def url(self) -> str:
        """SQLAlchemy URL of its first database."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://{_USER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database and return its SQLAlchemy URL.

        Raises:
            psycopg.errors.DuplicateDatabase: there is one of that name.
        """
        with psycopg.connect(self._conninfo(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url_of(name)

    def is_answering(self) -> bool:
        """Tell whether it takes connections."""
        try:
            psycopg.connect(self._conninfo(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it, cutting connections, and remove its temporary directory; safe to call again."""
        self.child.stop()
        if self.temporary is not None:
            self.temporary.cleanup()

    def kill(self) -> None:
        """End it by SIGKILL, keeping its files; safe to call again."""
        self.child.kill()

    def _conninfo(self) -> str:
        return self.url_of("postgres").replace("+psycopg", "", 1)


def start(
    directory: Path | None = None,
    *,
    port: int = 0,
    fsync: bool = True,
    options: Sequence[str] = (),
    ready_within: timedelta = timedelta(seconds=60),
) -> RunningPostgres:
    """Start a server on the database cluster in a directory, made at the first start.

    Args:
        directory: keeps cluster and log; None takes a temporary one that `stop` removes.
        port: port on 127.0.0.1; 0 takes a free one.
        fsync: False is faster and loses data with the power, never with the process.
        options: further settings, each as `name=value`.
        ready_within: how long it may take to answer.

    Raises:
        PostgresNotInstalled: PostgreSQL 15 or newer is not on this machine.
        DirectoryUnreachable: see there; give no directory, or one that others may pass through.
        ChildNotReady: it ended or did not answer in time.
    """
    programs = find_programs()
    temporary = tempfile.TemporaryDirectory(prefix="fallow-postgres-") if directory is None else None
    home = Path(temporary.name) if temporary else Path(str(directory)).absolute()
    user_id = give_directory(home, "PostgreSQL", _UNPRIVILEGED)
    password = _prepare_cluster(programs, home, user_id)
    port = port or free_ports(1)[0]
    settings = [f"port={port}", f"listen_addresses={LOOPBACK}", "unix_socket_directories=", *options]
    settings += [] if fsync else ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
    child = start_child(
        "PostgreSQL",
        [programs / "postgres", "-D", home / "cluster", *(part for setting in settings for part in ("-c", setting))],
        log_path=home / "postgres.log",
        directory=home,
        user_id=user_id,
        stop_signal=signal.SIGINT,  # its "fast shutdown": does not wait for clients to leave
    )
    running = RunningPostgres(port, password, child, temporary)
    try:
        wait_until_ready(child, running.is_answering, ready_within)
    except BaseException:
        running.stop()
        raise
    return running


def find_programs(root: Path = _DEBIAN_ROOT, search_path: str | None = None) -> Path:
    """Return the directory with `initdb` and `postgres`, of the newest version found.

    Args:
        root: where Debian keeps versions side by side.
        search_path: directories to search as in PATH; None for PATH itself.

    Raises:
        PostgresNotInstalled: there is none, or only one older than version 15.
    """
    versions = sorted((int(path.name) for path in root.glob("*") if path.name.isdigit()), reverse=True)
    for version in versions:
        if version >= _OLDEST and (root / str(version) / "bin/initdb").exists():
            return root / str(version) / "bin"
    found = shutil.which("initdb", path=search_path)
    if found and _major_version(Path(found)) >= _OLDEST:
        return Path(found).resolve().parent
    message = f"PostgreSQL {_OLDEST} or newer is not installed; on Debian: apt-get install postgresql"
    raise PostgresNotInstalled(message)


def _major_version(program: Path) -> int:
    output = subprocess.run([program, "--version"], capture_output=True, check=False, text=True).stdout  # noqa: S603
    digits = output.rsplit(" ", 1)[-1].split(".")[0].strip()
    return int(digits) if digits.isdigit() else 0


def _prepare_cluster(programs: Path, home: Path, user_id: int | None) -> str:
    password_path = home / "password"
    if (home / "cluster/PG_VERSION").exists():
        return password_path.read_text()
    password = secrets.token_urlsafe(16)
    password_path.write_text(password)
    password_path.chmod(0o600)
    if user_id is not None:
        os.chown(password_path, user_id, -1)
    subprocess.run(  # noqa: S603 - fixed arguments
        [
            *(programs / "initdb", "-D", home / "cluster", "-U", _USER, f"--pwfile={password_path}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"),
        ],
        cwd=home,
        user=user_id,
        group=None if user_id is None else pwd.getpwuid(user_id).pw_gid,
        extra_groups=None if user_id is None else [],
        capture_output=True,
        check=True,
        timeout=_INITDB_SECONDS,
    )
    return password


def main() -> int:
    """Tell where PostgreSQL is; exit code 1 and the remedy if it is not installed."""
    try:
        sys.stdout.write(f"PostgreSQL: {find_programs()}\n")
    except PostgresNotInstalled as error:
        sys.stderr.write(f"{error}; without it the tests on PostgreSQL are skipped\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

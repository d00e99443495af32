"""Run a MariaDB server of one's own for tests and experiments, on 127.0.0.1 only.

Imports its neighbours that start children and give directories away, and PyMySQL to ask whether the server is ready.
"""

import os
import pwd
import re
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

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from fallow.local.processes import LOOPBACK, Child, free_ports, start_child, wait_until_ready
from fallow.local.unprivileged import give_directory

_OLDEST = (10, 6)
_USER = "fallow"
_UNPRIVILEGED = ("mysql", "nobody")
_INSTALL_SECONDS = 120
_DEBIAN_SERVERS = "/usr/sbin"  # not in the PATH of everybody
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
# As small as a test needs: a fresh server has 128 MiB of cache and 96 MiB of log.
_SMALL = ("innodb-buffer-pool-size=32M", "innodb-log-file-size=16M", "performance-schema=OFF")


class MariadbNotInstalled(RuntimeError):
    """No MariaDB 10.6 or newer was found; the message names the package to install."""


@dataclass(frozen=True)
class Programs:
    """Where MariaDB's programs are.

    Attributes:
        server: ``mariadbd``.
        install: ``mariadb-install-db``, which makes a server's first files.
    """

    server: Path
    install: Path


@dataclass(frozen=True)
class RunningMariadb:
    """A running server.

    Attributes:
        port: port on 127.0.0.1.
        password: password of the user ``fallow``, who may do everything.
        child: the running program.
        temporary: directory to remove at the end, or None.
    """

    port: int
    password: str
    child: Child
    temporary: tempfile.TemporaryDirectory[str] | None

    def url_of(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"mariadb+pymysql://{_USER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database and return its SQLAlchemy URL.

        Raises:
            ValueError: the name has other characters than small letters, digits and underscores.
            pymysql.err.ProgrammingError: there is one of that name.
        """
        if not _NAME.fullmatch(name):
            message = f"{name!r} is no name for a database; use small letters, digits and underscores"
            raise ValueError(message)
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}`")
        return self.url_of(name)

    def connect(self) -> "Connection[Cursor]":
        """Connect to no database in particular.

        Raises:
            pymysql.err.OperationalError: it does not take connections.
        """
        return pymysql.connect(
            host=LOOPBACK, port=self.port, user=_USER, password=self.password, connect_timeout=2, read_timeout=10, autocommit=True
        )

    def is_answering(self) -> bool:
        """Tell whether it takes connections."""
        try:
            self.connect().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it and remove its temporary directory; safe to call again."""
        self.child.stop()
        if self.temporary is not None:
            self.temporary.cleanup()

    def kill(self) -> None:
        """End it by SIGKILL, keeping its files; safe to call again."""
        self.child.kill()

    def pause(self) -> None:
        """Stop it from running without ending it: connections stay open and get no answer."""
        self.child.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on after :meth:`pause`."""
        self.child.send(signal.SIGCONT)


def start(
    directory: Path | None = None,
    *,
    port: int = 0,
    fsync: bool = True,
    options: Sequence[str] = (),
    ready_within: timedelta = timedelta(seconds=60),
) -> RunningMariadb:
    """Start a server on the files in a directory, made at the first start.

    Args:
        directory: keeps files and log; None takes a temporary one that `stop` removes.
        port: port on 127.0.0.1; 0 takes a free one.
        fsync: False is faster and loses data with the power, never with the process.
        options: further settings, each as `name=value`.
        ready_within: how long it may take to answer.

    Raises:
        MariadbNotInstalled: MariaDB 10.6 or newer is not on this machine.
        DirectoryUnreachable: see there; give no directory, or one that others may pass through.
        ChildNotReady: it ended or did not answer in time.
    """
    programs = find_programs()
    temporary = tempfile.TemporaryDirectory(prefix="fallow-mariadb-") if directory is None else None
    home = Path(temporary.name) if temporary else Path(str(directory)).absolute()
    user_id = give_directory(home, "MariaDB", _UNPRIVILEGED)
    password = _prepare_files(programs, home, user_id)
    port = port or free_ports(1)[0]
    settings = [*_settings(home, port), *options, f"innodb-flush-log-at-trx-commit={1 if fsync else 2}"]
    child = start_child(
        "MariaDB",
        [programs.server, "--no-defaults", *(f"--{setting}" for setting in settings)],
        log_path=home / "mariadb.log",
        directory=home,
        user_id=user_id,
    )
    running = RunningMariadb(port, password, child, temporary)
    try:
        wait_until_ready(child, running.is_answering, ready_within)
    except BaseException:
        running.stop()
        raise
    return running


def find_programs(search_path: str | None = None) -> Programs:
    """Return where the programs are.

    Args:
        search_path: directories to search as in PATH; None for PATH itself and Debian's place for servers.

    Raises:
        MariadbNotInstalled: one of them is missing, or the server is older than version 10.6.
    """
    server, install = (_find(name, search_path) for name in ("mariadbd", "mariadb-install-db"))
    if server is None or install is None or _version(Path(server)) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        message = f"MariaDB {oldest} or newer is not installed; on Debian: apt-get install mariadb-server"
        raise MariadbNotInstalled(message)
    return Programs(Path(server), Path(install))


def _find(name: str, search_path: str | None) -> str | None:
    found = shutil.which(name, path=search_path)
    return shutil.which(name, path=_DEBIAN_SERVERS) if found is None and search_path is None else found


def _version(server: Path) -> tuple[int, int]:
    output = subprocess.run([server, "--version"], capture_output=True, check=False, text=True).stdout  # noqa: S603
    found = re.search(r"Ver (\d+)\.(\d+)\.\d+-MariaDB", output)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _settings(home: Path, port: int) -> list[str]:
    return [
        *(f"datadir={home / 'data'}", f"socket={home / 'socket'}", f"pid-file={home / 'pid'}", f"init-file={home / 'users.sql'}"),
        *(f"port={port}", f"bind-address={LOOPBACK}", "skip-name-resolve"),
        *("character-set-server=utf8mb4", "default-time-zone=+00:00"),
        *_SMALL,
    ]


def _prepare_files(programs: Programs, home: Path, user_id: int | None) -> str:
    password_path = home / "password"
    if password_path.exists():
        return password_path.read_text()
    password = secrets.token_urlsafe(16)
    account = f"'{_USER}'@'{LOOPBACK}'"
    users = f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{password}';\nGRANT ALL ON *.* TO {account} WITH GRANT OPTION;\n"
    subprocess.run(  # noqa: S603 - fixed arguments
        [
            *(programs.install, "--no-defaults", f"--datadir={home / 'data'}", "--skip-test-db", "--skip-name-resolve"),
            *("--auth-root-authentication-method=socket", "--innodb-log-file-size=16M"),
        ],
        cwd=home,
        user=user_id,
        group=None if user_id is None else pwd.getpwuid(user_id).pw_gid,
        extra_groups=None if user_id is None else [],
        capture_output=True,
        check=True,
        timeout=_INSTALL_SECONDS,
    )
    for name, content in (("users.sql", users), ("password", password)):  # the password last: with it the files are complete
        path = home / name
        path.touch(mode=0o600)
        path.write_text(content)
        if user_id is not None:
            os.chown(path, user_id, -1)
    return password


def main() -> int:
    """Tell where MariaDB is; exit code 1 and the remedy if it is not installed."""
    try:
        sys.stdout.write(f"MariaDB: {find_programs().server}\n")
    except MariadbNotInstalled as error:
        sys.stderr.write(f"{error}; without it the tests on MariaDB are skipped\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

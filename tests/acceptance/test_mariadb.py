"""A MariaDB server of one's own: started, given databases, killed, started again on its files, ended."""

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from fallow.local import mariadb
from fallow.local.mariadb import MariadbNotInstalled, find_programs


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user whom the server runs as may pass through."""
    try:
        find_programs()
    except MariadbNotInstalled as missing:
        pytest.skip(str(missing))
    with tempfile.TemporaryDirectory(prefix="fallow-mariadb-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_it_keeps_what_was_committed_when_it_is_killed(folder: Path) -> None:
    """The same port and files: what was committed is there, in UTC and with every character."""
    server = mariadb.start(folder)
    url = server.create_database("kept")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (word VARCHAR(20))"))
        connection.execute(text("INSERT INTO t VALUES (:word)"), {"word": "žluťoučký 🐎"})
    server.kill()
    assert not server.is_answering()

    again = mariadb.start(folder, port=server.port)

    engine.dispose()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT word, @@time_zone FROM t")).all() == [("žluťoučký 🐎", "+00:00")]
    engine.dispose()
    again.stop()
    assert again.child.exit_code is not None


def test_what_it_needs_to_know_is_kept_to_itself(folder: Path) -> None:
    """Password and accounts are readable for the server's user only, and only the network of this machine reaches it."""
    server = mariadb.start(folder)
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@bind_address")
        bound = cursor.fetchone()
    server.stop()

    assert bound == ("127.0.0.1",)
    assert [stat.S_IMODE((folder / name).stat().st_mode) for name in ("password", "users.sql")] == [0o600, 0o600]


def test_a_temporary_one_leaves_nothing(folder: Path) -> None:
    """Without a folder of one's own, its files go with it."""
    server = mariadb.start(fsync=False)
    assert server.temporary is not None
    home = Path(server.temporary.name)
    assert home.exists()

    server.stop()

    assert not home.exists()


def test_a_paused_one_goes_on(folder: Path) -> None:
    """What was asked while it was paused is answered afterwards."""
    server = mariadb.start(fsync=False)
    with server.connect() as connection, connection.cursor() as cursor:
        server.pause()
        paused = server.is_answering()
        server.resume()
        cursor.execute("SELECT 1")
        answered = cursor.fetchone()
    server.stop()

    assert (paused, answered) == (False, (1,))


def test_a_name_with_a_quote_is_no_name(folder: Path) -> None:
    """A database's name is checked before it becomes part of a statement."""
    server = mariadb.start(fsync=False)
    try:
        with pytest.raises(ValueError, match="no name for a database"):
            server.create_database("a`b")
    finally:
        server.stop()


def test_where_there_is_none_the_remedy_is_said(tmp_path: Path) -> None:
    """The package to install; an older server than the oldest counts as none."""
    with pytest.raises(MariadbNotInstalled, match="apt-get install mariadb-server"):
        find_programs(str(tmp_path))
    for name, says in (("mariadbd", "mariadbd  Ver 10.5.29-MariaDB for debian"), ("mariadb-install-db", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (tmp_path / name).chmod(0o755)

    with pytest.raises(MariadbNotInstalled, match=r"MariaDB 10\.6 or newer"):
        find_programs(str(tmp_path))

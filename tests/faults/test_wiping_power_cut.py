"""A SQLite carrier whose power is cut at random instants of a wipe: what the disk holds then is whole, and wiped clean by a repeat."""

import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from builders import number
from carrier_database import LEFT_AT, MAP, TABLES, TYPES, Carrier
from sqlalchemy import create_engine

from fallow.domain.ports import WipeOrder
from fallow.local.processes import Child, start_child, wait_until
from fallow.records.records_map import load_records_map

ROOT = Path(__file__).parents[2]
NUMBERS, BATCH, CUTS = 120, 2, 12


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_what_the_disk_holds_at_any_instant(tmp_path: Path, journal: str) -> None:
    """Each copy passes SQLite's own check, holds no row that a receipt had said to be gone, and a repeat on it ends clean."""
    a_carrier(tmp_path, journal)
    program = [sys.executable, str(ROOT / "tests/wipe_steadily.py"), str(tmp_path / "records.toml"), str(NUMBERS), str(BATCH)]
    variables = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    child = start_child("wipes", program, log_path=tmp_path / "wipes.log", directory=ROOT, variables=variables)
    try:
        assert wait_until(lambda: receipts(child) > 0, timedelta(seconds=60)), child.last_log_lines()
        copies = cut_power(child, tmp_path)
        assert child.wait(timedelta(seconds=120)) == 0, child.last_log_lines()
    finally:
        child.kill()

    assert len(copies) >= CUTS / 4
    assert 0 < copies[0][1] < NUMBERS
    for folder, said in copies:
        assert_whole(folder, said)


def a_carrier(folder: Path, journal: str) -> None:
    """Make a carrier with calls and notes of every number, and a bystander's."""
    engine = create_engine(f"sqlite:///{folder / 'carrier.db'}")
    (folder / "records.toml").write_text(MAP.format(url="sqlite:///carrier.db"))
    carrier = Carrier(engine, folder / "records.toml")
    for statement in [f"PRAGMA journal_mode = {journal}", *TABLES.format(**TYPES["sqlite"]).split(";")]:
        carrier.run(statement)
    everybody = [(index, number(index).text[1:]) for index in range(NUMBERS)]
    with engine.begin() as connection:
        for index, digits in everybody:
            connection.exec_driver_sql("INSERT INTO notes VALUES (?, ?, '2026-01-01')", (index, int(digits)))
            connection.exec_driver_sql("INSERT INTO calls VALUES (?, ?, 'x', '2026-01-01')", (index, digits))
            connection.exec_driver_sql("INSERT INTO calls VALUES (?, 'x', ?, '2026-01-01')", (NUMBERS + index, digits))
    engine.dispose()


def receipts(child: Child) -> int:
    """Return how many numbers' receipts the program has said to be full."""
    said = child.log_path.read_text().split() if child.log_path.exists() else []
    return int(said[-1]) if said and said[-1].isdigit() else 0


def cut_power(child: Child, folder: Path) -> list[tuple[Path, int]]:
    """Stop the program at random instants, copy what is on the disk, let it go on; return the copies and what it had said by then."""
    chance, copies = random.Random(7), list[tuple[Path, int]]()  # noqa: S311 - not for security
    while child.exit_code is None and len(copies) < CUTS:
        with contextlib.suppress(subprocess.TimeoutExpired):  # the instant is what is random
            child.wait(timedelta(seconds=chance.uniform(0, 0.03)))
        child.send(signal.SIGSTOP)
        if not wait_until(lambda: stopped(child), timedelta(seconds=10)):
            break
        copy = folder / f"copy-{len(copies)}"
        copy.mkdir()
        for path in [folder / "records.toml", *folder.glob("carrier.db*")]:
            if not path.name.endswith("-shm"):  # memory, which a power cut does not leave
                shutil.copy(path, copy)
        copies.append((copy, receipts(child)))
        child.send(signal.SIGCONT)
    return copies


def stopped(child: Child) -> bool:
    """Tell whether a signal has stopped the program."""
    try:
        return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except FileNotFoundError:
        return False


def assert_whole(folder: Path, said: int) -> None:
    """Assert what the test promises of one copy."""
    with closing(sqlite3.connect(folder / "carrier.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        left = {row[0] for row in connection.execute("SELECT id FROM notes")}
    assert left <= set(range(said, NUMBERS))
    records = load_records_map(folder / "records.toml")
    found = records.systems["crm"].wipe([WipeOrder(f"{index}/1", number(index), LEFT_AT) for index in range(NUMBERS)])
    records.close()
    assert {each.remaining for receipt in found for each in receipt.collections} == {0}
    with closing(sqlite3.connect(folder / "carrier.db")) as connection:
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)
        assert connection.execute("SELECT count(*), count(DISTINCT callee), min(id) FROM calls").fetchone() == (NUMBERS, NUMBERS, NUMBERS)

"""Rotation of the key that wraps holder keys: what was destroyed opens in no backup, what is alive opens as before, whatever dies when."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from builders import World, advance, enrolled
from builders_cycles import at_once
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import text
from sqlmodel import select

from fallow.domain.errors import SettingRefused
from fallow.domain.lifecycle import State
from fallow.operations import key_epochs
from fallow.operations.key_epochs import destroy_spent, keep_young, rotate, standing
from fallow.store import epochs, holders
from fallow.store.engine import Database
from fallow.store.holders import Holder
from fallow.store.keeping_tables import HolderRow
from fallow.store.wrapping import WrappingKeys

DAY = timedelta(days=1)
#: How often a test looks for what another thread is about to do; some ten seconds of looking.
LOOKS = 3_000
GONE, ALIVE = "subscription of the one who is gone", "subscription of the one who waits"


class Stubborn(WrappingKeys):
    """Wrapping keys of a process that dies before it destroys one."""

    def destroy(self, name: str) -> None:
        """Die."""
        raise Killed(name)


class Killed(Exception):
    """Stands for SIGKILL: nothing after it runs."""


def known(db: Database, wrapping: WrappingKeys, *cycle_ids: str) -> dict[str, Holder]:
    """Return what is known of the former holders of cycles."""
    with db.begin() as tx:
        return holders.known(tx, wrapping, cycle_ids)


def kept(db: Database) -> list[HolderRow]:
    """Return every row of a holder key, by cycle."""
    with db.read() as tx:
        return list(tx.session.exec(select(HolderRow).order_by(HolderRow.cycle_id)))


@contextmanager
def restored(world: World, folder: Path) -> Iterator[Callable[[], Database]]:
    """Back the live database up now; give a way to open the backup later."""
    db = world.installation.db
    opened = list[Database]()

    def open_again(url: str) -> Database:
        opened.append(Database(url, world.clock))
        return opened[-1]

    if db.sqlite:
        for live in Path(str(db.engine.url.database)).parent.glob("fallow.db*"):  # the log too: not everything is in the file yet
            shutil.copy(live, folder / live.name.replace("fallow", "backup"))
        yield lambda: open_again(f"sqlite:///{folder / 'backup.db'}")
    else:
        db.close()  # a database that is in use can't be copied
        name = f"backup_{secrets.token_hex(4)}"
        plain = db.engine.url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {db.engine.url.database}")
        yield lambda: open_again(db.engine.url.set(database=name).render_as_string(hide_password=False))
    for each in opened:
        each.close()


def opens_with(row: HolderRow, wrapping: Path) -> bool:
    """Try every wrapping key of a folder on a wrapped key, under every name that it may have been wrapped under."""
    for path in wrapping.glob("*"):
        for name in {path.stem, f"holder-{row.epoch}"}:
            try:
                AESGCM(path.read_bytes()).decrypt(row.wrapped[:12], row.wrapped[12:], f"{name}|{row.cycle_id}".encode())
            except (InvalidTag, ValueError):
                continue
            return True
    return False


def test_yesterdays_backup_opens_no_holder_once_the_epoch_is_gone(world: World, tmp_path: Path) -> None:
    """The wrapped keys are in it, and nothing opens them: neither holder nor pseudonym comes back, and the living are read as before."""
    here = world.installation
    gone, alive = enrolled(world, 1, subscription=GONE)[0], enrolled(world, 1, first=5, subscription=ALIVE)[0]
    advance(world, gone, State.UNBINDING)
    before = known(here.db, here.wrapping, gone, alive)
    keys = tmp_path / "keys" / "wrapping"
    yesterdays_keys = Path(shutil.copytree(keys, tmp_path / "yesterdays-keys"))
    with restored(world, tmp_path) as backup:
        advance(world, gone, State.TAGGING)

        done = rotate(here.db, here.wrapping)

        assert done.destroyed == ("holder-1",)
        assert known(here.db, here.wrapping, gone, alive) == {alive: before[alive]}
        old = backup()
        assert sorted(row.cycle_id for row in kept(old)) == sorted((gone, alive))  # the wrapped keys are in the backup
        assert not [row for row in kept(old) if opens_with(row, keys)]
        with pytest.raises(SettingRefused, match="holder-1 is missing"):
            known(old, here.wrapping, gone, alive)
        # With yesterday's keys folder the same look does find them: it is the destruction that made the difference.
        assert all(opens_with(row, yesterdays_keys) for row in kept(old))
        assert known(old, WrappingKeys(yesterdays_keys), gone, alive) == before


def test_after_a_restore_the_installation_goes_on_once_told_so(world: World, tmp_path: Path) -> None:
    """A restored database names a wrapping key that is gone: nothing is begun or told until a person gives it up, then all works."""
    here = world.installation
    old_cycle = enrolled(world, subscription=GONE)[0]
    with restored(world, tmp_path) as backup:
        rotate(here.db, here.wrapping)
        old = backup()

        with pytest.raises(SettingRefused, match="holder-1 is missing"):
            rotate(old, here.wrapping)
        with pytest.raises(SettingRefused, match="holder-1 is missing"):
            keep_young(old, here.wrapping, timedelta(0))
        found = standing(old, here.wrapping)
        assert found is not None
        assert (found.epoch, found.key_is_there, found.unreadable) == (1, False, 1)

        done = rotate(old, here.wrapping, lost=True)

        assert (done.epoch, done.unreadable) == (3, 1)  # above every key there ever was
        assert known(old, here.wrapping, old_cycle) == {}
        with old.begin() as tx:
            tx.session.execute(text("DELETE FROM holders"))
            holders.begin(tx, here.wrapping, old_cycle, ALIVE)
        assert known(old, here.wrapping, old_cycle)[old_cycle].subscription == ALIVE


def test_nothing_of_it_is_left_in_sqlites_files(sqlite_world: World, tmp_path: Path) -> None:
    """The subscription never is in a file; wrapped key and sealed text are, and are gone from file and log afterwards."""
    here = sqlite_world.installation
    cycle_id = enrolled(sqlite_world, subscription=GONE)[0]
    (row,) = kept(here.db)

    def found(needle: bytes) -> list[str]:
        return [path.name for path in sorted(tmp_path.glob("fallow.db*")) if needle in path.read_bytes()]

    assert found(row.wrapped)
    assert found(row.sealed)
    assert found(GONE.encode()) == []
    with here.db.begin() as tx:
        tx.session.execute(text("INSERT INTO facts (name, value) VALUES ('planted', :it)"), {"it": GONE})
    assert found(GONE.encode())  # the same search finds what is there

    advance(sqlite_world, cycle_id, State.TAGGING)
    with here.db.begin() as tx:
        tx.session.execute(text("DELETE FROM facts WHERE name = 'planted'"))
    done = rotate(here.db, here.wrapping)

    assert done.log_emptied
    assert (tmp_path / "fallow.db-wal").stat().st_size == 0
    assert [found(needle) for needle in (row.wrapped, row.sealed, GONE.encode())] == [[], [], []]


def test_a_log_that_is_being_read_is_said_not_to_be_empty(sqlite_world: World) -> None:
    """A reader keeps the log from being emptied; the rotation is done all the same, and says so."""
    here = sqlite_world.installation
    enrolled(sqlite_world)
    with here.db.read() as tx:
        tx.session.execute(text("SELECT count(*) FROM holders"))

        done = rotate(here.db, here.wrapping)

    assert not done.log_emptied
    assert done.destroyed == ("holder-1",)
    assert rotate(here.db, here.wrapping).log_emptied


def test_enrolment_during_rotation_loses_no_key(world: World) -> None:
    """Whatever is enrolled while two processes rotate, every holder opens afterwards, and only one wrapping key is left."""
    here = world.installation
    other = WrappingKeys(here.wrapping._folder)
    enrolled(world, 3, first=900, subscription="sub-first")
    for turn in range(6):

        def enrol(index: int) -> Callable[[], list[str]]:
            return lambda: enrolled(world, 2, first=index, subscription=f"sub-{index}")

        calls = [enrol(turn * 20 + 2 * lane) for lane in range(3)]
        came = at_once([*calls, lambda: rotate(here.db, here.wrapping), lambda: rotate(here.db, other)])
        assert not [each for each in came if isinstance(each, Exception)], came

    rotate(here.db, here.wrapping)

    ids = [row.cycle_id for row in kept(here.db)]
    found = known(here.db, here.wrapping, *ids)
    assert len(ids) == 3 + 6 * 3 * 2
    assert set(found) == set(ids)
    assert sorted({each.subscription for each in found.values() if each.subscription}) == sorted(
        {"sub-first", *(f"sub-{turn * 20 + 2 * lane}" for turn in range(6) for lane in range(3))}
    )
    assert len(here.wrapping.names()) == 1


def test_a_rotation_waits_for_whoever_wraps(postgres_world: World) -> None:
    """A page that is being enrolled keeps the epoch: the rotation begins after its commit, and rewraps it."""
    here = postgres_world.installation
    cycle_id = enrolled(postgres_world)[0]
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%epochs%'"

    def enrol() -> None:
        with here.db.begin() as tx:
            tx.session.execute(text("DELETE FROM holders"))
            holders.begin(tx, here.wrapping, cycle_id, ALIVE)
            assert any(_counted(here.db, waiting) for _ in range(LOOKS)), "the rotation did not wait"

    came = at_once([enrol, lambda: rotate_once_wrapped(postgres_world)])

    assert [each for each in came if isinstance(each, BaseException)] == []
    assert known(here.db, here.wrapping, cycle_id)[cycle_id].subscription == ALIVE
    assert here.wrapping.names() == ["holder-2"]


def rotate_once_wrapped(world: World) -> None:
    """Rotate as soon as somebody holds the epoch's row."""
    db = world.installation.db
    free = "SELECT count(*) FROM (SELECT 1 FROM epochs FOR UPDATE SKIP LOCKED) AS free"
    assert any(not _counted(db, free) for _ in range(LOOKS)), "nobody holds the epoch's row"
    rotate(db, world.installation.wrapping)


def rotate_until(world: World, at: str) -> None:
    """Rotate, and die at a place."""
    here = world.installation
    if at == "rewrapped":
        rotate(here.db, Stubborn(here.wrapping._folder))
    with here.db.begin() as tx:
        epochs.advance(tx, here.wrapping, epochs.lock(tx, here.wrapping))
        if at == "made":
            raise Killed(at)
    raise Killed(at)


def _counted(db: Database, statement: str) -> int:
    with db.begin() as tx:
        return int(tx.session.execute(text(statement)).scalar_one())


@pytest.mark.parametrize("at", ["made", "begun", "rewrapped"])
def test_a_rotation_that_dies_is_finished_by_the_next(world: World, at: str) -> None:
    """Killed after making the key, after beginning the epoch, or before destroying the old key: nothing is lost, strays go next time."""
    here = world.installation
    ids = enrolled(world, 3, subscription=ALIVE)
    before = known(here.db, here.wrapping, *ids)
    with pytest.raises(Killed):
        rotate_until(world, at)
    assert "holder-1" in here.wrapping.names()
    assert known(here.db, here.wrapping, *ids) == before
    more = enrolled(world, 1, first=7, subscription=ALIVE)

    done = rotate(here.db, here.wrapping)

    assert "holder-1" in done.destroyed
    assert here.wrapping.names() == [epochs.name(done.epoch)]
    assert {row.epoch for row in kept(here.db)} == {done.epoch}
    assert known(here.db, here.wrapping, *ids) == before
    assert known(here.db, here.wrapping, *more)[more[0]].subscription == ALIVE


def test_a_wrapping_key_that_a_row_needs_is_never_destroyed(world: World) -> None:
    """Between a new epoch and the rewrapping the old key stays; one that is newer than the present epoch stays too."""
    here = world.installation
    enrolled(world)
    with here.db.begin() as tx:
        epochs.advance(tx, here.wrapping, epochs.lock(tx, here.wrapping))
    here.wrapping.make("holder-9")

    assert destroy_spent(here.db, here.wrapping) == ()
    assert here.wrapping.names() == ["holder-1", "holder-2", "holder-9"]


def test_rotation_touches_no_retention_key(world: World) -> None:
    """Keys of what the law keeps live in the same folder and go by their own schedule."""
    here = world.installation
    here.wrapping.make("retention-2031-05")
    enrolled(world)

    rotate(here.db, here.wrapping)

    assert here.wrapping.names() == ["holder-2", "retention-2031-05"]


def test_a_damaged_key_stops_no_rotation(world: World) -> None:
    """It is counted as unreadable, keeps no wrapping key alive, and is left out of what is known."""
    here = world.installation
    ids = enrolled(world, 2)
    with here.db.begin() as tx:
        tx.session.execute(text("UPDATE holders SET wrapped = sealed WHERE cycle_id = :it"), {"it": ids[0]})

    done = rotate(here.db, here.wrapping)

    assert (done.destroyed, done.unreadable) == (("holder-1",), 1)
    assert set(known(here.db, here.wrapping, *ids)) == {ids[1]}


def test_a_row_that_was_rewrapped_meanwhile_is_read_again(world: World) -> None:
    """Whoever read a row just before another process rewrapped it and destroyed its wrapping key looks once more."""
    here = world.installation
    cycle_id = enrolled(world, subscription=ALIVE)[0]

    class Overtaken(WrappingKeys):
        """Keys that another process rotates between the row and the look for its key."""

        def unwrap(self, name: str, wrapped: bytes, bound_to: str) -> bytes:
            """Come too late for the first epoch's."""
            if name == "holder-1" and self.exists(name):
                key = super().unwrap(name, wrapped, bound_to)
                self.make("holder-2")
                again = {"epoch": 2, "wrapped": self.wrap("holder-2", key, bound_to), "it": bound_to}
                tx.session.execute(text("UPDATE holders SET epoch = :epoch, wrapped = :wrapped WHERE cycle_id = :it"), again)
                tx.session.execute(text("UPDATE epochs SET epoch = 2"))
                self.destroy(name)
            return super().unwrap(name, wrapped, bound_to)

    with here.db.begin() as tx:
        found = holders.known(tx, Overtaken(here.wrapping._folder), [cycle_id])

    assert found[cycle_id].subscription == ALIVE


def test_the_first_epoch_is_begun_once(world: World) -> None:
    """However many enrol or set up at once, they wrap under one key."""
    here = world.installation

    came = at_once([lambda: key_epochs.prepare(here.db, here.wrapping)] * 6)

    assert len(set(came)) == 1
    rotate(here.db, here.wrapping)
    assert len(here.wrapping.names()) == 1

"""Rows sealed by law, on both databases: kept once, opened while they may be, destroyed by schedule, and nowhere in plain text."""

import json
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import date, timedelta
from pathlib import Path

import pytest
from builders import World, advance, enrolled, wipe_all
from builders_cycles import all_at, at_once, events_of, kinds_of, row_of, staff
from builders_retention import (
    BASIS,
    DAY,
    LAST_DAY,
    PLANTED,
    a_round,
    a_row,
    backup,
    hold,
    keeper,
    keeping,
    kept_of,
    keys_of,
    lift,
    restore,
    sealed_of,
    to_day,
)
from cryptography.exceptions import InvalidTag
from sqlalchemy import text
from structlog.testing import capture_logs

from fallow.domain.errors import SettingRefused, TargetUnavailable
from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.store import cycles, retention
from fallow.store.keeping_tables import SealedRow
from fallow.store.retention import Opened
from fallow.store.tables import FactRow

NEXT_MONTH = date(2026, 4, 1)


def opened(world: World, cycle_id: str) -> Opened:
    """Open what is sealed of a cycle, as far as it can be."""
    days = [each.kept_until for each in kept_of(world, cycle_id)]
    with world.installation.db.begin() as tx:
        cycles.lock_one(tx, cycle_id)
        return retention.open_sealed(tx, world.installation.wrapping, cycle_id, days)


def months(world: World) -> list[str]:
    """Return the names of the months' wrapping keys; the holder keys' own lies beside them."""
    return [name for name in world.installation.wrapping.names() if name.startswith("retention-")]


def contents(world: World, cycle_id: str) -> list[bytes]:
    """Return the contents that can be opened."""
    return sorted(content for _, content in opened(world, cycle_id).rows)


def test_rows_are_sealed_registered_and_told_once(world: World) -> None:
    """What is kept opens again as it was; the register counts it, and its event is written when it begins and not again."""
    (cycle_id,) = enrolled(world)

    keeper(world).keep("billing", [a_row(cycle_id, content=b'{"a":1}'), a_row(cycle_id, content=b'{"a":2}')])
    keeper(world).keep("billing", [a_row(cycle_id, content=b'{"a":3}')])

    (kept,) = kept_of(world, cycle_id)
    assert contents(world, cycle_id) == [b'{"a":1}', b'{"a":2}', b'{"a":3}']
    assert (kept.how, kept.rows, kept.basis, kept.kept_until, kept.target_id) == ("seal", 3, BASIS, LAST_DAY, "billing")
    (begun,) = [each for each in events_of(world, cycle_id) if each.kind is Kind.RETENTION_BEGAN]
    assert begun.body == {"target_id": "billing", "collection": "invoices", "kept_until": "2026-03-31", "how": "seal", "rows": 2}
    assert months(world) == ["retention-2026-03"]


def test_a_system_that_breaks_down_after_keeping_has_its_rows_kept_once(world: World) -> None:
    """The wipe after the breakdown hands the same rows over again, and each is there once."""
    system = keeping(world, seals={"invoices": [b'{"a":1}', b'{"a":2}']}, breaks_after_keeping=True)
    (cycle_id,) = all_at(world, 1, State.WIPING)
    a_round(world, system)
    assert (len(sealed_of(world, cycle_id)), system.wiped) == (2, [])

    world.clock.pass_by(timedelta(minutes=1))
    a_round(world, system)

    assert (len(sealed_of(world, cycle_id)), system.wiped) == (2, [cycle_id])
    assert kinds_of(world, cycle_id).count(Kind.RETENTION_BEGAN) == 1


def test_keepers_at_one_instant_keep_each_row_once(world: World) -> None:
    """Two that seal the same rows, the first of all, make one key and one row of each."""
    (cycle_id,) = enrolled(world)
    rows = [a_row(cycle_id, content=f'{{"a":{index}}}'.encode()) for index in range(30)]

    results = at_once([lambda: keeper(world).keep("billing", rows) for _ in range(4)])

    assert results == [None] * 4
    assert (len(sealed_of(world, cycle_id)), len(keys_of(world, cycle_id))) == (30, 1)
    assert kept_of(world, cycle_id)[0].rows == 30
    assert kinds_of(world, cycle_id).count(Kind.RETENTION_BEGAN) == 1


def test_the_same_content_elsewhere_is_another_row(world: World) -> None:
    """A mark is of one collection and one cycle's expiry, and tells nobody that two former holders had the same row."""
    one, other = enrolled(world, 2)

    keeper(world).keep("billing", [a_row(one), a_row(one, "calls"), a_row(one, kept_until=NEXT_MONTH), a_row(other)])
    keeper(world).keep("crm", [a_row(one)])

    marks = {row.mark for cycle_id in (one, other) for row in sealed_of(world, cycle_id)}
    assert len(marks) == 5
    assert len(keys_of(world, one)) == 2


def test_what_is_kept_lasts_through_its_last_day(world: World) -> None:
    """Nothing is destroyed before midnight UTC after it; then rows and key are, with an event, and never twice."""
    (cycle_id,) = enrolled(world)
    keeper(world).keep("billing", [a_row(cycle_id), a_row(cycle_id, "calls")])
    world.clock.pass_to(world.clock.now().replace(day=31, hour=23, minute=59, second=59))
    assert keeper(world).expire_sealed(10) == 0
    assert len(contents(world, cycle_id)) == 2

    world.clock.pass_by(timedelta(seconds=1))

    assert [keeper(world).expire_sealed(10), keeper(world).expire_sealed(10)] == [2, 0]
    assert (sealed_of(world, cycle_id), keys_of(world, cycle_id)) == ([], [])
    assert {each.destroyed_at for each in kept_of(world, cycle_id)} == {world.clock.now()}
    expired = [each.body for each in events_of(world, cycle_id) if each.kind is Kind.RETENTION_EXPIRED]
    assert sorted((each["collection"], each["kept_until"], each["how"]) for each in expired) == [
        ("calls", "2026-03-31", "seal"),
        ("invoices", "2026-03-31", "seal"),
    ]


def test_what_is_kept_longer_stays(world: World) -> None:
    """The expiry of one day takes nothing of the next."""
    (cycle_id,) = enrolled(world)
    keeper(world).keep("billing", [a_row(cycle_id), a_row(cycle_id, kept_until=NEXT_MONTH, content=b"{}")])
    to_day(world, NEXT_MONTH)

    keeper(world).upkeep()

    assert contents(world, cycle_id) == [b"{}"]
    assert months(world) == ["retention-2026-04"]


def test_two_that_expire_at_one_instant_write_one_event(world: World) -> None:
    """Several processes that take themselves for the leader destroy a thing once."""
    ids = enrolled(world, 5)
    keeper(world).keep("billing", [a_row(cycle_id) for cycle_id in ids])
    to_day(world, NEXT_MONTH)

    results = at_once([lambda: keeper(world).expire_sealed(10) for _ in range(3)])

    assert sorted(results) == [0, 0, 5]
    assert [kinds_of(world, cycle_id).count(Kind.RETENTION_EXPIRED) for cycle_id in ids] == [1] * 5


def test_a_page_at_a_time(world: World) -> None:
    """Upkeep says that more is due until nothing is, and destroys the month's key only then."""
    ids = enrolled(world, 101)
    keeper(world).keep("billing", [a_row(cycle_id) for cycle_id in ids])
    to_day(world, NEXT_MONTH)

    assert keeper(world).upkeep()
    assert months(world) == ["retention-2026-03"]
    assert not keeper(world).upkeep()
    assert months(world) == []
    assert [sealed_of(world, cycle_id) for cycle_id in ids] == [[]] * 101


def test_a_hold_suspends_and_lifting_resumes(world: World) -> None:
    """What is held outlives its last day and its month, opens all the while, and goes once the hold is lifted."""
    people, (held, free) = staff(world), enrolled(world, 2)
    keeper(world).keep("billing", [a_row(held), a_row(free)])
    hold(world, people, held)
    to_day(world, date(2026, 5, 20))

    keeper(world).upkeep()

    assert (len(contents(world, held)), sealed_of(world, free)) == (1, [])
    assert months(world) == ["retention-2026-05"]
    assert [each.wrapped_by for each in keys_of(world, held)] == ["retention-2026-05"]
    assert Kind.RETENTION_EXPIRED not in kinds_of(world, held)

    lift(world, people, held)
    keeper(world).upkeep()
    assert (sealed_of(world, held), keys_of(world, held)) == ([], [])
    to_day(world, date(2026, 6, 1))
    keeper(world).upkeep()
    assert months(world) == []


def test_an_altered_key_stops_no_other(world: World) -> None:
    """What nothing opens any more is told once; the keys beside it go on under the present month, and past months are destroyed."""
    people, ids = staff(world), sorted(enrolled(world, 3))
    for cycle_id in ids:
        keeper(world).keep("billing", [a_row(cycle_id)])
        hold(world, people, cycle_id)
    with world.installation.db.begin() as tx:
        tx.session.execute(text("UPDATE retention_keys SET wrapped = :bits WHERE cycle_id = :id"), {"bits": b"0" * 60, "id": ids[1]})
    to_day(world, date(2026, 5, 20))

    with capture_logs() as logs:
        keeper(world).upkeep()
        keeper(world).upkeep()

    assert [(each["event"], each["cycle_id"]) for each in logs] == [("retention-key-unreadable", ids[1])]
    assert months(world) == ["retention-2026-05"]
    assert [len(contents(world, each)) for each in ids] == [1, 0, 1]
    assert opened(world, ids[1]).unreadable == [LAST_DAY]


def test_a_month_that_something_lies_under_stays(world: World) -> None:
    """A wrapping key outlives its month until the last retention key beneath it is gone."""
    (cycle_id,) = enrolled(world)
    keeper(world).keep("billing", [a_row(cycle_id)])
    to_day(world, date(2026, 6, 1))
    with world.installation.db.begin() as tx:
        assert retention.destroy_months(tx, world.installation.wrapping) == []

    keeper(world).expire_sealed(10)

    with world.installation.db.begin() as tx:
        assert retention.destroy_months(tx, world.installation.wrapping) == ["retention-2026-03"]


def test_no_key_is_destroyed_while_somebody_wraps_under_it(world: World) -> None:
    """A month that ends while rows are being sealed under its key waits for them."""
    cycle_id, other = enrolled(world, 2)
    keeper(world).keep("billing", [a_row(other, kept_until=date(2027, 1, 1))])
    db, wrapping = world.installation.db, world.installation.wrapping

    def end_of_the_month() -> list[str]:
        with db.begin() as tx:
            return retention.destroy_months(tx, wrapping)

    with ThreadPoolExecutor(1) as thread:
        with db.begin() as tx:
            cycles.lock_one(tx, cycle_id)
            retention.seal_all(tx, wrapping, "billing", [a_row(cycle_id)])
            to_day(world, NEXT_MONTH)
            ending = thread.submit(end_of_the_month)
            wait([ending], timeout=1)  # time enough to do harm, if it did not wait
        assert ending.result(timeout=60) == []

    (key,) = keys_of(world, cycle_id)
    assert wrapping.exists(key.wrapped_by)


def test_a_hold_placed_after_the_look_is_seen(world: World) -> None:
    """What is due is judged again under the cycle's lock."""
    people, (cycle_id,) = staff(world), enrolled(world)
    keeper(world).keep("billing", [a_row(cycle_id)])
    to_day(world, NEXT_MONTH)
    hold(world, people, cycle_id)
    with world.installation.db.begin() as tx:
        assert retention.due_sealed(tx, 10) == []
    assert keeper(world).expire_sealed(10) == 0


def test_a_month_takes_the_backups_with_it(world: World) -> None:
    """Yesterday's backup opens what is kept until the month's wrapping key is destroyed, and nothing afterwards."""
    (cycle_id,) = enrolled(world)
    wrapping = world.installation.wrapping
    wrapping.make("holder-1")
    keeper(world).keep("billing", [a_row(cycle_id)])
    yesterday = backup(world.installation.db)
    wrapping.destroy("holder-1")
    restore(world.installation.db, yesterday)
    assert contents(world, cycle_id) == [json.dumps({"name": PLANTED}).encode()]

    to_day(world, NEXT_MONTH)
    keeper(world).upkeep()
    restore(world.installation.db, yesterday)

    assert len(sealed_of(world, cycle_id)) == 1
    found = opened(world, cycle_id)
    assert (found.rows, found.unreadable) == ([], [LAST_DAY])
    (key,) = keys_of(world, cycle_id)
    with pytest.raises(SettingRefused, match="destroyed"):
        wrapping.unwrap(key.wrapped_by, key.wrapped, f"retention|{cycle_id}|{LAST_DAY}")
    keeper(world).upkeep()
    assert (sealed_of(world, cycle_id), kept_of(world, cycle_id)[0].destroyed_at) == ([], world.clock.now())


def test_what_was_expired_when_it_came_lies_under_the_present_month(world: World) -> None:
    """A row whose last day has passed already is kept, opens no key of a past month, and goes at the next upkeep."""
    (cycle_id,) = enrolled(world)

    keeper(world).keep("billing", [a_row(cycle_id, kept_until=date(2025, 1, 15))])
    assert months(world) == ["retention-2026-03"]
    keeper(world).upkeep()

    assert (sealed_of(world, cycle_id), kept_of(world, cycle_id)[0].destroyed_at) == ([], world.clock.now())


def test_what_comes_again_after_its_destruction_begins_again(world: World) -> None:
    """It is kept, told and destroyed as if it were new."""
    (cycle_id,) = enrolled(world)
    for _ in range(2):
        keeper(world).keep("billing", [a_row(cycle_id, kept_until=date(2025, 1, 15))])
        keeper(world).upkeep()

    kinds = [kind for kind in kinds_of(world, cycle_id) if kind.startswith("Retention")]
    assert kinds == [Kind.RETENTION_BEGAN, Kind.RETENTION_EXPIRED] * 2


def test_without_its_key_nothing_is_kept(world: World) -> None:
    """A key that can't be had is trouble of the system's sender: nothing is sealed, so nothing is deleted there."""
    (cycle_id,) = enrolled(world)
    keeper(world).keep("billing", [a_row(cycle_id, content=b'{"a":1}')])
    world.installation.wrapping.destroy("retention-2026-03")

    with pytest.raises(TargetUnavailable, match="retention-2026-03"):
        keeper(world).keep("billing", [a_row(cycle_id, content=b'{"a":2}')])
    assert len(sealed_of(world, cycle_id)) == 1


def test_without_a_place_for_keys_nothing_is_kept(world: World) -> None:
    """A folder of keys that can't be written is trouble of the system's sender, too."""
    (cycle_id,) = enrolled(world)
    folder = world.installation.wrapping._folder
    folder.rename(folder.with_name("away"))
    folder.write_text("a file in the way")

    with pytest.raises(TargetUnavailable, match="wrapping key"):
        keeper(world).keep("billing", [a_row(cycle_id)])
    assert (sealed_of(world, cycle_id), kept_of(world, cycle_id)) == ([], [])


def test_a_row_in_another_place_does_not_open(damaged: World) -> None:
    """Who moves a sealed row to another collection finds that it opens no more."""
    (cycle_id,) = enrolled(damaged)
    keeper(damaged).keep("billing", [a_row(cycle_id)])
    with damaged.installation.db.begin() as tx:
        tx.session.get_one(SealedRow, sealed_of(damaged, cycle_id)[0].mark).collection = "calls"

    with pytest.raises(InvalidTag):
        opened(damaged, cycle_id)


def test_a_wipe_with_sealed_rows_goes_through_the_gate(world: World) -> None:
    """Keeping by law holds up no number: it becomes RESELLABLE while the rows are kept."""
    keeping(world, seals={"invoices": [b'{"a":1}']})
    (cycle_id,) = enrolled(world)

    advance(world, cycle_id, State.RESELLABLE)

    assert (row_of(world, cycle_id).state, len(sealed_of(world, cycle_id))) == (State.RESELLABLE, 1)


def everything_in(world: World) -> str:
    """Return all rows of all tables as text."""
    rows = [value for table in backup(world.installation.db).values() for row in table for value in row.values()]
    return "\n".join(value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in rows)


def test_no_row_of_the_database_tells_who_it_was(world: World) -> None:
    """What is sealed is in no table as plain text; one that is planted is found."""
    keeping(world, seals={"invoices": [json.dumps({"name": PLANTED}).encode()]})
    (cycle_id,) = all_at(world, 1, State.WIPING)
    wipe_all(world)
    assert contents(world, cycle_id)

    assert PLANTED not in everything_in(world)
    with world.installation.db.begin() as tx:
        tx.session.add(FactRow(name="planted", value=PLANTED))
    assert PLANTED in everything_in(world)


def files_of(world: World) -> bytes:
    """Return what the database's files hold, the write-ahead log included."""
    path = Path(str(world.installation.db.engine.url.database))
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def test_no_file_of_the_database_holds_what_was_destroyed(sqlite_world: World) -> None:
    """On SQLite neither the plain row, nor after its expiry the sealed one or its key, is anywhere in the files."""
    (cycle_id,) = enrolled(sqlite_world)
    keeper(sqlite_world).keep("billing", [a_row(cycle_id)])
    sealed, wrapped = sealed_of(sqlite_world, cycle_id)[0].sealed, keys_of(sqlite_world, cycle_id)[0].wrapped
    before = files_of(sqlite_world)
    assert sealed in before
    assert wrapped in before
    assert PLANTED.encode() not in before

    to_day(sqlite_world, LAST_DAY + DAY)
    keeper(sqlite_world).upkeep()

    after = files_of(sqlite_world)
    assert sealed not in after
    assert wrapped not in after
    with sqlite_world.installation.db.begin() as tx:
        tx.session.connection().execute(text("INSERT INTO facts VALUES ('planted', :planted)"), {"planted": PLANTED})
    assert PLANTED.encode() in files_of(sqlite_world)

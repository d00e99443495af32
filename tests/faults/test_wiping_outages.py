"""Record wiping while the carrier's database server dies, is away for days, or ends sessions: on real PostgreSQL and MariaDB."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from builders_cycles import owed_by
from sqlalchemy import text
from wiping_ground import Server, Wiping, a_server, at_statement, wiping

from fallow.domain.obligations import Status

DAYS = timedelta(days=3)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind, for the tests of this file."""
    with a_server(request.param) as running:
        yield running


@pytest.fixture
def here(server: Server, tmp_path: Path) -> Iterator[Wiping]:
    """Numbers in WIPING at a database of it."""
    with wiping(tmp_path, server.new_database()) as ready:
        yield ready


@pytest.mark.parametrize("nth", [2, 4])
def test_a_server_killed_in_the_middle_of_a_batch(server: Server, here: Wiping, nth: int) -> None:
    """Nothing of the batch is claimed, nobody is called, and once the server is back the sender ends the work by itself."""
    here.round("billing")
    here.records.systems["crm"].check()
    with at_statement(here.writing, nth, server.go_down):
        tally = here.round()
    assert (tally.failed, tally.discharged) == (3, 0)
    here.assert_waiting()
    here.assert_nothing_checked_out()

    server.come_back()
    here.go_on()

    here.assert_wiped()


def test_a_server_killed_before_the_read_back(server: Server, here: Wiping) -> None:
    """What was cleared and not proved is proved by the repeat."""
    here.records.systems["crm"].check()
    with at_statement(here.reading, 2, server.go_down):
        tally = here.round()
    assert (tally.failed, tally.discharged) == (3, 0)
    here.assert_waiting()

    server.come_back()
    here.assert_only_others_left()
    here.go_on()

    here.assert_wiped()


@pytest.mark.parametrize("side", ["writing", "reading"])
def test_sessions_that_are_ended(server: Server, here: Wiping, side: str) -> None:
    """An administrator who ends the engine's sessions costs one attempt."""
    here.records.systems["crm"].check()
    with at_statement(getattr(here, side), 2, lambda: server.cut_sessions(here.carrier)):
        tally = here.round()
    assert (tally.failed, tally.discharged) == (3, 0)
    here.assert_waiting()

    here.go_on()

    here.assert_wiped()


def test_a_server_away_for_days(server: Server, here: Wiping) -> None:
    """One sender waits and asks ever more rarely; the other systems' receipts stand; recovery needs nobody."""
    here.round("billing")
    server.go_down()
    attempts, began = 0, here.world.clock.now()
    while here.world.clock.now() < began + DAYS:
        attempts += here.round().failed > 0
        assert here.target().closed_until is not None
        here.world.clock.pass_by(HOUR)
    here.assert_waiting()
    here.assert_nothing_checked_out()
    assert attempts == here.target().failures > 3
    assert {owed_by(here.world, each)["billing"].status for each in here.ids} == {Status.DISCHARGED}

    server.come_back()
    here.go_on()

    here.assert_wiped()
    assert here.target().failures == 0


def test_a_row_that_is_locked_is_waited_for(here: Wiping) -> None:
    """A lock that outlasts the limit is an outage of the target, not a refusal: the sender comes again."""
    here.records.systems["crm"].check()
    with here.carrier.engine.connect() as other:
        other.execute(text("SELECT id FROM calls WHERE id = 1 FOR UPDATE"))
        tally = here.round()
        other.rollback()
    assert (tally.failed, tally.discharged) == (3, 0)
    here.assert_waiting()

    here.go_on()

    here.assert_wiped()


def test_a_deadlock_costs_an_attempt_at_most(here: Wiping) -> None:
    """The carrier's own transaction and the wipe wait for each other; whichever the database ends, everything is wiped in the end."""
    here.records.systems["crm"].check()
    here.carrier.run("CREATE TABLE busy (id INTEGER PRIMARY KEY)")
    with here.carrier.engine.connect() as other:
        # The database ends the one that has changed less.
        other.execute(text("INSERT INTO busy VALUES " + ", ".join(f"({key})" for key in range(500))))
        other.execute(text("SELECT id FROM calls WHERE id = 1 FOR UPDATE"))
        ended = list[bool]()

        def want_what_the_wipe_has() -> None:
            try:
                other.execute(text("UPDATE subscribers SET name = 'Z' WHERE id = 0"))
                other.commit()
            except Exception:  # noqa: BLE001 - it was the one to be ended
                ended.append(True)
                other.rollback()

        thread = threading.Thread(target=want_what_the_wipe_has)
        with at_statement(here.writing, 2, thread.start):
            here.round()
        thread.join(60)
        assert not thread.is_alive()
    here.assert_nobody_called()

    here.go_on()

    here.assert_wiped()

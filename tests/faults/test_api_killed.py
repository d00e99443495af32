"""The API killed by SIGKILL while platforms call back: nothing that they said is lost, nothing counts twice."""

from pathlib import Path

from psycopg import sql
from stack_play import Play, Session, lasting_postgres, playing

_SOME = 4
#: Sessions that wait with a delivery written: for the lock on its table, or, having committed, for a standby.
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO deliveries%'"
_COMMITTED = """
SELECT count(*) FROM pg_stat_activity JOIN pg_locks USING (pid)
WHERE wait_event = 'SyncRep' AND relation = 'deliveries'::regclass AND mode = 'RowExclusiveLock'
"""


def test_every_callback_is_delivered_in_the_end(tmp_path: Path) -> None:
    """An API killed amid callbacks and down for a while loses none of them: each is one row, and every number ends as it must."""
    with playing(tmp_path) as play:
        play.enrol()
        play.until(lambda: bool(play.taken()) and play.callbacks_waiting >= _SOME, "one callback was taken while others waited")
        play.api.kill()
        play.until(lambda: len(play.log("callback-failed")) >= _SOME, "several callbacks failed while the API was down")
        assert play.taken() <= kept(play)

        play.start_api()
        play.until_all_have_ended()

        assert {(line["platform"], line["delivery"]) for line in play.log("callback-failed")} <= play.taken()
        play.assert_nothing_was_lost()
        assert_repeats_change_nothing(play)


def test_a_callback_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed before it commits a callback, the API has kept nothing of it; killed after that, all: the platform's retry settles both."""
    with lasting_postgres() as server, playing(tmp_path, database_url=server.url, numbers=12) as play, server.session() as database:
        play.enrol()
        with server.session() as other:
            killed_before_commit(play, database, other)
        before = play.taken()
        assert kept(play) == before
        play.start_api()
        play.until(lambda: bool(play.taken() - before), "a callback was taken by the API that was started again")
        killed_after_commit(play, database)
        committed = kept(play) - play.taken()
        assert committed
        play.start_api()

        play.until_all_have_ended()
        assert committed <= play.taken()
        play.assert_nothing_was_lost()
        assert_repeats_change_nothing(play)


def killed_before_commit(play: Play, database: Session, other: Session) -> None:
    """Kill the API while it writes a delivery, whose table the ``other`` session locks."""
    with other.transaction():
        other.execute("LOCK TABLE deliveries IN SHARE MODE")
        play.until(lambda: counted(database, _WAITING), "a callback waited to be written")
        play.api.kill()
    play.until(lambda: bool(play.log("callback-failed")), "the platform saw its callback fail")


def killed_after_commit(play: Play, database: Session) -> None:
    """Kill the API when it has committed a delivery and not acknowledged it."""
    demand_standby(database, "nobody")
    try:
        play.until(lambda: counted(database, _COMMITTED), "a callback was committed and not acknowledged")
        play.api.kill()
    finally:
        demand_standby(database, "")
    play.until(lambda: not counted(database, _COMMITTED), "the commit was visible to all")


def demand_standby(database: Session, name: str) -> None:
    """Let every commit wait for a standby of this name; "" for none."""
    database.execute(sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}").format(name))
    database.execute("SELECT pg_reload_conf()")


def counted(database: Session, query: str) -> bool:
    """Tell whether a query counts anything."""
    row = database.execute(query).fetchone()
    return row is not None and row[0] > 0


def kept(play: Play) -> set[tuple[str, str]]:
    """Return (platform, delivery) of every row."""
    return {(row.platform_id, row.delivery_id) for row in play.deliveries()}


def assert_repeats_change_nothing(play: Play) -> None:
    """Assert that every delivery sent again, by its platform's hand, gets the very bytes it got before, and leaves no trace."""
    rows, events = play.deliveries(), play.events()
    replies = [play.repeat(row) for row in rows]

    assert {reply.status_code for reply in replies} == {200}
    assert [reply.content for reply in replies] == [row.ack.encode() for row in rows]
    assert play.deliveries() == rows
    assert play.events() == events

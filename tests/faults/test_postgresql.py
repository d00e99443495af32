"""PostgreSQL under the whole engine: the right ends, through sessions that are cut and a server that goes down with work in flight."""

import signal
from collections import Counter
from http import HTTPStatus
from pathlib import Path

import httpx
from builders import World
from sqlalchemy import create_engine
from stack_play import WITHIN, LastingPostgres, Play, lasting_postgres, playing

from fallow.api.app import create_app
from fallow.domain.obligations import TargetKind
from fallow.local.demo_desk import control

_SOME = 3
_CUT = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
_ANSWERS_EITHER_WAY = ("--behaviours", "at-once,later,twice", "--remind-after", "10m", "--batch", "2")


def test_survives_a_database_that_goes_away(tmp_path: Path) -> None:
    """Neither cut sessions while wiping nor a server down while sending loses anything: worker and API go on, and end in good order."""
    with lasting_postgres() as server, playing(tmp_path, database_url=server.url) as play:
        control(play.carrier, "/freeze-after", {"wiped": 2, "seconds": 60})
        play.enrol()
        cut_sessions_while_wiping(play, server)
        go_down_while_sending(play, server)
        server.come_back()
        play.until(lambda: play.get("/readyz").status_code == 200, "the API was ready again")
        play.until_all_have_ended()

        assert [play.api.exit_code, play.workers["worker"].exit_code] == [None, None]
        assert {line["status"] for line in play.log("called-back")} == {200, 503}
        assert "stalled cycles woken" not in play.logged()
        play.assert_nothing_was_lost()
        server.go_down()
        assert ended(play) == [0, 0]


def test_two_workers_share_the_work(tmp_path: Path) -> None:
    """Two workers on one database do everything once: no platform is asked twice about a number, and no system wipes it twice."""
    workers = ("worker-1", "worker-2")
    with (
        lasting_postgres() as server,
        playing(tmp_path, database_url=server.url, workers=workers, options=_ANSWERS_EITHER_WAY, turn_seconds=2.0) as play,
    ):
        play.until(lambda: len(play.holders()) == len(workers), "each worker held a lease")
        play.enrol()
        play.until_all_have_ended()

        asked = Counter((line["platform"], line["reference"]) for line in play.log("asked"))
        owed = [row for row in play.obligations() if row.kind == TargetKind.PLATFORM]
        assert asked == {(row.target_id, row.reference): 1 for row in owed}
        attempts = Counter((row.cycle_id, row.target_id) for row in play.attempts() if row.result != "looked")
        assert attempts == {(row.cycle_id, row.target_id): 1 for row in play.obligations()}
        play.assert_nothing_was_lost()


async def test_a_pool_without_a_free_session_is_an_outage(postgres_world: World) -> None:
    """Where every session of the API's pool is taken for too long, the caller is asked to come again; nothing is blamed on it."""
    database = postgres_world.installation.db
    database.close()
    database.engine = create_engine(database.engine.url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    transport = httpx.ASGITransport(create_app(postgres_world.wired))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        with database.engine.connect():
            reply = await client.get("/v1/counts", headers={"authorization": "Bearer flw_someone_something"})

    assert_unavailable(reply)


def cut_sessions_while_wiping(play: Play, server: LastingPostgres) -> None:
    """Cut every session of engine and API when rows are wiped and no receipt is written yet."""
    play.until(lambda: play.carrier_frozen, "wiping was in flight")
    play.hold_responses()
    with server.session() as database:
        database.execute(_CUT)
    control(play.carrier, "/thaw", {})


def go_down_while_sending(play: Play, server: LastingPostgres) -> None:
    """Take the server down at once when platforms have acted and not answered; see the API refuse, and the worker meet it."""
    play.until(lambda: play.responses_held > 0, "sending was in flight")
    logged = len(play.logged())
    server.go_down()
    play.release_responses()
    assert_unavailable(play.get("/readyz"))
    play.until(lambda: len(play.log("called-back", status=503)) >= _SOME, "platforms were told to come again later")
    play.until(lambda: "OperationalError" in play.logged()[logged:], "the worker met the outage")
    assert play.call_back("pennywell-pay", b"{}", {}).status_code == HTTPStatus.UNAUTHORIZED  # nothing but a signature is looked at
    assert play.get("/healthz").status_code == 200


def ended(play: Play) -> list[int]:
    """Ask API and worker to end; return their exit codes."""
    children = [play.api, play.workers["worker"]]
    for child in children:
        child.send(signal.SIGTERM)
    return [child.wait(WITHIN) for child in children]


def assert_unavailable(reply: httpx.Response) -> None:
    """Assert a problem document that asks to come again."""
    assert reply.status_code == 503
    assert reply.headers["content-type"] == "application/problem+json"
    assert int(reply.headers["retry-after"]) > 0

"""Record wiping over a network that is slow, breaks off or swallows everything, between the engine and PostgreSQL or MariaDB."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from proxy import Proxy, proxying
from wiping_ground import A_WHILE, Server, Wiping, a_server, at_statement, wiping


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind, for the tests of this file."""
    with a_server(request.param) as running:
        yield running


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """The network to it."""
    with proxying(server.running.port) as running:
        yield running


@pytest.fixture
def here(server: Server, proxy: Proxy, tmp_path: Path) -> Iterator[Wiping]:
    """Numbers in WIPING at a database behind that network."""
    with wiping(tmp_path, server.new_database(), through_port=proxy.port) as ready:
        ready.records.systems["crm"].check()
        yield ready


def test_a_slow_network_is_slow(here: Wiping, proxy: Proxy) -> None:
    """Answers that are late, but within the limit, are answers."""
    proxy.delay = 0.02

    tally = here.round()

    assert (tally.failed, tally.discharged) == (0, 3)
    here.assert_wiped()


@pytest.mark.parametrize(("side", "nth"), [("writing", 1), ("writing", 3), ("reading", 1), ("reading", 4)])
def test_connections_that_are_reset(here: Wiping, proxy: Proxy, side: str, nth: int) -> None:
    """A query whose connection breaks off is an outage; the pool gives no broken connection out again."""
    with at_statement(getattr(here, side), nth, proxy.break_off):
        tally = here.round()
    assert (tally.failed, tally.discharged) == (3, 0)
    here.assert_waiting()
    here.assert_nothing_checked_out()

    here.go_on()

    here.assert_wiped()


@pytest.mark.parametrize(("side", "nth"), [("writing", 1), ("writing", 3), ("reading", 1), ("reading", 4)])
def test_a_network_that_swallows_everything(here: Wiping, proxy: Proxy, side: str, nth: int) -> None:
    """A connection that stays open and says nothing more is given up, though neither side hears that the other is gone."""
    with at_statement(getattr(here, side), nth, proxy.fall_silent):
        tally = here.round()
    assert proxy.dropped
    assert (tally.failed, tally.discharged) == (3, 0)
    here.assert_waiting()
    here.assert_nothing_checked_out()

    proxy.heal()
    here.go_on()

    here.assert_wiped()


def test_a_network_that_answers_no_connection(here: Wiping, proxy: Proxy) -> None:
    """A connection that is taken and never greeted is given up; so is one from the pool that is silent when it is looked at."""
    proxy.fall_silent()
    tallies = [here.round()]
    here.writing.dispose()
    here.reading.dispose()
    here.world.clock.pass_by(A_WHILE)
    tallies.append(here.round())
    assert [each.failed for each in tallies] == [3, 3]
    here.assert_waiting()
    here.assert_nothing_checked_out()

    proxy.heal()
    here.go_on()

    here.assert_wiped()


def test_answers_later_than_the_limit(here: Wiping, proxy: Proxy) -> None:
    """A server behind a network of several seconds is an outage, not a wait without end."""
    with at_statement(here.writing, 2, lambda: setattr(proxy, "delay", 5.0)):
        tally = here.round()
    assert (tally.failed, tally.discharged) == (3, 0)
    here.assert_waiting()
    here.assert_nothing_checked_out()

    proxy.heal()
    here.go_on()

    here.assert_wiped()

"""Record wiping with an error before or after any commit, at the carrier and in our own database, on every kind of database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy.exc import OperationalError
from wiping_ground import A_WHILE, Server, Wiping, a_server, at_statement, failing_commit, wiping

When = Literal["before", "after"]
BOTH: tuple[When, When] = ("before", "after")


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    """A server of each kind."""
    with a_server("postgresql") as postgresql, a_server("mariadb") as mariadb:
        yield {"postgresql": postgresql, "mariadb": mariadb}


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wiping]:
    """Numbers in WIPING at a carrier's database of each kind; our own is SQLite."""
    url = f"sqlite:///{tmp_path / 'carrier.db'}"
    if request.param != "sqlite":
        url = request.getfixturevalue("servers")[request.param].new_database()
    with wiping(tmp_path, url) as ready:
        yield ready


@pytest.fixture(params=["sqlite", "postgresql"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wiping]:
    """Numbers in WIPING with our own database of each kind; the carrier's is SQLite."""
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with wiping(tmp_path, f"sqlite:///{tmp_path / 'carrier.db'}", url=url) as ready:
        yield ready


@pytest.mark.parametrize("when", BOTH)
@pytest.mark.parametrize("nth", [1, 2, 4])
def test_an_error_at_the_carriers_commit(here: Wiping, nth: int, when: When) -> None:
    """Whether a collection's deletion stands or not, nothing is claimed, and the repeat gives the full receipt."""
    here.records.systems["crm"].check()
    before = len(here.carrier.ids("calls"))
    with failing_commit(here.writing, when, nth):
        tally = here.round()
    assert (tally.failed, tally.discharged) == (3, 0)
    here.assert_waiting()
    stands = nth > 2 or (nth == 2 and when == "after")
    assert len(here.carrier.ids("calls")) == (3 if stands else before)  # the second of four collections

    here.go_on()

    here.assert_wiped()


@pytest.mark.parametrize("nth", [1, 3])
def test_an_error_in_the_read_back(here: Wiping, nth: int) -> None:
    """What can't be looked at again is not claimed, though it is gone."""
    here.records.systems["crm"].check()

    def fail() -> None:
        raise OperationalError("", {}, Exception("lost"))

    with at_statement(here.reading, nth, fail):
        tally = here.round()
    assert (tally.failed, tally.discharged) == (3, 0)
    here.assert_waiting()

    here.go_on()

    here.assert_wiped()


@pytest.mark.parametrize("when", BOTH)
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_an_error_at_one_of_our_own_commits(own: Wiping, nth: int, when: When) -> None:
    """Lease, claim, last look or receipt: whichever commit fails, on whichever side of it, claims come back and nothing is doubled."""
    own.records.systems["crm"].check()
    engine = own.world.installation.db.engine
    with failing_commit(engine, when, nth):
        own.round_or_outage()
    own.assert_nobody_called()

    own.world.clock.pass_by(A_WHILE)
    own.go_on()

    own.assert_wiped()


@pytest.mark.parametrize("when", BOTH)
def test_an_error_at_our_commit_of_a_failure(own: Wiping, when: When) -> None:
    """The carrier's database fails, and so does ours as it writes that down: the claim comes back by itself."""
    own.records.systems["crm"].check()
    with failing_commit(own.writing, "before"), failing_commit(own.world.installation.db.engine, when, 4):
        own.round_or_outage()
    own.assert_waiting()

    own.go_on()

    own.assert_wiped()

"""Both databases: what waits for a platform's confirmation is seen to wait: in the list of targets, on the number, in the delivery log."""

from datetime import timedelta

import pytest
from builders import World, look_all
from builders_cycles import staff
from builders_looking import looking, odd, unconfirmed
from sqlmodel import select

from fallow.cli.checkup import _contents
from fallow.cli.listing import _print_cycle
from fallow.domain.obligations import Outcome
from fallow.operations import status
from fallow.operations.diagnosis import diagnose
from fallow.store.platform_tables import ExchangeRow

ALPHA = "alpha-pay"


def target_of(world: World) -> dict[str, object]:
    """Return the platform's line."""
    return next(each for each in status.targets(world.installation, staff(world).auditor) if each["target_id"] == ALPHA)


def log_of(world: World) -> list[tuple[str, int]]:
    """Return (result, items) of each status query in the delivery log."""
    query = select(ExchangeRow).where(ExchangeRow.platform_id == ALPHA).order_by(ExchangeRow.exchange_id)  # type: ignore[arg-type]
    with world.installation.db.read() as tx:
        return [(row.result, row.items) for row in tx.session.exec(query) if row.result.startswith("look")]


def test_a_number_that_waits_for_a_confirmation_says_so(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is open, yet it is not finished: since when, how often was asked; no longer once the platform has confirmed."""
    platform = looking(world, shows=None)
    (cycle_id,) = unconfirmed(world)
    auditor = staff(world).auditor
    _print_cycle(status.show(world.installation, auditor, cycle_id))
    before, waiting = capsys.readouterr().out, target_of(world)
    platform.shows = lambda _: Outcome.CLEAR
    world.clock.pass_by(timedelta(minutes=5))
    look_all(world)
    _print_cycle(status.show(world.installation, auditor, cycle_id))
    after = capsys.readouterr().out

    assert (waiting["open"], waiting["unconfirmed"], target_of(world)["unconfirmed"]) == (0, 1, 0)
    assert f"waits for the confirmation of {ALPHA} since 20" in before
    assert "asked once" in before
    assert "waits for the confirmation" not in after
    assert log_of(world) == [("look-silent", 1), ("looked", 1)]


def test_a_status_query_that_fails_is_no_secret(world: World) -> None:
    """Its trouble stands beside the platform's, in its own words; the doctor names the status query, not the row that it is kept in."""
    odd(world, None)
    unconfirmed(world)
    for _ in range(4):
        world.clock.pass_by(timedelta(seconds=20))
        look_all(world)

    found = target_of(world)
    said = [each.what for each in _contents(diagnose(world.installation.db)) if each.subject == "targets"]

    assert found["trouble"] == f"status query: The platform {ALPHA} can't be reached."
    assert found["trouble_at"] is not None
    assert len(said) == 1
    assert said[0].startswith(f"the status query of {ALPHA} is sent nothing until")
    assert log_of(world)[-1] == ("look-target-unavailable", 1)

"""Answers that come early, late, from somebody else, after the end: each has a stated outcome and never a 5xx; on both databases."""

from datetime import timedelta

import pytest
from answering import about, moves, saying, send, standing
from builders import World, advance, ask_all, enrolled, references, state_of
from builders_commands import by_two, order, resellable, sold
from builders_cycles import all_at, facts_of, owed_by, staff
from fastapi import FastAPI

from fallow.api.app import create_app
from fallow.domain.attention import Attention, Reason
from fallow.domain.lifecycle import Command, State
from fallow.domain.obligations import Outcome, Status

ALPHA = "alpha-pay"


@pytest.fixture
def app(world: World) -> FastAPI:
    """Return the application over a world whose platforms keep silent until they call back."""
    for platform in world.platforms.values():
        platform.says = lambda _: None
    return create_app(world.wired)


def _answered(app: FastAPI, world: World, cycle_id: str, outcome: Outcome) -> str:
    """Let alpha-pay call back; return what it is told of its answer."""
    (response,) = send(app, about(world, ALPHA, cycle_id, outcome))
    assert response.status_code == 200
    (told,) = response.json()["answers"].values()
    return str(told)


def test_early(world: World, app: FastAPI) -> None:
    """An answer that comes before the request that asks for it has returned counts; the one in the response then changes nothing."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)

    assert _answered(app, world, cycle_id, Outcome.CLEAR) == "accepted"
    world.platforms[ALPHA].says = lambda _: Outcome.NOT_BOUND
    ask_all(world)

    assert owed_by(world, cycle_id)[ALPHA].status is Status.DISCHARGED
    assert moves(world, cycle_id, ALPHA) == 1


@pytest.mark.parametrize("outcome", [Outcome.CLEAR, Outcome.UNBOUND, Outcome.NOT_BOUND, Outcome.ACCEPTED, Outcome.NEEDS_HUMAN])
def test_a_good_answer_after_settling(world: World, app: FastAPI, outcome: Outcome) -> None:
    """It is acknowledged and changes nothing: neither does one that settles nothing."""
    cycle_id = _released(world)
    before = standing(world, cycle_id)

    assert _answered(app, world, cycle_id, outcome) == "accepted"

    assert standing(world, cycle_id) == before


def _released(world: World) -> str:
    for platform in world.platforms.values():
        platform.says = lambda _: Outcome.UNBOUND
    return resellable(world)


def test_a_refusal_after_settling(world: World, app: FastAPI) -> None:
    """It takes the clearance back: ATTENTION, and a hold where the number is RESELLABLE."""
    cycle_id = _released(world)

    assert _answered(app, world, cycle_id, Outcome.REFUSED) == "accepted"

    cycle = facts_of(world, cycle_id)
    assert (cycle.state, cycle.held) == (State.RESELLABLE, True)
    assert cycle.attention == {Attention(Reason.PLATFORM_CONTRADICTED, ALPHA)}


def test_a_refusal_before_settling(world: World, app: FastAPI) -> None:
    """After a clearance it closes the gate: ATTENTION, no hold, and a clearance that comes later still does not open it by itself."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    for outcome in (Outcome.CLEAR, Outcome.REFUSED, Outcome.CLEAR):
        assert _answered(app, world, cycle_id, outcome) == "accepted"

    cycle = facts_of(world, cycle_id)
    assert owed_by(world, cycle_id)[ALPHA].status is Status.REFUSED
    assert (cycle.held, cycle.attention) == (False, {Attention(Reason.PLATFORM_CONTRADICTED, ALPHA)})


def test_a_clearance_corrects_a_refusal(world: World, app: FastAPI) -> None:
    """Before settling a platform may change its mind for the better; what the refusal raised is cleared."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)

    assert _answered(app, world, cycle_id, Outcome.REFUSED) == "accepted"
    assert facts_of(world, cycle_id).attention == {Attention(Reason.PLATFORM_REFUSED, ALPHA)}
    assert _answered(app, world, cycle_id, Outcome.CLEAR) == "accepted"

    assert owed_by(world, cycle_id)[ALPHA].status is Status.DISCHARGED
    assert facts_of(world, cycle_id).attention == frozenset()


def test_a_person_is_called_and_sent_away(world: World, app: FastAPI) -> None:
    """``needs_human`` raises ATTENTION once, however often it is said; a good answer clears it."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    for _ in range(3):
        assert _answered(app, world, cycle_id, Outcome.NEEDS_HUMAN) == "accepted"
    called = facts_of(world, cycle_id).attention
    assert _answered(app, world, cycle_id, Outcome.CLEAR) == "accepted"

    assert called == {Attention(Reason.PLATFORM_NEEDS_HUMAN, ALPHA)}
    assert facts_of(world, cycle_id).attention == frozenset()
    assert moves(world, cycle_id, ALPHA) == 1


def test_foreign_and_unknown(world: World, app: FastAPI) -> None:
    """Another platform's reference is as unknown as an invented one, also beside one of its own, which counts."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    mine = references(world, cycle_id)
    said = [mine[ALPHA], mine["beta-chat"], f"ref_{'a' * 26}"]

    (response,) = send(app, saying(world, ALPHA, dict.fromkeys(said, Outcome.CLEAR)))

    assert response.json() == {"answers": dict(zip(said, ["accepted", "unknown", "unknown"], strict=True))}
    assert {target for target, owed in owed_by(world, cycle_id).items() if owed.status is Status.OPEN} == {"beta-chat", "gamma-bank"}


@pytest.mark.parametrize("outcome", [Outcome.CLEAR, Outcome.REFUSED, Outcome.NEEDS_HUMAN])
def test_after_the_number_has_left(world: World, app: FastAPI, outcome: Outcome) -> None:
    """Once the cycle is over and the number not for sale, answers are acknowledged and change nothing: nobody could act on them."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    by_two(world, staff(world), cycle_id, Command.RETIRE)
    before = standing(world, cycle_id)

    assert _answered(app, world, cycle_id, outcome) == "accepted"

    assert state_of(world, cycle_id) is State.RETIRED
    assert standing(world, cycle_id) == before


def test_after_the_sale(world: World, app: FastAPI) -> None:
    """A clearance taken back after the sale still calls a person; the sale stands."""
    for platform in world.platforms.values():
        platform.says = lambda _: Outcome.UNBOUND
    cycle_id = sold(world)

    assert _answered(app, world, cycle_id, Outcome.REFUSED) == "accepted"

    assert facts_of(world, cycle_id).state is State.REASSIGNED
    assert facts_of(world, cycle_id).attention == {Attention(Reason.PLATFORM_CONTRADICTED, ALPHA)}


@pytest.mark.parametrize("outcome", [Outcome.CLEAR, Outcome.REFUSED])
def test_after_a_new_cycle_of_the_number_began(world: World, app: FastAPI, outcome: Outcome) -> None:
    """An answer of the former cycle does not touch the new one."""
    for platform in world.platforms.values():
        platform.says = lambda _: Outcome.UNBOUND
    former = sold(world)
    for platform in world.platforms.values():
        platform.says = lambda _: None
    world.clock.pass_by(timedelta(days=30))
    (new,) = enrolled(world)
    assert new != former
    advance(world, new, State.UNBINDING)
    before = standing(world, new)

    assert _answered(app, world, former, outcome) == "accepted"

    assert standing(world, new) == before


def test_under_a_hold(world: World, app: FastAPI) -> None:
    """A hold stops what we send, not what a platform says."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    order(world, staff(world).operator, cycle_id, Command.HOLD)

    assert _answered(app, world, cycle_id, Outcome.CLEAR) == "accepted"

    assert owed_by(world, cycle_id)[ALPHA].status is Status.DISCHARGED

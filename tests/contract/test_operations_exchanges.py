"""The delivery log by pages and by owner; a kept callback verified, shown and applied again without effect."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from builders import World, a_person, advance, an_installation, enrolled, references
from memory_ports import signed_delivery
from sqlalchemy import delete
from sqlmodel import select

from fallow.domain.errors import NotKnown, PersonRefused, SignatureRefused
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome
from fallow.domain.people import Role
from fallow.operations.answers import accept_answer
from fallow.operations.exchanges import as_json, delivery_log, replay
from fallow.store import cycles, exchanges, obligations
from fallow.store.exchanges import Direction, Exchange
from fallow.store.platform_tables import ExchangeRow
from fallow.store.tables import DeliveryRow

READERS = [Role.ADMINISTRATOR, Role.OPERATOR, Role.APPROVER, Role.AUDITOR]


@pytest.fixture(name="world")
def the_world(tmp_path: Path) -> World:
    """Return an installation whose one number waits for every platform's callback."""
    made = an_installation(tmp_path)
    for platform in made.platforms.values():
        platform.says = lambda _: None
    (cycle_id,) = enrolled(made)
    advance(made, cycle_id, State.TAGGING)
    with made.installation.db.begin() as tx:  # each test begins with an empty log
        tx.session.exec(delete(ExchangeRow))
    return made


def cycle_of(world: World) -> str:
    """Return the one cycle."""
    with world.installation.db.read() as tx:
        return next(iter(tx.session.exec(select(cycles.CycleRow.cycle_id))))


def noted(world: World, count: int, platform_id: str = "alpha-pay") -> None:
    """Write that many exchanges into the log."""
    with world.installation.db.begin() as tx:
        rows = [Exchange(platform_id, Direction.OUT, f"msg_{'a' * 20}{place}", place, 0, 200, "answered", 7) for place in range(count)]
        exchanges.note(tx, rows)


def answered(world: World, outcome: str = "unbound") -> tuple[str, str]:
    """Have a platform answer by callback; return its reference and the delivery's id."""
    reference = references(world, cycle_of(world))["alpha-pay"]
    delivery = signed_delivery(world.keys["alpha-pay"], {reference: outcome}, world.clock.now())
    accept_answer(world.installation, "alpha-pay", delivery, [(reference, Outcome(outcome))])
    return reference, delivery.delivery_id


def events(world: World) -> int:
    """Count the cycle's events."""
    with world.installation.db.read() as tx:
        return len(cycles.events(tx, cycle_of(world)))


def test_the_log_comes_in_pages_latest_first(world: World) -> None:
    """Pages join without a gap or a repeat, and hold no other platform's exchanges."""
    noted(world, 5)
    noted(world, 1, "beta-chat")
    person = a_person(world, Role.AUDITOR)

    first = delivery_log(world.installation, person, "alpha-pay", limit=3)
    second = delivery_log(world.installation, person, "alpha-pay", limit=3, before=first[-1]["exchange_id"])

    assert [each["items"] for each in [*first, *second]] == [4, 3, 2, 1, 0]
    assert first[0].keys() == {"exchange_id", "at", "direction", "delivery_id", "items", "octets", "status", "result", "took_ms"}


@pytest.mark.parametrize("role", Role)
def test_who_may_read_the_log(world: World, role: Role) -> None:
    """Readers see every platform's log, a platform its own, a shop none."""
    noted(world, 1)
    person = a_person(world, role, "alpha-pay" if role is Role.PLATFORM else None)

    if role in (*READERS, Role.PLATFORM):
        assert len(delivery_log(world.installation, person, "alpha-pay")) == 1
    else:
        with pytest.raises(PersonRefused):
            delivery_log(world.installation, person, "alpha-pay")


def test_a_platform_does_not_learn_of_another(world: World) -> None:
    """Another platform's log and one of nobody are refused alike."""
    noted(world, 1, "beta-chat")
    person = a_person(world, Role.PLATFORM, "alpha-pay")

    refused = set()
    for platform_id in ("beta-chat", "nobody-here"):
        with pytest.raises(NotKnown) as caught:
            delivery_log(world.installation, person, platform_id)
        refused.add(str(caught.value))

    assert len(refused) == 1


def test_an_unknown_platform_is_no_empty_log(world: World) -> None:
    """A mistyped id is said so; a platform with which nothing was exchanged has an empty log."""
    person = a_person(world, Role.OPERATOR)

    assert delivery_log(world.installation, person, "gamma-bank") == []
    with pytest.raises(NotKnown, match="nobody-here"):
        delivery_log(world.installation, person, "nobody-here")
    with pytest.raises(NotKnown, match="No platform nobody-here is registered"):
        replay(world.installation, person, "nobody-here", "msg_exampleExampleExample1")
    with pytest.raises(NotKnown, match="No callback"):
        replay(world.installation, person, "gamma-bank", "msg_exampleExampleExample1")


@pytest.mark.parametrize("outcome", ["unbound", "not_bound", "clear"])
def test_a_replay_changes_nothing_and_shows_what_may_be_shown(world: World, outcome: str) -> None:
    """A kept callback verifies, is acknowledged alike, moves nothing, and of the three clearances only `clear` is shown."""
    reference, delivery_id = answered(world, outcome)
    before = events(world)

    found = replay(world.installation, a_person(world, Role.OPERATOR), "alpha-pay", delivery_id)

    assert found.harmless
    assert [(each.reference, each.said, each.status, each.settled_by_it) for each in found.answers] == [
        (reference, Outcome.CLEAR, "DISCHARGED", True)
    ]
    assert json.loads(found.again) == {"answers": {reference: "accepted"}}
    assert found.key_fingerprint == world.keys["alpha-pay"].public.fingerprint
    assert events(world) == before
    assert as_json(found)["harmless"] is True
    assert outcome == "clear" or f'"{outcome}"' not in json.dumps(as_json(found))


def test_a_replay_does_not_undo_what_came_later(world: World) -> None:
    """A delivery that a later one overtook is shown as not the evidence any more, and does not become it again."""
    reference, early = answered(world, "accepted")
    _, late = answered(world)

    found = replay(world.installation, a_person(world, Role.OPERATOR), "alpha-pay", early)

    assert early != late
    assert found.harmless
    assert [(each.said, each.status, each.settled_by_it) for each in found.answers] == [(Outcome.ACCEPTED, "DISCHARGED", False)]
    with world.installation.db.read() as tx:
        assert [row.outcome for row in obligations.of_cycle(tx, cycle_of(world)) if row.reference == reference] == [Outcome.CLEAR]


def test_a_replay_that_changed_something_is_no_harmless_one(world: World) -> None:
    """An obligation that moved, or another acknowledgement, is what the command's exit code tells."""
    _, delivery_id = answered(world)
    found = replay(world.installation, a_person(world, Role.OPERATOR), "alpha-pay", delivery_id)

    assert not replace(found, answers=(replace(found.answers[0], moved=True),)).harmless
    assert not replace(found, again="{}").harmless


def test_a_callback_that_was_altered_is_not_replayed(world: World) -> None:
    """What does not match its own digest is said so, and nothing is applied."""
    _, delivery_id = answered(world)
    with world.installation.db.begin() as tx:
        row = tx.session.get(DeliveryRow, ("alpha-pay", delivery_id))
        assert row is not None
        row.body = row.body[:-1] + bytes([row.body[-1] ^ 1])

    with pytest.raises(SignatureRefused, match="digest"):
        replay(world.installation, a_person(world, Role.OPERATOR), "alpha-pay", delivery_id)


def test_what_is_not_kept_can_not_be_replayed(world: World) -> None:
    """An unknown id, and another platform's, is not known."""
    _, delivery_id = answered(world)

    for platform_id, wanted in (("alpha-pay", "msg_" + "a" * 20), ("beta-chat", delivery_id)):
        with pytest.raises(NotKnown, match="No callback"):
            replay(world.installation, a_person(world, Role.OPERATOR), platform_id, wanted)


@pytest.mark.parametrize("role", [each for each in Role if each not in (Role.ADMINISTRATOR, Role.OPERATOR)])
def test_who_may_not_replay(world: World, role: Role) -> None:
    """To apply something, even without effect, is for those who command."""
    _, delivery_id = answered(world)

    with pytest.raises(PersonRefused):
        replay(world.installation, a_person(world, role, "alpha-pay" if role is Role.PLATFORM else None), "alpha-pay", delivery_id)


def test_more_than_a_page_of_the_delivery_log_goes_in_one_sweep(world: World) -> None:
    """A busy day's rows do not outlive the thirty days because the sweep is slow."""
    old = Exchange("alpha-pay", Direction.OUT, "", 1, 0, 200, "answered", 5)
    with world.installation.db.begin() as tx:
        exchanges.note(tx, [old] * 5_001)
    world.clock.pass_by(timedelta(days=31))

    assert exchanges.forget_old(world.installation.db, 1) == 5_000
    assert exchanges.forget_old(world.installation.db, 3) == 1
    with world.installation.db.begin() as tx:
        exchanges.note(tx, [old] * 5_001)
    world.clock.pass_by(timedelta(days=31))

    assert exchanges.forget_old(world.installation.db, 3) == 5_001

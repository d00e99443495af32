"""The confirmation before UNBINDING settles, on both databases: what a platform with a status query must say again, or else."""

from datetime import timedelta

import pytest
from builders import World, advance, ask_all, enrolled, look_all, look_at, references, state_of
from builders_commands import by_two
from builders_cycles import DOCUMENT, answer, engine, events_of, facts_of, kinds_of, owed_by, row_of, staff
from builders_looking import SILENT_FOR, attempts_of, looking, odd, owed_looks, rung, sampling, unconfirmed
from memory_ports import signed_delivery
from sqlalchemy import text
from sqlmodel import select

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.events import Kind
from fallow.domain.lifecycle import Command, State
from fallow.domain.obligations import Outcome, Status, TargetKind
from fallow.operations.looking import forget_strayed
from fallow.store import cycles, looks, obligations
from fallow.store.tables import DeliveryRow

ALPHA = "alpha-pay"
SILENT, CONTRADICTED = Attention(Reason.PLATFORM_SILENT, ALPHA), Attention(Reason.PLATFORM_CONTRADICTED, ALPHA)


def test_a_platform_confirms_its_word_before_the_stage_settles(world: World) -> None:
    """Its second word is kept, cited by an event, and judged by the gate; the last one wakes the workflow."""
    sampling(world, one_in=0)
    platform = looking(world, shows=None)
    (cycle_id,) = unconfirmed(world)
    before, woken = state_of(world, cycle_id), row_of(world, cycle_id).wake_at
    platform.shows = lambda _: Outcome.NOT_BOUND
    world.clock.pass_by(timedelta(seconds=2))

    look_all(world)
    waits = row_of(world, cycle_id).wake_at
    advance(world, cycle_id, State.RESELLABLE)

    owed = owed_by(world, cycle_id)[ALPHA]
    assert (before, woken, waits) == (State.UNBINDING, None, world.clock.now())
    assert state_of(world, cycle_id) is State.RESELLABLE
    assert owed.outcome is Outcome.CLEAR
    assert owed.confirmed not in (None, owed.evidence)
    assert [event.body for event in events_of(world, cycle_id) if event.kind is Kind.OBLIGATION_CONFIRMED] == [
        {"target_id": ALPHA, "evidence": owed.confirmed}
    ]
    assert owed_looks(world) == []


def test_platforms_that_cannot_be_looked_at_are_not_waited_for(world: World) -> None:
    """A stage settles with its last answer as ever, and a release owes nobody a look."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.RESELLABLE)

    assert state_of(world, cycle_id) is State.RESELLABLE
    assert Kind.OBLIGATION_CONFIRMED not in kinds_of(world, cycle_id)
    assert [platform.looked for platform in world.platforms.values()] == [[], [], []]


@pytest.mark.parametrize("said", [Outcome.REFUSED, Outcome.NEEDS_HUMAN, Outcome.ACCEPTED])
def test_anything_but_a_clearance_is_a_contradiction(world: World, said: Outcome) -> None:
    """The stage stays open and a person is called; asked anew and looked at again, the number goes on."""
    platform = looking(world, shows=said)
    cycle_id = enrolled(world)[0]

    advance(world, cycle_id, State.RESELLABLE)
    stopped = facts_of(world, cycle_id), owed_by(world, cycle_id)[ALPHA]
    platform.shows = lambda _: Outcome.CLEAR
    engine(world).commands.retry(staff(world).operator, cycle_id, "case 1")
    advance(world, cycle_id, State.RESELLABLE)

    assert (stopped[0].state, stopped[0].attention) == (State.UNBINDING, {CONTRADICTED})
    assert (stopped[1].status, stopped[1].outcome, stopped[1].confirmed) == (Status.REFUSED, said, None)
    assert state_of(world, cycle_id) is State.RESELLABLE
    assert facts_of(world, cycle_id).attention == frozenset()


def test_silence_is_asked_about_ever_more_rarely_and_at_last_given_to_a_person(world: World) -> None:
    """Neither settles a stage; a word that comes after all takes the number off the queue by itself."""
    platform = looking(world, shows=None)
    (cycle_id,) = unconfirmed(world)
    at_once = len(platform.looked)
    while facts_of(world, cycle_id).attention == frozenset():
        world.clock.pass_by(timedelta(minutes=5))
        look_all(world)
        engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM)
        assert state_of(world, cycle_id) is State.UNBINDING
        assert world.clock.now() - row_of(world, cycle_id).state_at < SILENT_FOR + timedelta(minutes=15)
    called = facts_of(world, cycle_id).attention
    platform.shows = lambda _: Outcome.CLEAR
    world.clock.pass_by(timedelta(hours=1))
    look_all(world)
    advance(world, cycle_id, State.RESELLABLE)

    assert at_once == 1
    assert len(platform.looked) < 40
    assert called == {SILENT}
    assert set(attempts_of(world, cycle_id)) == {"answered", "look-silent", "looked"}
    assert state_of(world, cycle_id) is State.RESELLABLE
    assert facts_of(world, cycle_id).attention == frozenset()


def test_a_status_query_that_fails_stops_no_request(world: World) -> None:
    """Its breaker is its own: while it is open, the platform is asked as before; and it, too, calls a person at last."""
    odd(world, None)
    ids = unconfirmed(world, 3)
    late = enrolled(world, first=3)[0]
    advance(world, late, State.UNBINDING)
    engine(world).stages.clear(ref(late), TargetKind.PLATFORM)
    for _ in range(5):
        world.clock.pass_by(timedelta(seconds=20))
        look_all(world)
    ask_all(world)
    asked = owed_by(world, late)[ALPHA].status
    world.clock.pass_by(SILENT_FOR)
    look_at(world, ALPHA)

    assert asked is Status.DISCHARGED
    assert [facts_of(world, cycle_id).attention for cycle_id in ids] == [{SILENT}] * 3
    assert all(state_of(world, cycle_id) is State.UNBINDING for cycle_id in ids)
    assert attempts_of(world, ids[0])[1].startswith("look-")


def test_two_people_may_attest_what_a_platform_does_not_confirm(world: World) -> None:
    """Their document stands in for its word, and nobody asks after it; before it is silent for long they may not."""
    odd(world, None)
    (cycle_id,) = unconfirmed(world)
    world.clock.pass_by(SILENT_FOR)
    look_all(world)

    by_two(world, staff(world), cycle_id, Command.ATTEST, target_id=ALPHA, document_sha256=DOCUMENT)
    advance(world, cycle_id, State.RESELLABLE)

    assert (owed_by(world, cycle_id)[ALPHA].outcome, owed_by(world, cycle_id)[ALPHA].confirmed) == (Outcome.ATTESTED, None)
    assert state_of(world, cycle_id) is State.RESELLABLE
    assert owed_looks(world) == []


def test_an_old_message_confirms_nothing(world: World) -> None:
    """The very answer that is to be confirmed, sent once more, is no second word."""
    cycle_id = enrolled(world)[0]

    def first(_: object) -> object:
        with world.installation.db.read() as tx:
            row = tx.session.exec(select(DeliveryRow).where(DeliveryRow.platform_id == ALPHA)).one()
            return world.installation.inbox.open(row)

    odd(world, first)
    advance(world, cycle_id, State.RESELLABLE)

    assert state_of(world, cycle_id) is State.UNBINDING
    assert owed_by(world, cycle_id)[ALPHA].confirmed is None
    assert attempts_of(world, cycle_id) == ["answered", "look-answer-malformed"]


def test_another_platform_s_signature_confirms_nothing(world: World) -> None:
    """Whoever answers the status query, only the platform's own key, or its hub's, speaks for it."""
    odd(world, lambda asked: signed_delivery(world.keys["beta-chat"], dict.fromkeys(asked, Outcome.CLEAR), world.clock.now()))
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.RESELLABLE)

    assert state_of(world, cycle_id) is State.UNBINDING
    assert attempts_of(world, cycle_id) == ["answered", "look-signature-refused"]


def test_a_batch_is_looked_at_by_one_query(world: World) -> None:
    """One message confirms many numbers: it is kept once and cited by each."""
    platform = looking(world, shows=None)
    ids = unconfirmed(world, 3)
    platform.shows, platform.looked = lambda _: Outcome.CLEAR, []
    world.clock.pass_by(timedelta(minutes=1))

    look_all(world)
    idle = look_all(world)

    assert sorted(platform.looked) == sorted(references(world, cycle_id)[ALPHA] for cycle_id in ids)
    assert len({owed_by(world, cycle_id)[ALPHA].confirmed for cycle_id in ids}) == 1
    assert not idle


def test_an_answer_that_comes_during_a_look_stands(world: World) -> None:
    """A refusal that was written while a status query was under way is not overtaken by what the query had seen before."""
    (cycle_id,) = enrolled(world)

    def clear_and_refuse(asked: object) -> object:
        seen = signed_delivery(world.keys[ALPHA], dict.fromkeys(list(asked), Outcome.CLEAR), world.clock.now())  # type: ignore[call-overload]
        answer(world, ALPHA, cycle_id, Outcome.REFUSED)
        return seen

    odd(world, clear_and_refuse)
    advance(world, cycle_id, State.RESELLABLE)

    assert owed_by(world, cycle_id)[ALPHA].status is Status.REFUSED
    assert facts_of(world, cycle_id).attention == {CONTRADICTED}
    assert Kind.OBLIGATION_CONFIRMED not in kinds_of(world, cycle_id)


def test_a_held_number_is_not_looked_at(world: World) -> None:
    """Nothing is sent while a hold is open; lifted, it is looked at and goes on."""
    platform = looking(world, shows=None)
    (cycle_id,) = unconfirmed(world)
    operator, commands = staff(world).operator, engine(world).commands
    hold_id = commands.hold(operator, cycle_id, "court 1")
    platform.looked, platform.shows = [], lambda _: Outcome.CLEAR
    world.clock.pass_by(timedelta(hours=1))

    held = look_all(world), list(platform.looked), rung(world)
    commands.lift(operator, cycle_id, hold_id, "court 1")
    due = rung(world)
    look_all(world)
    advance(world, cycle_id, State.RESELLABLE)

    assert held == (False, [], False)
    assert due
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_what_waits_for_a_look_is_not_stalled_and_what_lost_its_wake_is(world: World) -> None:
    """The sweep wakes no number that a platform is yet to confirm, and every one that owes nothing more."""
    platform = looking(world, shows=None)
    (cycle_id,) = unconfirmed(world)
    world.clock.pass_by(timedelta(minutes=1))

    def stalled() -> list[str]:
        with world.installation.db.read() as tx:
            return cycles.stalled(tx, 10)

    waiting = stalled()
    platform.shows = lambda _: Outcome.CLEAR
    look_all(world)
    with world.installation.db.begin() as tx:
        cycles.awake(tx, cycles.lock_one(tx, cycle_id))  # as if its wake had been lost

    assert (waiting, stalled()) == ([], [cycle_id])


def test_a_status_query_that_is_taken_away_frees_what_waited_for_it(world: World) -> None:
    """A registration may change: what a platform does not offer any more is not waited for, and the workflow hears of it."""
    platform = looking(world, shows=None)
    (cycle_id,) = unconfirmed(world)
    waited = owed_looks(world)
    platform.looks = False

    forgotten = forget_strayed(world.installation, 10)
    woken = row_of(world, cycle_id).wake_at
    advance(world, cycle_id, State.RESELLABLE)

    assert (waited, forgotten, woken) == ([(cycle_id, ALPHA)], 1, world.clock.now())
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_a_status_query_that_is_taken_away_ends_the_wait_for_a_person_too(world: World) -> None:
    """Nobody need retry each number of a platform that was silent for long and then left; one that is still asked stays silent."""
    platform = looking(world, shows=None)
    freed, asked = unconfirmed(world, 2)
    world.clock.pass_by(SILENT_FOR + timedelta(hours=1))
    look_all(world)
    answer(world, ALPHA, asked, Outcome.REFUSED)
    with world.installation.db.begin() as tx:
        cycles.raise_attention(tx, cycles.lock_one(tx, asked), SILENT)
    called = facts_of(world, freed).attention
    platform.looks = False

    forget_strayed(world.installation, 10)

    assert (called, facts_of(world, freed).attention) == ({SILENT}, frozenset())
    assert SILENT in facts_of(world, asked).attention
    assert row_of(world, freed).wake_at is not None
    advance(world, freed, State.RESELLABLE)
    assert state_of(world, freed) is State.RESELLABLE


@pytest.mark.parametrize("reached", [State.UNBINDING, State.TAGGING])
def test_a_cycle_on_its_way_when_looking_begins_is_looked_at_too(world: World, reached: State) -> None:
    """What was cleared before the platform, or this version, knew of looking is confirmed before the gate, and never stuck."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, reached)
    if reached is State.UNBINDING:
        engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM)
        ask_all(world)
    else:
        engine(world).disclosure.issue_tag(ref(cycle_id))
    platform = looking(world)

    advance(world, cycle_id, State.RESELLABLE)

    assert platform.looked == [references(world, cycle_id)[ALPHA]]
    assert owed_by(world, cycle_id)[ALPHA].confirmed is not None
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_what_two_people_ended_is_looked_at_no_more(world: World) -> None:
    """The look of a retired number is forgotten when its turn comes."""
    platform = looking(world, shows=None)
    (cycle_id,) = unconfirmed(world)
    platform.looked = []
    by_two(world, staff(world), cycle_id, Command.RETIRE)
    world.clock.pass_by(timedelta(minutes=1))

    look_all(world)

    assert platform.looked == []
    assert owed_looks(world) == []


DAMAGES = {
    "confirmation altered": ("UPDATE deliveries SET body = :forged WHERE digest = :confirmed", "not genuine"),
    "confirmation gone": ("DELETE FROM deliveries WHERE digest = :confirmed", "not genuine"),
    "another platform's confirmation": (
        "UPDATE obligations SET confirmed = (SELECT digest FROM deliveries WHERE platform_id = 'beta-chat') WHERE target_id = 'alpha-pay'",
        "not genuine",
    ),
    "the first answer for a confirmation": ("UPDATE obligations SET confirmed = evidence WHERE target_id = 'alpha-pay'", "first answer"),
    "a confirmation from before the answer": (
        "UPDATE deliveries SET received_at = '2020-01-01 00:00:00+00:00' WHERE digest = :confirmed",
        "not genuine",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_gate_reads_confirmations_again(damaged: World, damage: str) -> None:
    """Altered, lost, somebody else's, or older than what it confirms: the gate stays shut and says which platform's."""
    looking(damaged)
    cycle_id = enrolled(damaged)[0]
    advance(damaged, cycle_id, State.TAGGING)
    engine(damaged).disclosure.issue_tag(ref(cycle_id))
    statement, short = DAMAGES[damage]
    if damaged.installation.db.sqlite:
        statement = statement.replace("+00:00", ".000000")
    with damaged.installation.db.begin() as tx:
        confirmed = obligations.at_target(tx, ALPHA, [cycle_id])[cycle_id].confirmed
        given = {name: value for name, value in {"forged": b"{}", "confirmed": confirmed}.items() if f":{name}" in statement}
        tx.session.execute(text(statement), given)

    look = engine(damaged).release.release(ref(cycle_id))

    assert look.state == "TAGGING"
    assert any(short in why and ALPHA in why for why in events_of(damaged, cycle_id)[-1].body["why"])


def test_a_confirmation_that_is_not_cited_is_asked_for_again(damaged: World) -> None:
    """Without it the gate is not even judged: the platform is looked at once more first."""
    looking(damaged)
    cycle_id = enrolled(damaged)[0]
    advance(damaged, cycle_id, State.TAGGING)
    engine(damaged).disclosure.issue_tag(ref(cycle_id))
    with damaged.installation.db.begin() as tx:
        tx.session.execute(text("UPDATE obligations SET confirmed = NULL"))

    look = engine(damaged).release.release(ref(cycle_id))

    assert (look.state, look.attention) == ("TAGGING", [])
    assert owed_looks(damaged) == [(cycle_id, ALPHA)]


def test_looks_of_a_sender_that_died_are_due_at_once_to_the_next(world: World) -> None:
    """Claimed and never made: the next sender need not wait until the claim runs out; a look that was put off stays put off."""
    looking(world, shows=None)
    lost, off = unconfirmed(world, 2)
    with world.installation.db.begin() as tx:
        for cycle_id in (lost, off):
            looks.hasten(tx, cycle_id)
        claimed = looks.claim(tx, "alpha-pay", 10, timedelta(minutes=1))
    with world.installation.db.begin() as tx:
        looks.postpone(tx, "alpha-pay", {off: tx.now + timedelta(minutes=1)})
    with world.installation.db.begin() as tx:
        looks.give_back_claims(tx, "alpha-pay")
        again = looks.claim(tx, "alpha-pay", 10, timedelta(minutes=1))

    assert {each.cycle_id for each in claimed} == {lost, off}
    assert [each.cycle_id for each in again] == [lost]

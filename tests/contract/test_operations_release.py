"""Answers and the gate as a transaction, on both databases."""

import hashlib
import json
from datetime import timedelta

import pytest
from builders import World, advance, enrolled, number, references, state_of
from builders_commands import resellable
from builders_cycles import answer, engine, events_of, facts_of, owed_by, row_of, staff
from memory_ports import signed_delivery
from sqlalchemy import text
from sqlmodel import select

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import CommandRefused, NotKnown, TargetUnavailable
from fallow.domain.events import Kind, canonical
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome, Status, TargetKind
from fallow.operations.answers import accept_answer
from fallow.operations.inventory import released
from fallow.operations.sale import sell
from fallow.store import obligations
from fallow.store.tables import EvidenceRow, OutboxRow

SECOND = timedelta(seconds=1)


def waiting(world: World) -> str:
    """Return a cycle in UNBINDING whose platforms are silent so far."""
    for platform in world.platforms.values():
        platform.says = lambda _: None
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.UNBINDING)
    engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM)
    return cycle_id


def test_answers_by_callback_take_the_number_on(world: World) -> None:
    """The last one wakes the workflow, which settles the stage."""
    cycle_id = waiting(world)

    for platform_id in world.platforms:
        answer(world, platform_id, cycle_id, Outcome.NOT_BOUND)

    assert row_of(world, cycle_id).wake_at is not None
    assert engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM).done


def test_another_platform_s_reference_is_as_unknown_as_an_invented_one(world: World) -> None:
    """A platform can speak for nobody but itself (I6)."""
    cycle_id = waiting(world)
    foreign = references(world, cycle_id)["alpha-pay"]
    before = events_of(world, cycle_id)
    said = {foreign: Outcome.CLEAR, "ref_" + "a" * 26: Outcome.CLEAR}
    delivery = signed_delivery(world.keys["beta-chat"], said, world.clock.now())

    ack = accept_answer(world.installation, "beta-chat", delivery, list(said.items()))

    assert ack.count("unknown") == 2
    assert events_of(world, cycle_id) == before


def test_a_delivery_changes_state_once(world: World) -> None:
    """Repeated after the platform took it back, it does not count again (I5)."""
    cycle_id = waiting(world)
    first = answer(world, "alpha-pay", cycle_id, Outcome.CLEAR, delivery_id="msg_abcdefghijklmnop")
    answer(world, "alpha-pay", cycle_id, Outcome.REFUSED, delivery_id="msg_abcdefghijklmnoq")

    again = answer(world, "alpha-pay", cycle_id, Outcome.CLEAR, delivery_id="msg_abcdefghijklmnop")

    assert again == first
    assert owed_by(world, cycle_id)["alpha-pay"].status is Status.REFUSED


@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.WIPED, Outcome.ATTESTED])
def test_what_settles_nothing_changes_nothing(world: World, outcome: Outcome) -> None:
    """A platform can neither wipe nor attest."""
    cycle_id = waiting(world)
    before = events_of(world, cycle_id)
    delivery = signed_delivery(world.keys["alpha-pay"], {}, world.clock.now())

    accept_answer(world.installation, "alpha-pay", delivery, [(references(world, cycle_id)["alpha-pay"], outcome)])

    assert events_of(world, cycle_id) == before


def test_a_contradiction_after_resellable_holds_the_number(world: World) -> None:
    """The engine's own hold blocks the sale, and a person is called."""
    cycle_id = resellable(world)

    answer(world, "alpha-pay", cycle_id, Outcome.REFUSED)

    cycle = facts_of(world, cycle_id)
    assert (cycle.state, cycle.held) == (State.RESELLABLE, True)
    assert cycle.attention == {Attention(Reason.PLATFORM_CONTRADICTED, "alpha-pay")}
    with pytest.raises(CommandRefused, match="HELD"):
        sell(world.installation, staff(world).shop, number(0), str(cycle.tag), "form 1")


def test_lifting_the_hold_does_not_sell_what_a_platform_took_back(world: World) -> None:
    """Neither sold nor exported until the platform has cleared it again."""
    cycle_id = resellable(world)
    people = staff(world)
    tag = str(facts_of(world, cycle_id).tag)
    answer(world, "alpha-pay", cycle_id, Outcome.REFUSED)
    (hold_id,) = facts_of(world, cycle_id).holds

    engine(world).commands.lift(people.operator, cycle_id, hold_id, "case 1")
    with pytest.raises(CommandRefused, match="platform-contradicted:alpha-pay"):
        sell(world.installation, people.shop, number(0), tag, "form 1")
    engine(world).commands.retry(people.operator, cycle_id, "case 1")
    with pytest.raises(CommandRefused, match="alpha-pay"):
        sell(world.installation, people.shop, number(0), tag, "form 1")
    exported = released(world.installation, people.operator)
    answer(world, "alpha-pay", cycle_id, Outcome.UNBOUND)

    assert exported == []
    assert [each.cycle_id for each in released(world.installation, people.operator)] == [cycle_id]
    assert sell(world.installation, people.shop, number(0), tag, "form 1") == cycle_id


def test_the_gate_opens_once_and_tells_inventory_once(world: World) -> None:
    """However often the step is repeated."""
    cycle_id = resellable(world)

    looks = [engine(world).release.release(ref(cycle_id)) for _ in range(3)]

    assert all(look.ended for look in looks)
    assert [event.kind for event in events_of(world, cycle_id)].count(Kind.NUMBER_RELEASED) == 1
    with world.installation.db.read() as tx:
        assert [row.cycle_id for row in tx.session.exec(select(OutboxRow))] == [cycle_id]


def test_a_register_that_cannot_be_asked_decides_nothing(world: World) -> None:
    """The gate neither opens nor calls a person; it is tried again."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.TAGGING)
    engine(world).disclosure.issue_tag(ref(cycle_id))
    before = events_of(world, cycle_id)
    world.lines.down = True

    with pytest.raises(TargetUnavailable):
        engine(world).release.release(ref(cycle_id))
    assert events_of(world, cycle_id) == before


DAMAGES = {
    "receipt altered": "UPDATE evidence SET body = body || ' ' WHERE target_id = 'crm'",
    "receipt gone": "DELETE FROM evidence WHERE target_id = 'crm'",
    "receipt of another cycle": "UPDATE evidence SET cycle_id = cycle_id, kind = 'attestation' WHERE target_id = 'crm'",
    "answer altered": "UPDATE deliveries SET body = :forged WHERE platform_id = 'alpha-pay'",
    "answer gone": "DELETE FROM deliveries WHERE platform_id = 'alpha-pay'",
    "answer of another platform": "UPDATE obligations SET evidence = (SELECT digest FROM deliveries WHERE platform_id = 'beta-chat')"
    " WHERE target_id = 'alpha-pay'",
    "obligation gone": "DELETE FROM obligations WHERE target_id = 'gamma-bank'",
    "obligation reopened": "UPDATE obligations SET status = 'REFUSED' WHERE target_id = 'gamma-bank'",
    "another obligation's reference": "UPDATE obligations SET reference = 'ref_other' WHERE target_id = 'alpha-pay'",
    "stage not settled": 'UPDATE cycles SET settled = \'["QUARANTINE","UNBINDING"]\'',
    "to be handed back": "UPDATE cycles SET handback = true",
    "released too early": "UPDATE cycles SET release_at = '2036-01-01 00:00:00+00:00'",
    "tag's signature forged": "UPDATE tags SET signature = 'AAAA'",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_gate_finds_damaged_rows(damaged: World, damage: str) -> None:
    """Whatever is altered between the stages and the gate stops the number, and a person is told what is short."""
    cycle_id = enrolled(damaged)[0]
    advance(damaged, cycle_id, State.TAGGING)
    engine(damaged).disclosure.issue_tag(ref(cycle_id))
    with damaged.installation.db.begin() as tx:
        statement = DAMAGES[damage]
        if "release_at" in statement and damaged.installation.db.sqlite:
            statement = statement.replace("+00:00", ".000000")
        tx.session.execute(text(statement), {"forged": b"{}"} if ":forged" in statement else {})

    look = engine(damaged).release.release(ref(cycle_id))

    assert look.state == "TAGGING"
    raised = events_of(damaged, cycle_id)[-1]
    assert (raised.kind, raised.body["attention"]) == (Kind.ATTENTION_RAISED, "gate-short")
    assert raised.body["why"]


def test_an_altered_policy_stops_every_cycle_under_it(damaged: World) -> None:
    """A cycle is judged by what was frozen, or not at all."""
    cycle_id = enrolled(damaged)[0]
    advance(damaged, cycle_id, State.TAGGING)
    with damaged.installation.db.begin() as tx:
        tx.session.execute(text("UPDATE policies SET body = replace(body, 'gamma-bank', 'delta-bank')"))

    with pytest.raises(NotKnown, match="missing or was altered"):
        engine(damaged).release.release(ref(cycle_id))
    assert state_of(damaged, cycle_id) is State.TAGGING


def test_one_platform_answering_for_two_does_not_open_the_gate(world: World) -> None:
    """N answers of one platform are one platform's answer (I2)."""
    cycle_id = waiting(world)
    for index in range(len(world.platforms)):
        answer(world, "alpha-pay", cycle_id, Outcome.CLEAR, delivery_id=f"msg_abcdefghijklmno{index}")

    look = engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM)

    assert (look.done, look.state) == (False, "UNBINDING")


@pytest.mark.parametrize(
    ("found", "short"),
    [
        ({"newer": 1}, "rows in scope remained at crm"),
        ({"remaining": 1}, "rows in scope remained at crm"),
        ({"read_back_at": "2026-03-02T08:00:00+00:00"}, "the receipt of crm does not say that it was read back after quarantine ended"),
        ({"read_back_at": "yesterday"}, "the receipt of crm does not say that it was read back after quarantine ended"),
        ({"strategy": "restrict", "affected": 2, "kept": 1}, "rows that the law wants kept are not there any more at crm"),
    ],
)
def test_the_gate_reads_what_a_receipt_found(damaged: World, found: dict[str, object], short: str) -> None:
    """A discharged obligation opens nothing by a receipt, digest and all, that tells of rows that should not be there, or should."""
    cycle_id = enrolled(damaged)[0]
    advance(damaged, cycle_id, State.TAGGING)
    engine(damaged).disclosure.issue_tag(ref(cycle_id))
    rewrite_receipt(damaged, cycle_id, "crm", found)

    look = engine(damaged).release.release(ref(cycle_id))

    assert look.state == "TAGGING"
    assert events_of(damaged, cycle_id)[-1].body["why"] == [short]


def rewrite_receipt(world: World, cycle_id: str, target_id: str, found: dict[str, object]) -> None:
    """Put another receipt, under its right digest, in the place of the one that an obligation cites."""
    with world.installation.db.begin() as tx:
        owed = obligations.at_target(tx, target_id, [cycle_id])[cycle_id]
        body = json.loads(tx.session.get_one(EvidenceRow, owed.evidence).body)
        body["collections"][0] |= found
        text_of = canonical(body)
        owed.evidence = hashlib.sha256(text_of.encode()).hexdigest()
        tx.session.add(EvidenceRow(digest=owed.evidence, cycle_id=cycle_id, target_id=target_id, kind="receipt", body=text_of))

"""Whose signature counts, then and now: key rotation with overlap, retirement, hubs and their members, on both databases."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import event_tokens
import pytest
from builders import World, advance, enrolled, references, state_of
from builders_cycles import Staff, engine, row_of, staff
from builders_registry import a_table, enter, founded, register, told, with_hubs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from memory_ports import signed_delivery
from sqlalchemy import event
from sqlmodel import select

from fallow.domain.attention import Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import SignatureRefused
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome, TargetKind
from fallow.operations.answers import accept_answer
from fallow.operations.installation import Installation
from fallow.operations.registered import LOOK_EVERY, OVERLAPS, Registered
from fallow.operations.registering import Registering
from fallow.platforms.set_form import SetForm
from fallow.platforms.signing import SigningKey, receive
from fallow.store.engine import Database
from fallow.store.tables import DeliveryRow

PAY, CHAT = "alpha-pay", "beta-chat"
NEW = SigningKey.generate()
DAY = timedelta(days=1)


@pytest.fixture
def here(world: World) -> Installation:
    """The installation whose registry holds the world's platforms, and whose speakers are the registry's."""
    made = founded(world)
    world.wired = replace(world.wired, installation=made)
    return made


@pytest.fixture
def people(world: World) -> Staff:
    """Somebody for each part."""
    return staff(world)


def test_a_retired_key_keeps_what_it_signed_and_signs_nothing_more(here: Installation, people: Staff, world: World) -> None:
    """What was received before stays genuine at the gate; what comes after is refused at receipt."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.TAGGING)
    world.clock.pass_by(DAY)
    register(here, people, a_table(PAY, world.keys[PAY], NEW), NEW)
    world.clock.pass_by(DAY)
    register(here, people, a_table(PAY, NEW), NEW)
    world.clock.pass_by(DAY)

    with pytest.raises(SignatureRefused):
        _answer(here, world, "ref_" + "a" * 26, world.keys[PAY])
    assert _answer(here, world, "ref_" + "a" * 26, NEW)
    advance(world, cycle_id, State.RESELLABLE)
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_the_gate_does_not_believe_a_key_before_its_time(here: Installation, people: Staff, world: World) -> None:
    """An answer that lies in the database with an instant before its key was registered proves nothing."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.UNBINDING)
    for platform in world.platforms.values():
        platform.says = lambda _: None
    engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM)
    world.clock.pass_by(DAY)
    register(here, people, a_table(PAY, NEW), NEW)
    owed = references(world, cycle_id)
    _answer(here, world, owed[PAY], NEW)
    for each in (CHAT, "gamma-bank"):
        _answer(here, world, owed[each], world.keys[each], each)
    with here.db.begin() as tx:
        for row in tx.session.exec(select(DeliveryRow).where(DeliveryRow.platform_id == PAY)):
            row.received_at -= DAY
    advance(world, cycle_id, State.RESELLABLE)

    assert state_of(world, cycle_id) is State.TAGGING
    assert Reason.GATE_SHORT in row_of(world, cycle_id).attention


def test_keys_overlap_while_both_are_registered(here: Installation, people: Staff, world: World) -> None:
    """Between the two revisions either key speaks, at every instant of it."""
    old = world.keys[PAY].public
    before = world.clock.now()
    world.clock.pass_by(DAY)
    register(here, people, a_table(PAY, world.keys[PAY], NEW), NEW)
    between = world.clock.now() + DAY / 2
    world.clock.pass_by(DAY)
    register(here, people, a_table(PAY, NEW), NEW)
    after = world.clock.now() + DAY

    def keys(speaker: object) -> object:
        return getattr(speaker, "keys", None)

    assert keys(here.speakers.at(PAY, before)) == (old,)
    assert keys(here.speakers.at(PAY, between)) == (old, NEW.public)
    assert keys(here.speakers.at(PAY, after)) == keys(here.speakers.now(PAY)) == (NEW.public,)


def test_an_answer_received_while_keys_changed_is_not_doubted(here: Installation, people: Staff, world: World) -> None:
    """Another process may have taken it before it knew of the change; a moment later nothing of the old key counts."""
    world.clock.pass_by(DAY)
    register(here, people, a_table(PAY, NEW), NEW)
    changed_at = world.clock.now()

    beside = [here.speakers.at(PAY, changed_at + span) for span in (-2 * OVERLAPS, -OVERLAPS / 2, OVERLAPS / 2, 2 * OVERLAPS)]
    old, new = world.keys[PAY].public, NEW.public
    assert [set(each.keys) for each in beside if each is not None] == [{old}, {old, new}, {old, new}, {new}]


def test_a_hub_speaks_for_its_members_of_that_time(here: Installation, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Membership changes with a revision of the member, and the past stays as it was."""
    with_hubs(monkeypatch)
    hub = SigningKey.generate()
    enter(here, a_table("gate-hub", hub, adapter="hub"))
    world.clock.pass_by(DAY)
    enter(here, a_table(PAY, via="gate-hub", public_keys=[]))
    joined = world.clock.now() + DAY
    world.clock.pass_by(2 * DAY)
    enter(here, a_table(PAY, NEW))
    left = world.clock.now() + DAY

    def members(instant_speaker: object) -> object:
        return getattr(instant_speaker, "speaks_for", None)

    assert members(here.speakers.at("gate-hub", joined - 2 * DAY)) == frozenset()
    assert members(here.speakers.at("gate-hub", joined)) == frozenset({PAY})
    assert here.speakers.at(PAY, joined) is None
    assert members(here.speakers.at("gate-hub", left)) == members(here.speakers.now("gate-hub")) == frozenset()


def test_a_decommissioned_platform_speaks_no_more_and_what_it_said_counts(here: Installation, people: Staff, world: World) -> None:
    """Its evidence stays verifiable, its callbacks are refused."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.TAGGING)
    world.clock.pass_by(DAY)
    proposal = Registering(here).propose_decommission(people.operator, PAY, "contract ended")
    Registering(here).approve(people.approver, proposal)
    world.clock.pass_by(DAY)

    assert told(here, PAY)[-1][0] == "PlatformDecommissioned"
    with pytest.raises(SignatureRefused):
        _answer(here, world, "ref_" + "a" * 26, world.keys[PAY])
    advance(world, cycle_id, State.RESELLABLE)
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_a_change_is_seen_elsewhere(here: Installation, people: Staff, elsewhere: "Elsewhere") -> None:
    """Within its next look, and a look does not wait for anybody's transaction."""
    register(here, people, a_table("delta-shop", NEW), NEW)

    with here.db.begin():
        assert elsewhere.registered.now("delta-shop") is None
        elsewhere.seconds += LOOK_EVERY
        speaker = elsewhere.registered.now("delta-shop")
    assert speaker is not None
    assert speaker.keys == (NEW.public,)


def test_an_outage_makes_nothing_unknown(elsewhere: "Elsewhere") -> None:
    """A process whose database does not answer goes on with what it knew."""
    elsewhere.db.close()
    elsewhere.db.engine = Database("postgresql+psycopg://nobody@127.0.0.1:1/none").engine
    elsewhere.seconds += LOOK_EVERY

    assert elsewhere.registered.now(PAY) is not None


def test_who_follows_asks_without_a_read(here: Installation, people: Staff, elsewhere: "Elsewhere") -> None:
    """Only the thread of its own reads, however long ago its last look was; what it finds is known to all the others."""
    readers = set[str]()

    @event.listens_for(elsewhere.db.engine, "before_cursor_execute")
    def note(*_: object) -> None:
        readers.add(threading.current_thread().name)

    with elsewhere.registered.following():
        register(here, people, a_table("delta-shop", NEW), NEW)
        until = time.monotonic() + 20
        while elsewhere.registered.now("delta-shop") is None and time.monotonic() < until:
            elsewhere.seconds += LOOK_EVERY
            elsewhere.registered.at("delta-shop", here.registered.way.clock.now())
        assert elsewhere.registered.now("delta-shop") is not None

    assert readers == {"registry"}
    assert not any(each.name == "registry" for each in threading.enumerate())


@pytest.mark.parametrize("adapter", ["generic", "shared-signals"])
def test_no_key_of_an_overlap_is_left_out(here: Installation, world: World, adapter: str) -> None:
    """Four keys that are replaced by four others: the last of them still proves what came a moment before, in each form."""
    old, new = [[SigningKey.generate() for _ in range(4)] for _ in range(2)]
    enter(here, a_table("delta-shop", *new, adapter=adapter))
    world.clock.pass_by(DAY)
    enter(here, a_table("delta-shop", *old, adapter=adapter))
    speaker = here.speakers.at("delta-shop", world.clock.now())

    assert speaker is not None
    assert len(speaker.keys) == 2 * 4
    last = speaker.keys[-1]
    signer = next(each for each in (*old, *new) if each.public == last)
    if adapter == "generic":
        kept = signed_delivery(signer, {"ref_" + "a" * 26: Outcome.CLEAR}, world.clock.now())
    else:
        said = event_tokens.claims("ref_" + "a" * 26, "binding-cleared", world.clock.now(), "https://delta-shop.example.com/unbind")
        written = event_tokens.token(Ed25519PrivateKey.from_private_bytes(signer.seed), said, {"alg": "EdDSA", "typ": "secevent+jwt"})
        kept = SetForm().receive({}, written.encode(), [last], world.clock.now())
    assert speaker.form.signer(speaker.keys, kept) == last


class Elsewhere:
    """Another process's view of the same database, on connections of its own and with a clock that a test moves."""

    def __init__(self, here: Installation) -> None:
        """Open the database once more."""
        self.seconds = 0.0
        self.db = Database(here.db.engine.url.render_as_string(hide_password=False))
        self.registered = Registered(self.db, here.registered.bodies, here.registered.way, lambda: self.seconds)


@pytest.fixture
def elsewhere(here: Installation) -> Iterator[Elsewhere]:
    """Another process."""
    made = Elsewhere(here)
    yield made
    made.db.close()


def _answer(here: Installation, world: World, reference: str, key: SigningKey, platform_id: str = PAY) -> str:
    """Take a callback as the API does: verified under the keys of now."""
    delivery = signed_delivery(key, {reference: Outcome.CLEAR}, world.clock.now())
    speaker = here.speakers.now(platform_id)
    if speaker is None:
        raise SignatureRefused("nobody", remedy="none")
    headers = {
        "webhook-id": delivery.delivery_id,
        "webhook-timestamp": str(delivery.signed_at),
        "webhook-signature": delivery.signature,
    }
    receive(headers, delivery.body, speaker.keys, world.clock.now())
    return accept_answer(here, platform_id, delivery, [(reference, Outcome.CLEAR)])


def test_ids_that_strangers_make_up_are_not_remembered(here: Installation) -> None:
    """The id stands in a callback's path, so anybody could fill the memory with as many as they like, or put numbers there."""
    before = dict(here.registered.present._speakers)

    assert [here.registered.now(f"stranger-{place}") for place in range(100)] == [None] * 100

    assert here.registered.present._speakers.keys() <= before.keys() | here.registered.present.entries.keys()

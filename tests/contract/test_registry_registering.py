"""Registering a platform, on both databases: two people, a ping that proves the key, keys that are one platform's alone."""

import json
from datetime import timedelta

import pytest
from builders import World, a_person
from builders_cycles import Staff, staff
from builders_registry import a_table, enter, founded, ping_with, register, run, told, with_hubs
from sqlalchemy import text

from fallow.domain.errors import (
    AnswerMalformed,
    CommandRefused,
    InputRefused,
    MapRefused,
    NotKnown,
    PersonRefused,
    SecondPersonNeeded,
    SignatureRefused,
    TargetUnavailable,
)
from fallow.domain.people import Role
from fallow.operations.installation import Installation
from fallow.operations.people import admit, authenticate, revoke
from fallow.operations.proposals import PROPOSAL_STANDS_FOR
from fallow.operations.registering import PING_COUNTS_FOR, Registering
from fallow.platforms.signing import SigningKey

NEW = SigningKey.generate()
PAY = "alpha-pay"
ADDED = {"added": [NEW.public.fingerprint], "removed": [], "kinds": {NEW.public.fingerprint: "ed25519"}}


@pytest.fixture
def here(world: World) -> Installation:
    """The installation whose registry holds the world's platforms."""
    return founded(world)


@pytest.fixture
def people(world: World) -> Staff:
    """Somebody for each part."""
    return staff(world)


def test_two_people_and_a_ping_register_a_platform(here: Installation, people: Staff) -> None:
    """It counts at once, and the events name both people and the fingerprint of its key."""
    register(here, people, a_table("delta-shop", NEW), NEW)

    speaker = here.registered.now("delta-shop")
    kinds = [kind for kind, _ in told(here, "delta-shop")]
    bodies = dict(told(here, "delta-shop"))
    assert speaker is not None
    assert speaker.keys == (NEW.public,)
    assert kinds == ["PlatformProposed", "PlatformPinged", "PlatformRegistered", "KeysChanged"]
    assert bodies["PlatformPinged"]["fingerprint"] == NEW.public.fingerprint
    assert (bodies["PlatformRegistered"]["by"], bodies["PlatformRegistered"]["second"]) == (
        people.operator.person_id,
        people.approver.person_id,
    )
    assert bodies["KeysChanged"] == {
        "revision": 1,
        "added": [NEW.public.fingerprint],
        "removed": [],
        "kinds": {NEW.public.fingerprint: "ed25519"},
    }


def test_nobody_approves_their_own_registration(here: Installation, people: Staff, world: World) -> None:
    """Not even an administrator, who may do either; nor may somebody whom the proposer admitted."""
    administrator = a_person(world, Role.ADMINISTRATOR)
    with here.db.begin() as tx:
        api_key = admit(tx, here.keys, "a friend", Role.APPROVER, by=administrator)
    with here.db.read() as tx:
        friend = authenticate(tx, here.keys, api_key)
    proposal = ping_with(here, people, a_table("delta-shop", NEW), NEW, by=administrator)

    for person in (administrator, friend):
        with pytest.raises(SecondPersonNeeded):
            Registering(here).approve(person, proposal)
    assert here.registered.now("delta-shop") is None
    assert Registering(here).approve(people.approver, proposal) == "delta-shop"


def test_a_proposer_with_the_role_approver_needs_another_approver(here: Installation, people: Staff) -> None:
    """The same person can't propose and approve, whatever their role."""
    proposal = Registering(here).propose_decommission(people.approver, PAY, "contract ended")

    with pytest.raises(SecondPersonNeeded):
        Registering(here).approve(people.approver, proposal)
    assert PAY in here.registered.present.entries
    Registering(here).approve(people.other_approver, proposal)
    assert PAY not in here.registered.present.entries


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.SHOP])
def test_roles_that_propose_nothing_register_nothing(here: Installation, world: World, role: Role) -> None:
    """The matrix of roles holds for platforms as for numbers."""
    person = a_person(world, role)

    with pytest.raises(PersonRefused):
        Registering(here).propose(person, a_table("delta-shop", NEW))
    with pytest.raises(PersonRefused):
        Registering(here).set_terms(person, PAY, {"batch": 7})


def test_without_a_ping_nothing_is_approved(here: Installation, people: Staff) -> None:
    """Whoever is to be sent numbers proves their key first."""
    proposal = Registering(here).propose(people.operator, a_table("delta-shop", NEW))

    with pytest.raises(CommandRefused, match="not proved its key"):
        Registering(here).approve(people.approver, proposal)
    assert here.registered.now("delta-shop") is None


def test_a_ping_counts_for_a_day(here: Installation, people: Staff, world: World) -> None:
    """A proof of the day before yesterday says nothing of today."""
    proposal = ping_with(here, people, a_table("delta-shop", NEW), NEW)
    world.clock.pass_by(PING_COUNTS_FOR + timedelta(seconds=1))

    with pytest.raises(CommandRefused, match="not proved its key"):
        Registering(here).approve(people.approver, proposal)


def test_a_ping_answered_with_another_key_proves_nothing(here: Installation, people: Staff) -> None:
    """The answer must be signed with the proposed key; what went wrong is kept with the proposal."""
    with pytest.raises(SignatureRefused):
        ping_with(here, people, a_table("delta-shop", NEW), SigningKey.generate())

    assert [kind for kind, _ in told(here, "delta-shop")] == ["PlatformProposed"]
    assert _trouble(here) == "The sender of a message could not be proved."


@pytest.mark.parametrize("said", [{"type": "fallow.pong.v1", "challenge": "ch_another"}, {"challenge": 7}, {"type": "fallow.pong.v1"}])
def test_a_ping_answered_with_another_challenge_proves_nothing(here: Installation, people: Staff, said: dict[str, object]) -> None:
    """A recorded answer of another day is no proof."""
    with pytest.raises(AnswerMalformed):
        ping_with(here, people, a_table("delta-shop", NEW), NEW, lambda _: dict(said))


def test_an_added_key_must_sign_the_ping_itself(here: Installation, people: Staff, world: World) -> None:
    """The old key's signature does not prove that anybody holds the new one."""
    both = a_table(PAY, world.keys[PAY], NEW)

    with pytest.raises(SignatureRefused):
        ping_with(here, people, both, world.keys[PAY])
    Registering(here).deny(people.operator, _open(here), "again")
    register(here, people, both, NEW)
    assert dict(told(here, PAY))["KeysChanged"] == {
        "revision": 2,
        "added": [NEW.public.fingerprint],
        "removed": [],
        "kinds": {NEW.public.fingerprint: "ed25519"},
    }


def test_anothers_key_is_refused_now_and_for_ever(here: Installation, people: Staff, world: World) -> None:
    """Neither a key that another platform has nor one that it gave up can bind an answer to this one."""
    stolen, given_up = world.keys["beta-chat"], world.keys[PAY]
    register(here, people, a_table(PAY, NEW), NEW)

    for key in (stolen, given_up):
        with pytest.raises(MapRefused, match="has or had"):
            Registering(here).propose(people.operator, a_table("delta-shop", key))


def test_a_key_that_was_taken_meanwhile_is_refused_at_approval(here: Installation, people: Staff) -> None:
    """Two proposals with one key may stand side by side; only one can be entered."""
    first = ping_with(here, people, a_table("delta-shop", NEW), NEW)
    second = ping_with(here, people, a_table("eta-shop", NEW), NEW)
    Registering(here).approve(people.approver, first)

    with pytest.raises(MapRefused, match="has or had"):
        Registering(here).approve(people.approver, second)


def test_a_key_that_was_given_up_does_not_come_back(here: Installation, people: Staff, world: World) -> None:
    """It may have been given up because somebody else has it."""
    register(here, people, a_table(PAY, NEW), NEW)

    with pytest.raises(MapRefused, match="gave up"):
        Registering(here).propose(people.operator, a_table(PAY, NEW, world.keys[PAY]))


def test_a_secret_is_one_platforms_alone(here: Installation, people: Staff) -> None:
    """Whoever shares a secret with another could sign as the other."""
    shared = {"shared_secret": "whsec_" + "QUJD" * 11}
    register(here, people, a_table("delta-shop", NEW, **shared), NEW)

    with pytest.raises(MapRefused, match="has or had"):
        Registering(here).propose(people.operator, a_table("eta-shop", SigningKey.generate(), **shared))


def test_the_engines_own_key_is_nobodys(here: Installation, people: Staff) -> None:
    """Else our own request, sent back, would pass for an answer."""
    with pytest.raises(MapRefused, match="engine's own key"):
        Registering(here).propose(people.operator, a_table("delta-shop", here.registered.way.signing_key))


def test_a_second_open_proposal_is_refused(here: Installation, people: Staff, world: World) -> None:
    """What waits is decided, or taken back by who made it, or expires."""
    first = Registering(here).propose(people.operator, a_table("delta-shop", NEW))
    with pytest.raises(CommandRefused, match=first):
        Registering(here).propose(people.approver, a_table("delta-shop", SigningKey.generate()))

    Registering(here).deny(people.operator, first, "mistyped")
    second = Registering(here).propose(people.approver, a_table("delta-shop", NEW))
    world.clock.pass_by(PROPOSAL_STANDS_FOR + timedelta(seconds=1))
    Registering(here).propose(people.operator, a_table("delta-shop", NEW))
    with pytest.raises(CommandRefused, match="no longer stands"):
        Registering(here).approve(people.other_approver, second)


def test_a_proposal_whose_proposer_left_falls(here: Installation, people: Staff) -> None:
    """A revoked key decides nothing any more."""
    proposal = Registering(here).propose_decommission(people.operator, PAY, "contract ended")
    with here.db.begin() as tx:
        revoke(tx, people.operator.person_id)

    with pytest.raises(CommandRefused, match="no longer stands"):
        Registering(here).approve(people.approver, proposal)


def test_only_an_approver_denies_what_somebody_else_proposed(here: Installation, people: Staff, world: World) -> None:
    """And a denied proposal is closed for good."""
    proposal = Registering(here).propose_decommission(people.operator, PAY, "contract ended")
    with pytest.raises(PersonRefused):
        Registering(here).deny(a_person(world, Role.OPERATOR), proposal, "no")

    Registering(here).deny(people.approver, proposal, "no")
    with pytest.raises(CommandRefused, match="decided before"):
        Registering(here).approve(people.other_approver, proposal)


def test_one_operator_sets_terms_and_nothing_else(here: Installation, people: Staff) -> None:
    """Pace and contact are an operator's; everything that leads numbers elsewhere takes two people."""
    Registering(here).set_terms(people.operator, PAY, {"batch": 7, "contact": "night desk"})

    assert here.registered.present.entries[PAY].batch == 7
    assert told(here, PAY)[-1][0] == "TermsSet"
    for forbidden in ({"url": "https://elsewhere.example.com/"}, {"public_keys": [NEW.public.text]}, {"via": "hub"}, {"number_key": ""}):
        with pytest.raises(InputRefused, match="Other keys than terms"):
            Registering(here).set_terms(people.operator, PAY, {"batch": 8, **forbidden})
    with pytest.raises(NotKnown):
        Registering(here).set_terms(people.operator, "nobody", {"batch": 8})


def test_what_changed_meanwhile_is_not_overwritten(here: Installation, people: Staff, world: World) -> None:
    """A proposal follows the revision it was made from, and no other."""
    proposal = ping_with(here, people, a_table(PAY, world.keys[PAY]), world.keys[PAY])
    enter(here, a_table(PAY, world.keys[PAY], batch=7))

    with pytest.raises(CommandRefused, match="has changed since"):
        Registering(here).approve(people.approver, proposal)
    assert here.registered.present.entries[PAY].batch == 7


def test_a_proposal_that_changes_nothing_is_refused(here: Installation, people: Staff, world: World) -> None:
    """Nobody's time is asked for nothing."""
    with pytest.raises(CommandRefused, match="changes nothing"):
        Registering(here).propose(people.operator, a_table(PAY, world.keys[PAY], batch=50))


def test_a_record_systems_id_is_no_platforms(here: Installation, people: Staff) -> None:
    """What is owed is kept under the id, so it can't be both."""
    with pytest.raises(MapRefused, match="both as a record system"):
        Registering(here).propose(people.operator, a_table("crm", NEW))


def test_a_hub_comes_before_its_members_and_leaves_after_them(here: Installation, people: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform can't be reached through something that is no hub."""
    with_hubs(monkeypatch)
    member = a_table("delta-shop", via="gate-hub", url="", public_keys=[])
    with pytest.raises(MapRefused, match="names gate-hub as its hub"):
        Registering(here).propose(people.operator, member)
    with pytest.raises(MapRefused, match="as its hub"):
        Registering(here).propose(people.operator, {**member, "via": PAY})

    register(here, people, a_table("gate-hub", NEW, adapter="hub"), NEW)
    with pytest.raises(CommandRefused, match="stop being one"):
        Registering(here).propose(people.operator, a_table("gate-hub", NEW))


def test_secrets_are_nowhere_in_the_clear(here: Installation, people: Staff) -> None:
    """Neither in revisions nor in proposals nor in events, and they read back as they were."""
    number_key, shared = "whnk_" + "MDEy" * 11, "whsec_" + "QUJD" * 11
    register(here, people, a_table("delta-shop", NEW, number_form="keyed-hash", number_key=number_key, shared_secret=shared), NEW)

    with here.db.read() as tx:
        kept = [
            str(row)
            for table in ("platforms", "platform_proposals", "registry_events")
            for row in tx.session.connection().execute(text(f"SELECT * FROM {table}"))
        ]
    assert len(kept) > 4
    assert not [row for row in kept if number_key in row or shared in row or "QUJDQUJD" in row or "MDEyMDEy" in row]
    entry = here.registered.present.entries["delta-shop"]
    assert (entry.number_key, entry.shared_secret) == (number_key, shared)


def test_a_secret_moved_to_another_platform_does_not_open(here: Installation, people: Staff) -> None:
    """What is sealed is bound to its platform: a row put in another's place takes that one out of use, and no other."""
    register(here, people, a_table("delta-shop", NEW, shared_secret="whsec_" + "QUJD" * 11), NEW)
    with here.db.begin() as tx:
        connection = tx.session.connection()
        body = json.loads(connection.execute(text("SELECT body FROM platforms WHERE platform_id = 'delta-shop'")).scalar_one())
        moved = json.dumps({**body, "id": "theta-shop", "public_keys": [SigningKey.generate().public.text]})
        connection.execute(
            text(
                "INSERT INTO platforms SELECT 'theta-shop', 1, :body, active_from, 'x', 'y' FROM platforms WHERE platform_id = 'delta-shop'"
            ),
            {"body": moved},
        )
    here.registered.refresh()

    assert "theta-shop" not in here.registered.present.entries
    assert "delta-shop" in here.registered.present.entries


def test_an_endpoint_that_is_not_there_proves_nothing(here: Installation, people: Staff) -> None:
    """What can't be reached can't be registered."""
    nowhere = a_table("delta-shop", NEW, url="http://127.0.0.1:1/", allow_loopback=True)
    proposal = Registering(here).propose(people.operator, nowhere)

    with pytest.raises(TargetUnavailable):
        run(Registering(here).ping(people.operator, proposal))
    assert "could not" in (_trouble(here) or "")


def _trouble(here: Installation) -> str | None:
    with here.db.read() as tx:
        return tx.session.connection().execute(text("SELECT trouble FROM platform_proposals")).scalar_one()  # type: ignore[no-any-return]


def _open(here: Installation) -> str:
    with here.db.read() as tx:
        query = "SELECT proposal_id FROM platform_proposals WHERE decided_at IS NULL"
        return tx.session.connection().execute(text(query)).scalar_one()  # type: ignore[no-any-return]

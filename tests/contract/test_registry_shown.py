"""What is shown of platforms: fingerprints, revisions, events, proposals that wait, and never a secret; on both databases."""

import json

import pytest
from builders import World
from builders_cycles import Staff, staff
from builders_registry import a_table, answering, founded, register, run, with_hubs

from fallow.domain.errors import NotKnown, PersonRefused
from fallow.operations.installation import Installation
from fallow.operations.platform_status import list_platforms, open_platform_proposals, show_platform
from fallow.operations.registering import Registering
from fallow.platforms.signing import HmacKey, SigningKey

NEW = SigningKey.generate()
SECRET = {"number_form": "keyed-hash", "number_key": "whnk_" + "MDEy" * 11, "shared_secret": "whsec_" + "QUJD" * 11}


@pytest.fixture
def here(world: World) -> Installation:
    """The installation whose registry holds the world's platforms."""
    return founded(world)


@pytest.fixture
def people(world: World) -> Staff:
    """Somebody for each part."""
    return staff(world)


def test_a_platform_is_shown_with_all_that_happened_to_it(here: Installation, people: Staff) -> None:
    """Its fingerprints and events are there to be compared; of a secret only that it is set."""
    register(here, people, a_table("delta-shop", NEW, **SECRET), NEW)
    Registering(here).set_terms(people.operator, "delta-shop", {"batch": 7})
    waiting = Registering(here).propose_decommission(people.operator, "delta-shop", "contract ended")

    shown = show_platform(here, people.auditor, "delta-shop")
    shared = HmacKey.from_text(SECRET["shared_secret"]).fingerprint
    assert shown["registration"]["fingerprints"] == [NEW.public.fingerprint, shared]
    assert (shown["registration"]["table"]["number_key"], shown["registration"]["table"]["batch"]) == ("set", 7)
    assert [each["revision"] for each in shown["revisions"]] == [1, 2]
    assert [each["kind"] for each in shown["events"]][-2:] == ["TermsSet", "PlatformProposed"]
    assert [(each["proposal_id"], each["decommission"], each["reference"]) for each in shown["proposals"]] == [
        (waiting, True, "contract ended")
    ]
    text = json.dumps([shown, list_platforms(here, people.auditor), open_platform_proposals(here, people.auditor)])
    assert "sealed:" not in text
    assert "QUJDQUJD" not in text
    assert "MDEyMDEy" not in text


def test_every_platform_is_listed_with_what_waits(here: Installation, people: Staff) -> None:
    """By id, each with its open proposal; a shop sees none of it."""
    waiting = Registering(here).propose_decommission(people.operator, "beta-chat", "contract ended")

    listed = list_platforms(here, people.auditor)
    assert [(each["platform_id"], each["proposal"]) for each in listed] == [
        ("alpha-pay", None),
        ("beta-chat", waiting),
        ("gamma-bank", None),
    ]
    assert [each["proposal_id"] for each in open_platform_proposals(here, people.auditor)] == [waiting]
    with pytest.raises(PersonRefused):
        list_platforms(here, people.shop)
    with pytest.raises(NotKnown):
        show_platform(here, people.auditor, "nobody")


def test_a_member_is_vouched_for_by_its_hub(here: Installation, people: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ping goes to the hub's endpoint, and the hub's key signs the answer."""
    with_hubs(monkeypatch)

    async def pinged() -> str:
        async with answering(here, NEW) as server:
            hub = a_table("gate-hub", NEW, adapter="hub", url=f"http://127.0.0.1:{server.port}/", allow_loopback=True)
            registering = Registering(here)
            first = registering.propose(people.operator, hub)
            await registering.ping(people.operator, first)
            registering.approve(people.approver, first)
            member = a_table("delta-shop", via="gate-hub", url="", public_keys=[])
            second = registering.propose(people.operator, member)
            await registering.ping(people.operator, second)
        await here.registered.way.transport.aclose()
        return second

    Registering(here).approve(people.approver, run(pinged()))
    hub = here.registered.now("gate-hub")
    assert hub is not None
    assert hub.speaks_for == {"delta-shop"}

"""What people are shown of an answer: why it was refused, and whose key proves it."""

import base64
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from builders import World, a_person, advance, an_installation, enrolled, references
from builders_cycles import answer, events_of

from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome, RefusalReason
from fallow.domain.people import Role
from fallow.operations.answers import accept_answer
from fallow.operations.status import list_cycles, show
from fallow.platforms.forms import WebhookForm
from fallow.platforms.protocol import parse_answers
from fallow.platforms.signing import HmacKey, SigningKey, new_delivery_id, sign

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return an installation whose one number waits for every platform's callback; alpha-pay shares a secret with the engine."""
    made = an_installation(tmp_path)
    for platform in made.platforms.values():
        platform.says = lambda _: None
    made.wired.entries["alpha-pay"] = replace(made.wired.entries["alpha-pay"], shared_secret=SECRET)
    (cycle_id,) = enrolled(made)
    advance(made, cycle_id, State.TAGGING)
    return made


def the_cycle(world: World) -> str:
    """Return the only cycle."""
    return str(list_cycles(world.installation, a_person(world, Role.AUDITOR))[0]["cycle_id"])


def say(world: World, body: str, *, key: SigningKey | None = None) -> None:
    """Let alpha-pay call back, signed with its own key, or with the secret alone where it has none."""
    at: datetime = world.clock.now()
    raw = body.replace("REF", references(world, the_cycle(world))["alpha-pay"]).encode()
    headers = sign(key or SigningKey.generate(), new_delivery_id(), at, raw, HmacKey.from_text(SECRET))
    speaker = world.installation.speakers.now("alpha-pay")
    assert speaker is not None
    delivery = WebhookForm().receive(headers, raw, speaker.keys, at)
    accept_answer(world.installation, "alpha-pay", delivery, [(each.reference, each.outcome) for each in parse_answers(raw)])


def owed(world: World) -> dict[str, dict[str, Any]]:
    """Return the cycle's obligations as shown, by target."""
    cycle = show(world.installation, a_person(world, Role.AUDITOR), the_cycle(world))
    return {each["target_id"]: each for each in cycle["obligations"]}


def test_the_reason_of_a_refusal_reaches_the_person_who_must_act(world: World) -> None:
    """The ATTENTION event says why, in the protocol's word; a refusal without a reason says nothing."""
    cycle_id = the_cycle(world)

    say(world, '{"answers":[{"reference":"REF","outcome":"refused","reason":"debt"}]}')
    answer(world, "beta-chat", cycle_id, Outcome.REFUSED)

    raised = {each.body["attention"]: each.body.get("why") for each in events_of(world, cycle_id) if each.kind is Kind.ATTENTION_RAISED}
    assert raised == {"platform-refused:alpha-pay": [str(RefusalReason.DEBT)], "platform-refused:beta-chat": None}


def test_it_is_shown_whose_key_proves_an_answer_and_of_which_kind(world: World) -> None:
    """One that the operator could have made under a shared secret is told from one that only the platform could have made."""
    answer(world, "beta-chat", the_cycle(world), Outcome.CLEAR)
    assert owed(world)["alpha-pay"]["signed_by"] is None

    say(world, '{"answers":[{"reference":"REF","outcome":"clear"}]}')
    shown = owed(world)

    own, shared = world.keys["beta-chat"].public, HmacKey.from_text(SECRET)
    assert shown["alpha-pay"]["signed_by"] == {"speaker": "alpha-pay", "kind": "hmac-sha256", "fingerprint": shared.fingerprint}
    assert shown["beta-chat"]["signed_by"] == {"speaker": "beta-chat", "kind": "ed25519", "fingerprint": own.fingerprint}
    assert {each["signed_by"] for each in shown.values() if each["kind"] == "records"} == {None}


def test_an_answer_signed_both_ways_is_the_platforms_own(world: World) -> None:
    """The key that only the platform holds is the one that is cited."""
    say(world, '{"answers":[{"reference":"REF","outcome":"clear"}]}', key=world.keys["alpha-pay"])

    assert owed(world)["alpha-pay"]["signed_by"]["kind"] == "ed25519"

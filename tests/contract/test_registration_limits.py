"""What one person alone can't bring about by a registration, and what two can't bring about by oversight."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from builders import World
from builders_cycles import Staff, staff
from builders_registry import a_table, enter, founded, register, told
from sqlmodel import select

from fallow.domain.errors import CommandRefused, MapRefused
from fallow.operations.installation import Installation
from fallow.operations.registering import Registering
from fallow.operations.registry_founding import demand_keys_apart, found_or_compare
from fallow.operations.sale import DEMO_FACT
from fallow.platforms.platform_map import read_registration
from fallow.platforms.signing import HmacKey, SigningKey
from fallow.store.tables import FactRow

NEW, OTHER = SigningKey.generate(), SigningKey.generate()
PAY = "alpha-pay"
SECRET = "whsec_" + "QUJD" * 11
LOOPBACK = {"url": "http://127.0.0.1:1/admin", "allow_loopback": True}


@pytest.fixture
def here(world: World) -> Installation:
    """The installation whose registry holds the world's platforms."""
    return founded(world)


@pytest.fixture
def people(world: World) -> Staff:
    """Somebody for each part."""
    return staff(world)


def no_demo(here: Installation) -> None:
    """Make it an installation that serves a carrier."""
    with here.db.begin() as tx:
        tx.session.delete(tx.session.exec(select(FactRow).where(FactRow.name == DEMO_FACT)).one())


def test_this_machine_is_no_platform_of_a_real_installation(here: Installation, people: Staff) -> None:
    """Else one person could propose and ping whatever listens here; what the founding brought keeps its address, and no other."""
    enter(here, a_table("old-shop", NEW, **LOOPBACK))
    no_demo(here)

    with pytest.raises(CommandRefused, match="allow_loopback"):
        Registering(here).propose(people.operator, a_table("delta-shop", OTHER, **LOOPBACK))
    with pytest.raises(CommandRefused, match="allow_loopback"):
        Registering(here).propose(people.operator, a_table("old-shop", NEW, **{**LOOPBACK, "url": "http://127.0.0.1:2/"}))
    assert Registering(here).propose(people.operator, a_table("old-shop", NEW, OTHER, **LOOPBACK))


def test_a_path_tells_nothing_of_what_lies_there(here: Installation, people: Staff, tmp_path: Path) -> None:
    """A pipe, a folder, a big file, one without PEM and none at all are refused in the same words, and none is waited for."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("no PEM")
    (tmp_path / "big").write_bytes(bytes(1024 * 1024 + 1))
    said = set[str]()
    for key in ("ca_file", "client_certificate_file"):
        for name in ("pipe", "text", "big", "", "nothing"):
            path = str(tmp_path / name)
            with pytest.raises(MapRefused) as refused:
                Registering(here).propose(people.operator, a_table("delta-shop", NEW, **{key: path}))
            said.add(refused.value.what.replace(path, "…"))

    assert said == {"The ca_file … can't be used.", "The client_certificate_file … can't be used."}


def test_no_two_platforms_share_a_folder(here: Installation, people: Staff) -> None:
    """Each would read whom the other is asked about; neither equal nor nested, however it is written."""
    enter(here, _drop("echo-shop", NEW, "/srv/drop/echo"))

    for folder in ("/srv/drop/echo", "/srv//drop/./echo/", "//srv/drop/echo", "/srv/drop", "/srv/drop/echo/in"):
        with pytest.raises(MapRefused, match="share a folder"):
            Registering(here).propose(people.operator, _drop("delta-shop", OTHER, folder))
    with pytest.raises(MapRefused, match="folder"):
        Registering(here).propose(people.operator, _drop("delta-shop", OTHER, "/srv/drop/other/../echo"))
    assert Registering(here).propose(people.operator, _drop("delta-shop", OTHER, "/srv/drop/echo-2"))


@pytest.mark.parametrize("adapter", ["shared-signals", "rsa-notify", "file-drop"])
def test_a_secret_that_no_form_uses_is_refused(adapter: str) -> None:
    """It would be one more key that seems to count."""
    with pytest.raises(MapRefused, match="shared_secret"):
        read_registration("a test", a_table("delta-shop", NEW, adapter=adapter, folder="/srv/x", shared_secret=SECRET))


def test_a_shared_secret_is_seen_to_come_and_go(here: Installation, world: World, people: Staff) -> None:
    """Whoever holds it can sign, so that its fingerprint and kind are told like a key's."""
    register(here, people, a_table("delta-shop", NEW), NEW)
    register(here, people, a_table("delta-shop", NEW, OTHER, shared_secret=SECRET), OTHER)
    secret = HmacKey.from_text(SECRET).fingerprint

    kind, body = told(here, "delta-shop")[-1]
    assert kind == "KeysChanged"
    assert set(body["added"]) == {secret, OTHER.public.fingerprint}
    assert body["kinds"] == {secret: "hmac-sha256", OTHER.public.fingerprint: "ed25519"}
    assert SECRET not in json.dumps(told(here, "delta-shop"))


def test_one_persons_terms_void_no_proposal(here: Installation, people: Staff, world: World) -> None:
    """While something waits for a second person, terms wait as well; the event tells whom to call before and after."""
    waiting = Registering(here).propose(people.operator, a_table(PAY, world.keys[PAY], NEW))
    with pytest.raises(CommandRefused, match=waiting):
        Registering(here).set_terms(people.operator, PAY, {"contact": "mallory@example.com"})
    Registering(here).deny(people.operator, waiting, "case 1")
    Registering(here).set_terms(people.operator, PAY, {"contact": "new@example.com"})

    assert told(here, PAY)[-1][1]["contact"] == {"before": "ops@example.com", "after": "new@example.com"}


def test_nobody_is_asked_for_years_without_a_person() -> None:
    """Reminders and their distance are bounded together."""
    assert read_registration("a test", a_table(PAY, NEW, remind_after="100d", reminders=3))
    with pytest.raises(MapRefused, match="remind_after"):
        read_registration("a test", a_table(PAY, NEW, remind_after="100d", reminders=4))


def test_a_decommissioned_platforms_key_does_not_come_back(here: Installation, people: Staff, world: World) -> None:
    """It may have been decommissioned because the key got lost."""
    enter(here, a_table(PAY, world.keys[PAY]), decommissioned=True)

    with pytest.raises(MapRefused, match="gave up"):
        Registering(here).propose(people.operator, a_table(PAY, world.keys[PAY]))


def test_the_file_brings_back_nobody_elses_key(here: Installation, world: World, tmp_path: Path) -> None:
    """What follows the file is judged like a proposal: a key that another gave up speaks for nobody."""
    given_up = world.keys[PAY]
    enter(here, a_table(PAY, NEW))
    path = tmp_path / "platforms.toml"
    path.write_text("[[platform]]\n" + "\n".join(f"{key} = {_toml(value)}" for key, value in a_table("shop", given_up, **LOOPBACK).items()))

    with pytest.raises(MapRefused, match="has or had"):
        found_or_compare(here.db, here.registered, path, [])


def _drop(platform_id: str, key: SigningKey, folder: str) -> dict[str, Any]:
    return a_table(platform_id, key, adapter="file-drop", url="", folder=folder)


def _toml(value: object) -> str:
    return json.dumps(value)


def test_a_secret_that_another_has_is_the_same_with_zeros_behind_it(here: Installation, people: Staff) -> None:
    """HMAC fills a key up with zeros (RFC 2104), so both sign alike, whoever has the one has the other, and a lost one stays lost."""
    secret = b"a secret of thirty-two bytes ..."
    longer = secret + b"\0\0"
    assert HmacKey(secret).sign(b"an answer") == HmacKey(longer).sign(b"an answer")
    enter(here, a_table("echo-shop", NEW, shared_secret=_written(secret)))

    with pytest.raises(MapRefused, match="has or had"):
        Registering(here).propose(people.operator, a_table("delta-shop", OTHER, shared_secret=_written(longer)))
    numbers = {"number_form": "keyed-hash", "number_key": _written(secret, "whnk_")}
    with pytest.raises(MapRefused, match="has or had"):
        Registering(here).propose(people.operator, a_table("delta-shop", OTHER, **numbers))
    enter(here, a_table("echo-shop", NEW))
    with pytest.raises(MapRefused, match="gave up before"):
        Registering(here).propose(people.operator, a_table("echo-shop", NEW, shared_secret=_written(longer)))


def test_a_file_can_not_give_two_platforms_one_secret_by_zeros(tmp_path: Path) -> None:
    """At the founding nobody else compares them."""
    first = a_table("echo-shop", NEW, shared_secret=_written(b"k" * 32))
    second = a_table("delta-shop", OTHER, shared_secret=_written(b"k" * 32 + b"\0"))
    read = {str(table["id"]): (read_registration("the file", table), table) for table in (first, second)}

    with pytest.raises(MapRefused, match="in common"):
        demand_keys_apart(tmp_path / "platforms.toml", read)


@pytest.mark.parametrize("adapter", ["manual", "rsa-notify", "file-drop"])
def test_whoever_is_reached_over_a_hub_is_pinged_whatever_its_adapter(here: Installation, people: Staff, adapter: str) -> None:
    """Its numbers go to the hub, so an adapter that is never pinged itself is no way around the hub's word."""
    enter(here, a_table("gate-hub", NEW, adapter="hub"))
    member = a_table("delta-shop", adapter=adapter, via="gate-hub", url="", public_keys=[])

    proposal = Registering(here).propose(people.operator, member)

    with pytest.raises(CommandRefused, match="has not proved its key"):
        Registering(here).approve(people.approver, proposal)


def _written(secret: bytes, prefix: str = "whsec_") -> str:
    return prefix + base64.b64encode(secret).decode()

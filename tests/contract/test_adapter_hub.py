"""A hub that speaks for many platforms: one route, answers per platform, and evidence that says whose key signed."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from adapter_ground import ENGINE, ME, Ground, answering, ground, url_of
from builders import headers_of, references
from memory_ports import START, signed_delivery
from rude_server import Server, response

from fallow.domain.errors import MapRefused
from fallow.domain.obligations import Outcome, Status
from fallow.platforms.platform_map import asked, demand_hubs, read_registration
from fallow.platforms.signing import SigningKey, receive, sign
from fallow.store.tables import DeliveryRow

HUB_KEY, OWN_KEY, STRANGER = (SigningKey(bytes([each] * 32)) for each in (1, 2, 3))
HUB = {"id": "number-hub", "adapter": "hub", "public_keys": [HUB_KEY.public.text]}
MEMBER = {"id": ME, "via": "number-hub"}
OTHER_MEMBER = {"id": "beta-chat", "category": "social", "via": "number-hub", "public_keys": [OWN_KEY.public.text]}


def _answers(key: SigningKey | None, made: Ground | list[Ground], outcome: str = "clear", reference: str = "") -> bytes:
    (here,) = made if isinstance(made, list) else [made]
    if key is None:
        return response("202 Accepted")
    body = json.dumps({"answers": [{"reference": reference or here.reference, "outcome": outcome}]}).encode()
    headers = sign(key, "msg_hubhubhubhubhubhub", here.world.clock.now(), body)
    return response("200 OK", *(f"{name}: {value}" for name, value in headers.items()), body=body)


def _speaker(here: Ground, target_id: str = ME) -> str:
    with here.world.installation.db.read() as tx:
        kept = here.world.installation.inbox.by_digest(tx, str(here.owed(target_id).evidence))
    assert kept is not None
    return kept.speaker_id


async def _asked(folder: Path, key: SigningKey | None, member: Mapping[str, object] = MEMBER) -> tuple[Ground, Server]:
    made: list[Ground] = []
    async with (
        answering(lambda _, __: _answers(key, made)) as server,
        ground(folder, {**HUB, "url": url_of(server)}, member) as here,
    ):
        made.append(here)
        await here.ask()
        return here, server


async def test_a_request_goes_to_the_hub_and_names_the_platform(tmp_path: Path) -> None:
    """The hub's endpoint gets the generic body, signed by the engine, with the member's id in it."""
    _, server = await _asked(tmp_path, None)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])

    receive(headers, body, [ENGINE.public], START, window=10**9)

    assert (json.loads(body)["type"], json.loads(body)["platform"]) == ("fallow.unbind.v1", ME)
    assert len(json.loads(body)["items"]) == 1


@pytest.mark.parametrize(
    ("key", "keys", "speaker"), [(HUB_KEY, [], "number-hub"), (HUB_KEY, [OWN_KEY], "number-hub"), (OWN_KEY, [OWN_KEY], ME)]
)
async def test_the_evidence_says_whose_key_signed(tmp_path: Path, key: SigningKey, keys: list[SigningKey], speaker: str) -> None:
    """An answer in the hub's response counts under the hub's key or the platform's own, and the gate believes it as that one's."""
    here, _ = await _asked(tmp_path, key, {**MEMBER, "public_keys": [each.public.text for each in keys]})

    proof = here.proof()
    assert (here.owed().status, _speaker(here)) == (Status.DISCHARGED, speaker)
    assert proof is not None
    assert proof.genuine
    assert proof.outcome is Outcome.CLEAR
    here.world.platforms[ME] = here.world.platforms["gamma-bank"]
    assert here.released()


async def test_a_stranger_s_signature_settles_nothing(tmp_path: Path) -> None:
    """What neither the hub nor the platform signed counts as not answered."""
    here, _ = await _asked(tmp_path, STRANGER)

    assert here.owed().status == Status.OPEN


async def test_a_callback_of_the_hub_answers_for_all_its_members_at_once(tmp_path: Path) -> None:
    """One body at the hub's own id moves obligations of several platforms, each by its reference, and the gate believes each."""
    async with answering(lambda _, __: response("202 Accepted")) as server:
        url = url_of(server)
        async with ground(tmp_path, {**HUB, "url": url}, MEMBER, OTHER_MEMBER) as here:
            theirs = references(here.world, here.cycle_id)
            said = {theirs[ME]: "clear", theirs["beta-chat"]: "refused"}
            delivery = signed_delivery(HUB_KEY, said, here.world.clock.now())

            replied = await here.call_back(headers_of(delivery), delivery.body, speaker="number-hub")

            assert (replied.status_code, set(replied.json()["answers"].values())) == (200, {"accepted"})
            assert (here.owed().status, here.owed("beta-chat").status) == (Status.DISCHARGED, Status.REFUSED)
            assert [proof and (proof.genuine, proof.outcome) for proof in (here.proof(), here.proof("beta-chat"))] == [
                (True, Outcome.CLEAR),
                (True, Outcome.REFUSED),
            ]


@pytest.mark.parametrize(("speaker", "key"), [("number-hub", OWN_KEY), (ME, HUB_KEY), ("beta-chat", HUB_KEY)])
async def test_a_key_counts_only_under_the_id_it_is_registered_for(tmp_path: Path, speaker: str, key: SigningKey) -> None:
    """A member's key is nobody's word at the hub's path, and the hub's key nobody's at a member's."""
    async with ground(tmp_path, {**HUB, "url": "http://127.0.0.1:9/x"}, MEMBER, OTHER_MEMBER) as here:
        delivery = signed_delivery(key, {here.reference: "clear"}, here.world.clock.now())

        replied = await here.call_back(headers_of(delivery), delivery.body, speaker=speaker)

        assert (replied.status_code, here.owed().status) == (401, Status.OPEN)


async def test_a_hub_can_t_answer_for_a_platform_that_is_not_its_member(tmp_path: Path) -> None:
    """To a hub, a stranger's reference is as unknown as an invented one."""
    async with ground(tmp_path, {**HUB, "url": "http://127.0.0.1:9/x"}, MEMBER) as here:
        theirs = references(here.world, here.cycle_id)["gamma-bank"]
        delivery = signed_delivery(HUB_KEY, {theirs: "clear", here.reference: "clear"}, here.world.clock.now())

        replied = await here.call_back(headers_of(delivery), delivery.body, speaker="number-hub")

        assert replied.json()["answers"] == {theirs: "unknown", here.reference: "accepted"}
        assert here.owed("gamma-bank").status == Status.OPEN


async def test_a_platform_that_leaves_its_hub_is_not_proved_by_it(tmp_path: Path) -> None:
    """Where the registrations know no past, the hub's word ends with the membership: the gate does not believe it any more."""
    here, _ = await _asked(tmp_path, HUB_KEY)
    here.world.wired.entries[ME] = here.world.wired.entries["gamma-bank"]

    assert here.proof() is None


async def test_an_answer_of_the_hub_is_kept_once(tmp_path: Path) -> None:
    """The same delivery in the response and by callback is one delivery under the hub's id."""
    here, _ = await _asked(tmp_path, HUB_KEY)
    raw = _answers(HUB_KEY, here)
    head, _, body = raw.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[2:])

    replied = await here.call_back(headers, body, speaker="number-hub")

    assert replied.status_code == 200
    with here.world.installation.db.read() as tx:
        assert tx.session.get(DeliveryRow, ("number-hub", "msg_hubhubhubhubhubhub")) is not None
        assert tx.session.get(DeliveryRow, (ME, "msg_hubhubhubhubhubhub")) is None


@pytest.mark.parametrize(
    "tables",
    [
        [MEMBER],
        [{"id": "number-hub", "url": "https://a.example/x", "public_keys": [HUB_KEY.public.text]}, MEMBER],
        [{**HUB, "url": "https://a.example/x", "via": "number-hub"}],
        [{**HUB, "url": "https://a.example/x"}, {**HUB, "id": "second-hub", "url": "https://b.example/x", "via": "number-hub"}],
    ],
    ids=["nobody", "no hub", "itself", "a hub behind a hub"],
)
def test_who_names_no_real_hub_is_refused(tables: list[dict[str, object]]) -> None:
    """A member's hub is registered, is a hub, and is behind no other."""
    read = [read_registration("test", {"category": "payment", "contact": "x", **each}) for each in tables]

    with pytest.raises(MapRefused):
        demand_hubs({entry.platform_id: entry for entry in read})


def test_a_hub_is_no_obligation_s_target() -> None:
    """Only those it speaks for can be asked."""
    tables = [{**HUB, "url": "https://a.example/x"}, MEMBER]
    read = [read_registration("test", {"category": "payment", "contact": "x", **each}) for each in tables]

    assert list(asked({entry.platform_id: entry for entry in read})) == [ME]

"""What people order over HTTP, and what readers see afterwards: end to end through the application, on a real database."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders import World, a_file, advance, an_api_key, an_installation, enrolled, number, state_of
from fastapi import FastAPI

from fallow.api.app import create_app
from fallow.domain.gate import LineStatus
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome
from fallow.domain.people import Role


class Desk:
    """A caller with a key: sends requests to an application in this very process."""

    def __init__(self, app: FastAPI, api_key: str) -> None:
        self._app = app
        self._headers = {"authorization": f"Bearer {api_key}"}

    def get(self, path: str, **query: Any) -> httpx.Response:
        """Ask."""
        return self._send("GET", path, params=query)

    def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """Order."""
        return self._send("POST", path, **({"json": body} if body is not None else {}), **more)

    def upload(self, content: bytes, media_type: str = "text/csv") -> httpx.Response:
        """Enrol a file."""
        return self._send("POST", "/v1/batches", content=content, media_type=media_type)

    def _send(self, method: str, path: str, media_type: str | None = None, **more: Any) -> httpx.Response:
        headers = {**self._headers, **({"content-type": media_type} if media_type else {})}

        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://fallow.test") as client:
                return await client.request(method, path, headers=headers, **more)

        return asyncio.run(send())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return an empty installation."""
    return an_installation(tmp_path)


@pytest.fixture
def desk(world: World) -> dict[Role, Desk]:
    """Return a caller of each role."""
    app = create_app(world.wired)
    return {role: Desk(app, an_api_key(world, role, "alpha-pay" if role is Role.PLATFORM else None)) for role in Role}


def _code(response: httpx.Response) -> str:
    return str(response.json()["type"]).removeprefix("urn:fallow:error:")


def test_a_file_is_enrolled_and_each_bad_line_named(desk: dict[Role, Desk]) -> None:
    """The report counts what was taken and names every other line; the same file again starts nothing."""
    content = a_file(3) + b"not-a-number,FR,hexagone,hexagone,fixed,2026-03-01T00:00:00Z,ordinary,,,x\n"

    first, again = desk[Role.OPERATOR].upload(content), desk[Role.OPERATOR].upload(content)

    assert first.status_code == 200
    report = first.json()
    assert (report["accepted"], report["again"]) == (3, False)
    assert [(each["line"], each["code"]) for each in report["rejections"]] == [(5, "number-malformed")]
    assert again.json() == {**report, "again": True}
    shown = desk[Role.AUDITOR].get(f"/v1/batches/{report['batch_id']}").json()
    assert (shown["rows"], shown["accepted"], shown["rejected"], shown["duplicates"]) == (4, 3, 1, 0)


@pytest.mark.parametrize(
    ("content", "media_type", "status"), [(b"", "text/csv", 422), (b"a,b\n1,2\n", "text/csv", 422), (a_file(1), "application/json", 415)]
)
def test_what_is_no_such_file_is_refused(desk: dict[Role, Desk], content: bytes, media_type: str, status: int) -> None:
    """A body that can't be read as a file of cancelled numbers enrols nothing."""
    assert desk[Role.OPERATOR].upload(content, media_type).status_code == status
    assert desk[Role.OPERATOR].get("/v1/counts").json()["ENROLLED"] == 0


def test_a_register_that_is_down_says_try_again(world: World, desk: dict[Role, Desk]) -> None:
    """Where the line register can't be asked, the file is refused with 503, and taken when it is sent again."""
    world.lines.down = True
    refused = desk[Role.OPERATOR].upload(a_file(1))
    world.lines.down = False

    assert (refused.status_code, _code(refused)) == (503, "target-unavailable")
    assert desk[Role.OPERATOR].upload(a_file(1)).json()["accepted"] == 1


def test_a_hold_stops_a_number_until_it_is_lifted(world: World, desk: dict[Role, Desk]) -> None:
    """Hold and lift act at once and show in the cycle, in the counts and in the list."""
    (cycle_id,) = enrolled(world)
    path = f"/v1/cycles/{cycle_id}"

    held = desk[Role.OPERATOR].post(f"{path}/hold", {"reference": "case 12"}).json()

    shown = desk[Role.AUDITOR].get(path).json()
    assert (shown["held"], shown["holds"][0]["reference"]) == (True, "case 12")
    assert desk[Role.AUDITOR].get("/v1/counts").json()["HELD"] == 1
    assert len(desk[Role.AUDITOR].get("/v1/cycles", held="true").json()["cycles"]) == 1
    lifted = desk[Role.OPERATOR].post(f"{path}/lift", {"reference": "case 12", "hold_id": held["hold_id"]})
    assert lifted.status_code == 200
    assert desk[Role.AUDITOR].get(path).json()["holds"] == []


def test_quarantine_is_extended_and_never_shortened(world: World, desk: dict[Role, Desk]) -> None:
    """A later release is taken, an earlier one refused."""
    (cycle_id,) = enrolled(world)
    release_at = world.clock.now() + timedelta(days=400)

    later = desk[Role.OPERATOR].post(f"/v1/cycles/{cycle_id}/extend", {"reference": "x", "release_at": release_at.isoformat()})
    earlier = desk[Role.OPERATOR].post(f"/v1/cycles/{cycle_id}/extend", {"reference": "x", "release_at": "2026-03-05T00:00:00Z"})

    assert (later.status_code, earlier.status_code) == (200, 422)
    assert desk[Role.AUDITOR].get(f"/v1/cycles/{cycle_id}").json()["release_at"] == release_at.isoformat()


def test_a_mended_line_is_retried(world: World, desk: dict[Role, Desk]) -> None:
    """ATTENTION names its remedy; after the line was cut, retry clears it."""
    world.lines.said[number(0)] = LineStatus.IN_SERVICE
    (cycle_id,) = enrolled(world)
    waiting = desk[Role.AUDITOR].get("/v1/cycles", attention="true").json()["cycles"]
    assert [each["reason"] for each in waiting[0]["attention"]] == ["line-in-service"]
    assert "retry" in waiting[0]["attention"][0]["next"]
    world.lines.said.clear()

    assert desk[Role.OPERATOR].post(f"/v1/cycles/{cycle_id}/retry", {"reference": "ticket 4"}).status_code == 200

    assert desk[Role.AUDITOR].get(f"/v1/cycles/{cycle_id}").json()["attention"] == []


@pytest.mark.parametrize(("command", "state"), [("withdraw", State.WITHDRAWN), ("return", State.ENROLLED)])
def test_a_number_leaves_by_one_person_s_order(world: World, desk: dict[Role, Desk], command: str, state: State) -> None:
    """Withdrawal ends the cycle at once; a return is noted and follows after wiping."""
    (cycle_id,) = enrolled(world)

    assert desk[Role.OPERATOR].post(f"/v1/cycles/{cycle_id}/{command}", {"reference": "port 7"}).status_code == 200

    shown = desk[Role.AUDITOR].get(f"/v1/cycles/{cycle_id}").json()
    assert shown["state"] == state
    assert shown["handback"] == (command == "return")


def test_what_the_lifecycle_forbids_is_a_conflict(world: World, desk: dict[Role, Desk]) -> None:
    """A command in the wrong state is refused with the state, what to do instead, and no change."""
    (cycle_id,) = enrolled(world)

    refused = desk[Role.OPERATOR].post(f"/v1/cycles/{cycle_id}/lift", {"reference": "x", "hold_id": f"h_{'a' * 26}"})

    assert (refused.status_code, _code(refused)) == (409, "command-refused")
    assert "ENROLLED" in refused.json()["detail"]


def test_reclaiming_takes_two_people(world: World, desk: dict[Role, Desk]) -> None:
    """The proposer can't approve, the enroller can't take part, and the second person carries it out once."""
    report = desk[Role.OPERATOR].upload(a_file(1)).json()
    assert report["accepted"] == 1
    (cycle_id,) = desk[Role.AUDITOR].post("/v1/numbers/lookup", {"number": number(0).text}).json()["cycles"]
    order = {"command": "reclaim", "reference": "identity check 9", "arguments": {"ground": "successor"}}

    by_enroller = desk[Role.OPERATOR].post(f"/v1/cycles/{cycle_id}/proposals", order)
    proposed = desk[Role.APPROVER].post(f"/v1/cycles/{cycle_id}/proposals", order).json()
    approve = f"/v1/proposals/{proposed['proposal_id']}/approve"
    open_then = desk[Role.AUDITOR].get(f"/v1/cycles/{cycle_id}").json()["proposals"]
    alone = desk[Role.APPROVER].post(approve)
    second, twice = desk[Role.ADMINISTRATOR].post(approve), desk[Role.ADMINISTRATOR].post(approve)

    assert (by_enroller.status_code, _code(by_enroller)) == (403, "second-person-needed")
    assert (alone.status_code, _code(alone)) == (403, "second-person-needed")
    assert [each["command"] for each in open_then] == ["reclaim"]
    assert (second.status_code, twice.status_code) == (200, 409)
    assert state_of(world, cycle_id) is State.RECLAIMED


def test_two_denied_claims_lock_a_number_until_two_others_unlock_it(world: World, desk: dict[Role, Desk]) -> None:
    """Denied, locked, unlocked and given back, all over HTTP; the cycle shows how many claims failed."""
    (cycle_id,) = enrolled(world)
    path, order = (
        f"/v1/cycles/{cycle_id}",
        {"command": "reclaim", "reference": "identity check 9", "arguments": {"ground": "former-holder"}},
    )

    def proposed(who: Role, body: dict[str, Any]) -> str:
        return f"/v1/proposals/{desk[who].post(f'{path}/proposals', body).json()['proposal_id']}"

    alone = desk[Role.APPROVER].post(f"{proposed(Role.APPROVER, order)}/deny", {"reference": "photo differs"})
    denied = [desk[Role.APPROVER].post(f"{proposed(Role.OPERATOR, order)}/deny", {"reference": "photo differs"}) for _ in range(2)]
    refused = desk[Role.OPERATOR].post(f"{path}/proposals", order)
    locked = desk[Role.AUDITOR].get(path).json()
    unlock = proposed(Role.ADMINISTRATOR, {"command": "unlock", "reference": "visit 9"})

    assert (alone.status_code, _code(alone)) == (403, "second-person-needed")
    assert [each.status_code for each in denied] == [200, 200]
    assert (refused.status_code, _code(refused)) == (409, "command-refused")
    assert locked["reclaims_denied"] == 2
    assert {each["reason"] for each in locked["attention"]} == {"reclaim-locked", "reclaim-waits"}
    assert desk[Role.APPROVER].post(f"{unlock}/approve").status_code == 200
    assert desk[Role.APPROVER].post(f"{proposed(Role.OPERATOR, order)}/approve").status_code == 200
    assert state_of(world, cycle_id) is State.RECLAIMED


def test_a_reminder_is_recorded_over_http(world: World, desk: dict[Role, Desk]) -> None:
    """When it was and by which channel; in the future, by no known channel or without an offset it is refused."""
    (cycle_id,) = enrolled(world)
    path, order = (
        f"/v1/cycles/{cycle_id}/remind",
        {"reference": "notice 7", "reminded_at": "2026-02-27T12:00:00+08:00", "channel": "letter"},
    )

    recorded = desk[Role.OPERATOR].post(path, order)
    refused = [
        desk[Role.OPERATOR].post(path, {**order, **wrong}).status_code
        for wrong in ({"reminded_at": "2026-03-03T00:00:00Z"}, {"reminded_at": "2026-02-27T12:00:00"}, {"channel": "pigeon"}, {"more": 1})
    ]

    assert (recorded.status_code, refused) == (200, [422] * 4)
    assert desk[Role.AUDITOR].get(f"/v1/cycles/{cycle_id}").json()["reminded_at"] == "2026-02-27T04:00:00+00:00"


def test_a_hold_has_a_review_date_over_http(world: World, desk: dict[Role, Desk]) -> None:
    """It is shown with the hold; a past day, and what is no day, are refused."""
    (cycle_id,) = enrolled(world)
    path = f"/v1/cycles/{cycle_id}"

    placed = desk[Role.OPERATOR].post(f"{path}/hold", {"reference": "case 1", "review_on": "2026-06-30"})
    days = ("2026-03-01", "soon", "2026-02-30", 1e300)
    refused = [desk[Role.OPERATOR].post(f"{path}/hold", {"reference": "case 1", "review_on": day}).status_code for day in days]

    assert (placed.status_code, refused) == (200, [422] * 4)
    assert [each["review_on"] for each in desk[Role.AUDITOR].get(path).json()["holds"]] == ["2026-06-30"]


@pytest.mark.parametrize(
    "order",
    [
        {"command": "reclaim", "reference": "order 1"},
        {"command": "reclaim", "reference": "order 1", "arguments": {"ground": "a friend"}},
        {"command": "retire", "reference": "order 1", "arguments": {"ground": "successor"}},
        {"command": "retire", "reference": "order 1", "arguments": {"hold_id": f"h_{'a' * 26}"}},
        {"command": "lift", "reference": "order 1"},
        {"command": "lift", "reference": "order 1", "arguments": {"hold_id": "\ud800"}},
        {"command": "recall", "reference": "order 1", "arguments": {"line_cancelled_at": "yesterday"}},
        {"command": "recall", "reference": "order 1", "arguments": {"line_cancelled_at": "2026-03-01T00:00:00"}},
        {"command": "hold", "reference": "order 1"},
        {"command": "explode", "reference": "order 1"},
        {"command": "retire", "reference": "+33 1 99 00 00 00"},
        {"command": "retire", "reference": "order 1", "more": 1},
    ],
)
def test_a_malformed_proposal_is_refused(world: World, desk: dict[Role, Desk], order: dict[str, Any]) -> None:
    """A proposal with other arguments than its command takes is refused and not kept."""
    (cycle_id,) = enrolled(world)

    response = desk[Role.APPROVER].post(
        f"/v1/cycles/{cycle_id}/proposals", content=json.dumps(order).encode(), media_type="application/json"
    )

    assert response.status_code == 422, response.text
    assert desk[Role.AUDITOR].get(f"/v1/cycles/{cycle_id}").json()["proposals"] == []


def test_a_number_is_sold_only_with_its_own_tag(world: World, desk: dict[Role, Desk]) -> None:
    """The shop reads the tag, is refused with another one, and sells once with the right one."""
    (cycle_id,) = enrolled(world)
    early = desk[Role.SHOP].post("/v1/tags", {"number": number(0).text})
    advance(world, cycle_id, State.RESELLABLE)

    tag = desk[Role.SHOP].post("/v1/tags", {"number": "01 99 00 00 00", "country": "FR"}).json()
    sale = {"number": number(0).text, "acknowledgement": "signed form 3"}
    wrong = desk[Role.SHOP].post("/v1/sales", {**sale, "tag": "0" * 64})
    sold = desk[Role.SHOP].post("/v1/sales", {**sale, "tag": tag["digest"]})
    again = desk[Role.SHOP].post("/v1/sales", {**sale, "tag": tag["digest"]})

    assert (early.status_code, _code(early)) == (404, "not-known")
    assert tag["body"]["former_holders_at_least"] == 2
    assert [wrong.status_code, sold.status_code, again.status_code] == [409, 200, 409]
    assert state_of(world, cycle_id) is State.REASSIGNED


def test_a_platform_sees_only_its_own_open_references(world: World, desk: dict[Role, Desk]) -> None:
    """The list holds what was sent to that platform and still waits: references and nothing else."""
    for platform in world.platforms.values():
        platform.says = lambda _: None
    first, second = enrolled(world, 2)
    advance(world, first, State.TAGGING)
    advance(world, second, State.TAGGING)
    desk[Role.OPERATOR].post(f"/v1/cycles/{second}/hold", {"reference": "case 1"})

    listed = desk[Role.PLATFORM].get("/v1/platforms/alpha-pay/requests").json()

    sent = {item.reference for item in world.platforms["alpha-pay"].asked}
    assert len(listed["requests"]) == 1  # the held number's is left out
    assert {each["reference"] for each in listed["requests"]} < sent
    assert set(listed["requests"][0]) == {"reference", "asked"}


def test_lists_are_paged_to_their_end(world: World, desk: dict[Role, Desk]) -> None:
    """Following `next` visits every cycle once."""
    everything = set(enrolled(world, 7))
    seen: list[str] = []
    page = desk[Role.AUDITOR].get("/v1/cycles", limit=3, state="ENROLLED").json()
    while True:
        seen += [each["cycle_id"] for each in page["cycles"]]
        if page["next"] is None:
            break
        page = desk[Role.AUDITOR].get("/v1/cycles", limit=3, state="ENROLLED", after=page["next"]).json()

    assert len(seen) == 7
    assert set(seen) == everything


def test_targets_show_what_is_open_and_what_refused(world: World, desk: dict[Role, Desk]) -> None:
    """A refusing platform shows up at its target, with the number in the ATTENTION queue."""
    world.platforms["beta-chat"].says = lambda _: Outcome.REFUSED
    world.platforms["gamma-bank"].says = lambda _: None
    (cycle_id,) = enrolled(world)
    advance(world, cycle_id, State.TAGGING)

    targets = {each["target_id"]: each for each in desk[Role.AUDITOR].get("/v1/targets").json()["targets"]}

    assert set(targets) == {"billing", "crm", "alpha-pay", "beta-chat", "gamma-bank"}
    assert (targets["beta-chat"]["refused"], targets["gamma-bank"]["open"], targets["alpha-pay"]["open"]) == (1, 1, 0)
    assert desk[Role.AUDITOR].get("/v1/counts").json()["ATTENTION"] == 1


def test_no_response_holds_a_number(world: World, desk: dict[Role, Desk]) -> None:
    """Whatever readers ask, and whatever is refused, the answer never holds the phone number that was sent or stored."""
    (cycle_id,) = enrolled(world)
    advance(world, cycle_id, State.RESELLABLE)
    text, reader = number(0).text, desk[Role.AUDITOR]
    responses = [
        *(reader.get(path) for path in ("/v1/cycles", "/v1/counts", "/v1/targets", f"/v1/cycles/{cycle_id}")),
        reader.post("/v1/numbers/lookup", {"number": text}),
        reader.post("/v1/numbers/lookup", {"number": text + "x"}),
        reader.post("/v1/numbers/lookup", {text: text}),
        reader.post("/v1/numbers/lookup", {"number": [text]}),
        reader.post("/v1/numbers/lookup", {"number": text, "country": text}),
        reader.post("/v1/tags", {"number": text}),
        reader.get("/v1/cycles", state=text),
        reader.get(f"/v1/cycles/{text}/1"),
        desk[Role.OPERATOR].post(f"/v1/cycles/{cycle_id}/hold", {"reference": text}),
        desk[Role.OPERATOR].post(f"/v1/cycles/{cycle_id}/hold", content=f'{{"reference": "{text}"'.encode(), media_type="application/json"),
    ]

    for response in responses:
        assert text[1:] not in response.text
        assert text[3:] not in response.text


@pytest.mark.parametrize(
    "content", [b"\xff", b"[" * 60_000, b'{"number": 1e999}', b'{"number": "\\u0000"}', b'{"number": "\\ud800"}', b"null", b'"x"', b"{"]
)
def test_no_body_breaks_the_door(desk: dict[Role, Desk], content: bytes) -> None:
    """Bytes, depths and spellings that break parsers are refused as the caller's fault."""
    response = desk[Role.AUDITOR].post("/v1/numbers/lookup", content=content, media_type="application/json")

    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"

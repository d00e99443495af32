"""Registering and controlling platforms over HTTP: two people, a ping, closed forms, and no secret in any answer."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders import World, an_api_key, an_installation
from builders_registry import a_table, answering, founded, pong
from fastapi import FastAPI

from fallow.api.app import create_app
from fallow.domain.people import Role
from fallow.operations.installation import Installation
from fallow.platforms.signing import SigningKey

NEW, SHOP, PROPOSALS = SigningKey.generate(), "delta-shop", "/v1/platforms/proposals"
SECRETS = {"number_form": "keyed-hash", "number_key": "whnk_" + "MDEy" * 11, "shared_secret": "whsec_" + "QUJD" * 11}
Echo = Callable[[dict[str, Any]], dict[str, Any]]


class Office:
    """An API whose registry holds the world's platforms, and a key for each role.

    Attributes:
        here: the installation.
        heard: every answer's text, which no test may find a secret in.
    """

    def __init__(self, world: World) -> None:
        """Open it."""
        self.here: Installation = founded(world)
        self.heard = list[str]()
        self._app: FastAPI = create_app(replace(world.wired, installation=self.here))
        self._keys = {role: an_api_key(world, role) for role in Role if role is not Role.PLATFORM}

    def get(self, role: Role, path: str) -> httpx.Response:
        """Ask."""
        return asyncio.run(self._send(role, "GET", path))

    def post(self, role: Role, path: str, body: Any = None, content: bytes | None = None) -> httpx.Response:
        """Order."""
        return asyncio.run(self._send(role, "POST", path, body, content))

    def pinged(self, table: dict[str, Any], signer: SigningKey, echo: Echo = pong) -> tuple[str, httpx.Response]:
        """Propose a table as the operator and ping it at an endpoint that answers with ``signer``; its path and the ping's answer."""

        async def ping() -> tuple[str, httpx.Response]:
            async with answering(self.here, signer, echo) as server:
                at = {"url": f"http://127.0.0.1:{server.port}/unbind", "allow_loopback": True}
                proposed = (await self._send(Role.OPERATOR, "POST", PROPOSALS, {**table, **at})).json()
                path = f"{PROPOSALS}/{proposed['proposal_id']}"
                try:
                    return path, await self._send(Role.OPERATOR, "POST", f"{path}/ping")
                finally:
                    await self.here.registered.way.transport.aclose()

        return asyncio.run(ping())

    async def _send(self, role: Role, method: str, path: str, body: Any = None, content: bytes | None = None) -> httpx.Response:
        sent: dict[str, Any] = {"json": body} if content is None else {"content": content}
        headers = {"authorization": f"Bearer {self._keys[role]}", **({"content-type": "application/json"} if content else {})}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://fallow.test") as client:
            response = await client.request(method, path, headers=headers, **(sent if body is not None or content else {}))
        self.heard.append(response.text)
        return response


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Return an office that nobody has ordered anything in."""
    return Office(an_installation(tmp_path))


def code(response: httpx.Response) -> tuple[int, str]:
    """Return a problem's status and code."""
    return response.status_code, str(response.json()["type"]).removeprefix("urn:fallow:error:")


def test_a_platform_is_registered_by_two_people_and_a_ping(office: Office) -> None:
    """Proposed, pinged, approved by another, listed and shown with fingerprint and events, over HTTP alone."""
    path, pinged = office.pinged(a_table(SHOP, NEW), NEW)
    waiting = office.get(Role.AUDITOR, PROPOSALS).json()["proposals"]
    approved = office.post(Role.APPROVER, f"{path}/approve")

    shown = office.get(Role.AUDITOR, f"/v1/platforms/{SHOP}").json()
    listed = {each["platform_id"]: each["state"] for each in office.get(Role.AUDITOR, "/v1/platforms").json()["platforms"]}
    assert (pinged.status_code, pinged.json()["platform_id"]) == (200, SHOP)
    assert [(each["platform_id"], each["keys"]) for each in waiting] == [(SHOP, {"added": [NEW.public.fingerprint], "removed": []})]
    assert approved.json() == {"platform_id": SHOP}
    assert (shown["state"], shown["registration"]["fingerprints"]) == ("in-use", [NEW.public.fingerprint])
    assert [each["kind"] for each in shown["events"]] == ["PlatformProposed", "PlatformPinged", "PlatformRegistered", "KeysChanged"]
    assert listed == {"alpha-pay": "in-use", "beta-chat": "in-use", "gamma-bank": "in-use", SHOP: "in-use"}


def test_a_change_says_which_keys_come_and_go_and_where_requests_went(office: Office) -> None:
    """The proposal's answer is what the second person compares."""
    old = office.get(Role.AUDITOR, "/v1/platforms/alpha-pay").json()["registration"]

    proposed = office.post(Role.OPERATOR, PROPOSALS, a_table("alpha-pay", NEW, url="https://new.example.com/unbind")).json()

    assert proposed["changes"] == ["public_keys", "url"]
    assert proposed["keys"] == {"added": [NEW.public.fingerprint], "removed": old["fingerprints"]}
    assert proposed["url"] == {"before": "https://alpha-pay.example.com/unbind", "after": "https://new.example.com/unbind"}
    assert office.get(Role.AUDITOR, "/v1/platforms/alpha-pay").json()["registration"] == old


def test_a_key_beside_the_old_one_is_added_and_none_removed(office: Office) -> None:
    """A rotation with overlap shows as what it is."""
    table = office.get(Role.AUDITOR, "/v1/platforms/alpha-pay").json()["registration"]["table"]

    proposed = office.post(Role.OPERATOR, PROPOSALS, {**table, "public_keys": [*table["public_keys"], NEW.public.text]}).json()

    assert (proposed["changes"], proposed["keys"]) == (["public_keys"], {"added": [NEW.public.fingerprint], "removed": []})


def test_a_key_that_was_taken_meanwhile_is_a_conflict(office: Office) -> None:
    """Of two proposals with one key the second can't be approved, and that is no fault of the installation."""
    (first, _), (second, _) = (office.pinged(a_table(each, NEW), NEW) for each in (SHOP, "eta-shop"))

    assert office.post(Role.APPROVER, f"{first}/approve").status_code == 200
    assert code(office.post(Role.APPROVER, f"{second}/approve")) == (409, "command-refused")


def test_the_proposer_can_t_approve_over_http(office: Office) -> None:
    """Not even an administrator, who may do either."""
    proposal = office.post(Role.ADMINISTRATOR, "/v1/platforms/beta-chat/decommission", {"reference": "contract ended"}).json()
    path = f"{PROPOSALS}/{proposal['proposal_id']}"

    assert code(office.post(Role.ADMINISTRATOR, f"{path}/approve")) == (403, "second-person-needed")
    assert office.get(Role.AUDITOR, "/v1/platforms/beta-chat").json()["state"] == "in-use"
    assert office.post(Role.APPROVER, f"{path}/approve").status_code == 200
    assert office.get(Role.AUDITOR, "/v1/platforms/beta-chat").json()["state"] == "decommissioned"


def test_without_a_ping_nothing_is_approved_over_http(office: Office) -> None:
    """The refusal names the ping as what is missing."""
    proposal = office.post(Role.OPERATOR, PROPOSALS, a_table(SHOP, NEW)).json()

    refused = office.post(Role.APPROVER, f"{PROPOSALS}/{proposal['proposal_id']}/approve")

    assert code(refused) == (409, "command-refused")
    assert "ping the proposal" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("signer", "echo"), [(SigningKey.generate(), pong), (NEW, lambda _: {"type": "fallow.pong.v1", "challenge": "ch_old"})]
)
def test_a_ping_that_proves_nothing_is_the_endpoint_s_fault(office: Office, signer: SigningKey, echo: Echo) -> None:
    """Another key, or another challenge: neither reads as if the caller's own key were wrong, and nothing can be approved."""
    path, pinged = office.pinged(a_table(SHOP, NEW), signer, echo)

    assert code(pinged) == (502, "ping-not-proved")
    assert "www-authenticate" not in pinged.headers
    assert code(office.post(Role.APPROVER, f"{path}/approve")) == (409, "command-refused")
    assert office.get(Role.AUDITOR, PROPOSALS).json()["proposals"][0]["trouble"]


def test_what_has_nothing_to_ping_can_t_be_pinged(office: Office) -> None:
    """A decommission asks nobody outside."""
    proposal = office.post(Role.OPERATOR, "/v1/platforms/beta-chat/decommission", {"reference": "contract ended"}).json()

    assert code(office.post(Role.OPERATOR, f"{PROPOSALS}/{proposal['proposal_id']}/ping")) == (409, "command-refused")


def test_only_who_proposed_or_an_approver_denies(office: Office) -> None:
    """And what is denied is closed: a second denial and an approval are refused."""
    order = {"reference": "mistyped"}
    path = f"{PROPOSALS}/{office.post(Role.OPERATOR, PROPOSALS, a_table(SHOP, NEW)).json()['proposal_id']}"

    assert code(office.post(Role.AUDITOR, f"{path}/deny", order)) == (403, "person-refused")
    assert office.post(Role.OPERATOR, f"{path}/deny", order).json() == {"platform_id": SHOP}
    assert code(office.post(Role.APPROVER, f"{path}/deny", order)) == (409, "command-refused")
    other = f"{PROPOSALS}/{office.post(Role.APPROVER, PROPOSALS, a_table(SHOP, NEW)).json()['proposal_id']}"
    assert code(office.post(Role.OPERATOR, f"{other}/deny", order)) == (403, "person-refused")


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": "7"},
        {"batch": 0},
        {"rate_per_second": 1e9},
        {"reminders": True},
        {"category": "bakery-4711"},
        {"url": "https://10.0.0.1/secret-place"},
        {"public_keys": "whpk_secret"},
        {"public_keys": ["whpk_\ud800"]},
        {"public_keys": [7]},
        {"contact": "\x00"},
        {"contact": "\ud800"},
        {"allow_loopback": "yes"},
        {"id": "Not An Id"},
        {"shared_secret": "whsec_secret"},
        {"number_form": "keyed-hash", "number_key": "secret-place"},
        {"adapter": "carrier-pigeon-secret"},
        {"via": "nobody-here"},
        {"whsec_secret": 1},
        {"decommissioned": True},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_registration_that_does_not_fit_is_the_caller_s_to_mend(office: Office, wrong: dict[str, Any]) -> None:
    """Refused as input, without a word of what was sent, and not kept."""
    content = json.dumps({**a_table(SHOP, NEW), **wrong}).encode()

    refused = office.post(Role.OPERATOR, PROPOSALS, content=content)

    assert refused.status_code == 422, refused.text
    assert "secret" not in refused.text.replace("shared_secret", "").replace("not a secret", "")
    assert "4711" not in refused.text
    assert "10.0.0.1" not in refused.text
    assert office.get(Role.AUDITOR, PROPOSALS).json() == {"proposals": []}


def test_another_platform_s_key_is_refused_over_http(office: Office) -> None:
    """One that somebody has or had binds no answer to another."""
    keys = office.get(Role.AUDITOR, "/v1/platforms/alpha-pay").json()["registration"]["table"]["public_keys"]

    assert code(office.post(Role.OPERATOR, PROPOSALS, {**a_table(SHOP), "public_keys": keys})) == (422, "input-refused")


def test_no_answer_shows_a_secret(office: Office) -> None:
    """That one is set is all that is ever said of it, also where the table is refused."""
    path, _ = office.pinged(a_table(SHOP, NEW, **SECRETS), NEW)
    office.post(Role.OPERATOR, PROPOSALS, a_table(SHOP, NEW, **SECRETS))
    office.post(Role.OPERATOR, PROPOSALS, {**a_table("eta-shop", SigningKey.generate()), **SECRETS, "batch": 0})
    office.post(Role.APPROVER, f"{path}/approve")
    office.post(Role.OPERATOR, PROPOSALS, {**a_table("eta-shop", SigningKey.generate()), **SECRETS})
    shown = office.get(Role.AUDITOR, f"/v1/platforms/{SHOP}")
    office.get(Role.AUDITOR, "/v1/platforms")
    office.get(Role.AUDITOR, PROPOSALS)

    table = shown.json()["registration"]["table"]
    assert (table["number_key"], table["shared_secret"], shown.json()["state"]) == ("set", "set", "in-use")
    assert not [text for text in office.heard if "QUJDQUJD" in text or "MDEyMDEy" in text or "sealed:" in text]


def test_one_person_sets_terms_over_http(office: Office) -> None:
    """What is left out stays; what takes two people, and what is out of range, is refused."""
    path = "/v1/platforms/alpha-pay/terms"

    done = office.post(Role.OPERATOR, path, {"batch": 7, "contact": "night desk"})
    refused = [office.post(Role.OPERATOR, path, body).status_code for body in ({}, {"batch": 0}, {"url": "https://x.example.com/"}, [])]

    table = office.get(Role.AUDITOR, "/v1/platforms/alpha-pay").json()["registration"]["table"]
    assert done.json() == {"platform_id": "alpha-pay"}
    assert refused == [422] * 4
    assert (table["batch"], table["contact"], table["url"]) == (7, "night desk", "https://alpha-pay.example.com/unbind")
    assert code(office.post(Role.OPERATOR, "/v1/platforms/nobody-here/terms", {"batch": 7})) == (404, "not-known")


def test_a_target_is_paused_paced_and_resumed_over_http(office: Office) -> None:
    """It shows at the platform and in the list; a record system can be paused too, and has one lane."""
    paused = office.post(Role.OPERATOR, "/v1/targets/alpha-pay/pause")
    states = {each["platform_id"]: each["state"] for each in office.get(Role.AUDITOR, "/v1/platforms").json()["platforms"]}
    paced = office.post(Role.OPERATOR, "/v1/targets/alpha-pay/pace", {"rate_per_second": 2, "lanes": 1})
    shown = office.get(Role.AUDITOR, "/v1/platforms/alpha-pay").json()
    office.post(Role.OPERATOR, "/v1/targets/alpha-pay/pace", {})
    resumed = office.post(Role.OPERATOR, "/v1/targets/alpha-pay/resume")
    after = office.get(Role.AUDITOR, "/v1/platforms/alpha-pay").json()

    assert (paused.json(), resumed.json()) == ({"target_id": "alpha-pay", "paused": True}, {"target_id": "alpha-pay", "paused": False})
    assert states == {"alpha-pay": "paused", "beta-chat": "in-use", "gamma-bank": "in-use"}
    assert paced.json() == {"target_id": "alpha-pay", "rate_per_second": 2.0, "batch": None, "lanes": 1}
    assert (shown["state"], shown["target"]["set_by_operator"]) == ("paused", ["lanes", "rate_per_second"])
    assert (after["state"], after["target"]["set_by_operator"]) == ("in-use", [])
    assert office.post(Role.OPERATOR, "/v1/targets/crm/pause").status_code == 200
    assert code(office.post(Role.OPERATOR, "/v1/targets/crm/pace", {"lanes": 2})) == (422, "input-refused")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/targets/alpha-pay/pace", {"rate_per_second": 0}),
        ("/v1/targets/alpha-pay/pace", {"batch": 1001}),
        ("/v1/targets/alpha-pay/pace", {"batch": 1.5}),
        ("/v1/targets/alpha-pay/pace", {"speed": 3}),
        ("/v1/targets/Alpha/pause", None),
        ("/v1/platforms/beta-chat/decommission", {"reference": "+33 1 99 00 00 00"}),
        ("/v1/platforms/beta-chat/decommission", {}),
        (f"{PROPOSALS}/pr_{'a' * 26}/ping", None),
    ],
)
def test_a_malformed_order_about_a_target_is_refused(office: Office, path: str, body: dict[str, Any] | None) -> None:
    """Out of range, of another form, or with a key that nobody knows."""
    refused = office.post(Role.OPERATOR, path, body)

    assert refused.status_code == 422, refused.text
    assert "99 00" not in refused.text

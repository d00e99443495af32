"""Who may use which route: each route times each kind of caller, against a table written by hand."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from builders import World, a_file, an_api_key, an_installation, enrolled
from fastapi import FastAPI

from fallow.api.app import PolicyMissing, create_app
from fallow.api.health import tell_alive
from fallow.api.routes import ROUTES, Route
from fallow.domain.people import Role
from fallow.intake import inventory_file, traffic_file
from fallow.operations.people import revoke

_READERS = "administrator operator approver auditor"
_STAFF = "administrator operator"
_EVERYBODY = "anonymous revoked administrator operator approver auditor shop platform other-platform"
_PROPOSERS = "administrator operator approver"
_NOBODY_S_PROPOSAL = f"/v1/platforms/proposals/pp_{'a' * 26}"
_NOBODY_S_CYCLE = f"/v1/cycles/n_{'a' * 26}/1"

#: Route -> (who gets through, the status of those, path and body of a request that changes nothing).
TABLE: dict[tuple[str, str], tuple[str, int, str, dict[str, str] | None]] = {
    ("POST", "/v1/platforms/{platform_id}/answers"): ("", 0, "/v1/platforms/alpha-pay/answers", {}),
    ("POST", "/v1/platforms/{platform_id}/answers/batch"): ("", 0, "/v1/platforms/alpha-pay/answers/batch", {}),
    ("GET", "/v1/platforms/{platform_id}/requests"): ("platform", 200, "/v1/platforms/alpha-pay/requests", None),
    ("GET", "/v1/platforms/{platform_id}/exchanges"): (f"{_READERS} platform", 200, "/v1/platforms/alpha-pay/exchanges", None),
    ("GET", "/v1/platforms"): (_READERS, 200, "/v1/platforms", None),
    ("GET", "/v1/platforms/proposals"): (_READERS, 200, "/v1/platforms/proposals", None),
    ("POST", "/v1/platforms/proposals"): (
        _PROPOSERS,
        422,
        "/v1/platforms/proposals",
        {"id": "delta-shop", "category": "none", "contact": "x"},
    ),
    ("POST", "/v1/platforms/proposals/{proposal_id}/ping"): (_PROPOSERS, 404, f"{_NOBODY_S_PROPOSAL}/ping", None),
    ("POST", "/v1/platforms/proposals/{proposal_id}/approve"): (
        "administrator approver",
        404,
        f"{_NOBODY_S_PROPOSAL}/approve",
        None,
    ),
    ("POST", "/v1/platforms/proposals/{proposal_id}/deny"): (_PROPOSERS, 404, f"{_NOBODY_S_PROPOSAL}/deny", {"reference": "case 1"}),
    ("GET", "/v1/platforms/{platform_id}"): (_READERS, 404, "/v1/platforms/nobody-here", None),
    ("POST", "/v1/platforms/{platform_id}/decommission"): (
        _PROPOSERS,
        404,
        "/v1/platforms/nobody-here/decommission",
        {"reference": "case 1"},
    ),
    ("POST", "/v1/platforms/{platform_id}/terms"): (_STAFF, 404, "/v1/platforms/nobody-here/terms", {"contact": "x"}),
    ("POST", "/v1/batches"): (_STAFF, 200, "/v1/batches", None),
    ("GET", "/v1/batches/{batch_id}"): (_READERS, 404, f"/v1/batches/b_{'a' * 26}", None),
    ("POST", "/v1/traffic"): (_STAFF, 200, "/v1/traffic", None),
    ("POST", "/v1/inventory"): (_STAFF, 200, "/v1/inventory", None),
    ("POST", "/v1/inventory/reconcile"): (_READERS, 200, "/v1/inventory/reconcile", None),
    ("GET", "/v1/cycles"): (_READERS, 200, "/v1/cycles", None),
    ("GET", "/v1/counts"): (_READERS, 200, "/v1/counts", None),
    ("GET", "/v1/forecast"): (_READERS, 200, "/v1/forecast", None),
    ("GET", "/v1/overdue"): (_READERS, 200, "/v1/overdue", None),
    ("GET", "/v1/cycles/{number_id}/{cycle_no}"): (_READERS, 404, _NOBODY_S_CYCLE, None),
    ("POST", "/v1/numbers/lookup"): (_READERS, 200, "/v1/numbers/lookup", {"number": "+33199009999"}),
    ("POST", "/v1/cycles/{number_id}/{cycle_no}/hold"): (_STAFF, 404, f"{_NOBODY_S_CYCLE}/hold", {"reference": "case 1"}),
    ("POST", "/v1/cycles/{number_id}/{cycle_no}/lift"): (
        _STAFF,
        404,
        f"{_NOBODY_S_CYCLE}/lift",
        {"reference": "case 1", "hold_id": f"h_{'a' * 26}"},
    ),
    ("POST", "/v1/cycles/{number_id}/{cycle_no}/extend"): (
        _STAFF,
        404,
        f"{_NOBODY_S_CYCLE}/extend",
        {"reference": "case 1", "release_at": "2030-01-01T00:00:00Z"},
    ),
    ("POST", "/v1/cycles/{number_id}/{cycle_no}/withdraw"): (_STAFF, 404, f"{_NOBODY_S_CYCLE}/withdraw", {"reference": "case 1"}),
    ("POST", "/v1/cycles/{number_id}/{cycle_no}/return"): (_STAFF, 404, f"{_NOBODY_S_CYCLE}/return", {"reference": "case 1"}),
    ("POST", "/v1/cycles/{number_id}/{cycle_no}/retry"): (_STAFF, 404, f"{_NOBODY_S_CYCLE}/retry", {"reference": "case 1"}),
    ("POST", "/v1/cycles/{number_id}/{cycle_no}/remind"): (
        _STAFF,
        404,
        f"{_NOBODY_S_CYCLE}/remind",
        {"reference": "case 1", "reminded_at": "2026-03-01T00:00:00Z", "channel": "sms"},
    ),
    ("POST", "/v1/cycles/{number_id}/{cycle_no}/proposals"): (
        "administrator operator approver",
        404,
        f"{_NOBODY_S_CYCLE}/proposals",
        {"reference": "case 1", "command": "retire"},
    ),
    ("POST", "/v1/proposals/{proposal_id}/approve"): ("administrator approver", 404, f"/v1/proposals/pr_{'a' * 26}/approve", {}),
    ("POST", "/v1/proposals/{proposal_id}/deny"): (
        "administrator approver",
        404,
        f"/v1/proposals/pr_{'a' * 26}/deny",
        {"reference": "case 1"},
    ),
    ("POST", "/v1/tags"): (f"{_READERS} shop", 404, "/v1/tags", {"number": "+33199009999"}),
    ("POST", "/v1/sales"): ("shop", 404, "/v1/sales", {"number": "+33199009999", "tag": "0" * 64, "acknowledgement": "form 1"}),
    ("GET", "/v1/targets"): (_READERS, 200, "/v1/targets", None),
    ("POST", "/v1/targets/{target_id}/pause"): (_STAFF, 404, "/v1/targets/nobody-here/pause", None),
    ("POST", "/v1/targets/{target_id}/resume"): (_STAFF, 404, "/v1/targets/nobody-here/resume", None),
    ("POST", "/v1/targets/{target_id}/pace"): (_STAFF, 404, "/v1/targets/nobody-here/pace", {}),
    ("GET", "/openapi.json"): (_READERS, 200, "/openapi.json", None),
    ("GET", "/healthz"): (_EVERYBODY, 200, "/healthz", None),
    ("GET", "/readyz"): (_EVERYBODY, 200, "/readyz", None),
}

#: What a route takes that reads a file.
FILES = {
    "/v1/batches": a_file(1),
    "/v1/traffic": ",".join(traffic_file.COLUMNS).encode(),
    "/v1/inventory": ",".join(inventory_file.COLUMNS).encode(),
    "/v1/inventory/reconcile": ",".join(inventory_file.COLUMNS).encode(),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return an installation with one enrolled number."""
    made = an_installation(tmp_path_factory.mktemp("access"))
    enrolled(made)
    yield made
    made.installation.db.close()


@pytest.fixture(scope="module")
def app(world: World) -> FastAPI:
    """Return the application over it."""
    return create_app(world.wired)


@pytest.fixture(scope="module")
def api_keys(world: World) -> dict[str, str | None]:
    """Return the key of each kind of caller."""
    own = {str(role): an_api_key(world, role) for role in Role if role is not Role.PLATFORM}
    revoked = an_api_key(world, Role.ADMINISTRATOR)
    with world.installation.db.begin() as tx:
        revoke(tx, revoked.split("_")[1])
    platforms = {"platform": an_api_key(world, Role.PLATFORM, "alpha-pay"), "other-platform": an_api_key(world, Role.PLATFORM, "beta-chat")}
    return {"anonymous": None, "revoked": revoked, **own, **platforms}


def _send(app: FastAPI, method: str, path: str, api_key: str | None, body: dict[str, str] | None) -> httpx.Response:
    headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fallow.test") as client:
            if path in FILES:
                return await client.request(method, path, headers={**headers, "content-type": "text/csv"}, content=FILES[path])
            return await client.request(method, path, headers=headers, json=body)

    return asyncio.run(send())


def _expected(route: tuple[str, str], caller: str) -> int:
    allowed, status, _, _ = TABLE[route]
    if caller in allowed.split():
        return status
    if route[1].startswith("/v1/platforms/{platform_id}/answers") or caller in ("anonymous", "revoked"):
        return 401
    if route[1].endswith(("/requests", "/exchanges")) and caller == "other-platform":
        return 404
    return 403


def test_the_table_speaks_of_every_route(app: FastAPI) -> None:
    """No route can be added without deciding here who may use it, and none is hidden from the description."""
    described = {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}

    assert described == set(TABLE)
    assert described == {(route.method, route.path) for route in ROUTES}
    assert len(app.routes) == len(ROUTES)


@pytest.mark.parametrize("caller", _EVERYBODY.split())
@pytest.mark.parametrize("route", TABLE, ids=" ".join)
def test_only_those_get_through_whom_the_table_names(
    app: FastAPI, api_keys: dict[str, str | None], route: tuple[str, str], caller: str
) -> None:
    """Each kind of caller gets exactly the status of the table at each route; refusals are problem documents."""
    _, _, path, body = TABLE[route]

    response = _send(app, route[0], path, api_keys[caller], body)

    assert response.status_code == _expected(route, caller), response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == response.status_code
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"


def test_a_route_without_a_policy_can_t_be_served(world: World) -> None:
    """Forgetting who may use a route stops the application from being made."""
    with pytest.raises(PolicyMissing, match="/v1/forgotten"):
        create_app(world.wired, (*ROUTES, Route("GET", "/v1/forgotten", tell_alive)))


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer flw_", "Basic eDp5", "Bearer flw_p\x00_x", "Bearer " + "x" * 9000, "bearer flw_pa_b c"]
)
def test_a_malformed_key_is_refused_like_an_unknown_one(app: FastAPI, authorization: str) -> None:
    """Whatever stands in the header, the refusal is the same, byte for byte."""

    async def send(value: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fallow.test") as client:
            return await client.get("/v1/counts", headers={"authorization": value})

    response = asyncio.run(send(authorization))
    unknown = asyncio.run(send(f"Bearer flw_p{'a' * 26}_{'b' * 43}"))

    assert response.status_code == 401
    assert response.content == unknown.content


def test_nobody_uploads_before_they_are_known(app: FastAPI, world: World, tmp_path: Path) -> None:
    """A caller without a key is refused before a single byte of the body is read."""
    taken = []

    async def chunks() -> object:  # an endless upload
        while True:
            taken.append(1)
            yield b"x" * 65536

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fallow.test") as client:
            return await client.post("/v1/batches", content=chunks(), headers={"content-type": "text/csv"})  # type: ignore[arg-type]

    assert asyncio.run(send()).status_code == 401
    assert not taken

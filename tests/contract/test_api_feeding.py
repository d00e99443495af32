"""Feeds over HTTP: a CSV file in, a report out, end to end through the application."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders import World, an_api_key, an_installation, enrolled, number
from builders_cycles import spellings

from fallow.api.app import create_app
from fallow.domain.people import Role

TRAFFIC, INVENTORY = "number,country,date,call_attempts,messages,otp_like_messages", "number,country,status,since"
ROUTES = {"/v1/traffic": TRAFFIC, "/v1/inventory": INVENTORY, "/v1/inventory/reconcile": INVENTORY}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return an installation with one enrolled number."""
    made = an_installation(tmp_path)
    enrolled(made)
    return made


def post(world: World, path: str, content: bytes, media_type: str = "text/csv") -> httpx.Response:
    """Send a file as an operator."""
    headers = {"authorization": f"Bearer {an_api_key(world, Role.OPERATOR)}", "content-type": media_type}

    async def send() -> httpx.Response:
        app = create_app(world.wired)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fallow.test") as client:
            return await client.post(path, content=content, headers=headers)

    return asyncio.run(send())


def file_of(path: str, *lines: str) -> bytes:
    """Return a file of the kind that a route takes."""
    return "\n".join((ROUTES[path], *lines)).encode()


def report(world: World, path: str, *lines: str) -> Any:
    """Send lines; return the report, in which no number may stand."""
    response = post(world, path, file_of(path, *lines))
    assert response.status_code == 200, response.text
    assert not any(spelling in response.text for spelling in spellings(0))
    return response.json()


def test_traffic_is_fed(world: World) -> None:
    """The report counts what was noted and names every other line."""
    said = report(world, "/v1/traffic", f"{number(0).text},FR,2026-03-01,1,0,0", f"{number(1).text},FR,2026-03-01,1,0,0", "x")

    (rejection,) = said.pop("rejections")
    assert said == {"rows": 3, "noted": 1, "not_here": 1}
    assert (rejection["line"], rejection["code"]) == (4, "row-malformed")


def test_inventory_is_fed(world: World) -> None:
    """The report names the cycles that were put into ATTENTION."""
    said = report(world, "/v1/inventory", f"{number(0).text},FR,assigned,2026-03-02T00:00:00+08:00")

    assert (said["rows"], said["noted"], said["outdated"], len(said["attention"]), said["rejections"]) == (1, 1, 0, 1, [])


def test_inventory_is_reconciled(world: World) -> None:
    """The report names each number that is where it should not be by line and cycle."""
    said = report(world, "/v1/inventory/reconcile", f"{number(0).text},FR,on-sale,2026-03-02T00:00:00+08:00")

    (finding,) = said["findings"]
    assert (finding["line"], finding["code"], finding["state"]) == (2, "in-cycle", "ENROLLED")
    assert finding["cycle_id"].startswith("n_")
    assert (said["clear"], said["unknown"]) == (0, 0)


@pytest.mark.parametrize("path", ROUTES)
def test_what_is_no_such_file_is_refused(world: World, path: str) -> None:
    """Another form is 415, another header 422."""
    assert post(world, path, b"{}", "application/json").status_code == 415
    assert post(world, path, b"number,country\n").status_code == 422

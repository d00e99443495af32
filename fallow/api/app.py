"""The ASGI application: the table of routes behind the guard, the bounds and the problem documents."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from fallow.api import problems
from fallow.api.bounds import ROOM, Lid, Room
from fallow.api.guard import Guard, Open, guarded
from fallow.api.routes import ROUTES, Route
from fallow.bootstrap import Wired
from fallow.operations.answer_desk import AnswerDesk


class PolicyMissing(RuntimeError):
    """A route was declared without saying who may use it."""


def create_app(wired: Wired, routes: Sequence[Route] = ROUTES) -> FastAPI:
    """Return the application over ``wired``, which stays the caller's to close, as does ``state.desk``.

    Raises:
        PolicyMissing: a route declares no policy.
    """
    app = FastAPI(
        title="fallow",
        version="1",
        # Pages that would load scripts from another host, and the open description: see fallow.api.health for the guarded one.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        middleware=[Middleware(Lid)],
        # FastAPI would write paths, queries and exceptions' texts into spans and logs by itself.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False},
    )
    app.state.wired = wired
    app.state.desk = AnswerDesk(wired.installation)
    problems.register(app)
    guard, room = Guard(wired.installation), Room(ROOM)
    for route in routes:
        _add(app, guard, room, route)
    return app


def _add(app: FastAPI, guard: Guard, room: Room, route: Route) -> None:
    if route.policy is None:
        what = f"{route.method} {route.path} declares no policy; give it one in fallow/api/routes.py"
        raise PolicyMissing(what)
    app.router.add_api_route(
        route.path,
        route.endpoint,
        methods=[route.method],
        name=route.endpoint.__name__,
        operation_id=route.endpoint.__name__,
        openapi_extra=_described(route),
        responses={"default": {"description": "A problem document (RFC 9457).", "content": {"application/problem+json": {}}}},
        route_class_override=guarded(guard, route.policy, route.bounds, room),
    )


def _described(route: Route) -> dict[str, Any]:
    body = (
        {"requestBody": {"required": True, "content": {"text/csv": {}}}} if route.method == "POST" and route.path == "/v1/batches" else {}
    )
    return {"x-fallow-policy": str(route.policy), "security": [] if isinstance(route.policy, Open) else [{"api_key": []}], **body}

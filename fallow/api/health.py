"""Is this process alive, and could it serve? And the description of the API itself, without anything from another host."""

from typing import Any

from fastapi import Request

from fallow.api.guard import Here
from fallow.api.problems import Problem
from fallow.domain.errors import SettingRefused
from fallow.store import schema


def tell_alive() -> dict[str, str]:
    """Tell that the process runs."""
    return {"status": "alive"}


def tell_ready(here: Here) -> Any:
    """Tell whether the database answers and has this code's schema."""
    try:
        schema.check(here.db.engine.execution_options(fallow_read=True))  # a probe must not queue for the write lock
    except SettingRefused:
        detail = "The database can't be reached or has another schema. Remedy: run `fallow doctor` on the API's host."
        return Problem(503, "not-ready", "The API is not ready.", detail, {"retry-after": "5"}).response()
    return {"status": "ready"}


def describe(request: Request) -> dict[str, Any]:
    """Describe this API in OpenAPI."""
    description: dict[str, Any] = request.app.openapi()
    description.setdefault("components", {})["securitySchemes"] = {"api_key": {"type": "http", "scheme": "bearer"}}
    return description

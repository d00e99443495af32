"""Bodies about platforms: a registration's table, its terms, a target's pace. Closed forms; what a value must be is the registry's to say.

Imports pydantic and FastAPI.
"""

from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

_ID = r"^[a-z][a-z0-9-]{1,40}$"
_Text = Annotated[str, Field(max_length=1024)]

#: A platform or a record system; the latter may have one letter only.
TargetId = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,40}$")]


class _Strict(BaseModel):
    """Unknown keys are refused, and so are texts in the place of numbers: a registration's table says one thing in one way."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Terms(_Strict):
    """What one operator may set; what is left out stays."""

    batch: int | None = None
    rate_per_second: float | None = None
    lanes: int | None = None
    remind_after: _Text | None = None
    reminders: int | None = None
    timeout: _Text | None = None
    contact: _Text | None = None
    language: _Text | None = None

    def given(self) -> dict[str, Any]:
        """Return the terms that were given."""
        return self.model_dump(exclude_none=True)


class Registration(Terms):
    """A platform's or hub's whole table: the keys of ``platforms.toml``; docs/platforms.md explains each. Null is as good as left out."""

    id: Annotated[str, Field(pattern=_ID)]
    category: _Text
    contact: _Text
    adapter: _Text | None = None
    via: _Text | None = None
    url: _Text | None = None
    status_url: _Text | None = None
    public_keys: Annotated[list[_Text], Field(max_length=16)] | None = None
    folder: _Text | None = None
    legal_basis: _Text | None = None
    contract: _Text | None = None
    answer_within: _Text | None = None
    number_form: _Text | None = None
    number_key: Annotated[_Text | None, Field(repr=False)] = None
    shared_secret: Annotated[_Text | None, Field(repr=False)] = None
    ca_file: _Text | None = None
    client_certificate_file: _Text | None = None
    allow_loopback: bool | None = None

    def table(self) -> dict[str, Any]:
        """Return the table as it is registered."""
        return self.given()


class Paced(_Strict):
    """How a target is asked; what is left out or null goes back to what its registration or map says."""

    rate_per_second: float | None = None
    batch: int | None = None
    lanes: int | None = None

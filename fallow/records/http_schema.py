"""The shape of a ``[[system]]`` of the kind ``http``. Imports the domain and pydantic."""

import hashlib
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fallow.domain.events import canonical
from fallow.records.map_columns import Duration, Id, MapTable

#: Most orders times collections in one request, so that its answer fits into what the transport reads (256 KiB).
_MOST_COUNTS = 1_500
#: Two requests make a wipe, and a wipe must end within the 60 s for which its orders are claimed.
_LONGEST_TIMEOUT = timedelta(seconds=25)


_Line = Annotated[str, Field(min_length=1, max_length=200)]


class HttpCollection(MapTable):
    """What the system clears under one id, and how.

    Attributes:
        strategy: ``delete``; ``restrict``: kept by law and out of use, until it expires; ``rewrite``: what identifies is overwritten.
        basis: for ``restrict`` and ``rewrite``, the legal basis of what is left.
        keep_for: for ``restrict``, how long after the disconnect it is kept.
    """

    id: Id
    strategy: Literal["delete", "restrict", "rewrite"]
    basis: _Line | None = None
    keep_for: Duration | None = None

    @property
    def meaning(self) -> str:
        """First 16 hex digits of the SHA-256 of what this entry means."""
        entry = self.model_dump(mode="json", exclude={"id"}, exclude_defaults=True)
        return hashlib.sha256(canonical(entry).encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _strategy_is_complete(self) -> Self:
        if (self.strategy == "delete") != (self.basis is None):
            what = "strategies restrict and rewrite need a basis, and delete has none"
            raise ValueError(what)
        if (self.strategy == "restrict") != (self.keep_for is not None):
            what = "strategy restrict needs keep_for, and only it may have one"
            raise ValueError(what)
        return self


class HttpSystem(MapTable):
    """The entry.

    Attributes:
        url: https to a public host; ``/list``, ``/clear``, ``/verify`` and ``/expire`` are appended.
        public_keys: one to four keys, any of which may sign the system's answers.
        timeout: what one request may take altogether.
        batch: most orders in one request.
        after: ids of the systems that must be cleared before it.
        backups_live_for: how long the system's backups live; receipts say until when they may still hold what was cleared.
        not_reached: what clearing does not reach at once, such as a replica, in the operator's words.
        allow_loopback: whether ``url`` may name this machine, over plain http too.
    """

    id: Id
    url: str
    public_keys: list[str]
    collections: list[HttpCollection] = Field(min_length=1)
    timeout: Duration = timedelta(seconds=10)
    batch: int = Field(50, ge=1, le=500)
    after: list[Id] = Field(default_factory=list)
    backups_live_for: Duration | None = None
    not_reached: list[_Line] = Field(default_factory=list)
    allow_loopback: bool = False

    @property
    def place(self) -> str:
        """First 16 hex digits of the SHA-256 of where it is and whose word counts there: the URL and the public keys."""
        said = {"url": self.url, "public_keys": sorted(self.public_keys)}
        return hashlib.sha256(canonical(said).encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len({each.id for each in self.collections}) != len(self.collections):
            what = "two collections of one system have the same id"
            raise ValueError(what)
        if not timedelta() < self.timeout <= _LONGEST_TIMEOUT:
            what = f"timeout is not from 1s to {_LONGEST_TIMEOUT.seconds}s"
            raise ValueError(what)
        if self.batch * len(self.collections) > _MOST_COUNTS:
            what = f"batch times collections is over {_MOST_COUNTS}; make batch smaller"
            raise ValueError(what)
        return self

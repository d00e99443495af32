"""The shape of ``records.toml``: one pydantic model per table, unknown keys refused.

Imports the domain and pydantic.
"""

import hashlib
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fallow.domain.events import canonical
from fallow.records.erasure_order import in_order
from fallow.records.map_columns import Duration, Id, MapTable, Name, NumberColumn, Numbers, Restriction, Rewriting, Sealing


class CollectionTable(MapTable):
    """One ``[[system.collection]]``: which rows of which table are a former holder's, and what happens to them.

    Attributes:
        subject: ``holder``; or ``counterparty``: the number is the other party's in the rows of somebody else, which follow their own
            retention and are never touched.
        numbers: the columns that hold the holder's number, in whatever spelling each.
        until: the column that says when a row began.
        offset: what values of ``until`` mean that say no offset from UTC; values with an offset ignore it.
        subscription: the column with the carrier's id of the subscription; rows of the former holder's are theirs whenever they began.
        erase_after: ids of collections that must be cleared before this one; of another system as ``system.collection``.
        strategy: what happens to the former holder's rows.
    """

    id: Id
    table: Name
    schema_name: Name | None = Field(None, alias="schema")
    subject: Literal["holder", "counterparty"] = "holder"
    numbers: Numbers = Field(alias="number")
    until: Name | None = None
    offset: str | None = Field(None, pattern=r"^[+-](0[0-9]|1[0-4]):[0-5][0-9]$")
    subscription: Name | None = None
    erase_after: list[Annotated[str, Field(pattern=r"^([a-z][a-z0-9-]{0,39}\.)?[a-z][a-z0-9-]{0,39}$")]] = Field(default_factory=list)
    strategy: Literal["delete", "restrict", "seal", "rewrite"] | None = None
    restrict: Restriction | None = None
    seal: Sealing | None = None
    rewrite: Rewriting | None = None

    @property
    def meaning(self) -> str:
        """First 16 hex digits of the SHA-256 of what this entry means; the order of keys and what is left out don't change it."""
        entry = self.model_dump(mode="json", exclude={"id", "erase_after"}, exclude_defaults=True)
        return hashlib.sha256(canonical(entry).encode()).hexdigest()[:16]

    @property
    def basis(self) -> str | None:
        """The legal basis of what is left, or None where nothing is."""
        kept = self.restrict or self.seal or self.rewrite
        return None if kept is None else kept.basis

    @property
    def keep_for(self) -> timedelta | None:
        """How long after the disconnect rows are kept, or None where they are not."""
        kept = self.restrict or self.seal
        return None if kept is None else kept.keep_for

    @model_validator(mode="after")
    def _strategy_is_complete(self) -> Self:
        if self.subject == "counterparty":
            return self._is_left_alone()
        if self.strategy is None or (self.until is None and self.subscription is None):
            what = "a holder's collection needs a strategy, and until or subscription to tell a newer holder's rows apart"
            raise ValueError(what)
        for name in ("restrict", "seal", "rewrite"):
            if (self.strategy == name) != (getattr(self, name) is not None):
                what = f"strategy {name} needs a {name} table, and only it may have one"
                raise ValueError(what)
        telling = {*(number.column for number in self.numbers), *filter(None, [self.subscription])}
        kept = telling - set(self.rewrite.columns if self.rewrite else {})
        if self.rewrite and kept:
            what = f"rewrite must name each number column and the subscription, or the row says whose it is: {', '.join(sorted(kept))}"
            raise ValueError(what)
        return self

    def _is_left_alone(self) -> Self:
        said = (self.strategy, self.until, self.offset, self.subscription, self.restrict, self.seal, self.rewrite)
        if any(said) or self.erase_after:
            what = "a counterparty's collection is never touched: it has id, table, schema, subject and number only"
            raise ValueError(what)
        return self


class SystemTable(MapTable):
    """One ``[[system]]``: a database and its collections, cleared in the order given where no ``erase_after`` says otherwise.

    Attributes:
        timeout: for a connection, a lock or a statement.
        batch: most numbers in one set of statements; a smaller one holds locks for a shorter time.
        backups_live_for: how long the system's backups live; receipts say until when they may still hold what was deleted.
        not_reached: what a deletion in the primary does not reach at once, such as a replica, in the operator's words.
    """

    id: Id
    kind: Literal["sql"] = "sql"
    url: str | None = Field(None, min_length=1)
    url_file: str | None = Field(None, min_length=1)
    timeout: Duration = timedelta(seconds=10)
    batch: int = Field(200, ge=1, le=1_000)
    backups_live_for: Duration | None = None
    not_reached: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(default_factory=list)
    collection: list[CollectionTable] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            what = "give either url or url_file"
            raise ValueError(what)
        ids = [collection.id for collection in self.collection]
        if len(set(ids)) != len(ids):
            what = "two collections of one system have the same id"
            raise ValueError(what)
        if all(collection.subject == "counterparty" for collection in self.collection):
            what = "a system without a holder's collection has nothing to wipe"
            raise ValueError(what)
        in_order(ids, self._edges())
        return self

    @property
    def holders(self) -> list[CollectionTable]:
        """The holder's collections in the order in which they are cleared."""
        by_id = {collection.id: collection for collection in self.collection}
        ordered = in_order(list(by_id), self._edges())
        return [by_id[each] for each in ordered if by_id[each].subject == "holder"]

    @property
    def after(self) -> frozenset[str]:
        """Ids of the systems that must be cleared before this one."""
        return frozenset(each.partition(".")[0] for collection in self.collection for each in collection.erase_after if "." in each)

    def _edges(self) -> dict[str, list[str]]:
        return {each.id: [before for before in each.erase_after if "." not in before] for each in self.collection}


class LineRegisterTable(MapTable):
    """``[line_register]``: the table that says whether a line is in service; a value in no list is unknown."""

    system: Id
    table: Name
    schema_name: Name | None = Field(None, alias="schema")
    number: NumberColumn
    status: Name
    off: list[str] = Field(min_length=1)
    in_service: list[str] = Field(min_length=1)
    ported: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _lists_are_apart(self) -> Self:
        listed = [*self.off, *self.in_service, *self.ported]
        if len(set(listed)) != len(listed):
            what = "one value is listed twice among off, in_service and ported"
            raise ValueError(what)
        return self


class RecordsFile(MapTable):
    """The whole file."""

    line_register: LineRegisterTable
    system: list[SystemTable] = Field(min_length=1)

    @model_validator(mode="after")
    def _ids_fit(self) -> Self:
        ids = [system.id for system in self.system]
        if len(set(ids)) != len(ids):
            what = "two systems have the same id"
            raise ValueError(what)
        if self.line_register.system not in ids:
            what = "line_register.system is not the id of a [[system]]"
            raise ValueError(what)
        return self

"""The shape of ``records.toml``: one pydantic model per table, unknown keys refused.

Imports the domain, phonenumbers and pydantic.
"""

import hashlib
from datetime import timedelta
from typing import Annotated, Literal, Self

import phonenumbers
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fallow.domain.durations import duration
from fallow.domain.events import canonical


def _duration(value: object) -> timedelta:
    return duration(value if isinstance(value, str) else "")


_Duration = Annotated[timedelta, BeforeValidator(_duration)]
_Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
_Name = Annotated[str, Field(min_length=1, max_length=128)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NumberColumn(_Table):
    """Where a table keeps the number of its holder, and how it writes it.

    Attributes:
        column: the holder's column; rows that hold the number elsewhere are another person's.
        spelling: ``e164`` (+8613800000001), ``digits`` (8613800000001) or ``national`` (13800000001).
        trunk_prefix: written before a national number, for instance "0".
        country: for ``national``, the country all rows belong to; others with its calling code count as the same.
        country_column: for ``national``, the column with each row's ISO 3166 code.
    """

    column: _Name
    spelling: Literal["e164", "digits", "national"]
    trunk_prefix: str = Field("", pattern=r"^[0-9]{0,3}$")
    country: str | None = Field(None, pattern=r"^[A-Z]{2}$")
    country_column: _Name | None = None

    @model_validator(mode="after")
    def _names_the_country(self) -> Self:
        # The same national digits are another person's number in the next country.
        named = [self.country, self.country_column].count(None) == 1
        if self.spelling == "national" and not named:
            what = "spelling national needs either country or country_column"
            raise ValueError(what)
        if self.spelling != "national" and (self.country or self.country_column or self.trunk_prefix):
            what = "country, country_column and trunk_prefix belong to spelling national only"
            raise ValueError(what)
        # A country that no number belongs to would pass every number of the table for clean.
        if self.country is not None and not phonenumbers.country_code_for_region(self.country):
            what = "country is no ISO 3166 code with a calling code, such as GB"
            raise ValueError(what)
        return self


class Restriction(_Table):
    """How rows are kept out of use that the law wants kept.

    Attributes:
        set: columns and the values that take the row out of use.
        basis_column: column that receives the legal basis.
        basis: why the row is kept.
        expiry_column: column that receives the date until which it is kept.
        keep_for: how long after the disconnect it is kept.
    """

    set: dict[_Name, str | int | bool] = Field(min_length=1)
    basis_column: _Name
    basis: str = Field(min_length=1)
    expiry_column: _Name
    keep_for: _Duration


class CollectionTable(_Table):
    """One ``[[system.collection]]``: which rows of which table are a former holder's, and what happens to them.

    Attributes:
        until: the column that says when a row began.
        offset: what values of ``until`` mean that say no offset from UTC; values with an offset ignore it.
    """

    id: _Id
    table: _Name
    schema_name: _Name | None = Field(None, alias="schema")
    number: NumberColumn
    until: _Name
    offset: str | None = Field(None, pattern=r"^[+-](0[0-9]|1[0-4]):[0-5][0-9]$")
    strategy: Literal["delete", "restrict"]
    restrict: Restriction | None = None

    @property
    def meaning(self) -> str:
        """First 16 hex digits of the SHA-256 of what this entry means; the order of keys and what is left out don't change it."""
        entry = self.model_dump(mode="json", exclude={"id"}, exclude_defaults=True)
        return hashlib.sha256(canonical(entry).encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _strategy_is_complete(self) -> Self:
        if (self.strategy == "restrict") != (self.restrict is not None):
            what = "strategy restrict needs a restrict table, and only it may have one"
            raise ValueError(what)
        return self


class SystemTable(_Table):
    """One ``[[system]]``: a database and its collections, wiped in the order given (children before parents)."""

    id: _Id
    url: str | None = Field(None, min_length=1)
    url_file: str | None = Field(None, min_length=1)
    timeout: _Duration = timedelta(seconds=10)
    collection: list[CollectionTable] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            what = "give either url or url_file"
            raise ValueError(what)
        if len({collection.id for collection in self.collection}) != len(self.collection):
            what = "two collections of one system have the same id"
            raise ValueError(what)
        return self


class LineRegisterTable(_Table):
    """``[line_register]``: the table that says whether a line is in service; a value in no list is unknown."""

    system: _Id
    table: _Name
    schema_name: _Name | None = Field(None, alias="schema")
    number: NumberColumn
    status: _Name
    off: list[str] = Field(min_length=1)
    in_service: list[str] = Field(min_length=1)
    ported: list[str] = []

    @model_validator(mode="after")
    def _lists_are_apart(self) -> Self:
        listed = [*self.off, *self.in_service, *self.ported]
        if len(set(listed)) != len(listed):
            what = "one value is listed twice among off, in_service and ported"
            raise ValueError(what)
        return self


class RecordsFile(_Table):
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

"""Columns and strategies of ``records.toml``: the parts of a collection. Imports the domain, phonenumbers and pydantic."""

from datetime import timedelta
from typing import Annotated, Literal, Self

import phonenumbers
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fallow.domain.durations import duration


def _duration(value: object) -> timedelta:
    return duration(value if isinstance(value, str) else "")


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Name = Annotated[str, Field(min_length=1, max_length=128)]


class MapTable(BaseModel):
    """A table of the file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NumberColumn(MapTable):
    """Where a table keeps a number, and how it writes it.

    Attributes:
        column: the column; rows that hold the number elsewhere are another person's.
        spelling: ``e164`` (+8613800000001), ``digits`` (8613800000001), ``national`` (13800000001), or ``split`` (86 in
            ``prefix_column``, 13800000001 in ``column``).
        trunk_prefix: written before a national number, for instance "0".
        country: for ``national``, the country all rows belong to; others with its calling code count as the same.
        country_column: for ``national``, the column with each row's ISO 3166 code.
        prefix_column: for ``split``, the column with each row's calling code.
        prefix_lead: for ``split``, what is written before the calling code: nothing, "+" or "00".
    """

    column: Name
    spelling: Literal["e164", "digits", "national", "split"]
    trunk_prefix: str = Field("", pattern=r"^[0-9]{0,3}$")
    country: str | None = Field(None, pattern=r"^[A-Z]{2}$")
    country_column: Name | None = None
    prefix_column: Name | None = None
    prefix_lead: Literal["", "+", "00"] = ""

    @property
    def place_column(self) -> str | None:
        """The column that says whose national digits a row has: the country's or the calling code's; None where none is needed."""
        return self.country_column or self.prefix_column

    @property
    def columns(self) -> list[str]:
        """Every column that it takes to read the number."""
        return [self.column, *filter(None, [self.place_column])]

    @model_validator(mode="after")
    def _names_the_country(self) -> Self:
        # The same national digits are another person's number in the next country.
        named = [self.country, self.country_column].count(None) == 1
        if self.spelling == "national" and not named:
            what = "spelling national needs either country or country_column"
            raise ValueError(what)
        if self.spelling != "national" and (self.country or self.country_column):
            what = "country and country_column belong to spelling national only"
            raise ValueError(what)
        if self.trunk_prefix and self.spelling not in ("national", "split"):
            what = "trunk_prefix belongs to the spellings national and split only"
            raise ValueError(what)
        if (self.spelling == "split") != (self.prefix_column is not None) or (self.prefix_lead and self.prefix_column is None):
            what = "spelling split needs prefix_column, and only it may have one"
            raise ValueError(what)
        # A country that no number belongs to would pass every number of the table for clean.
        if self.country is not None and not phonenumbers.country_code_for_region(self.country):
            what = "country is no ISO 3166 code with a calling code, such as GB"
            raise ValueError(what)
        return self


def _as_list(value: object) -> object:
    return [value] if isinstance(value, dict) else value


Numbers = Annotated[list[NumberColumn], BeforeValidator(_as_list), Field(min_length=1)]


class Archive(MapTable):
    """A table that service systems can't reach, to which restricted rows are moved.

    Attributes:
        table: it has every column of the collection's table, by the same name, besides the two for basis and expiry.
    """

    table: Name
    schema_name: Name | None = Field(None, alias="schema")


class Restriction(MapTable):
    """How rows are kept out of use that the law wants kept: flagged where they are, or moved to an archive.

    Attributes:
        set: columns and the values that take the row out of use; service systems must heed them.
        archive: where the rows are moved to instead; nothing of them stays behind.
        basis_column: column that receives the legal basis.
        basis: why the row is kept.
        expiry_column: column that receives the date until which it is kept.
        keep_for: how long after the disconnect it is kept.
    """

    set: dict[Name, str | int | bool] = {}
    archive: Archive | None = None
    basis_column: Name
    basis: str = Field(min_length=1)
    expiry_column: Name
    keep_for: Duration

    @model_validator(mode="after")
    def _takes_rows_out_of_use(self) -> Self:
        if bool(self.set) == (self.archive is not None):
            what = "give either set, which flags the row where it is, or archive, where it is moved to"
            raise ValueError(what)
        return self


class Sealing(MapTable):
    """How rows are moved out of the system and under the cycle's retention key.

    Attributes:
        basis: why the row is kept.
        keep_for: how long after the disconnect it is kept.
    """

    basis: str = Field(min_length=1)
    keep_for: Duration


class Rewriting(MapTable):
    """How rows stay in use without saying whose they were.

    Attributes:
        basis: why what is left of the row may stay.
        columns: what happens to each column: ``null``, ``mask`` (a fixed text) or ``pseudonymise`` (the former holder's pseudonym,
            which nobody can derive again once the holder key is destroyed).
    """

    basis: str = Field(min_length=1)
    columns: dict[Name, Literal["null", "mask", "pseudonymise"]] = Field(min_length=1)

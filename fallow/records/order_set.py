"""A set of orders as one relation of a statement, so that a batch of numbers is one statement and its text is always the same.

The set travels as one bound value, a JSON array, which each database unfolds into rows. Where a kind of database is not known to
unfold JSON, the relation is a fixed number of bound rows. Imports SQLAlchemy.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

from sqlalchemy import (
    CHAR,
    Date,
    DateTime,
    Integer,
    Numeric,
    String,
    Subquery,
    bindparam,
    column,
    select,
    text,
    union_all,
)
from sqlalchemy.types import TypeEngine

#: Rows of the relation where it can't be unfolded from JSON: enough for all spellings of one number in all regions of its code.
_FIXED = 160
_NAME = "orders"


@dataclass(frozen=True)
class Field:
    """One column of the relation.

    Attributes:
        name: short, and safe in any database.
        type: of its values.
        collation: (character set, collation) of the column it is compared with, where the database would refuse a mixture.
    """

    name: str
    type: TypeEngine[Any]
    collation: tuple[str, str] | None = None


class OrderSet(Protocol):
    """The relation ``o``.

    Attributes:
        relation: what statements join.
    """

    relation: Subquery

    @property
    def most(self) -> int | None:
        """How many orders fit, where each takes all the rows it may; None: any number."""
        ...

    def told(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return values of one row as :meth:`bound` takes them; without those that are None."""
        ...

    def bound(self, rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
        """Return what a statement over :attr:`relation` wants bound; a field that a row leaves out is NULL."""
        ...


def order_set(dialect: str, fields: Sequence[Field]) -> OrderSet:
    """Return the relation for a kind of database."""
    unfolding = _UNFOLDING.get(dialect)
    return FixedRows(fields) if unfolding is None else UnfoldedJson(unfolding(fields), fields)


class UnfoldedJson:
    """The relation as a JSON array that the database unfolds."""

    most = None

    def __init__(self, statement: str, fields: Sequence[Field]) -> None:
        """Take the statement that unfolds ``:orders`` into ``fields``."""
        bound = text(statement).bindparams(bindparam(_NAME, type_=String()))
        self.relation = bound.columns(*(column(field.name, field.type) for field in fields)).subquery("o")

    def told(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return the values as JSON has them."""
        return {name: _plain(value) for name, value in values.items() if value is not None}

    def bound(self, rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
        """Return the rows as one JSON text."""
        return {_NAME: json.dumps(rows)}


class FixedRows:
    """The relation as a fixed number of rows with a bound value each, for kinds of database that nobody has tried JSON with."""

    most = 1

    def __init__(self, fields: Sequence[Field]) -> None:
        """Build all rows."""
        self._names = [field.name for field in fields]
        rows = (select(*(bindparam(_cell(f.name, row), type_=f.type).label(f.name) for f in fields)) for row in range(_FIXED))
        self.relation = union_all(*rows).subquery("o")

    def told(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return the values as they are."""
        return {name: value for name, value in values.items() if value is not None}

    def bound(self, rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
        """Return a value for each cell; rows that are left over are NULL and match nothing.

        Raises:
            ValueError: more rows than there are; the batch is too large.
        """
        if len(rows) > _FIXED:
            what = f"{len(rows)} rows of orders do not fit into {_FIXED}"
            raise ValueError(what)
        filled = [*rows, *([{}] * (_FIXED - len(rows)))]
        return {_cell(name, place): row.get(name) for place, row in enumerate(filled) for name in self._names}


def _cell(name: str, row: int) -> str:
    return f"{name}{row}"


def _plain(value: object) -> object:
    return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat() if isinstance(value, date) else value


def _postgresql(fields: Sequence[Field]) -> str:
    names, typed = _listed(fields), ", ".join(f"{field.name} {_postgresql_type(field.type)}" for field in fields)
    return f"SELECT {names} FROM json_to_recordset(CAST(:{_NAME} AS json)) AS r({typed})"


def _sqlite(fields: Sequence[Field]) -> str:
    names = ", ".join(f"json_extract(value, '$.{field.name}') AS {field.name}" for field in fields)
    return f"SELECT {names} FROM json_each(:{_NAME})"


def _mariadb(fields: Sequence[Field]) -> str:
    typed = ", ".join(f"{field.name} {_mariadb_type(field)} PATH '$.{field.name}'" for field in fields)
    return f"SELECT {_listed(fields)} FROM JSON_TABLE(:{_NAME}, '$[*]' COLUMNS ({typed})) AS r"


_UNFOLDING = {"postgresql": _postgresql, "sqlite": _sqlite, "mysql": _mariadb, "mariadb": _mariadb}


def _listed(fields: Sequence[Field]) -> str:
    return ", ".join(field.name for field in fields)


def _postgresql_type(kind: TypeEngine[Any]) -> str:
    if isinstance(kind, DateTime):
        return "timestamptz" if kind.timezone else "timestamp"
    # Without a length: what is looked for may be longer than what the column can hold.
    names: tuple[tuple[type[TypeEngine[Any]], str], ...] = ((Date, "date"), (Integer, "bigint"), (Numeric, "numeric"), (CHAR, "bpchar"))
    return next((name for known, name in names if isinstance(kind, known)), "text")


def _mariadb_type(field: Field) -> str:
    names: tuple[tuple[type[TypeEngine[Any]], str], ...] = (
        (DateTime, "DATETIME(6)"),
        (Date, "DATE"),
        (Integer, "BIGINT"),
        (Numeric, "DECIMAL(38, 0)"),
    )
    name = next((name for known, name in names if isinstance(field.type, known)), "VARCHAR(255)")
    if not name.startswith("VARCHAR") or field.collation is None:
        return name
    return f"{name} CHARACTER SET {field.collation[0]} COLLATE {field.collation[1]}"

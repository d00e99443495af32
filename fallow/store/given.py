"""Rows given to a statement as one bound value, a JSON array that the database unfolds: its text is the same however many there are.

Thousands of bound values would be a new statement for every length, and more than a database takes (decision 0016).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Boolean, Integer, Subquery, Text, bindparam, column, text
from sqlalchemy.types import TypeEngine

from fallow.store.columns import Instant
from fallow.store.engine import Tx

_NAME = "given"
_TYPES: Mapping[type, tuple[str, TypeEngine[Any]]] = {
    str: ("text", Text()),
    int: ("bigint", Integer()),
    bool: ("boolean", Boolean()),
    datetime: ("timestamptz", Instant()),
}


def given(tx: Tx, **columns: type) -> Subquery:
    """Return the relation ``given`` with these columns, for a statement that gets :func:`bound` rows."""
    return _relation(_dialect(tx), tuple(columns.items()))


def bound(tx: Tx, rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Return what a statement over :func:`given` wants bound: texts, whole numbers, truths and instants, or None."""
    return {_NAME: json.dumps(rows, separators=(",", ":"), default=_INSTANTS[_dialect(tx)])}


def listed(tx: Tx, name: str) -> Subquery:
    """Return the relation ``given`` of one column of texts, for a statement that gets :func:`bound_list`."""
    return _list(_dialect(tx), name)


def bound_list(values: Iterable[str]) -> dict[str, object]:
    """Return what a statement over :func:`listed` wants bound."""
    return {_NAME: json.dumps(list(values), separators=(",", ":"))}


def _dialect(tx: Tx) -> str:
    return tx.session.get_bind().dialect.name


def _naive(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")  # as SQLAlchemy writes instants into SQLite


_INSTANTS: Mapping[str, Callable[[datetime], str]] = {"sqlite": _naive, "postgresql": datetime.isoformat}


@cache
def _relation(dialect: str, columns: tuple[tuple[str, type], ...]) -> Subquery:
    if dialect == "sqlite":
        unfolded = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name, _ in columns)
        statement = f"SELECT {unfolded} FROM json_each(:{_NAME})"
    else:
        names = ", ".join(name for name, _ in columns)
        typed = ", ".join(f"{name} {_TYPES[kind][0]}" for name, kind in columns)
        statement = f"SELECT {names} FROM json_to_recordset(CAST(:{_NAME} AS json)) AS r({typed})"
    return _made(statement, *((name, _TYPES[kind][1]) for name, kind in columns))


@cache
def _list(dialect: str, name: str) -> Subquery:
    unfolded = f"json_each(:{_NAME})" if dialect == "sqlite" else f"json_array_elements_text(CAST(:{_NAME} AS json))"
    return _made(f"SELECT value AS {name} FROM {unfolded}", (name, Text()))


def _made(statement: str, *columns: tuple[str, TypeEngine[Any]]) -> Subquery:
    bound_text = text(statement).bindparams(bindparam(_NAME, type_=Text()))
    return bound_text.columns(*(column(name, kind) for name, kind in columns)).subquery(_NAME)

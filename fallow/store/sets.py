"""Sets of identifiers as one value of one statement: its text, and the work of preparing it, do not grow with the set."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col

from fallow.store.engine import Tx


def among(tx: Tx, column: Any, values: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition that a text column holds one of ``values``."""
    if tx.session.get_bind().dialect.name == "sqlite":
        return col(column).in_(select(func.json_each(json.dumps(list(values))).table_valued("value").c.value))
    # Unfolded as a relation: as the array of an ANY it would be read anew for every row of a table that is gone through.
    return col(column).in_(select(func.unnest(cast(literal(_array(values)), ARRAY(Text)))))


def _array(values: Iterable[str]) -> str:
    """Return an array as PostgreSQL writes it; the driver takes several times as long to put one together."""
    given = list(values)
    text = '","'.join(given)
    if "\\" in text or text.count('"') != 2 * len(given) - 2:  # an id never needs it
        text = '","'.join(value.replace("\\", "\\\\").replace('"', '\\"') for value in given)
    return f'{{"{text}"}}' if given else "{}"

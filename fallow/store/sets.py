"""Sets of identifiers as one value of one statement: its text, and the work of preparing it, do not grow with the set."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Text, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col

from fallow.store.engine import Tx


def among(tx: Tx, column: Any, values: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition that a text column holds one of ``values``."""
    wanted = list(values)
    if tx.session.get_bind().dialect.name == "sqlite":
        return col(column).in_(select(func.json_each(json.dumps(wanted)).table_valued("value").c.value))
    condition: ColumnElement[bool] = col(column) == func.any(literal(wanted, ARRAY(Text)))
    return condition

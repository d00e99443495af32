"""Rows of evidence: each under the digest of its own body, so that the same evidence again is the same row."""

from collections.abc import Sequence

from sqlalchemy.dialects import postgresql, sqlite

from fallow.store.engine import Tx
from fallow.store.tables import EvidenceRow

#: Rows in one INSERT: five values each stay far below SQLite's 32,766 parameters of a statement.
_MOST_AT_ONCE = 1_000


def keep(tx: Tx, rows: Sequence[EvidenceRow]) -> None:
    """Keep evidence; what is kept already is left as it is."""
    kind = sqlite if tx.session.connection().dialect.name == "sqlite" else postgresql
    values = [row.model_dump() for row in rows]
    for first in range(0, len(values), _MOST_AT_ONCE):
        insert = kind.insert(EvidenceRow).values(values[first : first + _MOST_AT_ONCE])
        tx.session.connection().execute(insert.on_conflict_do_nothing(index_elements=["digest"]))

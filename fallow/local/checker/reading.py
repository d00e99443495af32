"""Reading what is checked: SQLite files as they lie there, instants, and JSON in the one form that is digested. Standard library only."""

import hashlib
import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

Row = dict[str, Any]
Tables = dict[str, list[Row]]

_BUSY_SECONDS = 30
_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z", re.ASCII)


def tables(path: Path) -> Tables:
    """Return every table of a SQLite file, as of one instant; nothing in the file is changed.

    Raises:
        sqlite3.Error: there is no such file, or it is no database.
    """
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')] for name in names}


def instant(text: str) -> datetime:
    """Read an ISO 8601 instant; one without an offset is UTC, as every database here means it.

    Raises:
        ValueError: it is none.
    """
    read = datetime.fromisoformat(text)
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def number_of(cell: str) -> str | None:
    """Return the E.164 number a cell plainly holds, however spaced; None for anything else."""
    plain = re.sub(r"[ ().-]", "", cell)
    return plain if _E164.match(plain) else None


def canonical(body: object) -> str:
    """Return JSON with sorted keys, no spaces, ASCII: what digests are taken of."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256(text: str | bytes) -> str:
    """Return the SHA-256 of text or bytes in hex."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()

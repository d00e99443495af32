"""What the simulated platforms know: who is bound to which number, what they were asked, what they said.

A SQLite file and a JSONL log. Both hold phone numbers: they belong to the platforms, not to the engine, which never
opens them. Standard library only.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS bindings (
    platform TEXT NOT NULL, number TEXT NOT NULL, account TEXT NOT NULL, bound_at TEXT NOT NULL, unbound_at TEXT,
    PRIMARY KEY (platform, number, account)
);
CREATE TABLE IF NOT EXISTS requests (
    platform TEXT NOT NULL, reference TEXT NOT NULL, number TEXT NOT NULL, first_at TEXT NOT NULL,
    times INTEGER NOT NULL, outcome TEXT, answered TEXT,
    PRIMARY KEY (platform, reference)
);
"""


class Truth:
    """The platforms' database and log."""

    def __init__(self, directory: Path) -> None:
        """Open both in ``directory``; what an earlier run left stays true."""
        self._db = sqlite3.connect(directory / "simulator.db", isolation_level=None, timeout=10)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_SCHEMA)
        self._log = (directory / "simulator.log").open("a", encoding="utf-8", buffering=1)

    def close(self) -> None:
        """Close both."""
        self._db.close()
        self._log.close()

    def note(self, event: str, platform: str, **more: object) -> None:
        """Write one line of the log."""
        line = {"at": now(), "event": event, "platform": platform, **more}
        self._log.write(json.dumps(line, separators=(",", ":")) + "\n")

    def bind(self, rows: Iterable[tuple[str, str, str, str]]) -> None:
        """Make bindings: (platform, number, account, bound_at); one that was ever made is left as it is."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT OR IGNORE INTO bindings VALUES (?, ?, ?, ?, NULL)", rows)
        self._db.execute("COMMIT")

    def asked(self, platform: str, reference: str, number: str) -> tuple[int, str | None]:
        """Count a request; return how often the reference was asked, and what was decided for it before, if anything."""
        row = self._db.execute(
            "INSERT INTO requests VALUES (?, ?, ?, ?, 1, NULL, NULL)"
            " ON CONFLICT (platform, reference) DO UPDATE SET times = times + 1 RETURNING times, outcome",
            (platform, reference, number, now()),
        ).fetchall()[0]
        return row["times"], row["outcome"]

    def cut(self, platform: str, number: str, until: str) -> list[str]:
        """Unbind every account bound to the number up to ``until``; return the accounts."""
        rows = self._db.execute(
            "UPDATE bindings SET unbound_at = ? WHERE platform = ? AND number = ? AND bound_at <= ? AND unbound_at IS NULL"
            " RETURNING account",
            (now(), platform, number, until),
        ).fetchall()
        return [row["account"] for row in rows]

    def decide(self, platform: str, reference: str, outcome: str) -> None:
        """Remember what is said about a reference, now and at every repeat."""
        self._db.execute("UPDATE requests SET outcome = ? WHERE platform = ? AND reference = ?", (outcome, platform, reference))

    def decided(self, platform: str, references: Iterable[str]) -> dict[str, str]:
        """Return what was decided, by reference; what is not decided yet, or was never asked, is left out."""
        query = "SELECT outcome FROM requests WHERE platform = ? AND reference = ? AND outcome IS NOT NULL"
        found = {each: self._db.execute(query, (platform, each)).fetchone() for each in references}
        return {each: row["outcome"] for each, row in found.items() if row is not None}

    def said(self, platform: str, answers: Mapping[str, str], by: str, delivery: str) -> None:
        """Remember that answers (reference -> outcome) have been given: by "response", by "callback" or by "status"."""
        for reference, outcome in answers.items():
            if outcome != "accepted":
                rows = self._db.execute(
                    "UPDATE requests SET answered = ? WHERE platform = ? AND reference = ? RETURNING number",
                    (outcome, platform, reference),
                ).fetchall()
                number = rows[0]["number"] if rows else None
                self.note("answered", platform, reference=reference, number=number, outcome=outcome, by=by, delivery=delivery)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return per platform: references asked, items counted with repeats, answered, bound now, unbound."""
        asked = "SELECT platform, count(*) AS asked, sum(times) AS items, count(answered) AS answered FROM requests GROUP BY platform"
        bound = "SELECT platform, count(*) - count(unbound_at) AS bound, count(unbound_at) AS unbound FROM bindings GROUP BY platform"
        counts: dict[str, dict[str, int]] = {}
        for query in (asked, bound):
            for row in self._db.execute(query):
                found = dict(row)
                counts.setdefault(found.pop("platform"), {}).update(found)
        return counts

    def requests(self) -> list[dict[str, Any]]:
        """Return every row of ``requests``."""
        return [dict(row) for row in self._db.execute("SELECT * FROM requests ORDER BY platform, first_at, reference")]


def now() -> str:
    """Return this instant, UTC, with microseconds."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")

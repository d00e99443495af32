"""What the demo shows of wiping: the plan before it, and each receipt as it comes. Imports its neighbours."""

import json
import sqlite3
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fallow.local import stack

_WITHIN_SECONDS = 30


class Records:
    """The two looks that an auditor would take: by the command line, and by a read-only account of the database."""

    def __init__(self, directory: Path) -> None:
        """Look into the installation of this state folder."""
        self._directory = directory

    def plan(self, number: str) -> Iterator[str]:
        """Yield what a wipe would do, a line a collection; the number goes in by standard input.

        Raises:
            subprocess.SubprocessError: the command failed, or took too long.
        """
        command = stack.program(self._directory, "records", "plan", "--json")
        ran = subprocess.run(command, input=number, capture_output=True, text=True, check=False, timeout=_WITHIN_SECONDS)  # noqa: S603
        found = json.loads(ran.stdout)["numbers"][0]["found"]
        for each in found:
            yield _line(each["system"], each, f"{each['in_scope']} rows", _kept(each))

    def receipt(self, digest: str | None, *, only_newer: bool = False) -> Iterator[str]:
        """Yield what a receipt says, a line a collection; nothing where the digest is no receipt's."""
        body = self._evidence(digest)
        for each in body.get("collections", ()):
            if each["newer"] or not only_newer:
                rows = f"{each['affected']} rows, {each['remaining']} left"
                newer = [f"{each['newer']} of a newer holder, untouched"] if each["newer"] else []
                yield _line(body["target_id"], each, rows, [*newer, *_kept(each), *_reach(each)])

    def _evidence(self, digest: str | None) -> Mapping[str, Any]:
        address = f"file:{quote(str(self._directory / 'fallow.db'))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_WITHIN_SECONDS)) as connection:
            found = connection.execute("SELECT body FROM evidence WHERE digest = ? AND kind = 'receipt'", (digest,)).fetchone()
        return {} if found is None else dict(json.loads(found[0]))


def _line(system: str, each: Mapping[str, Any], rows: str, more: Iterable[str]) -> str:
    where = f"{system}.{each['collection']}"
    return " · ".join((f"{where:<22}{each['strategy']:<10}{rows:<16}", *more)).rstrip()


def _kept(each: Mapping[str, Any]) -> list[str]:
    return [f"kept until {each['kept_until']}"] if each["kept_until"] else []


def _reach(each: Mapping[str, Any]) -> list[str]:
    return [f"backups until {each['backups_until']}"] if each["backups_until"] else []

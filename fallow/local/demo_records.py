"""What the demo shows of wiping: the plan before it, and each receipt as it comes. Imports its neighbours."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fallow.bootstrap import wire
from fallow.domain.number import E164
from fallow.domain.people import Person, Role
from fallow.local import stack
from fallow.operations import planning

_WITHIN_SECONDS = 30
_LISTENER = Person("demo", Role.AUDITOR)


class Records:
    """The two looks that an auditor would take: a dry run, and receipts by a read-only account of the database."""

    def __init__(self, directory: Path) -> None:
        """Look into the installation of this state folder."""
        self._directory = directory

    def plan(self, number: E164) -> Iterator[str]:
        """Yield what a wipe would do, a line a collection: the operation behind ``fallow records plan``, which changes nothing.

        Asked here and not by the command line, whose start could outlast the demo's quarantine on a machine that is busy.

        Raises:
            TargetUnavailable: the carrier does not answer.
        """
        with wire(stack.settings_of(self._directory)) as wired:
            planned = planning.plan(wired.installation, _LISTENER, [(1, number)], None)
        for error in planned.silent.values():
            raise error
        for each in planned.numbers[0].found:
            found = asdict(each.collection)
            yield _line(each.system, found, _rows(found["in_scope"]), _kept(found, why=True))

    def receipt(self, digest: str | None) -> Iterator[str]:
        """Yield what a receipt says, a line a collection; nothing where the digest is no receipt's."""
        body = self._evidence(digest)
        for each in body.get("collections", ()):
            backups = [f"backups until {each['backups_until']}"] if each["backups_until"] else []
            yield _line(body["target_id"], each, f"{_rows(each['affected'])}, {each['remaining']} left", [*_kept(each), *backups])

    def beside_a_newer_holder(self, digest: str | None) -> str | None:
        """Return what a receipt says that was wiped beside a newer holder's rows; None where it tells of none."""
        body = self._evidence(digest)
        wiped, left, newer = (sum(each[name] for each in body.get("collections", ())) for name in ("affected", "remaining", "newer"))
        if not newer:
            return None
        return f"{body['target_id']}: {_rows(wiped)} of the former holder, {left} left; {_rows(newer)} of a newer holder, untouched"

    def _evidence(self, digest: str | None) -> Mapping[str, Any]:
        address = f"file:{quote(str(self._directory / 'fallow.db'))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_WITHIN_SECONDS)) as connection:
            found = connection.execute("SELECT body FROM evidence WHERE digest = ? AND kind = 'receipt'", (digest,)).fetchone()
        return {} if found is None else dict(json.loads(found[0]))


def _line(system: str, each: Mapping[str, Any], rows: str, more: Iterable[str]) -> str:
    where = f"{system}.{each['collection']}"
    return " · ".join((f"{where:<22}{each['strategy']:<10}{rows:<14}", *more)).rstrip()


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _kept(each: Mapping[str, Any], *, why: bool = False) -> list[str]:
    if not each["kept_until"]:
        return [each["legal_basis"]] if why and each["legal_basis"] else []
    return [f"until {each['kept_until']}" + (f": {each['legal_basis']}" if why else "")]

"""The carrier's own rows: the former holder's gone or restricted where wiped, everything else as it was planted. Standard library only."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from .reading import Row, canonical, instant, sha256
from .verdict import Verdict
from .world import Case, World

_KIND = "records"
#: table -> (column of the holder's number, column of the row's beginning). Every column that names a holder, mapped or not.
_HOLDER = {
    "subscribers": ("msisdn", "activated_at"),
    "marketing_contacts": ("phone", "consented_at"),
    "bills": ("subscriber", "issued_at"),
    "subscriptions": ("msisdn", "started_at"),
    "call_records": ("caller", "began_at"),
    "messages": ("sender", "sent_at"),
    "voicemails": ("mailbox", "left_at"),
}
_LINES = "lines"
_REGISTER = "subscribers"
_FATES = ("gone", "restricted", "survives", "either")
_FORMER = "former holder's"
_BEFORE_RESTRICTION = {"status": "ended", "legal_basis": None, "restricted_until": None}
_KEPT_YEARS = 2
_LONGEST_CALLING_CODE = 3


def check(world: World, verdict: Verdict) -> None:
    """Compare the carrier's database with what was planted in it and with how far each number came."""
    columns = world.planted["tables"]
    verdict.same(_KIND, world.carrier, columns, "tables of the carrier")
    verdict.same(_KIND, columns, {*_HOLDER, _LINES}, "tables whose holder is known")
    rows = {table: {row[names[0]]: row for row in world.carrier[table]} for table, names in columns.items()}
    cases = world.case_at()
    for fate in _FATES:
        for entry in world.planted[fate]:
            where = f"line {entry['line']}, {entry['table']} {entry['key']} ({entry['why']})"
            with verdict.reading(_KIND, where):
                _planted(rows[entry["table"]].get(entry["key"]), entry, fate, cases.get(entry["line"]), where, verdict)
    _sweep(world, verdict)
    _lines_off(world, verdict)


def _planted(row: Row | None, entry: Mapping[str, Any], fate: str, case: Case | None, where: str, verdict: Verdict) -> None:
    unchanged = row is not None and _digest(row) == entry["digest"]
    settled = case.past.settled if case else {}
    if entry["why"] != _FORMER:
        verdict.demand(_KIND, unchanged, f"{where}: must survive and was changed or deleted")
    elif "QUARANTINE" not in settled:
        verdict.demand(_KIND, unchanged, f"{where}: its number never left quarantine, and yet it was changed or deleted")
    elif case and "WIPING" in settled:
        verdict.demand(_KIND, fate != "survives", f"{where}: its number was wiped and must not have been")
        if entry["table"] == _REGISTER:
            _restricted(row, entry["digest"], case.disconnected_at, where, verdict)
        else:
            verdict.demand(_KIND, row is None, f"{where}: left")


def _restricted(row: Row | None, digest: str, disconnected_at: datetime, where: str, verdict: Verdict) -> None:
    """A register row carries flag, basis and expiry, and is otherwise as planted."""
    same = row is not None and _digest(row | _BEFORE_RESTRICTION) == digest
    verdict.demand(_KIND, same, f"{where}: deleted, or changed in more than its restriction")
    if row is not None:
        flagged = row["status"] == "RESTRICTED" and row["legal_basis"]
        verdict.demand(_KIND, flagged, f"{where}: not restricted, or without legal basis")
        kept = _kept_long_enough(str(row["restricted_until"]), disconnected_at)
        verdict.demand(_KIND, kept, f"{where}: kept until {row['restricted_until']}, less than two years after service ended")


def _kept_long_enough(until: str, disconnected_at: datetime) -> bool:
    """Count calendar years: with a leap day in between, 730 days are a day short of two of them."""
    left_on = disconnected_at.date()
    leap_day = (left_on.month, left_on.day) == (2, 29)
    least = left_on.replace(year=left_on.year + _KEPT_YEARS, day=28 if leap_day else left_on.day)
    return date.fromisoformat(until[:10]) >= least


def _digest(row: Row) -> str:
    return sha256(canonical(list(row.values())))


def _sweep(world: World, verdict: Verdict) -> None:
    """Search every holder's column for rows of a wiped number up to its disconnect, planted or not."""
    wiped = [case for case in world.cases if "WIPING" in case.past.settled]
    spelled = {(text, country): case for case in wiped for text, country in _spellings(case)}
    for table, (holder, since) in _HOLDER.items():
        for row in world.carrier.get(table, ()):
            with verdict.reading(_KIND, f"{table} {row['id']}"):
                digits = re.sub(r"[^0-9]", "", str(row[holder]))
                case = spelled.get((digits, None)) or spelled.get((digits, row.get("country")))
                if case is not None:
                    former = instant(row[since]) <= case.disconnected_at
                    kept = table == _REGISTER and row["status"] == "RESTRICTED" and row["legal_basis"]
                    what = f"cycle {case.cycle_id}: {table} {row['id']} is the former holder's and is left"
                    verdict.demand(_KIND, kept or not former, what)


def _spellings(case: Case) -> Iterator[tuple[str, str | None]]:
    """Yield (digits, country): with calling code in any country, and without each that it could be, with and without a trunk 0."""
    digits, country = case.number.removeprefix("+"), case.cycle["country"]
    yield digits, None
    for length in range(1, _LONGEST_CALLING_CODE + 1):
        yield digits[length:], country
        yield "0" + digits[length:], country


def _lines_off(world: World, verdict: Verdict) -> None:
    off = set(_register(world.paths.records)["off"])
    status = {row["msisdn"]: row["status"] for row in world.carrier[_LINES]}
    for case in world.cases:
        if case.cycle["state"] == "RESELLABLE":
            verdict.demand("line", status.get(case.number) in off, f"cycle {case.cycle_id}: RESELLABLE, and the carrier's line is not off")


def _register(records: Path) -> Mapping[str, Any]:
    register: dict[str, Any] = tomllib.loads(records.read_text("utf-8"))["line_register"]
    return register

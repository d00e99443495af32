"""The carrier's own rows: the former holder's gone, kept or rewritten where wiped, every other as it was planted. Standard library only."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .holdings import ARCHIVE, FORMER, HOLDINGS, LINES, NEWER, Holding, is_wiped, receipts_of
from .keeping import archived, digest_of, rewritten, sealed
from .reading import Row, instant
from .verdict import Verdict
from .world import Case, World

_KIND = "records"
_FATES = ("gone", "archived", "sealed", "rewritten", "survives", "either")
_LONGEST_CALLING_CODE = 3


def check(world: World, verdict: Verdict) -> None:
    """Compare the carrier's database with what was planted in it and with how far each number came."""
    columns = world.planted["tables"]
    verdict.same(_KIND, world.carrier, columns, "tables of the carrier")
    verdict.same(_KIND, columns, {*HOLDINGS, ARCHIVE, LINES}, "tables whose holder is known")
    rows = {table: {row[names[0]]: row for row in world.carrier[table]} for table, names in columns.items()}
    cases = world.case_at()
    for fate in _FATES:
        for entry in world.planted[fate]:
            where = f"line {entry['line']}, {entry['table']} {entry['key']} ({entry['why']})"
            with verdict.reading(_KIND, where):
                _planted(rows[entry["table"]].get(entry["key"]), entry, fate, cases.get(entry["line"]), where, verdict)
    archived(world, cases, verdict)
    sealed(world, cases, verdict)
    rewritten(world, cases, verdict)
    _newer_told(world, cases, verdict)
    _sweep(world, verdict)
    _lines_off(world, verdict)


def _planted(row: Row | None, entry: Mapping[str, Any], fate: str, case: Case | None, where: str, verdict: Verdict) -> None:
    unchanged = row is not None and digest_of(row) == entry["digest"]
    settled = case.past.settled if case else {}
    if entry["why"] != FORMER:
        verdict.demand(_KIND, unchanged, f"{where}: must survive and was changed or deleted")
    elif "QUARANTINE" not in settled:
        verdict.demand(_KIND, unchanged, f"{where}: its number never left quarantine, and yet it was changed or deleted")
    elif case and is_wiped(case, HOLDINGS[entry["table"]]):
        verdict.demand(_KIND, fate != "survives", f"{where}: its number was wiped and must not have been")
        # A rewritten row stays; what is left of it is looked at with the others of its holder.
        verdict.demand(_KIND, row is None or HOLDINGS[entry["table"]].becomes == "rewritten", f"{where}: left")


def _newer_told(world: World, cases: Mapping[int, Case], verdict: Verdict) -> None:
    """A receipt tells of exactly the newer holder's rows that there are; where there are some, the number stops before the platforms."""
    planted = Counter((entry["line"], entry["table"]) for entry in world.planted["survives"] if entry["why"] == NEWER)
    for line, case in cases.items():
        for table, holding in HOLDINGS.items():
            where = f"cycle {case.cycle_id}, {table}"
            with verdict.reading(_KIND, where):
                for receipt in receipts_of(world, case, holding):
                    verdict.demand(_KIND, receipt["newer"] == planted[line, table], f"{where}: the receipt tells of other newer rows")
        stopped = "WIPING" not in case.past.settled or not any(planted[line, table] for table in HOLDINGS)
        verdict.demand(_KIND, stopped, f"cycle {case.cycle_id}: went on beside a newer holder's rows")


def _sweep(world: World, verdict: Verdict) -> None:
    """Search every holder's column for rows of a wiped number that are the former holder's, planted or not."""
    for table, holding in HOLDINGS.items():
        spelled = {spelling: case for case in world.cases if is_wiped(case, holding) for spelling in _spellings(case)}
        for row in world.carrier.get(table, ()):
            with verdict.reading(_KIND, f"{table} {row['id']}"):
                digits = re.sub(r"[^0-9]", "", f"{row.get('calling_code', '')}{row[holding.number]}")
                case = spelled.get((digits, None)) or spelled.get((digits, row.get("country")))
                if case is not None:
                    what = f"cycle {case.cycle_id}: {table} {row['id']} is the former holder's and is left"
                    verdict.demand(_KIND, not _is_former(row, holding, case), what)


def _is_former(row: Row, holding: Holding, case: Case) -> bool:
    subscription = case.line.cells.get("subscription") if case.line else None
    mine = bool(subscription) and row.get("subscription") == subscription
    return mine or instant(row[holding.since]) <= case.disconnected_at


def _spellings(case: Case) -> Iterator[tuple[str, str | None]]:
    """Yield (digits, country): with calling code in any country, and without each that it could be, with and without a trunk 0."""
    digits, country = case.number.removeprefix("+"), case.cycle["country"]
    yield digits, None
    for length in range(1, _LONGEST_CALLING_CODE + 1):
        yield digits[length:], country
        yield "0" + digits[length:], country


def _lines_off(world: World, verdict: Verdict) -> None:
    off = set(_register(world.paths.records)["off"])
    status = {row["msisdn"]: row["status"] for row in world.carrier[LINES]}
    for case in world.cases:
        if case.cycle["state"] == "RESELLABLE":
            verdict.demand("line", status.get(case.number) in off, f"cycle {case.cycle_id}: RESELLABLE, and the carrier's line is not off")


def _register(records: Path) -> Mapping[str, Any]:
    register: dict[str, Any] = tomllib.loads(records.read_text("utf-8"))["line_register"]
    return register

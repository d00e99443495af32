"""What is kept of a former holder: archived and sealed by law, or rewritten; each told again from what was planted.

Imports the checker's own modules.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from .holdings import ARCHIVE, HOLDINGS, is_wiped
from .reading import Row, canonical, sha256
from .verdict import Verdict
from .world import Case, World

_KIND = "records"
_KEPT_YEARS = 2
_REWRITTEN = ("caller", "handset", "cell")
_MASKED = "***"
_PSEUDONYM_LETTERS = set("abcdefghijklmnopqrstuvwxyz234567")
_PSEUDONYM_LENGTH = 26


def digest_of(row: Mapping[str, Any]) -> str:
    """Return the digest of a row's cells as the carrier took it when it planted them."""
    return sha256(canonical(list(row.values())))


def archived(world: World, cases: Mapping[int, Case], verdict: Verdict) -> None:
    """The archive has the rows of the wiped, with basis and last day, and no other row."""
    rows = {row["id"]: row for row in world.carrier[ARCHIVE]}
    owners = _owners(world, cases, "subscribers")
    for key, (case, entry) in owners.items():
        where = f"line {entry['line']}, {ARCHIVE} {key}"
        with verdict.reading(_KIND, where):
            row = rows.get(key)
            verdict.demand(_KIND, row is not None and digest_of(_bare(row)) == entry["digest"], f"{where}: not archived as it was planted")
            if row is not None:
                verdict.demand(_KIND, row["legal_basis"], f"{where}: without a legal basis")
                _long_enough(str(row["kept_until"]), case.disconnected_at, where, verdict)
    strangers = rows.keys() - owners.keys()
    verdict.demand(_KIND, not strangers, f"{ARCHIVE} has {len(strangers)} rows of numbers that were not wiped")
    _registered(world, owners, "subscribers", verdict)


def sealed(world: World, cases: Mapping[int, Case], verdict: Verdict) -> None:
    """Each sealed row of the wiped opens under its own keys to what was planted, cannot be read without them, and has a last day."""
    owners = _owners(world, cases, "identity_documents")
    planted = {entry["digest"]: key for key, (_, entry) in owners.items()}
    by_id = {case.cycle_id: case for case in world.cases}
    found = list[int]()
    for row in world.ledger["sealed_rows"]:
        where = f"cycle {row['cycle_id']}, a sealed row of {row['collection']}"
        with verdict.reading(_KIND, where):
            content = world.keyring.open_sealed(row, world.ledger["retention_keys"])
            cells = json.loads(content)
            key = planted.get(digest_of({name: cells[name] for name in world.planted["tables"]["identity_documents"]}))
            verdict.demand(_KIND, key is not None and owners[key][0].cycle_id == row["cycle_id"], f"{where}: nothing such was planted")
            found += [] if key is None else [key]
            plain = [str(cell).encode() for name, cell in cells.items() if name in ("document", "national_number")]
            hidden = plain and not any(cell in row["sealed"] for cell in plain)
            verdict.demand(_KIND, hidden, f"{where}: can be read without a key")
            _long_enough(str(row["kept_until"]), by_id[row["cycle_id"]].disconnected_at, where, verdict)
    verdict.demand(_KIND, sorted(found) == sorted(owners), f"{len(owners)} rows must be sealed, each once, and {len(found)} are")
    _registered(world, owners, "identity_documents", verdict)


def rewritten(world: World, cases: Mapping[int, Case], verdict: Verdict) -> None:
    """A rewritten row says no longer whose it was: all of one holder's by one pseudonym, no two holders' by the same."""
    rows = {row["id"]: row for row in world.carrier["call_statistics"]}
    pseudonyms = defaultdict[str, set[str]](set)
    for key, (case, entry) in _owners(world, cases, "call_statistics").items():
        where = f"line {entry['line']}, call_statistics {key}"
        with verdict.reading(_KIND, where):
            row = rows[key]
            left = {name: cell for name, cell in row.items() if name not in _REWRITTEN}
            verdict.demand(_KIND, digest_of(left) == entry["left"], f"{where}: changed in more than what identifies the holder")
            named = len(row["caller"]) == _PSEUDONYM_LENGTH and set(row["caller"]) <= _PSEUDONYM_LETTERS
            verdict.demand(_KIND, named, f"{where}: no pseudonym stands for the number")
            verdict.demand(_KIND, (row["handset"], row["cell"]) == (_MASKED, None), f"{where}: still says which handset or where")
            pseudonyms[case.cycle_id].add(row["caller"])
    for cycle_id, names in pseudonyms.items():
        verdict.demand(_KIND, len(names) == 1, f"cycle {cycle_id}: its holder was given several pseudonyms")
    distinct = set[str]().union(*pseudonyms.values())
    verdict.demand(_KIND, len(distinct) == sum(map(len, pseudonyms.values())), "two holders share a pseudonym")


def _owners(world: World, cases: Mapping[int, Case], table: str) -> dict[int, tuple[Case, Mapping[str, Any]]]:
    """Return the former holders' rows of a table whose wipe there is claimed, by key."""
    fate = HOLDINGS[table].becomes
    entries = [entry for entry in (*world.planted[fate], *world.planted["either"]) if entry["table"] == table]
    wiped = {line: case for line, case in cases.items() if is_wiped(case, HOLDINGS[table])}
    return {entry["key"]: (wiped[entry["line"]], entry) for entry in entries if entry["line"] in wiped}


def _registered(world: World, owners: Mapping[int, tuple[Case, Mapping[str, Any]]], table: str, verdict: Verdict) -> None:
    """The register of what the law keeps counts exactly these rows."""
    wanted = defaultdict[str, int](int)
    for case, _ in owners.values():
        wanted[case.cycle_id] += 1
    place = (HOLDINGS[table].system, HOLDINGS[table].collection)
    listed = {row["cycle_id"]: row["rows"] for row in world.ledger["retention"] if (row["target_id"], row["collection"]) == place}
    differ = sorted(cycle for cycle in wanted.keys() | listed.keys() if wanted.get(cycle) != listed.get(cycle))
    verdict.demand(
        _KIND, not differ, f"{place[0]}.{place[1]}: the register of the law's keeping counts other rows: {', '.join(differ[:3])}"
    )


def _bare(row: Row) -> Row:
    return {name: cell for name, cell in row.items() if name not in ("legal_basis", "kept_until")}


def _long_enough(until: str, disconnected_at: datetime, where: str, verdict: Verdict) -> None:
    """Count calendar years: with a leap day in between, 730 days are a day short of two of them."""
    left_on = disconnected_at.date()
    leap_day = (left_on.month, left_on.day) == (2, 29)
    least = left_on.replace(year=left_on.year + _KEPT_YEARS, day=28 if leap_day else left_on.day)
    kept = date.fromisoformat(until[:10]) >= least
    verdict.demand(_KIND, kept, f"{where}: kept until {until[:10]}, less than two years after service ended")

"""Did every line end where it must, and nothing else come of the file? Standard library only."""

from collections import Counter

from .reading import instant
from .verdict import Verdict
from .world import Case, Line, World

_KIND = "expected"


def check(world: World, verdict: Verdict) -> None:
    """Compare lines, cycles, rejections and batches."""
    by_line = {id(case.line): case for case in world.cases if case.line is not None}
    known = {row["lookup"] for row in world.ledger["numbers"]}
    for line in world.lines:
        verdict.demand(_KIND, line.batch_id, f"{line.where}: its file was never enrolled")
        if line.rejected:
            _rejected(world, line, known, verdict)
        else:
            _ended(line, by_line.get(id(line)), verdict)
    for case in world.cases:
        _origin(world, case, verdict)
    _batches(world, verdict)


def standing(case: Case) -> str:
    """Return state and overlays as ``expected.csv`` writes them."""
    overlays = (("HELD", bool(case.cycle["held"])), ("ATTENTION", case.cycle["attention"] != "[]"))
    return "+".join([case.cycle["state"], *(name for name, is_on in overlays if is_on)])


def _ended(line: Line, case: Case | None, verdict: Verdict) -> None:
    found = "no cycle" if case is None else standing(case)
    verdict.demand(_KIND, found == line.ends, f"{line.where}: must end {line.ends}, is {found}")
    if case is None:
        return
    cells, cycle = line.cells, case.cycle
    verdict.demand(_KIND, instant(cycle["disconnected_at"]) == case.disconnected_at, f"{line.where}: another disconnect instant was stored")
    stated = [cycle[name] for name in ("country", "carrier", "range_holder", "number_class", "reason", "source_ref")]
    wanted = [cells[name] for name in ("country", "carrier", "range_holder", "class", "reason", "source_ref")]
    verdict.demand(_KIND, stated == wanted, f"{line.where}: the cycle does not state what the line states")
    prior = int(cells["prior_holders"]) if cells["prior_holders"].isdigit() else None
    verdict.demand(_KIND, cycle["prior_holders"] == prior, f"{line.where}: other prior holders were stored")


def _rejected(world: World, line: Line, known: set[str], verdict: Verdict) -> None:
    code = line.ends.partition(":")[2]
    found = {row["code"] for row in world.ledger["rejections"] if (row["batch_id"], row["line"]) == (line.batch_id, line.position)}
    verdict.demand(_KIND, found == {code}, f"{line.where}: must be rejected as {code}, was {', '.join(sorted(found)) or 'not'}")
    twin = any(other.number == line.number and not other.rejected for other in world.lines)
    if line.number and not twin:
        verdict.demand(_KIND, world.keyring.lookup(line.number) not in known, f"{line.where}: rejected, and yet its number is known")


def _origin(world: World, case: Case, verdict: Verdict) -> None:
    if case.line is not None:
        return
    before = f"{case.cycle['number_id']}/{case.cycle['cycle_no'] - 1}"
    recalled = any(each.cycle_id == before and any(e["kind"] == "CycleRecalled" for e in each.events) for each in world.cases)
    verdict.demand(_KIND, case.cycle["recalled"] and recalled, f"cycle {case.cycle_id} comes from no line and no recall")


def _batches(world: World, verdict: Verdict) -> None:
    """Every data line is counted once: accepted, duplicate or rejected."""
    accepted = Counter(case.cycle["batch_id"] for case in world.cases)
    listed = Counter(row["batch_id"] for row in world.ledger["rejections"])
    lines = Counter(line.batch_id for line in world.lines)
    for batch in world.ledger["batches"]:
        batch_id, parts = batch["batch_id"], (batch["accepted"], batch["duplicates"], batch["rejected"])
        right = batch["rows"] == sum(parts) == lines[batch_id] == accepted[batch_id] + listed[batch_id]
        verdict.demand(_KIND, right, f"batch {batch_id}: its rows do not add up")
        verdict.demand(_KIND, batch["accepted"] == accepted[batch_id], f"batch {batch_id}: accepted {batch['accepted']}")

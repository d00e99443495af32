"""The former holder's key: there as long as it is needed, then gone, with a receipt that says so. Standard library only."""

import json
from collections.abc import Mapping
from typing import Any

from .past import Past
from .reading import instant, sha256
from .verdict import Verdict
from .world import Case, World

_KIND = "holder-key"


def check(world: World, verdict: Verdict) -> None:
    """Demand of every cycle a key that still opens, or the receipt of its destruction; never both, never neither."""
    kept = {row["cycle_id"]: row for row in world.ledger["holders"]}
    receipts = {row["digest"]: row for row in world.ledger["evidence"] if row["kind"] == _KIND}
    opens = {int(path.stem.removeprefix("holder-")) for path in (world.paths.keys / "wrapping").glob("holder-*.key")}
    for case in world.cases:
        where = f"cycle {case.cycle_id}"
        with verdict.reading(_KIND, where):
            row, gone = kept.get(case.cycle_id), case.past.key_gone
            verdict.demand(_KIND, (row is None) != (gone is None), f"{where}: its holder key is kept and destroyed, or neither")
            needed = "UNBINDING" not in case.past.settled
            verdict.demand(_KIND, needed or row is None, f"{where}: its bindings are settled, and its holder key is still there")
            verdict.demand(_KIND, row is None or row["epoch"] in opens, f"{where}: no wrapping key opens its holder key")
            if gone is not None:
                _receipt(case.past, receipts[gone["evidence"]], case, verdict)
    strangers = {row["cycle_id"] for row in receipts.values()} - {case.cycle_id for case in world.cases if case.past.key_gone}
    verdict.demand(_KIND, not strangers, f"a receipt for a holder key is cited by nobody: {len(strangers)}")


def _receipt(past: Past, kept: Mapping[str, Any], case: Case, verdict: Verdict) -> None:
    where = f"cycle {case.cycle_id}"
    verdict.demand(_KIND, sha256(kept["body"]) == kept["digest"], f"{where}: the receipt for its holder key was altered")
    body = json.loads(kept["body"])
    mine = (kept["cycle_id"], body["cycle_id"], body["target_id"]) == (case.cycle_id, case.cycle_id, _KIND)
    verdict.demand(_KIND, mine, f"{where}: the receipt for its holder key speaks of something else")
    told = past.key_gone is not None and past.key_gone["epoch"] == body["epoch"] and past.key_gone_at == instant(body["destroyed_at"])
    verdict.demand(_KIND, told, f"{where}: receipt and event of its holder key differ")
    verdict.demand(_KIND, body["covers"], f"{where}: the receipt does not say what it covers")
    bound_at, cleared_at = past.settled_at.get("UNBINDING"), past.key_gone_at
    in_time = bound_at is None or (cleared_at is not None and cleared_at <= bound_at)
    verdict.demand(_KIND, in_time, f"{where}: its holder key outlived its last binding")

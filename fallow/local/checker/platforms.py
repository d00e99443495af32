"""The platforms' own truth against ours: who was asked, what was cut, what was said. Standard library only."""

from collections import defaultdict

from .reading import Row, instant
from .verdict import Verdict
from .world import Case, World

_KIND = "platforms"
#: What a platform may have decided for each outcome that our rows show: which clearance it was is not shown.
_CLEAR = defaultdict[str, set[str]](set, clear={"clear", "unbound", "not_bound"})


def check(world: World, verdict: Verdict) -> None:
    """Compare the simulator's database with our obligations and with how far each number came."""
    owed = {(row["target_id"], row["reference"]): case for case in world.cases for row in case.owed.values()}
    asked = defaultdict[str, list[Row]](list)
    for request in world.simulator["requests"]:
        case = owed.get((request["platform"], request["reference"]))
        with verdict.reading(_KIND, f"a request at {request['platform']}"):
            known = case is not None and case.number == request["number"]
            verdict.demand(_KIND, known, f"{request['platform']} was asked under a reference that belongs to no such obligation")
            if case is not None:
                asked[case.cycle_id].append(request)
                _timely(case, request, verdict)
    bindings = defaultdict[str, list[Row]](list)
    for binding in world.simulator["bindings"]:
        bindings[binding["number"]].append(binding)
    for case in world.cases:
        with verdict.reading(_KIND, f"cycle {case.cycle_id}"):
            _asked(case, asked[case.cycle_id], verdict)
            _cut(case, bindings[case.number], verdict)


def _timely(case: Case, request: Row, verdict: Verdict) -> None:
    settled_at = case.past.settled_at.get("WIPING")
    early = settled_at is None or instant(request["first_at"]) < settled_at
    verdict.demand(_KIND, not early, f"cycle {case.cycle_id}: {request['platform']} was asked before quarantine and wiping were over")


def _asked(case: Case, requests: list[Row], verdict: Verdict) -> None:
    where = f"cycle {case.cycle_id}"
    platforms = [request["platform"] for request in requests]
    if case.past.released_at or case.cycle["state"] in ("RESELLABLE", "REASSIGNED"):
        verdict.same(_KIND, platforms, case.terms.platforms, f"{where}: platforms that were asked")
    decided = {request["platform"]: request["outcome"] for request in requests}
    for target, row in case.owed.items():
        if row["kind"] == "platform" and row["status"] == "DISCHARGED" and row["outcome"] != "attested":
            verdict.demand(_KIND, decided.get(target) in _CLEAR[row["outcome"]], f"{where}: {target} itself knows another outcome")


def _cut(case: Case, bindings: list[Row], verdict: Verdict) -> None:
    """At a released number nothing of the former holder is bound; where a platform owed nothing, and for later holders, nothing was cut."""
    released = bool(case.past.released_at) or case.cycle["state"] in ("RESELLABLE", "REASSIGNED")
    only = case.cycle["cycle_no"] == 1 and all(event["kind"] != "CycleRecalled" for event in case.events)
    where = f"cycle {case.cycle_id}"
    for binding in bindings:
        platform = binding["platform"]
        former = instant(binding["bound_at"]) <= case.disconnected_at
        is_open = binding["unbound_at"] is None
        if former and released and platform in case.terms.platforms and platform not in case.attested:
            verdict.demand(_KIND, not is_open, f"{where}: an account at {platform} is still bound")
        elif only and (not former or platform not in case.owed):
            verdict.demand(_KIND, is_open, f"{where}: an account at {platform} was cut and must not have been")

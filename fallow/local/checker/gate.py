"""The gate, judged anew for every number that went through it: sets, quarantine, line, tag, release. Standard library only."""

import json
from datetime import datetime, timedelta

from .keyring import is_tag_signed
from .past import Past, fold
from .reading import canonical, instant, sha256
from .verdict import Verdict
from .world import Case, World

_ORDER = ("QUARANTINE", "WIPING", "UNBINDING")
_STAGE_KIND = {"WIPING": "records", "UNBINDING": "platform"}
_RELEASED = {"RESELLABLE", "REASSIGNED"}
_GOOD = {"records": {"wiped"}, "platform": {"clear", "attested"}}
_LINE_FRESH_FOR = timedelta(minutes=5)


def check(world: World, verdict: Verdict) -> None:
    """Judge every cycle as far as it came."""
    for case in world.cases:
        with verdict.reading("obligations", f"cycle {case.cycle_id}"):
            _sets(case, verdict)
        with verdict.reading("quarantine", f"cycle {case.cycle_id}"):
            _quarantine(case, verdict)
        if case.cycle["state"] in _RELEASED or case.past.released_at is not None:
            with verdict.reading("gate", f"cycle {case.cycle_id}"):
                _gate(world, case, fold(case.events, before="NumberReleased"), verdict)


def _sets(case: Case, verdict: Verdict) -> None:
    """What was opened and what was settled on are the policy's targets, as sets; the present rows too."""
    where = f"cycle {case.cycle_id}"
    for kind in ("records", "platform"):
        opened = {target for target, owed in case.past.obligations.items() if owed.kind == kind}
        stored = {target for target, row in case.owed.items() if row["kind"] == kind}
        if opened or stored:
            verdict.same("obligations", opened, case.terms.demanded(kind), f"{where}: {kind} opened")
            verdict.same("obligations", stored, case.terms.demanded(kind), f"{where}: obligations to {kind}")
    for stage, body in case.past.settled.items():
        demanded = case.terms.demanded(_STAGE_KIND[stage]) if stage in _STAGE_KIND else set()
        verdict.same("obligations", body["targets"], demanded, f"{where}: {stage} settled")


def _quarantine(case: Case, verdict: Verdict) -> None:
    """No effect before the quarantine was over, by the rule and by the file's own disconnect instant."""
    cycle, where = case.cycle, f"cycle {case.cycle_id}"
    about = {name: cycle[column] for name, column in _RULED_BY.items()}
    quarantine_for, observed_for, demo = case.terms.quarantine(about)
    earliest = max(case.disconnected_at + quarantine_for, instant(cycle["enrolled_at"]) + observed_for)
    verdict.demand("quarantine", instant(cycle["release_at"]) >= earliest, f"{where}: its release was set before quarantine ends")
    verdict.demand("quarantine", bool(cycle["demo"]) == demo, f"{where}: DEMO does not follow from its rule")
    begun_at = instant(case.past.begun["release_at"])
    verdict.demand("quarantine", begun_at <= instant(cycle["release_at"]), f"{where}: its quarantine was shortened")
    for what in ("quarantine_ended_at", "released_at"):
        if cycle[what] is not None:
            over = instant(cycle[what]) >= max(earliest, instant(cycle["release_at"]))
            verdict.demand("quarantine", over, f"{where}: {what.removesuffix('_at')} before quarantine was over")


_RULED_BY = {"country": "country", "class": "number_class", "carrier": "carrier", "pool": "pool", "reason": "reason"}


def _gate(world: World, case: Case, seen: Past, verdict: Verdict) -> None:
    where = f"cycle {case.cycle_id}"
    stood = seen.state == "TAGGING" and not seen.holds and not seen.attention and not seen.handback
    verdict.demand("gate", stood, f"{where}: released from {seen.state or 'nowhere'}, held, waiting for a person or to be returned")
    verdict.demand("gate", tuple(seen.settled) == _ORDER, f"{where}: released with {', '.join(seen.settled) or 'nothing'} settled")
    for kind, good in _GOOD.items():
        done = {
            target
            for target, owed in seen.obligations.items()
            if owed.kind == kind and owed.status == "DISCHARGED" and owed.outcome in good and owed.evidence
        }
        verdict.same("gate", done, case.terms.demanded(kind), f"{where}: {kind} discharged when the gate opened")
    verdict.demand("gate", seen.key_gone is not None, f"{where}: released before the former holder's key was destroyed")
    released_at = _released(case, seen, verdict)
    _line(case, seen, released_at, verdict)
    _tag(world, case, seen, verdict)


def _released(case: Case, seen: Past, verdict: Verdict) -> datetime:
    where = f"cycle {case.cycle_id}"
    release = next((event for event in case.events if event["kind"] == "NumberReleased"), None)
    if release is None:
        verdict.demand("gate", holds=False, what=f"{where}: released without an event")
        return instant(case.cycle["state_at"])
    body = json.loads(release["body"])
    judged: dict[str, object] = {
        "proofs": sorted([target, owed.evidence] for target, owed in seen.obligations.items()),
        "holder_key": None if seen.key_gone is None else seen.key_gone["evidence"],
        "policy": case.cycle["policy"],
    }
    confirmed = sorted([target, owed.confirmed] for target, owed in seen.obligations.items() if owed.confirmed)
    judged |= {"confirmations": confirmed} if confirmed else {}
    verdict.demand("gate", body["gate"] == sha256(canonical(judged)), f"{where}: the gate judged other evidence")
    verdict.demand("gate", body["tag"] == seen.tag, f"{where}: released under another tag")
    return instant(release["at"])


def _line(case: Case, seen: Past, released_at: datetime, verdict: Verdict) -> None:
    at, stage, status = seen.line or (released_at, "never", "nothing")
    fresh = timedelta(0) <= released_at - at <= _LINE_FRESH_FOR
    asked = stage == "gate" and status == "off" and fresh
    verdict.demand("line", asked, f"cycle {case.cycle_id}: the line register was not asked for the gate, or did not say off")


def _tag(world: World, case: Case, seen: Past, verdict: Verdict) -> None:
    where = f"cycle {case.cycle_id}"
    tag = next((row for row in world.rows_of("tags", case.cycle_id) if row["digest"] == seen.tag), None)
    if tag is None:
        verdict.demand("tag", holds=False, what=f"{where}: the tag is missing")
        return
    body = json.loads(tag["body"])
    verdict.demand("tag", sha256(canonical(body)) == tag["digest"], f"{where}: the tag was altered")
    wanted = _wanted_tag(world, case, seen)
    differ = sorted(name for name in body.keys() | wanted.keys() if body.get(name) != wanted.get(name))
    verdict.demand("tag", not differ, f"{where}: the tag says other than the facts: {', '.join(differ)}")
    verdict.demand("tag", tag["public_key"] == world.keyring.tag_key(), f"{where}: the tag names another key than ours")
    signed = is_tag_signed(world.keyring.tag_key(), tag["digest"], tag["signature"])
    verdict.demand("tag", signed, f"{where}: the tag is not signed")


def _wanted_tag(world: World, case: Case, seen: Past) -> dict[str, object]:
    cycle, terms = case.cycle, case.terms
    attested = sorted(target for target, owed in seen.obligations.items() if owed.outcome == "attested")
    enrolled_at = instant(cycle["enrolled_at"])
    unclear = {terms.platforms[target] for target in attested}
    return {
        "number_id": cycle["number_id"],
        "cycle_no": cycle["cycle_no"],
        "former_holders_at_least": _former_holders(world, case),
        "prior_holders_known": _stated(case).isdigit(),
        "last_disconnect_month": f"{case.disconnected_at:%Y-%m}",
        "quarantine_declared_days": max(0, (enrolled_at - case.disconnected_at).days),
        "quarantine_observed_days": max(0, (seen.settled_at["QUARANTINE"] - enrolled_at).days),
        "categories_clear": sorted(set(terms.platforms.values()) - unclear),
        "attested": attested,
        "not_asked": sorted(terms.not_asked),
        "policy": terms.name,
        "demo": bool(cycle["demo"]),
        "recalled": bool(cycle["recalled"]),
    }


def _stated(case: Case) -> str:
    return str(case.line.cells["prior_holders"] if case.line else case.cycle["prior_holders"])


def _former_holders(world: World, case: Case) -> int:
    """Count holders, the one who leaves now included: as stated, or as the cycles before tell, whichever is more."""
    stated = (int(_stated(case)) if _stated(case).isdigit() else 0) + 1
    before = f"{case.cycle['number_id']}/{case.cycle['cycle_no'] - 1}"
    last = next((each for each in world.cases if each.cycle_id == before), None)
    return stated if last is None else max(stated, _former_holders(world, last) + (last.cycle["state"] == "REASSIGNED"))

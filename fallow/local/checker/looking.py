"""What a platform with a status query must have said again, before settling, gate and a sampled sale. Standard library only."""

import hashlib
import json
from datetime import datetime

from .keyring import is_delivery_signed
from .past import Past
from .reading import Row, instant, sha256
from .verdict import Verdict
from .world import Case, World

_KIND = "looks"
_OWN_WORD = {"unbound", "not_bound", "clear"}


def check(world: World, verdict: Verdict) -> None:
    """Follow every cycle's events, and judge each confirmation and each place that needs one."""
    deliveries = {row["digest"]: row for row in world.ledger["deliveries"]}
    for case in world.cases:
        with verdict.reading(_KIND, f"cycle {case.cycle_id}"):
            _follow(world, case, deliveries, verdict)


def is_drawn(cycle_id: str, one_in: int) -> bool:
    """Tell whether a cycle is in the sample: the first eight bytes of a SHA-256, as a number, are a multiple of the share."""
    drawn = hashlib.sha256(f"fallow.sample.v1\n{cycle_id}".encode()).digest()
    return one_in > 0 and int.from_bytes(drawn[:8]) % one_in == 0


def _follow(world: World, case: Case, deliveries: dict[str, Row], verdict: Verdict) -> None:
    past, since_release = Past(), set[str]()
    sampled = is_drawn(case.cycle_id, case.terms.sample_one_in)
    for event in case.events:
        body, where = json.loads(event["body"]), f"cycle {case.cycle_id}, {event['kind']}"
        confirmed = {target for target, owed in past.obligations.items() if owed.confirmed}
        match event["kind"]:
            case "ObligationConfirmed":
                _genuine(world, case, past, (body["target_id"], deliveries[body["evidence"]]), verdict)
                since_release.add(body["target_id"])
            case "StageSettled" if body["stage"] == "UNBINDING":
                _seen(world, past, confirmed, where, verdict)
            case "NumberReleased":
                _seen(world, past, confirmed, where, verdict)
                since_release.clear()
            case "NumberSold" if sampled:
                _seen(world, past, since_release, f"{where} of the sample", verdict)
        past.after(event["kind"], instant(event["at"]), body)


def _seen(world: World, past: Past, seen: set[str], where: str, verdict: Verdict) -> None:
    """Demand that every platform that can be looked at, and cleared by its own word, was."""
    cleared = {target for target, owed in past.obligations.items() if owed.status == "DISCHARGED" and owed.outcome == "clear"}
    unseen = (cleared & world.looking) - seen
    verdict.demand(_KIND, not unseen, f"{where}: not looked at again: {', '.join(sorted(unseen))}")


def _genuine(world: World, case: Case, past: Past, cited: tuple[str, Row], verdict: Verdict) -> None:
    """Demand another message than the answer, signed later by the platform or its hub, that says of this obligation that it is clear."""
    target, kept = cited
    where, content = f"cycle {case.cycle_id}, {target}", world.keyring.open_answer(kept)
    speaker = kept["platform_id"]
    head = f"{speaker}.{kept['delivery_id']}.{kept['signed_at']}.{kept['signature']}."
    mine = world.may_speak(target, speaker) and sha256(head.encode() + content) == kept["digest"]
    keys = world.signing_keys[speaker]
    signed = mine and is_delivery_signed(keys, kept["delivery_id"], kept["signed_at"], kept["signature"], content)
    verdict.demand(_KIND, signed, f"{where}: its confirmation was altered, or is not signed by the platform or its hub")
    reference = case.owed[target]["reference"]
    words = [each["outcome"] for each in json.loads(content)["answers"] if each["reference"] == reference]
    verdict.demand(_KIND, len(words) == 1 and words[0] in _OWN_WORD, f"{where}: its confirmation does not say that it is clear")
    owed = past.obligations[target]
    verdict.demand(_KIND, owed.status == "DISCHARGED", f"{where}: confirmed before it was cleared")
    answered_at = _received_at(world, owed.evidence)
    later = kept["digest"] != owed.evidence and answered_at is not None and answered_at <= instant(kept["received_at"])
    verdict.demand(_KIND, later, f"{where}: confirmed by its first answer, or by something older")


def _received_at(world: World, digest: str | None) -> datetime | None:
    found = next((row for row in world.ledger["deliveries"] if row["digest"] == digest), None)
    return None if found is None else instant(found["received_at"])

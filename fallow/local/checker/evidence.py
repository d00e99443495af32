"""The evidence of every obligation, computed again from what was kept: receipts, signed answers, attestations. Standard library only."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from .keyring import is_delivery_signed
from .reading import Row, sha256
from .verdict import Verdict
from .world import Case, World

_KIND = "evidence"
_OWN_WORD = {"unbound", "not_bound", "clear"}


class Evidence:
    """Everything that was kept, by digest."""

    def __init__(self, world: World, verdict: Verdict) -> None:
        """Index the kept evidence."""
        self._world = world
        self._verdict = verdict
        self._deliveries = {row["digest"]: row for row in world.ledger["deliveries"]}
        self._stored = {row["digest"]: row for row in world.ledger["evidence"]}
        self._sent = defaultdict[str, set[str]](set)
        for note in world.simulator_log:
            if "delivery" in note:
                self._sent[note["platform"]].add(note["delivery"])

    def check(self) -> None:
        """Check what every obligation cites, and that nothing is cited where it does not belong."""
        cited: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for case in self._world.cases:
            for target, row in case.owed.items():
                if row["evidence"] is not None:
                    cited[row["evidence"]].add((case.cycle_id, target))
                where = f"cycle {case.cycle_id}, {target}"
                with self._verdict.reading(_KIND, where):
                    self._obligation(case, row, where)
        for digest, places in cited.items():
            self._once(digest, places)

    def _once(self, digest: str, places: set[tuple[str, str]]) -> None:
        """One message may answer for many cycles, but of one platform only, or of one hub's; a receipt for one obligation only."""
        owners = places if digest in self._stored else {target for _, target in places}
        if digest in self._deliveries and all(self._by_hub(digest, target) for _, target in places):
            return
        where = ", ".join(f"cycle {cycle_id} at {target}" for cycle_id, target in sorted(places)[:3])
        self._verdict.demand(_KIND, len(owners) == 1, f"one piece of evidence is counted for several targets: {where}")

    def _by_hub(self, digest: str, target: str) -> bool:
        return bool(self._world.hubs.get(target) == self._deliveries[digest]["platform_id"])

    def _obligation(self, case: Case, row: Row, where: str) -> None:
        if row["status"] == "DISCHARGED":
            self._verdict.demand(_KIND, row["evidence"] is not None, f"{where}: discharged without evidence")
        if row["evidence"] is None:
            return
        if row["kind"] == "records":
            self._receipt(case, row, where)
        elif row["outcome"] == "attested":
            self._attestation(case, row, where)
        else:
            self._answer(row, where)

    def _body(self, row: Row, kind: str, where: str) -> Mapping[str, Any]:
        kept = self._stored[row["evidence"]]
        self._verdict.demand(_KIND, sha256(kept["body"]) == row["evidence"], f"{where}: the {kind} was altered")
        body: dict[str, Any] = json.loads(kept["body"])
        mine = (kept["kind"], kept["cycle_id"], kept["target_id"], body["cycle_id"], body["target_id"])
        wanted = (kind, row["cycle_id"], row["target_id"], row["cycle_id"], row["target_id"])
        self._verdict.demand(_KIND, mine == wanted, f"{where}: the {kind} speaks of something else")
        return body

    def _receipt(self, case: Case, row: Row, where: str) -> None:
        collections = self._body(row, "receipt", where)["collections"]
        named = [each["collection"] for each in collections]
        demanded = case.terms.systems.get(row["target_id"], set())
        right = len(named) == len(set(named)) and set(named) == demanded
        self._verdict.demand(_KIND, right, f"{where}: the receipt does not cover the policy's collections")
        clean = all(each["remaining"] == each["newer"] == 0 for each in collections)
        clean &= all(each["kept"] >= each["affected"] for each in collections if each["strategy"] == "restrict")
        discharged = (row["status"], row["outcome"]) == ("DISCHARGED", "wiped")
        self._verdict.demand(_KIND, clean == discharged, f"{where}: receipt and obligation differ on what is left")

    def _attestation(self, case: Case, row: Row, where: str) -> None:
        body = self._body(row, "attestation", where)
        people = {body["by"], body["second"]}
        apart = len(people) == 2 and case.cycle["enrolled_by"] not in people  # noqa: PLR2004 - two people
        self._verdict.demand(_KIND, apart, f"{where}: not attested by two people other than the enroller")
        self._verdict.demand(_KIND, len(bytes.fromhex(body["document_sha256"])) == 32, f"{where}: no document's digest")  # noqa: PLR2004 - SHA-256

    def _answer(self, row: Row, where: str) -> None:
        kept, platform = self._deliveries[row["evidence"]], row["target_id"]
        speaker = kept["platform_id"]
        head = f"{speaker}.{kept['delivery_id']}.{kept['signed_at']}.{kept['signature']}."
        content = self._world.keyring.open_answer(kept)
        digest = sha256(head.encode() + content)
        mine = self._world.may_speak(platform, speaker)
        self._verdict.demand(_KIND, mine and digest == row["evidence"], f"{where}: the answer was altered or is another platform's")
        keys = self._world.signing_keys[speaker]
        signed = mine and is_delivery_signed(keys, kept["delivery_id"], kept["signed_at"], kept["signature"], content)
        self._verdict.demand(_KIND, signed, f"{where}: the answer is not signed by the platform or its hub")
        words = [each["outcome"] for each in json.loads(content)["answers"] if each["reference"] == row["reference"]]
        said = ["clear" if word in _OWN_WORD else word for word in words]
        self._verdict.demand(_KIND, said == [row["outcome"]], f"{where}: the answer does not say what the obligation says")
        sent = kept["delivery_id"] in self._sent[platform] | self._sent[speaker]
        self._verdict.demand(_KIND, sent, f"{where}: the platform's log knows no such message")
        good = row["status"] != "DISCHARGED" or row["outcome"] == "clear"
        self._verdict.demand(_KIND, good, f"{where}: discharged by {row['outcome']}")

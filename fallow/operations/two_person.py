"""What takes two people: one proposes, another approves or denies, neither of them the one who enrolled the number."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

from sqlmodel import col, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import CommandRefused, InputRefused, PersonRefused
from fallow.domain.events import Kind, canonical
from fallow.domain.lifecycle import Command, State, allows, demand
from fallow.domain.obligations import Outcome, Status
from fallow.domain.people import MATRIX, Action, Person
from fallow.domain.reference import read_reference
from fallow.operations import claims, opening, proposals
from fallow.operations.commands import lift_hold, open_hold
from fallow.operations.enrol import begin_cycle
from fallow.operations.frozen import freeze
from fallow.operations.installation import Installation
from fallow.store import cycles, obligations
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, EvidenceRow, NumberRow, ProposalRow
from fallow.store.vault import opaque

#: What each command must be given besides the reference.
ARGUMENTS: dict[Command, tuple[str, ...]] = {
    Command.RECLAIM: ("ground",),
    Command.UNLOCK: (),
    Command.RETIRE: (),
    Command.LIFT: ("hold_id",),
    Command.ATTEST: ("target_id", "document_sha256"),
    Command.RECALL: ("line_cancelled_at",),
}
_SHA256_LENGTH = 64


class TwoPerson:
    """Propose, approve and deny. Every method raises PersonRefused, NotKnown, CommandRefused and InputRefused."""

    def __init__(self, installation: Installation) -> None:
        """Work on ``installation``."""
        self._installation = installation

    def propose(self, person: Person, cycle_id: str, command: Command, reference: str, arguments: Mapping[str, str]) -> str:
        """Propose a command; return the proposal's id for the second person.

        ``reference`` is the identity check for reclaim (for a successor it names the document), the authority's reference for retire
        and lift, the case for recall and unlock, the document's name for attest. While a claim is open the number is not wiped.
        """
        person.demand(Action.PROPOSE)
        if command not in ARGUMENTS or set(arguments) != set(ARGUMENTS[command]):
            what = f"{command} was proposed with other arguments than it takes."
            raise InputRefused(what, remedy=f"give exactly: reference {' '.join(ARGUMENTS.get(command, ()))}".rstrip())
        with self._installation.db.begin() as tx:
            row = cycles.lock_one(tx, cycle_id)
            proposals.demand_not_the_enroller(person, row)
            demand(State(row.state), command, held=row.held)
            _check(tx, row, person, command, arguments)
            body = canonical({"reference": read_reference(reference), **arguments})
            proposal = ProposalRow(
                proposal_id=opaque("pr_"), cycle_id=cycle_id, command=command, arguments=body, proposed_by=person.person_id
            )
            proposal.proposed_at = tx.now
            tx.session.add(proposal)
            cycles.record(tx, row, Kind.COMMAND_PROPOSED, command=str(command), proposal_id=proposal.proposal_id, by=person.person_id)
            if command is Command.RECLAIM:
                claims.wait(tx, row)
                cycles.wake(tx, row)
            return proposal.proposal_id

    def approve(self, person: Person, proposal_id: str) -> str:
        """Approve and carry out a proposal, if the lifecycle still allows it; return the cycle's id."""
        person.demand(Action.APPROVE)
        with self._installation.db.begin() as tx:
            row, proposal = proposals.to_decide(tx, person, proposal_id)
            proposals.demand_standing(tx, proposal)
            if proposal.command == opening.OPEN:
                opening.record_opened(tx, row, proposal, person)
                proposal.decided_by, proposal.decided_at = person.person_id, tx.now
                return row.cycle_id
            command = Command(proposal.command)
            demand(State(row.state), command, held=row.held)
            _check(tx, row, person, command, json.loads(proposal.arguments))  # again: much may have happened since
            if command is Command.UNLOCK:
                claims.demand_unlockable(tx, row, proposal.proposed_by)  # a claim of the first person's may have been denied meanwhile
            proposal.decided_by, proposal.decided_at = person.person_id, tx.now
            self._carry_out(tx, row, proposal, person)
            if command is not Command.RECALL:  # a recalled cycle has no workflow any more; its successor has
                cycles.wake(tx, row)
            return row.cycle_id

    def deny(self, person: Person, proposal_id: str, reference: str) -> str:
        """Close a proposal for good, stale ones too; ``reference`` says why. Return the cycle's id.

        A denied claim is a failed identity check: the second one locks the cycle against further claims. It counts only while the
        number could still be given back, since a lock would stop it for nobody later.
        """
        person.demand(Action.APPROVE)
        with self._installation.db.begin() as tx:
            row, proposal = proposals.to_decide(tx, person, proposal_id)
            proposal.decided_by, proposal.decided_at = person.person_id, tx.now
            who = {"by": proposal.proposed_by, "second": person.person_id, "reference": read_reference(reference)}
            if proposal.command == Command.RECLAIM and allows(State(row.state), Command.RECLAIM, held=False):
                claims.count_denial(tx, row, proposal_id, who)
                cycles.wake(tx, row)
            else:
                cycles.record(tx, row, Kind.PROPOSAL_DENIED, proposal_id=proposal_id, **who)
            return row.cycle_id

    def _carry_out(self, tx: Tx, row: CycleRow, proposal: ProposalRow, person: Person) -> None:
        given: dict[str, str] = json.loads(proposal.arguments)
        who = {"by": proposal.proposed_by, "second": person.person_id, "reference": given["reference"]}
        match Command(proposal.command):
            case Command.RECLAIM:
                cycles.record(tx, row, Kind.HOLDER_RECLAIMED, ground=given["ground"], **who)
            case Command.RETIRE:
                cycles.record(tx, row, Kind.NUMBER_RETIRED, **who)
            case Command.UNLOCK:
                claims.unlock(tx, row, who)
            case Command.LIFT:
                lift_hold(tx, row, person.person_id, given["hold_id"], given["reference"])
                if not row.held:
                    cycles.clear_attention(tx, row, {Attention(Reason.CRIME)})
            case Command.ATTEST:
                _attest(tx, row, given, who)
            case _:
                self._recall(tx, row, given, who)

    def _recall(self, tx: Tx, row: CycleRow, given: Mapping[str, str], who: Mapping[str, str]) -> None:
        number = tx.session.get_one(NumberRow, row.number_id, with_for_update=True)
        if number.last_cycle_no != row.cycle_no:
            what = f"The cycle {row.cycle_id} is not the number's latest."
            raise CommandRefused(what, remedy="recall the latest cycle; `fallow numbers show` names it.")
        following = begin_cycle(
            tx,
            self._installation,
            number,
            policy=freeze(tx, self._installation.policy_to_freeze()),
            by=who["by"],
            batch_id=None,
            disconnected_at=datetime.fromisoformat(given["line_cancelled_at"]),
            country=row.country,
            number_class=row.number_class,
            pool=row.pool,
            carrier=row.carrier,
            range_holder=row.range_holder,
            reason="recall",
            prior_holders=row.prior_holders,
            source_ref=row.source_ref,
            recalled=True,
        )
        cycles.record(tx, row, Kind.CYCLE_RECALLED, next_cycle=following.cycle_no, **who)


def _attest(tx: Tx, row: CycleRow, given: Mapping[str, str], who: Mapping[str, str]) -> None:
    body = canonical(
        {
            "cycle_id": row.cycle_id,
            "target_id": given["target_id"],
            "document_sha256": given["document_sha256"],
            "attested_at": tx.now.isoformat(),
            **who,
        }
    )
    digest = hashlib.sha256(body.encode()).hexdigest()
    tx.session.add(EvidenceRow(digest=digest, cycle_id=row.cycle_id, target_id=given["target_id"], kind="attestation", body=body))
    owed = {each.target_id: each for each in obligations.of_cycle(tx, row.cycle_id)}[given["target_id"]]
    obligations.shift(tx, row, owed, Status.DISCHARGED, Outcome.ATTESTED, digest)


def _check(tx: Tx, row: CycleRow, person: Person, command: Command, arguments: Mapping[str, str]) -> None:
    match command:
        case Command.RECLAIM:
            claims.demand_claimable(row, arguments)
        case Command.UNLOCK:
            claims.demand_unlockable(tx, row, person.person_id)
        case Command.RETIRE:
            _demand_approver_of_crime(row, person, command)
        case Command.LIFT:
            _demand_approver_of_crime(row, person, command)
            open_hold(tx, row, arguments["hold_id"])
        case Command.ATTEST:
            _check_attestable(tx, row, arguments)
        case _:
            _check_cancelled(tx, row, arguments["line_cancelled_at"])


def _demand_approver_of_crime(row: CycleRow, person: Person, command: Command) -> None:
    """Let two approvers decide over a number tied to a crime, not an operator and one."""
    if Attention(Reason.CRIME) in cycles.facts(row).attention and person.role not in MATRIX[Action.APPROVE]:
        what = f"The cycle {row.cycle_id} is tied to a crime: {command} takes two approvers, and a key with the role {person.role} is none."
        raise PersonRefused(what, remedy=f"have one of {', '.join(sorted(MATRIX[Action.APPROVE]))} propose it, and another approve.")


def _check_cancelled(tx: Tx, row: CycleRow, text: str) -> None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None or not row.state_at < instant <= tx.now:
        what = "The present holder's line must be cancelled before a recall, and after the sale."
        raise InputRefused(what, remedy="give the past instant of that cancellation, in ISO 8601 with an offset.")


def _check_attestable(tx: Tx, row: CycleRow, arguments: Mapping[str, str]) -> None:
    owed = {each.target_id: each for each in obligations.of_cycle(tx, row.cycle_id)}.get(arguments["target_id"])
    waits = {attention.target_id for attention in cycles.facts(row).attention}
    if owed is None or owed.kind != "platform" or owed.target_id not in waits:
        what = "Only a platform that refused or stayed silent can be attested."
        raise CommandRefused(what, remedy="name a platform that `fallow numbers show` lists under ATTENTION.")
    document = arguments["document_sha256"]
    if len(document) != _SHA256_LENGTH or any(letter not in "0123456789abcdef" for letter in document):
        what = "The document's digest is not a SHA-256 in lower-case hex."
        raise InputRefused(what, remedy="give the output of `sha256sum` for the document that the platform issued.")
    if _used_before(tx, row, document):
        what = "That document was attested for an earlier cycle of this number."
        raise CommandRefused(what, remedy="get a document from the platform that speaks of the present cycle.")


def _used_before(tx: Tx, row: CycleRow, document: str) -> bool:
    query = select(EvidenceRow.body).join(CycleRow, col(CycleRow.cycle_id) == col(EvidenceRow.cycle_id))
    query = query.where(CycleRow.number_id == row.number_id, CycleRow.cycle_id != row.cycle_id, EvidenceRow.kind == "attestation")
    return any(json.loads(body)["document_sha256"] == document for body in tx.session.exec(query))

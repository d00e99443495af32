"""What takes two people: one proposes, another approves, neither of them the one who enrolled the number."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlmodel import col, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import CommandRefused, InputRefused, NotKnown, SecondPersonNeeded
from fallow.domain.events import Kind, canonical
from fallow.domain.lifecycle import Command, State, demand
from fallow.domain.obligations import Outcome, Status
from fallow.domain.people import Action, Person
from fallow.domain.reference import read_reference
from fallow.operations.commands import lift_hold, open_hold
from fallow.operations.enrol import begin_cycle
from fallow.operations.frozen import freeze
from fallow.operations.installation import Installation
from fallow.store import cycles, obligations
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, EvidenceRow, NumberRow, PrincipalRow, ProposalRow
from fallow.store.vault import opaque

#: What each command must be given besides the reference.
ARGUMENTS: dict[Command, tuple[str, ...]] = {
    Command.RECLAIM: (),
    Command.RETIRE: (),
    Command.LIFT: ("hold_id",),
    Command.ATTEST: ("target_id", "document_sha256"),
    Command.RECALL: ("line_cancelled_at",),
}
#: After this a proposal must be made again: what it was decided upon may be long gone.
PROPOSAL_STANDS_FOR = timedelta(days=7)
_SHA256_LENGTH = 64


class TwoPerson:
    """Propose and approve. Every method raises PersonRefused, NotKnown, CommandRefused and InputRefused."""

    def __init__(self, installation: Installation) -> None:
        """Work on ``installation``."""
        self._installation = installation

    def propose(self, person: Person, cycle_id: str, command: Command, reference: str, arguments: Mapping[str, str]) -> str:
        """Propose a command; return the proposal's id for the second person.

        ``reference`` is the identity check for reclaim, the authority's reference for retire, lift and recall, the
        document's name for attest.
        """
        person.demand(Action.PROPOSE)
        if command not in ARGUMENTS or set(arguments) != set(ARGUMENTS[command]):
            what = f"{command} was proposed with other arguments than it takes."
            raise InputRefused(what, remedy=f"give exactly: reference {' '.join(ARGUMENTS.get(command, ()))}".rstrip())
        with self._installation.db.begin() as tx:
            row = cycles.lock_one(tx, cycle_id)
            _not_the_enroller(person, row)
            demand(State(row.state), command, held=row.held)
            _check_arguments(tx, row, command, arguments)
            body = canonical({"reference": read_reference(reference), **arguments})
            proposal = ProposalRow(
                proposal_id=opaque("pr_"), cycle_id=cycle_id, command=command, arguments=body, proposed_by=person.person_id
            )
            proposal.proposed_at = tx.now
            tx.session.add(proposal)
            cycles.record(tx, row, Kind.COMMAND_PROPOSED, command=str(command), proposal_id=proposal.proposal_id, by=person.person_id)
            return proposal.proposal_id

    def approve(self, person: Person, proposal_id: str) -> str:
        """Approve and carry out a proposal, if the lifecycle still allows it; return the cycle's id."""
        person.demand(Action.APPROVE)
        with self._installation.db.begin() as tx:
            cycle_id = _get(tx, proposal_id).cycle_id
            row = cycles.lock_one(tx, cycle_id)  # before the proposal: cycles are always locked first
            proposal = _get(tx, proposal_id)
            if proposal.decided_at is not None:
                what = f"The proposal {proposal_id} was decided before."
                raise CommandRefused(what, remedy="propose again if it is still needed.")
            if person.person_id == proposal.proposed_by:
                what = "The same person can't propose and approve."
                raise SecondPersonNeeded(what, remedy="have another approver do it, with a key of their own.")
            _not_the_enroller(person, row)
            _still_stands(tx, proposal, person)
            demand(State(row.state), Command(proposal.command), held=row.held)
            _check_arguments(tx, row, Command(proposal.command), json.loads(proposal.arguments))  # again: much may have happened since
            proposal.decided_by, proposal.decided_at = person.person_id, tx.now
            self._carry_out(tx, row, proposal, person)
            if proposal.command != Command.RECALL:  # a recalled cycle has no workflow any more; its successor has
                cycles.wake(tx, row)
            return cycle_id

    def _carry_out(self, tx: Tx, row: CycleRow, proposal: ProposalRow, person: Person) -> None:
        given: dict[str, str] = json.loads(proposal.arguments)
        who = {"by": proposal.proposed_by, "second": person.person_id, "reference": given["reference"]}
        match Command(proposal.command):
            case Command.RECLAIM:
                cycles.record(tx, row, Kind.HOLDER_RECLAIMED, **who)
            case Command.RETIRE:
                cycles.record(tx, row, Kind.NUMBER_RETIRED, **who)
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
            policy=freeze(tx, self._installation.policy),
            by=who["by"],
            batch_id=None,
            disconnected_at=datetime.fromisoformat(given["line_cancelled_at"]),
            country=row.country,
            number_class=row.number_class,
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


def _check_arguments(tx: Tx, row: CycleRow, command: Command, arguments: Mapping[str, str]) -> None:
    if command is Command.ATTEST:
        _check_attestable(tx, row, arguments)
    if command is Command.RECALL:
        _check_cancelled(tx, row, arguments["line_cancelled_at"])
    if command is Command.LIFT:
        open_hold(tx, row, arguments["hold_id"])


def _still_stands(tx: Tx, proposal: ProposalRow, person: Person) -> None:
    """Refuse a proposal that has gone stale, and a second person who was made by the first."""
    proposer = tx.session.get_one(PrincipalRow, proposal.proposed_by)
    approver = tx.session.get_one(PrincipalRow, person.person_id)
    if proposer.revoked_at is not None or tx.now - proposal.proposed_at > PROPOSAL_STANDS_FOR or _moved_since(tx, proposal):
        what = f"The proposal {proposal.proposal_id} no longer stands: it is old, its proposer left, or the platform has spoken since."
        raise CommandRefused(what, remedy="look at the cycle as it is now, and propose again if it is still needed.")
    if approver.admitted_by == proposer.principal_id or proposer.admitted_by == approver.principal_id:
        what = "One of the two people was admitted by the other."
        raise SecondPersonNeeded(what, remedy="have somebody approve whose key another administrator made.")


def _moved_since(tx: Tx, proposal: ProposalRow) -> bool:
    target_id = json.loads(proposal.arguments).get("target_id")
    later = (event for event in cycles.events(tx, proposal.cycle_id) if event.at > proposal.proposed_at)
    return target_id is not None and any(event.body.get("target_id") == target_id for event in later)


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
    if owed is None or owed.kind != "platform" or owed.status == Status.DISCHARGED or owed.target_id not in waits:
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


def _not_the_enroller(person: Person, row: CycleRow) -> None:
    if person.person_id == row.enrolled_by:
        what = "Who enrolled a number can't decide over it."
        raise SecondPersonNeeded(what, remedy="two other people must propose and approve.")


def _get(tx: Tx, proposal_id: str) -> ProposalRow:
    proposal = tx.session.get(ProposalRow, proposal_id, populate_existing=True)
    if proposal is None:
        what = f"No proposal {proposal_id} is known."
        raise NotKnown(what, remedy="`fallow numbers show` lists a cycle's open proposals.")
    return proposal

"""Read models: where numbers stand, as plain JSON values. Each is one read-only transaction; none holds a phone number.

API and command line show the same answers because both ask here.
"""

import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from sqlmodel import col, func, select

from fallow.domain.cycle import ref
from fallow.domain.errors import NotKnown
from fallow.domain.lifecycle import State
from fallow.domain.number import E164
from fallow.domain.obligations import Status
from fallow.domain.people import Action, Person
from fallow.operations.frozen import frozen_choice, frozen_policy
from fallow.operations.installation import Installation
from fallow.operations.proofs import signer
from fallow.store import cycles, exchanges, looks, obligations
from fallow.store.engine import Tx
from fallow.store.obligations import Backlog
from fallow.store.tables import BatchRow, CycleRow, HoldRow, LookRow, ObligationRow, ProposalRow, RejectionRow, TargetRow
from fallow.store.targets import OPENS_AFTER

#: Most rows in one page (reliability.md S11).
LONGEST_PAGE = 500
#: Overlays counted beside the states.
HELD, ATTENTION = "HELD", "ATTENTION"


def show(installation: Installation, person: Person, cycle_id: str) -> dict[str, Any]:
    """Return everything that is known of one cycle, its timeline included.

    Raises:
        PersonRefused, NotKnown: as they say.
    """
    person.demand(Action.READ)
    with installation.db.read() as tx:
        row, owing = cycles.get(tx, cycle_id), looks.owed_by_cycle(tx, cycle_id)
        return {
            **line(row, contacts(installation)),
            **_stated(row),
            **_reached(row),
            "policy": _policy(tx, row),
            "holds": _open_holds(tx, cycle_id),
            "obligations": [
                {**_obligation(each), **_awaited(owing.get(each.target_id), tx.now), "signed_by": signer(tx, installation, each)}
                for each in obligations.of_cycle(tx, cycle_id)
            ],
            "proposals": _open_proposals(tx, cycle_id),
            "timeline": [{"kind": str(event.kind), "at": iso(event.at), "body": dict(event.body)} for event in cycles.events(tx, cycle_id)],
        }


def list_cycles(
    installation: Installation,
    person: Person,
    *,
    state: State | None = None,
    held: bool | None = None,
    attention: bool | None = None,
    after: str | None = None,
    limit: int = LONGEST_PAGE,
) -> list[dict[str, Any]]:
    """Return a page of cycles, in the order of their ids.

    Args:
        installation: where.
        person: who asks.
        state: only cycles in this state.
        held: only those with (True) or without (False) an open hold.
        attention: only those that do (True) or do not (False) wait for a person.
        after: the last cycle_id of the page before.
        limit: most rows, at most 500.

    Raises:
        PersonRefused: as it says.
    """
    person.demand(Action.READ)
    query = select(CycleRow).order_by(CycleRow.cycle_id).limit(max(1, min(limit, LONGEST_PAGE)))
    if state is not None:
        query = query.where(CycleRow.state == state)
    if held is not None:
        query = query.where(col(CycleRow.held).is_(held))
    if attention is not None:
        query = query.where(col(CycleRow.attention) != "[]" if attention else col(CycleRow.attention) == "[]")
    if after is not None:
        query = query.where(col(CycleRow.cycle_id) > after)
    with installation.db.read() as tx:
        asked = contacts(installation)
        return [line(row, asked) for row in tx.session.exec(query)]


def counts(installation: Installation, person: Person) -> dict[str, int]:
    """Return how many cycles are in each state, and how many are HELD or wait for a person (ATTENTION).

    Raises:
        PersonRefused: as it says.
    """
    person.demand(Action.READ)
    with installation.db.read() as tx:
        found = dict(tx.session.exec(select(CycleRow.state, func.count()).group_by(CycleRow.state)).all())
        held = tx.session.exec(select(func.count()).where(col(CycleRow.held).is_(True))).one()
        waiting = tx.session.exec(select(func.count()).where(col(CycleRow.attention) != "[]")).one()
    return {**{str(state): found.get(state, 0) for state in State}, HELD: held, ATTENTION: waiting}


def find_number(installation: Installation, person: Person, number: E164) -> list[str]:
    """Return the cycles of a number, latest first; none where it was never here.

    Raises:
        PersonRefused: as it says.
    """
    person.demand(Action.READ)
    with installation.db.read() as tx:
        found = installation.vault.find(tx, number)
        if found is None:
            return []
        query = select(CycleRow.cycle_id).where(CycleRow.number_id == found.number_id).order_by(col(CycleRow.cycle_no).desc())
        return list(tx.session.exec(query))


def batch(installation: Installation, person: Person, batch_id: str) -> dict[str, Any]:
    """Return what became of an enrolled file, each rejected line with its reason.

    Raises:
        PersonRefused, NotKnown: as they say.
    """
    person.demand(Action.READ)
    with installation.db.read() as tx:
        row = tx.session.get(BatchRow, batch_id)
        if row is None:
            what = f"No batch {batch_id} is known."
            raise NotKnown(what, remedy="the report of the enrolment names its batch; send the same file again to get it.")
        query = select(RejectionRow).where(RejectionRow.batch_id == batch_id).order_by(col(RejectionRow.line))
        rejections = [{"line": each.line, "code": each.code, "why": each.why} for each in tx.session.exec(query)]
        return {
            "batch_id": row.batch_id,
            "enrolled_by": row.enrolled_by,
            "enrolled_at": iso(row.enrolled_at),
            "rows": row.rows,
            "accepted": row.accepted,
            "duplicates": row.duplicates,
            "rejected": row.rejected,
            "rejections": rejections,
        }


def own_requests(
    installation: Installation, person: Person, *, after: str | None = None, limit: int = LONGEST_PAGE
) -> list[dict[str, Any]]:
    """Return the open requests that were sent to the caller's own platform: references only, a page in their order.

    Requests of a held cycle are left out: a hold keeps what is there.

    Raises:
        PersonRefused: not a platform's key.
    """
    person.demand(Action.READ_OWN_REQUESTS)
    query = (
        select(ObligationRow.reference, ObligationRow.asked)
        .join(CycleRow, col(CycleRow.cycle_id) == col(ObligationRow.cycle_id))
        .where(
            ObligationRow.target_id == person.platform_id,
            ObligationRow.status == Status.OPEN,
            col(ObligationRow.attempts) > 0,
            col(CycleRow.held).is_(False),
            col(CycleRow.state).in_([State.UNBINDING, State.TAGGING]),
        )
        .order_by(ObligationRow.reference)
        .limit(max(1, min(limit, LONGEST_PAGE)))
    )
    if after is not None:
        query = query.where(col(ObligationRow.reference) > after)
    with installation.db.read() as tx:
        return [{"reference": reference, "asked": asked} for reference, asked in tx.session.exec(query)]


def targets(installation: Installation, person: Person) -> list[dict[str, Any]]:
    """Return every target: how it is asked, what it owes and since when, its breaker and its last trouble.

    ``unconfirmed``: clearances that it is yet to confirm to a status query, whose trouble is told beside that of requests.

    Raises:
        PersonRefused: as it says.
    """
    person.demand(Action.READ)
    kinds = {**dict.fromkeys(installation.record_systems, "records"), **dict.fromkeys(installation.platforms, "platform")}
    with installation.db.read() as tx:
        rows = {row.target_id: row for row in tx.session.exec(select(TargetRow))}
        owed, unconfirmed = obligations.owed_by_target(tx), looks.count_by_target(tx)
        answers = exchanges.answered_since(tx, tx.now - timedelta(hours=1))
        now = tx.now
    kinds |= {each.target_id: each.kind for each in owed.values()}  # also targets that left the maps but are still owed
    return [
        {
            "target_id": target_id,
            "kind": kinds[target_id],
            **_how_asked(installation, target_id, rows.get(target_id)),
            **_what_owed(owed.get(target_id)),
            "unconfirmed": unconfirmed.get(target_id, 0),
            "answers_last_hour": answers.get(target_id, 0),
            **_how_it_goes(rows.get(target_id), now),
            **_trouble(rows.get(target_id), rows.get(f"{target_id}{looks.QUERY}")),
        }
        for target_id in sorted(kinds)
    ]


def _how_asked(installation: Installation, target_id: str, row: TargetRow | None) -> dict[str, Any]:
    """Return the pace that counts, and what of it an operator set."""
    pace, system = installation.paces.get(target_id), installation.record_systems.get(target_id)
    said: dict[str, Any] = {"rate_per_second": None, "batch": None, "lanes": None}
    if pace is not None:
        said = {name: getattr(pace, name) for name in said}
    elif system is not None:
        said |= {"batch": system.batch, "lanes": 1}
    ordered = {name: value for name in said if row is not None and (value := getattr(row, name)) is not None}
    return {
        **said,
        **ordered,
        "set_by_operator": sorted(ordered),
        "contact": None if pace is None else pace.contact or None,
        "paused_at": None if row is None else iso(row.paused_at),
        "paused_by": None if row is None else row.paused_by,
    }


def _what_owed(owed: Backlog | None) -> dict[str, Any]:
    return {
        "open": 0 if owed is None else owed.open,
        "refused": 0 if owed is None else owed.refused,
        "due_now": 0 if owed is None else owed.due_now,
        "reminded": 0 if owed is None else owed.reminded,
        "past_deadline": 0 if owed is None else owed.past_deadline,
        "oldest_open_at": None if owed is None else iso(owed.oldest_open_at),
    }


def _how_it_goes(row: TargetRow | None, now: datetime) -> dict[str, Any]:
    until = None if row is None or row.closed_until is None or row.closed_until <= now else row.closed_until
    tried = row is not None and row.failures >= OPENS_AFTER
    return {
        "failures": 0 if row is None else row.failures,
        "breaker": "open" if until is not None else "half-open" if tried else "closed",
        "paused_until": iso(until),
    }


def _trouble(row: TargetRow | None, query: TargetRow | None) -> dict[str, Any]:
    """Return the last trouble with requests and that with status queries, which have a breaker of their own."""
    troubled = [(words, each) for words, each in (("", row), ("status query: ", query)) if each is not None and each.trouble]
    instants = [each.trouble_at for each in (row, query) if each is not None and each.trouble_at is not None]
    return {
        "trouble": "; ".join(f"{words}{each.trouble}" for words, each in troubled) or None,
        "trouble_at": iso(max(instants, default=None)),
    }


def contacts(installation: Installation) -> dict[str, str]:
    """Return whom to ask at each platform."""
    return {target_id: pace.contact for target_id, pace in installation.paces.items() if pace.contact}


def line(row: CycleRow, asked: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a cycle as one line of a list; ``asked``: whom to ask at each platform, shown beside what waits for a person."""
    waiting, asked = sorted(cycles.facts(row).attention), asked or {}
    return {
        "cycle_id": row.cycle_id,
        "state": str(row.state),
        "state_at": iso(row.state_at),
        "held": row.held,
        "attention": [
            {
                "reason": str(each.reason),
                "target_id": each.target_id or None,
                "next": each.next,
                "contact": asked.get(each.target_id),
            }
            for each in waiting
        ],
        "disconnected_at": iso(row.disconnected_at),
        "release_at": iso(row.release_at),
        "country": row.country,
        "number_class": row.number_class,
        "carrier": row.carrier,
        "reason": row.reason,
        "demo": row.demo,
    }


def _stated(row: CycleRow) -> dict[str, Any]:
    return {
        "workflow_id": ref(row.cycle_id).workflow_id,
        "enrolled_at": iso(row.enrolled_at),
        "enrolled_by": row.enrolled_by,
        "batch_id": row.batch_id,
        "source_ref": row.source_ref,
        "range_holder": row.range_holder,
        "prior_holders": row.prior_holders,
        "handback": row.handback,
        "recalled": row.recalled,
        "pool": row.pool or None,
        "explanation": row.explanation,
        "explanation_zh": row.explanation_zh,
        "overdue_at": iso(row.overdue_at),
        "reminded_at": iso(row.reminded_at),
        "reclaims_denied": row.denials,
        "traffic": row.traffic,
    }


def _reached(row: CycleRow) -> dict[str, Any]:
    return {
        "line_status": row.line_status,
        "line_checked_at": iso(row.line_checked_at),
        "quarantine_ended_at": iso(row.quarantine_ended_at),
        "settled": json.loads(row.settled),
        "tag": row.tag,
        "released_at": iso(row.released_at),
    }


def _policy(tx: Tx, row: CycleRow) -> dict[str, Any]:
    policy = frozen_policy(tx, row.policy)
    sets = list(frozen_choice(tx, row).rule_sets)
    return {"policy_id": policy.policy_id, "version": policy.version, "rule_sets": sets, "digest": row.policy}


def _obligation(row: ObligationRow) -> dict[str, Any]:
    return {
        "target_id": row.target_id,
        "kind": str(row.kind),
        "status": str(row.status),
        "outcome": row.outcome,
        "evidence": row.evidence,
        "confirmed": row.confirmed,
        "looked_at": iso(row.looked_at),
        "attempts": row.attempts,
        "asked": row.asked,
        "failures": row.failures,
        "due_at": iso(row.due_at),
        "deadline_at": iso(row.deadline_at),
    }


def _awaited(row: LookRow | None, now: datetime) -> dict[str, Any]:
    """Return what of an obligation waits for its platform's word to a status query."""
    since = None if row is None else row.since
    return {
        "awaits_confirmation": row is not None,
        "awaited_since": iso(since),
        "awaited_already": since is not None and since <= now,
        "status_queries": 0 if row is None else row.tries,
    }


def _open_holds(tx: Tx, cycle_id: str) -> list[dict[str, Any]]:
    query = select(HoldRow).where(HoldRow.cycle_id == cycle_id, col(HoldRow.lifted_at).is_(None)).order_by(col(HoldRow.placed_at))
    return [hold(each) for each in tx.session.exec(query)]


def hold(row: HoldRow) -> dict[str, Any]:
    """Return a hold as it is shown."""
    return {
        "hold_id": row.hold_id,
        "reference": row.reference,
        "review_on": iso(row.review_on),
        "placed_by": row.placed_by,
        "placed_at": iso(row.placed_at),
    }


def _open_proposals(tx: Tx, cycle_id: str) -> list[dict[str, Any]]:
    query = select(ProposalRow).where(ProposalRow.cycle_id == cycle_id, col(ProposalRow.decided_at).is_(None))
    return [
        {
            "proposal_id": each.proposal_id,
            "command": each.command,
            "arguments": json.loads(each.arguments),
            "proposed_by": each.proposed_by,
            "proposed_at": iso(each.proposed_at),
        }
        for each in tx.session.exec(query.order_by(col(ProposalRow.proposed_at)))
    ]


def iso(instant: date | None) -> str | None:
    """Return an instant or a calendar day as JSON holds it."""
    return None if instant is None else instant.isoformat()

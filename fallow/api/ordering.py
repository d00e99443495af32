"""What people may order: enrol a file, the one-person commands, propose and approve, show a tag and sell."""

from dataclasses import asdict
from typing import Any

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool

from fallow.api.guard import Caller, Here
from fallow.api.messages import CycleNo, Extend, Hold, Lift, Number, NumberId, Proposal, ProposalId, Referenced, Remind, Sale
from fallow.domain.cycle import CycleRef
from fallow.operations.commands import Commands
from fallow.operations.enrol import enrol_file
from fallow.operations.sale import sell, tag_for
from fallow.operations.two_person import TwoPerson


async def enrol(here: Here, person: Caller, request: Request) -> dict[str, Any]:
    """Enrol a CSV file of cancelled numbers; the same file again starts nothing twice."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/csv":
        raise HTTPException(415)
    content = await request.body()
    report = await run_in_threadpool(enrol_file, here, person, content)
    rejections = [{"line": line, "code": code, "why": why} for line, code, why in report.rejections]
    return {**asdict(report), "rejections": rejections}


def hold(here: Here, person: Caller, number_id: NumberId, cycle_no: CycleNo, order: Hold) -> dict[str, str]:
    """Stop a number at once; the quarantine clock goes on."""
    cycle_id = CycleRef(number_id, cycle_no).cycle_id
    return {"cycle_id": cycle_id, "hold_id": Commands(here).hold(person, cycle_id, order.reference, order.review_on)}


def lift(here: Here, person: Caller, number_id: NumberId, cycle_no: CycleNo, order: Lift) -> dict[str, str]:
    """Lift one hold."""
    cycle_id = CycleRef(number_id, cycle_no).cycle_id
    Commands(here).lift(person, cycle_id, order.hold_id, order.reference)
    return {"cycle_id": cycle_id}


def extend(here: Here, person: Caller, number_id: NumberId, cycle_no: CycleNo, order: Extend) -> dict[str, str]:
    """Move the end of quarantine later."""
    cycle_id = CycleRef(number_id, cycle_no).cycle_id
    Commands(here).extend(person, cycle_id, order.release_at, order.reference)
    return {"cycle_id": cycle_id}


def withdraw(here: Here, person: Caller, number_id: NumberId, cycle_no: CycleNo, order: Referenced) -> dict[str, str]:
    """Take a number out before wiping."""
    cycle_id = CycleRef(number_id, cycle_no).cycle_id
    Commands(here).withdraw(person, cycle_id, order.reference)
    return {"cycle_id": cycle_id}


def hand_back(here: Here, person: Caller, number_id: NumberId, cycle_no: CycleNo, order: Referenced) -> dict[str, str]:
    """Return a number to its range holder, after wiping."""
    cycle_id = CycleRef(number_id, cycle_no).cycle_id
    Commands(here).hand_back(person, cycle_id, order.reference)
    return {"cycle_id": cycle_id}


def remind(here: Here, person: Caller, number_id: NumberId, cycle_no: CycleNo, order: Remind) -> dict[str, str]:
    """Record that the former holder was reminded of the accounts that hang on the number."""
    cycle_id = CycleRef(number_id, cycle_no).cycle_id
    Commands(here).remind(person, cycle_id, order.reminded_at, order.channel, order.reference)
    return {"cycle_id": cycle_id}


def retry(here: Here, person: Caller, number_id: NumberId, cycle_no: CycleNo, order: Referenced) -> dict[str, str]:
    """Look again after the cause of ATTENTION was mended."""
    cycle_id = CycleRef(number_id, cycle_no).cycle_id
    Commands(here).retry(person, cycle_id, order.reference)
    return {"cycle_id": cycle_id}


def propose(here: Here, person: Caller, number_id: NumberId, cycle_no: CycleNo, order: Proposal) -> dict[str, str]:
    """Propose a command that takes two people."""
    cycle_id = CycleRef(number_id, cycle_no).cycle_id
    proposal_id = TwoPerson(here).propose(person, cycle_id, order.command, order.reference, order.given())
    return {"cycle_id": cycle_id, "proposal_id": proposal_id}


def approve(here: Here, person: Caller, proposal_id: ProposalId) -> dict[str, str]:
    """Approve and carry out a proposal."""
    return {"cycle_id": TwoPerson(here).approve(person, proposal_id)}


def deny(here: Here, person: Caller, proposal_id: ProposalId, order: Referenced) -> dict[str, str]:
    """Deny a proposal; two denied claims lock a number against further ones."""
    return {"cycle_id": TwoPerson(here).deny(person, proposal_id, order.reference)}


def show_tag(here: Here, person: Caller, wanted: Number) -> dict[str, Any]:
    """Show the disclosure tag of a number that is for sale."""
    return asdict(tag_for(here, person, wanted.read()))


def record_sale(here: Here, person: Caller, sale: Sale) -> dict[str, str]:
    """Record a sale to a buyer who acknowledged this very tag."""
    return {"cycle_id": sell(here, person, sale.read(), sale.tag, sale.acknowledgement)}

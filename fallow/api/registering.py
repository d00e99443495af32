"""The registry of platforms over HTTP: see it, propose, ping, approve, deny; terms, pause and pace. Never a secret in an answer.

A registration that does not fit is the caller's to mend here: what the engine calls a refused map is no fault of the installation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool

from fallow.api.guard import Caller, Here
from fallow.api.messages import PlatformId, PlatformProposalId, Referenced
from fallow.api.problems import PingNotProved
from fallow.api.registrations import Paced, Registration, TargetId, Terms
from fallow.domain.errors import AnswerMalformed, CommandRefused, InputRefused, MapRefused, SignatureRefused
from fallow.operations import platform_control, platform_status
from fallow.operations.registering import Registering


def list_platforms(here: Here, person: Caller) -> dict[str, Any]:
    """List platforms and hubs, each with its newest revision, its state and the proposal that waits."""
    return {"platforms": platform_status.list_platforms(here, person)}


def list_platform_proposals(here: Here, person: Caller) -> dict[str, Any]:
    """List the proposals that nobody has decided, oldest first: what each changes, which keys come and go."""
    return {"proposals": platform_status.open_platform_proposals(here, person)}


def show_platform(here: Here, person: Caller, platform_id: PlatformId) -> dict[str, Any]:
    """Show one platform: registration, fingerprints, how it is asked, revisions, events, open proposals."""
    return platform_status.show_platform(here, person, platform_id)


def propose_platform(here: Here, person: Caller, order: Registration) -> dict[str, Any]:
    """Propose a platform or hub, or a change of one; the answer says what it changes."""
    with _the_callers_to_mend():
        proposal_id = Registering(here).propose(person, order.table())
    return platform_status.show_platform_proposal(here, person, proposal_id)


def decommission_platform(here: Here, person: Caller, platform_id: PlatformId, order: Referenced) -> dict[str, Any]:
    """Propose that a platform is asked no more and may answer no more."""
    proposal_id = Registering(here).propose_decommission(person, platform_id, order.reference)
    return platform_status.show_platform_proposal(here, person, proposal_id)


async def ping_platform(here: Here, person: Caller, proposal_id: PlatformProposalId) -> dict[str, Any]:
    """Have the proposed endpoint prove that it holds the proposed key; takes at most the proposed timeout."""
    with _the_proposals_fault():
        try:
            await Registering(here).ping(person, proposal_id)
        except (SignatureRefused, AnswerMalformed) as refused:
            raise PingNotProved(refused.what, remedy=refused.remedy) from None
    shown = await run_in_threadpool(platform_status.show_platform_proposal, here, person, proposal_id)
    return {name: shown[name] for name in ("proposal_id", "platform_id", "pinged_at")}


def approve_platform(here: Here, person: Caller, proposal_id: PlatformProposalId) -> dict[str, str]:
    """Enter what another person proposed; it counts within a second or two."""
    with _the_proposals_fault():
        return {"platform_id": Registering(here).approve(person, proposal_id)}


def deny_platform(here: Here, person: Caller, proposal_id: PlatformProposalId, order: Referenced) -> dict[str, str]:
    """Close a proposal for good; who made it may take it back."""
    return {"platform_id": Registering(here).deny(person, proposal_id, order.reference)}


def set_terms(here: Here, person: Caller, platform_id: PlatformId, order: Terms) -> dict[str, str]:
    """Set how fast and how often a platform is asked, and whom to call there; what is left out stays."""
    Registering(here).set_terms(person, platform_id, order.given())
    return {"platform_id": platform_id}


def pause_target(here: Here, person: Caller, target_id: TargetId) -> dict[str, Any]:
    """Send a platform or record system nothing more until it is resumed."""
    platform_control.pause(here, person, target_id)
    return {"target_id": target_id, "paused": True}


def resume_target(here: Here, person: Caller, target_id: TargetId) -> dict[str, Any]:
    """Send to a paused target again."""
    platform_control.resume(here, person, target_id)
    return {"target_id": target_id, "paused": False}


def pace_target(here: Here, person: Caller, target_id: TargetId, order: Paced) -> dict[str, Any]:
    """Set how a target is asked; what is left out goes back to what its registration or map says."""
    platform_control.set_pace(here, person, target_id, **order.model_dump())
    return {"target_id": target_id, **order.model_dump()}


@contextmanager
def _the_callers_to_mend() -> Iterator[None]:
    try:
        yield
    except MapRefused as refused:
        raise InputRefused(refused.what, remedy=refused.remedy) from None


@contextmanager
def _the_proposals_fault() -> Iterator[None]:
    """Say of a proposal that no longer fits, or that can't be pinged, that this can't be done with it."""
    try:
        yield
    except MapRefused as refused:
        raise CommandRefused(refused.what, remedy=refused.remedy) from None

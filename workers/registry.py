"""The only lists of what a worker registers, and how the stages' steps are bound to it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import structlog

from activities.disclosure import DisclosureActivities
from activities.dispatch import DispatchActivities
from activities.quarantine import QuarantineActivities
from activities.release import ReleaseActivities
from activities.unbinding import UnbindingActivities
from activities.wiping import WipingActivities
from fallow.domain.obligations import TargetKind
from fallow.domain.ports import Sender
from fallow.operations.disclose import Disclosure
from fallow.operations.forgetting import destroy_ended
from fallow.operations.installation import Installation
from fallow.operations.key_epochs import keep_young
from fallow.operations.looking import forget_strayed
from fallow.operations.release import Release
from fallow.operations.retention import Retention
from fallow.operations.sending import Bell, TargetSender
from fallow.operations.stages import Stages
from fallow.store import exchanges
from workers.targets import LiveRounds

_log = structlog.get_logger()

#: Holder keys destroyed in one transaction.
CHORE_PAGE = 200
#: Pages of the delivery log that one sweep forgets at most.
_MOST_PAGES = 20


def steps(installation: Installation) -> Sequence[Callable[..., Any]]:
    """Return the activities of the recycling queue."""
    stages = Stages(installation)
    quarantine = QuarantineActivities(stages.begin_quarantine, stages.end_quarantine)
    wiping = WipingActivities(partial(stages.clear, kind=TargetKind.RECORDS))
    unbinding = UnbindingActivities(partial(stages.clear, kind=TargetKind.PLATFORM))
    return [
        quarantine.begin_quarantine,
        quarantine.end_quarantine,
        wiping.wipe_records,
        unbinding.unbind_platforms,
        DisclosureActivities(Disclosure(installation).issue_tag).tag_disclosure,
        ReleaseActivities(Release(installation).release).release_number,
    ]


def chores(installation: Installation, epoch_for: timedelta) -> Sequence[Callable[[], Awaitable[None]]]:
    """Return what the one process with the lease does at every sweep; each call is bounded, and goes on where the last one stopped."""

    async def destroy_holder_keys() -> None:
        await asyncio.to_thread(destroy_ended, installation.db, CHORE_PAGE)

    async def rotate_wrapping_keys() -> None:
        destroyed = await asyncio.to_thread(keep_young, installation.db, installation.wrapping, epoch_for)
        if destroyed:
            _log.info("wrapping keys destroyed", count=len(destroyed))

    async def destroy_expired() -> None:
        await asyncio.to_thread(keeper.upkeep)

    async def forget_old_exchanges() -> None:
        await asyncio.to_thread(exchanges.forget_old, installation.db, _MOST_PAGES)

    async def forget_looks() -> None:
        await asyncio.to_thread(forget_strayed, installation, CHORE_PAGE)

    keeper = Retention(installation)
    return [destroy_holder_keys, rotate_wrapping_keys, destroy_expired, forget_old_exchanges, forget_looks]


def turns(sender: Sender, turn_for: float) -> Sequence[Callable[..., Any]]:
    """Return the activities of the dispatch queue."""
    return [DispatchActivities(sender, turn_for).take_turn]


def sender(installation: Installation, bell: Bell, holder: str) -> TargetSender:
    """Return the sender of every target, those that are registered later among them."""
    return TargetSender(installation.db, bell, LiveRounds(installation, Retention(installation)), holder)

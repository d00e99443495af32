"""The only lists of what a worker registers, and how the stages' steps are bound to it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from activities.disclosure import DisclosureActivities
from activities.dispatch import DispatchActivities
from activities.quarantine import QuarantineActivities
from activities.release import ReleaseActivities
from activities.unbinding import UnbindingActivities
from activities.wiping import WipingActivities
from fallow.domain.obligations import TargetKind
from fallow.domain.ports import Sender
from fallow.operations.disclose import Disclosure
from fallow.operations.installation import Installation
from fallow.operations.release import Release
from fallow.operations.retention import Retention
from fallow.operations.sending import Bell, Rounds, TargetSender
from fallow.operations.stages import Stages
from fallow.operations.unbinding_rounds import UnbindingRounds
from fallow.operations.wiping_rounds import WipingRounds


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


def turns(sender: Sender, turn_for: float) -> Sequence[Callable[..., Any]]:
    """Return the activities of the dispatch queue."""
    return [DispatchActivities(sender, turn_for).take_turn]


def sender(installation: Installation, bell: Bell, holder: str) -> TargetSender:
    """Return the sender of every target in the installation's maps."""
    keeper = Retention(installation)
    rounds: list[Rounds] = [WipingRounds(installation, each, keeper) for each in installation.record_systems.values()]
    for platform_id, platform in installation.platforms.items():
        rounds.append(UnbindingRounds(installation.db, installation.vault, platform, installation.paces[platform_id]))
    return TargetSender(installation.db, bell, rounds, holder)

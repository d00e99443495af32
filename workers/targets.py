"""Who is a target, as the maps and the registry have it at this very moment: platforms come and go while a worker runs."""

from collections.abc import Collection, Iterator, Mapping

from fallow.domain.ports import Keeper
from fallow.operations.installation import Installation
from fallow.operations.looking_rounds import AskingAndLooking, LookingRounds
from fallow.operations.sending import Rounds
from fallow.operations.unbinding_rounds import UnbindingRounds
from fallow.operations.wiping_rounds import WipingRounds


class Targets(Collection[str]):
    """Ids of record systems and of the platforms that are asked now."""

    def __init__(self, installation: Installation) -> None:
        """Follow ``installation``."""
        self._installation = installation

    @property
    def decommissioned(self) -> frozenset[str]:
        """Platforms that are asked no more."""
        return self._installation.registered.present.decommissioned

    def __contains__(self, target_id: object) -> bool:
        """Tell whether it is a target."""
        return target_id in self._installation.record_systems or target_id in self._installation.platforms

    def __iter__(self) -> Iterator[str]:
        """Yield record systems first."""
        return iter([*self._installation.record_systems, *self._installation.platforms])

    def __len__(self) -> int:
        """Count them."""
        return len(self._installation.record_systems) + len(self._installation.platforms)


class LiveRounds(Mapping[str, Rounds]):
    """The rounds of each target; those of a platform look its registration up themselves, each time they go round.

    At a platform that is asked no more they find nothing to do, and go on within a turn if it comes back.
    """

    def __init__(self, installation: Installation, keeper: Keeper) -> None:
        """Wipe and unbind for ``installation``; ``keeper`` takes what the law keeps."""
        self._installation = installation
        self._wiping = {each.system_id: WipingRounds(installation, each, keeper) for each in installation.record_systems.values()}
        self._unbinding: dict[str, AskingAndLooking] = {}

    def __getitem__(self, target_id: str) -> Rounds:
        """Return a target's rounds.

        Raises:
            KeyError: it is none.
        """
        if target_id in self._wiping:
            return self._wiping[target_id]
        if target_id not in self:
            raise KeyError(target_id)
        if target_id not in self._unbinding:
            self._unbinding[target_id] = self._rounds_at(target_id)
        return self._unbinding[target_id]

    def __contains__(self, target_id: object) -> bool:
        """Tell whether it has rounds; those at a platform that can't be made here say so at each request."""
        here = self._installation
        return target_id in self._wiping or target_id in here.platforms or target_id in here.registered.present.decommissioned

    def _rounds_at(self, platform_id: str) -> AskingAndLooking:
        return AskingAndLooking(UnbindingRounds(self._installation, platform_id), LookingRounds(self._installation, platform_id))

    def __iter__(self) -> Iterator[str]:
        """Yield every target, those that are asked no more among them: their workflows still take turns."""
        return iter([*self._wiping, *self._installation.platforms, *self._installation.registered.present.decommissioned])

    def __len__(self) -> int:
        """Count them."""
        return len(list(iter(self)))

"""Looking, as the state machine plays it: one platform has a status query, and half of what is released is looked at once more."""

from builders import World, look_all
from builders_looking import looking, owed_looks, sampling
from hypothesis import strategies as st
from hypothesis.stateful import rule
from machine_ground import Ground

from fallow.domain.events import Event
from fallow.domain.fold import fold
from fallow.domain.obligations import CLEARED_BY_PLATFORM, Outcome

#: The platform with a status query.
LOOKING = "gamma-bank"
_SHOWN = st.sampled_from([None, Outcome.REFUSED, Outcome.ACCEPTED, Outcome.NEEDS_HUMAN, *sorted(CLEARED_BY_PLATFORM)])


def with_looks(world: World) -> World:
    """Let the world's bank be looked at, and a sample of one in two."""
    sampling(world, one_in=2)
    looking(world, LOOKING)
    return world


class Looking(Ground):
    """What the machine does and demands where a platform can be looked at."""

    @rule(shows=_SHOWN)
    def look(self, shows: Outcome | None) -> None:
        """Look at what is due; the platform confirms, contradicts itself, or says nothing."""
        platform = self.world.platforms[LOOKING]
        usual, platform.shows = platform.shows, lambda _: shows
        look_all(self.world)
        platform.shows = usual

    def _owes_a_look(self, cycle_id: str) -> bool:
        return (cycle_id, LOOKING) in owed_looks(self.world)

    def _check_looked_at(self, events: list[Event]) -> None:
        """Demand, by the events before a release alone, that what the platform cleared by its own word was confirmed since."""
        _, owed = fold(events)
        seen = owed[LOOKING]
        assert not seen.by_own_word or seen.confirmed not in (None, seen.evidence)

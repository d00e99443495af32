"""A recycling cycle as plain facts: what the database row holds and what ``fold(events)`` gives back."""

from dataclasses import dataclass, field
from datetime import datetime

from fallow.domain.attention import Attention
from fallow.domain.lifecycle import ACTIVE, State


@dataclass(frozen=True, slots=True, order=True)
class CycleRef:
    """Which cycle: the only thing about a number that crosses into Temporal.

    Attributes:
        number_id: random identifier of the number.
        cycle_no: 1 for the first trip of the number through this engine.
    """

    number_id: str
    cycle_no: int

    @property
    def cycle_id(self) -> str:
        """The key of the cycle's row."""
        return f"{self.number_id}/{self.cycle_no}"

    @property
    def workflow_id(self) -> str:
        """The id of the cycle's workflow."""
        return f"recycling/{self.cycle_id}"


def ref(cycle_id: str) -> CycleRef:
    """Read a :attr:`CycleRef.cycle_id` back."""
    number_id, _, cycle_no = cycle_id.rpartition("/")
    return CycleRef(number_id, int(cycle_no))


@dataclass(frozen=True, slots=True)
class Cycle:
    """Where a cycle stands.

    Attributes:
        state: the stage or end it is in.
        disconnected_at: when the former holder's line ended; never changes.
        enrolled_at: when the engine learned of it.
        release_at: the earliest end of quarantine, jitter and extensions included.
        policy: digest of the frozen policy.
        demo: enrolled under a rule too short for real numbers.
        handback: to be handed back to the range holder once wiped.
        holds: ids of the open holds; any one means HELD.
        attention: what waits for a person.
        settled: stages settled so far, in order.
        quarantine_ended_at: when quarantine was settled, or None.
        tag: digest of the disclosure tag, or None.
        released_at: when it became RESELLABLE, or None.
        reminded_at: when the former holder was last reminded that accounts hang on the number, or None.
        denials: claims of a former holder that failed their identity check, since the last unlocking.
    """

    state: State
    disconnected_at: datetime
    enrolled_at: datetime
    release_at: datetime
    policy: str
    demo: bool = False
    handback: bool = False
    holds: frozenset[str] = field(default_factory=frozenset)
    attention: frozenset[Attention] = field(default_factory=frozenset)
    settled: tuple[str, ...] = ()
    quarantine_ended_at: datetime | None = None
    tag: str | None = None
    released_at: datetime | None = None
    reminded_at: datetime | None = None
    denials: int = 0

    @property
    def held(self) -> bool:
        """Whether any hold is open."""
        return bool(self.holds)

    @property
    def active(self) -> bool:
        """Whether a workflow still drives it."""
        return self.state in ACTIVE

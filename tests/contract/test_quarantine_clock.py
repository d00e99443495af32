"""No order of events and no clock lets a number out of quarantine early, and no hold is lost: a Hypothesis state machine, on SQLite.

When a cycle leaves QUARANTINED, at that moment

* the database's clock has come to its release date, and so has the instant at which the workflow asked, by Temporal's clock;
* the release date is at least what the rule frozen at enrolment gives for the disconnect instant that the file stated and for the
  enrolment, and was never moved earlier;
* none of its holds is open: each that was ever placed was lifted by an order that is on record.

Both clocks go forward and back, on their own. What the engine should have kept is remembered here, apart from it.
"""

import tempfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from builders import RULE, a_file, an_installation, number
from builders_cycles import assert_folds, staff
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from memory_ports import SettableClock
from sqlmodel import select

from fallow.domain.cycle import CycleRef, ref
from fallow.domain.errors import CommandRefused, InputRefused, NotKnown
from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.operations.commands import Commands
from fallow.operations.enrol import enrol_file
from fallow.operations.stages import Stages
from fallow.store import cycles
from fallow.store.tables import CycleRow, HoldRow

DAY = timedelta(days=1)
JITTER = timedelta(hours=1)
SPANS = tuple(
    sign * span for sign in (1, -1) for span in (timedelta(microseconds=1), timedelta(hours=1), DAY, 6 * DAY, 11 * DAY, 366 * DAY)
)
#: Noon before and after the nights on which clocks change in Europe and in America, a leap day, the turn of a year.
BEGINNINGS = [
    datetime(*day, 12, 30, tzinfo=UTC) for day in ((2026, 3, 29), (2026, 10, 25), (2026, 3, 8), (2028, 2, 29), (2028, 3, 1), (2027, 1, 1))
]
OFFSETS = st.sampled_from([timedelta(hours=8), timedelta(hours=-11), timedelta(0), timedelta(hours=5, minutes=45), timedelta(hours=14)])
AGO = st.one_of(st.timedeltas(timedelta(0), 12 * DAY), st.sampled_from([timedelta(0), timedelta(microseconds=1), 5 * DAY, 10 * DAY]))
INDEX = st.integers(0, 3)
NEAR = st.sampled_from([timedelta(microseconds=-1), timedelta(0), timedelta(microseconds=1), timedelta(seconds=-1)])


class SteppingClock(SettableClock):
    """A clock that may be set to any instant, also back."""

    def set_to(self, instant: datetime) -> None:
        """Show ``instant`` from now on."""
        self._now = instant


@dataclass
class Promise:
    """What a cycle was promised at its enrolment, and what happened to its holds.

    Attributes:
        disconnected_at: what its file stated.
        not_before: what the rule of that day makes of it.
        release_at: the latest release date seen; it only grows.
        open_holds: placed and not lifted by an order of this test.
    """

    disconnected_at: datetime
    not_before: datetime
    release_at: datetime
    open_holds: set[str] = field(default_factory=set)


class TwoClocks(RuleBasedStateMachine):
    """Enrols, edits, holds, extends and looks in any order, while two clocks go as they like."""

    @initialize(beginning=st.sampled_from(BEGINNINGS))
    def begin(self, beginning: datetime) -> None:
        """Set up an installation in which both clocks show the same."""
        self.folder = tempfile.TemporaryDirectory()
        self.database, self.temporal = SteppingClock(beginning), SteppingClock(beginning)
        world = an_installation(Path(self.folder.name), clock=self.database)
        self.db = world.installation.db
        self.staff = staff(world)
        self.promises: dict[str, Promise] = {}
        self.left: set[str] = set()
        self._under(replace(world.installation.policy, release_jitter_for=JITTER), world.installation)
        self.enrol([0], timedelta(days=1), timedelta(0), "")

    def teardown(self) -> None:
        """Leave nothing behind."""
        if hasattr(self, "folder"):
            self.db.close()
            self.folder.cleanup()

    # --- what happens ---------------------------------------------------------------------------------------------

    @rule(indexes=st.lists(INDEX, min_size=1, max_size=2, unique=True), ago=AGO, offset=OFFSETS, hold=st.sampled_from(["", "", "court 9"]))
    def enrol(self, indexes: list[int], ago: timedelta, offset: timedelta, hold: str) -> None:
        """Send a file, also of numbers that are enrolled already; the disconnect instant is spelled in any zone. Send it again."""
        disconnected_at = self.database.now() - ago
        spelled = disconnected_at.astimezone(timezone(offset)).isoformat()
        header, now = a_file(0), self.database.now()
        cells = {"disconnected_at": spelled, "hold_reference": hold}
        content = header + b"".join(a_file(1, now=now, first=index, **cells).removeprefix(header) for index in indexes)
        before = {row.cycle_id for row in self._rows()}
        for _ in range(2):
            enrol_file(self.installation, self.staff.enroller, content)
        for row in self._rows():
            if row.cycle_id not in before:
                frozen = self.installation.policy.rules[0]
                not_before = max(disconnected_at + frozen.quarantine_for, now + frozen.observed_for)
                self.promises[row.cycle_id] = Promise(disconnected_at, not_before, row.release_at, set(self._placed(row.cycle_id)))
                assert not_before <= row.release_at <= not_before + JITTER

    @rule(span=st.sampled_from(SPANS), clocks=st.sampled_from(["database", "temporal", "both"]))
    def step(self, span: timedelta, clocks: str) -> None:
        """Set one clock or both forward or back."""
        for clock in self._clocks(clocks):
            clock.set_to(clock.now() + span)

    @precondition(lambda self: self.promises)
    @rule(index=INDEX, near=NEAR, clocks=st.sampled_from(["database", "temporal", "both", "both"]))
    def come_to_release(self, index: int, near: timedelta, clocks: str) -> None:
        """Set one clock or both to a release date, or just beside it."""
        for clock in self._clocks(clocks):
            clock.set_to(self._row(self._cycle(index)).release_at + near)

    @precondition(lambda self: self.promises)
    @rule(index=INDEX, reviewed=st.booleans())
    def hold(self, index: int, reviewed: bool) -> None:
        """Place a hold."""
        cycle_id, review_on = self._cycle(index), self.database.now().date() if reviewed else None
        with suppress(CommandRefused):
            self.promises[cycle_id].open_holds.add(self.commands.hold(self.staff.operator, cycle_id, "case 1", review_on))

    @precondition(lambda self: self.promises)
    @rule(index=INDEX, foreign=st.booleans())
    def lift(self, index: int, foreign: bool) -> None:
        """Lift a hold; another cycle's hold can't be lifted here."""
        cycle_id = self._cycle(index)
        own = self.promises[cycle_id].open_holds
        others = [hold for each, promise in self.promises.items() if each != cycle_id for hold in promise.open_holds]
        wanted = next(iter(sorted(others if foreign else own)), "h_none")
        with suppress(CommandRefused, NotKnown):
            self.commands.lift(self.staff.operator, cycle_id, wanted, "case 1")
            own.remove(wanted)

    @precondition(lambda self: self.promises)
    @rule(index=INDEX, span=st.sampled_from(SPANS))
    def extend(self, index: int, span: timedelta) -> None:
        """Move a release date; earlier is refused."""
        cycle_id = self._cycle(index)
        wanted = self._row(cycle_id).release_at + span
        with suppress(CommandRefused, InputRefused):
            self.commands.extend(self.staff.operator, cycle_id, wanted, "ticket 1")
            assert span > timedelta(0)
            self.promises[cycle_id].release_at = wanted

    @precondition(lambda self: self.promises)
    @rule(index=INDEX, command=st.sampled_from(["retry", "remind", "withdraw"]))
    def edit(self, index: int, command: str) -> None:
        """Give another order; a withdrawn number may come back by a later file."""
        operator, cycle_id, now = self.staff.operator, self._cycle(index), self.database.now()
        with suppress(CommandRefused, InputRefused):
            if command == "remind":
                self.commands.remind(operator, cycle_id, now, "sms", "notice 1")
            else:
                {"retry": self.commands.retry, "withdraw": self.commands.withdraw}[command](operator, cycle_id, "ticket 2")

    @rule(days=st.sampled_from([1, 3, 10, 20]))
    def change_policy(self, days: int) -> None:
        """Put another rule in force, shorter or longer; it is for those who are enrolled from now on."""
        policy = self.installation.policy
        other = replace(RULE, quarantine_for=days * DAY, observed_for=max(DAY, days * DAY / 2))
        self._under(replace(policy, version=policy.version + 1, rules=(other,)), self.installation)

    # --- what must always hold ------------------------------------------------------------------------------------

    @invariant()
    def nobody_leaves_early(self) -> None:
        """After whatever happened every workflow looks; where a number leaves, both clocks have come there and no hold is open."""
        stages, asked_at = Stages(self.installation), self.temporal.now()
        for row in self._rows():
            stages.begin_quarantine(ref(row.cycle_id))
            stages.end_quarantine(ref(row.cycle_id), asked_at)
            if row.cycle_id in self.left or self._row(row.cycle_id).state != State.WIPING:
                continue
            promise = self.promises[row.cycle_id]
            assert min(self.database.now(), asked_at) >= promise.release_at >= promise.not_before
            assert not promise.open_holds
            self.left.add(row.cycle_id)

    @invariant()
    def the_clock_is_never_reset(self) -> None:
        """Disconnect instant and release date are what they were at enrolment, or later by an extension; nobody left unseen."""
        for row in self._rows():
            promise = self.promises[row.cycle_id]
            assert (row.disconnected_at, row.release_at) == (promise.disconnected_at, promise.release_at)
            assert row.state in (State.ENROLLED, State.QUARANTINED, State.WITHDRAWN) or row.cycle_id in self.left

    @invariant()
    def no_hold_is_lost(self) -> None:
        """Every hold that was ever placed is open, or was lifted by an order of this test that is on record with who gave it."""
        for cycle_id, promise in self.promises.items():
            with self.db.read() as tx:
                lifted = {each.body["hold_id"]: each.body["by"] for each in cycles.events(tx, cycle_id) if each.kind is Kind.HOLD_LIFTED}
                rows = {hold_id: tx.session.get_one(HoldRow, hold_id) for hold_id in self._placed(cycle_id)}
                kept = cycles.facts(cycles.get(tx, cycle_id)).holds
            assert {hold_id for hold_id, row in rows.items() if row.lifted_at is None} == promise.open_holds == kept
            assert set(rows) - promise.open_holds == set(lifted)
            assert set(lifted.values()) <= {self.staff.operator.person_id}

    @invariant()
    def events_fold(self) -> None:
        """The events add up to the rows."""
        assert_folds(self.db)

    # --- helpers --------------------------------------------------------------------------------------------------

    def _under(self, policy: object, installation: object) -> None:
        self.installation = replace(installation, policy=policy)  # type: ignore[type-var]
        self.commands = Commands(self.installation)

    def _clocks(self, which: str) -> list[SteppingClock]:
        return [clock for name, clock in (("database", self.database), ("temporal", self.temporal)) if which in (name, "both")]

    def _cycle(self, index: int) -> str:
        """Return the newest cycle of a number, or of the first where that was never enrolled."""
        with self.db.read() as tx:
            found = [self.installation.vault.find(tx, number(each)) for each in (index, 0)]
        row = found[0] or found[1]
        assert row is not None
        return CycleRef(row.number_id, row.last_cycle_no).cycle_id

    def _placed(self, cycle_id: str) -> list[str]:
        with self.db.read() as tx:
            return [event.body["hold_id"] for event in cycles.events(tx, cycle_id) if event.kind is Kind.HOLD_PLACED]

    def _row(self, cycle_id: str) -> CycleRow:
        with self.db.read() as tx:
            return cycles.get(tx, cycle_id)

    def _rows(self) -> list[CycleRow]:
        with self.db.read() as tx:
            return list(tx.session.exec(select(CycleRow)))


TestTwoClocks = TwoClocks.TestCase
# Not shrunk: a step is several transactions, and a shorter story would take longer to find than the whole suite may last.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
TestTwoClocks.settings = settings(max_examples=30, stateful_step_count=25, phases=PHASES)


def test_numbers_do_leave() -> None:
    """The machine is no proof that nothing ever happens: once both clocks have come there, and not before, the number leaves."""
    machine = TwoClocks()
    try:
        machine.begin(BEGINNINGS[0])
        for clocks in ("database", "temporal"):
            machine.nobody_leaves_early()
            assert machine.left == set()
            machine.come_to_release(0, timedelta(0), clocks)
        machine.nobody_leaves_early()
        assert machine.left == set(machine.promises)
    finally:
        machine.teardown()

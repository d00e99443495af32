"""Any sequence of what can happen, rightly or wrongly ordered, keeps the promises: a Hypothesis state machine over real operations.

The letters name the invariants: I1 gate, I2 sets, I3 monotone, I4 quarantine, I5 at most once, I6 nothing forged, I7 events fold into
rows, I9 rows are conserved, I11 nobody waits in silence, I12 no number outside the vault.
"""

import itertools
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from builders import RULE, World, a_file, an_installation, ask_all, number, references, wipe_all
from builders_cycles import DOCUMENT, assert_folds, engine, spellings, staff
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from machine_looking import Looking, with_looks
from memory_ports import signed_delivery
from sqlmodel import col, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import AnswerMalformed, CommandRefused, FallowError, InputRefused, NotKnown, PersonRefused
from fallow.domain.events import Event, Kind
from fallow.domain.fold import fold
from fallow.domain.gate import STAGES, LineStatus
from fallow.domain.lifecycle import ACTIVE, Command, State, allows
from fallow.domain.obligations import CLEARED_BY_PLATFORM, Outcome, Status, TargetKind
from fallow.domain.people import MATRIX, Action, Person
from fallow.domain.ports import SignedDelivery
from fallow.operations.answers import accept_answer
from fallow.operations.enrol import BatchReport, enrol_file
from fallow.operations.sale import sell
from fallow.store import cycles, obligations
from fallow.store.cycles import SEEN_FOR, STALLED_FOR
from fallow.store.tables import CycleRow, ObligationRow, OutboxRow, TagRow

NUMBERS = 3
PEOPLE = st.sampled_from(["operator", "approver", "other_approver", "shop", "enroller", "auditor", "operator", "approver", "shop"])
STAGE = st.sampled_from([*ACTIVE, State.UNBINDING, State.RESELLABLE, State.RESELLABLE])
INDEX = st.integers(0, 11)
PLATFORM = st.sampled_from(["alpha-pay", "beta-chat", "gamma-bank"])
SAYABLE = st.sampled_from([*sorted(CLEARED_BY_PLATFORM), Outcome.REFUSED, Outcome.ACCEPTED])
CELLS = st.sampled_from(
    [{}, {}, {}, {"reason": "crime"}, {"hold_reference": "court 9"}, {"range_holder": "other"}, {"prior_holders": "", "reason": "deceased"}]
)
SPANS = st.sampled_from([timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=3), timedelta(days=3), timedelta(days=12)])
STEPS = ("begin", "end", "wipe", "unbind", "tag", "release")
#: What may follow a state that a workflow no longer drives.
AFTER = {State.RESELLABLE: {State.RESELLABLE, State.REASSIGNED, State.RETIRED, State.RETURNED}}


class Recycling(Looking):
    """Enrols, ticks, steps, answers, orders and sells in any order; the world around misbehaves."""

    @initialize(stages=st.lists(STAGE, min_size=NUMBERS, max_size=NUMBERS))
    def begin(self, stages: list[State]) -> None:
        """Set up an installation with some numbers on their way already."""
        self.folder = tempfile.TemporaryDirectory()
        self.world: World = with_looks(an_installation(Path(self.folder.name)))
        self.people = vars(staff(self.world))
        self.engine = engine(self.world)
        self.db = self.world.installation.db
        self.ids: list[str] = []
        self.proposals: list[str] = []
        self.deliveries: list[tuple[str, SignedDelivery, str]] = []
        self.reports: dict[bytes, BatchReport] = {}
        self.recalled = 0
        self.states: dict[str, State] = {}
        self.going_on: set[str] = set()
        self.serial = itertools.count()
        self.enrol(list(range(NUMBERS)), {}, "enroller")
        for cycle_id, stage in zip(self.ids, stages, strict=True):
            self._advance(cycle_id, stage)

    def teardown(self) -> None:
        """Leave nothing behind."""
        if hasattr(self, "world"):
            self.db.close()
            self.folder.cleanup()

    # --- what happens ---------------------------------------------------------------------------------------------

    @rule(indexes=st.lists(st.integers(0, NUMBERS - 1), min_size=1, max_size=3), cells=CELLS, who=PEOPLE)
    def enrol(self, indexes: list[int], cells: dict[str, str], who: str) -> None:
        """Send a file, duplicates within it included; then the same file again."""
        header = a_file(0)
        mark = f"file {next(self.serial)}"
        now = self.world.clock.now()
        lines = [a_file(1, now=now, first=index, source_ref=mark, **cells).removeprefix(header) for index in indexes]
        content = header + b"".join(lines)
        person: Person = self.people[who]
        try:
            report = enrol_file(self.world.installation, person, content)
        except PersonRefused:
            assert person.role not in MATRIX[Action.ENROL]
            return
        assert report.rows == len(indexes) == report.accepted + len(report.rejections)  # I9
        again = enrol_file(self.world.installation, person, content)
        assert (again.again, again.accepted, again.rows) == (True, report.accepted, report.rows)  # I9
        self.reports[content] = report
        self._refresh()

    @rule(span=SPANS)
    def tick(self, span: timedelta) -> None:
        """Let time pass; a quarantine that is over wakes its workflow by a timer."""
        self._timers_run()
        self.world.clock.pass_by(span)

    @precondition(lambda self: self.ids)
    @rule(index=INDEX, step=st.sampled_from(STEPS))
    def step(self, index: int, step: str) -> None:
        """Take any step of any stage, in any order, any number of times."""
        self._look(self._cycle(index), step)

    @precondition(lambda self: self.ids)
    @rule(index=INDEX)
    def drive(self, index: int) -> None:
        """Do what a freshly started workflow does: every step until one is not done."""
        cycle_id = self._cycle(index)
        for step in STEPS:
            if not self._look(cycle_id, step):
                break

    @precondition(lambda self: self.ids)
    @rule(index=INDEX, until=STAGE)
    def carry(self, index: int, until: State) -> None:
        """Let workflow, time and senders work on one number undisturbed."""
        self._advance(self._cycle(index), until)

    @rule(remaining=st.integers(0, 1), system=st.sampled_from(["billing", "crm"]), down=st.booleans())
    def wipe(self, remaining: int, system: str, down: bool) -> None:
        """Let every wiper work; one of them leaves rows behind or is away."""
        odd = self.world.record_systems[system]
        odd.remaining, odd.down = remaining, down
        wipe_all(self.world)
        odd.remaining, odd.down = 0, False

    @rule(platform_id=PLATFORM, says=st.one_of(st.none(), SAYABLE))
    def ask(self, platform_id: str, says: Outcome | None) -> None:
        """Let every platform be asked; one of them says something else, or nothing."""
        odd = self.world.platforms[platform_id]
        usual, odd.says = odd.says, lambda _: says
        ask_all(self.world)
        odd.says = usual

    @precondition(lambda self: self.ids)
    @rule(index=INDEX, platform_id=PLATFORM, outcome=SAYABLE, reuse=st.booleans())
    def call_back(self, index: int, platform_id: str, outcome: Outcome, reuse: bool) -> None:
        """Answer by callback: early, late, for ended cycles, or under a delivery id of another message."""
        reference = references(self.world, self._cycle(index)).get(platform_id)
        if reference is None:
            return
        used = next((each.delivery_id for by, each, _ in self.deliveries if by == platform_id), None) if reuse else None
        delivery = signed_delivery(self.world.keys[platform_id], {reference: outcome}, self.world.clock.now(), delivery_id=used)
        before = self._events()
        try:
            ack = self._deliver(platform_id, delivery)
        except AnswerMalformed:
            assert used is not None
            assert self._events() == before  # I5
            return
        if used is None:
            self.deliveries.append((platform_id, delivery, ack))

    @precondition(lambda self: self.deliveries)
    @rule(index=INDEX)
    def repeat(self, index: int) -> None:
        """Deliver a message again: the same acknowledgement, and nothing changes (I5)."""
        platform_id, delivery, ack = self.deliveries[index % len(self.deliveries)]
        before = self._events()
        assert self._deliver(platform_id, delivery) == ack
        assert self._events() == before

    @precondition(lambda self: self.ids)
    @rule(index=INDEX, platform_id=PLATFORM, outcome=SAYABLE)
    def forge(self, index: int, platform_id: str, outcome: Outcome) -> None:
        """Answer under another platform's reference: nothing changes (I6)."""
        foreign = {owner: reference for owner, reference in references(self.world, self._cycle(index)).items() if owner != platform_id}
        before = self._events()
        delivery = signed_delivery(self.world.keys[platform_id], dict.fromkeys(foreign.values(), outcome), self.world.clock.now())
        ack = accept_answer(self.world.installation, platform_id, delivery, [(reference, outcome) for reference in foreign.values()])
        assert "accepted" not in ack
        assert self._events() == before

    @rule(index=st.integers(0, NUMBERS - 1), status=st.sampled_from([LineStatus.OFF, LineStatus.OFF, *LineStatus]))
    def change_line(self, index: int, status: LineStatus) -> None:
        """The line register says something else of a number from now on."""
        self.world.lines.said[number(index)] = status

    @precondition(lambda self: self.ids)
    @rule(
        index=INDEX,
        who=PEOPLE,
        command=st.sampled_from([Command.HOLD, Command.LIFT, Command.EXTEND, Command.WITHDRAW, Command.RETURN, Command.RETRY]),
    )
    def order(self, index: int, who: str, command: Command) -> None:
        """Order a one-person command, as the right or the wrong person, where it is allowed or not."""
        cycle_id, person = self._cycle(index), self.people[who]
        before, events = self._row(cycle_id), self._events()
        crime = Attention(Reason.CRIME) in cycles.facts(before).attention
        holds = sorted(cycles.facts(before).holds) or ["h_none"]
        commands = self.engine.commands
        orders: dict[Command, Callable[[], object]] = {
            Command.HOLD: lambda: commands.hold(person, cycle_id, "case 1"),
            Command.LIFT: lambda: commands.lift(person, cycle_id, holds[0], "case 1"),
            Command.EXTEND: lambda: commands.extend(person, cycle_id, before.release_at + timedelta(days=1), "case 1"),
            Command.WITHDRAW: lambda: commands.withdraw(person, cycle_id, "case 1"),
            Command.RETURN: lambda: commands.hand_back(person, cycle_id, "case 1"),
            Command.RETRY: lambda: commands.retry(person, cycle_id, "case 1"),
        }
        allowed = person.role in MATRIX[Action.COMMAND] and allows(State(before.state), command, held=before.held)
        allowed = allowed and not (command is Command.LIFT and crime)
        self._expect(orders[command], allowed=allowed, events=events)

    @precondition(lambda self: self.ids)
    @rule(
        index=INDEX,
        who=PEOPLE,
        target_id=PLATFORM,
        command=st.sampled_from([Command.RECLAIM, Command.RETIRE, Command.ATTEST, Command.ATTEST, Command.LIFT, Command.RECALL]),
    )
    def propose(self, index: int, who: str, target_id: str, command: Command) -> None:
        """Propose a two-person command."""
        cycle_id = self._cycle(index)
        row = self._row(cycle_id)
        holds = sorted(cycles.facts(row).holds) or ["h_none"]
        arguments = {
            Command.ATTEST: {"target_id": target_id, "document_sha256": DOCUMENT},
            Command.LIFT: {"hold_id": holds[0]},
            Command.RECLAIM: {"ground": "former-holder"},
            Command.RECALL: {"line_cancelled_at": self.world.clock.now().isoformat()},
        }.get(command, {})
        person: Person = self.people[who]
        with suppress(CommandRefused, PersonRefused, NotKnown, InputRefused):
            self.proposals.append(self.engine.two_person.propose(person, cycle_id, command, "case 2", arguments))
            assert allows(State(row.state), command, held=row.held)
            assert person.role in MATRIX[Action.PROPOSE]
            assert person.person_id != row.enrolled_by

    @precondition(lambda self: self.proposals)
    @rule(index=INDEX, who=PEOPLE)
    def approve(self, index: int, who: str) -> None:
        """Approve any proposal, decided ones included, as anybody."""
        proposal, person, events = self.proposals[-1 - index % len(self.proposals)], self.people[who], self._events()
        cycles_before = len(self.ids)
        try:
            self.engine.two_person.approve(person, proposal)
        except (CommandRefused, PersonRefused, NotKnown, InputRefused):
            assert self._events() == events
            return
        assert person.role in MATRIX[Action.APPROVE]
        self._refresh()
        self.recalled += len(self.ids) - cycles_before

    @rule(index=st.integers(0, NUMBERS - 1), who=PEOPLE, right=st.booleans())
    def sell(self, index: int, who: str, right: bool) -> None:
        """Sell a number under its own tag or another."""
        with self.db.read() as tx:
            found = self.world.installation.vault.find(tx, number(index))
        latest = None if found is None else self._row(f"{found.number_id}/{found.last_cycle_no}")
        events, unseen = self._events(), latest is not None and self._owes_a_look(latest.cycle_id)
        tag = str(latest.tag) if right and latest is not None else "0" * 64
        try:
            sell(self.world.installation, self.people[who], number(index), tag, "form 1")
        except (CommandRefused, PersonRefused, NotKnown):
            assert self._events() == events
            return
        assert latest is not None
        assert (latest.state, latest.held, latest.attention, right, who) == (State.RESELLABLE, False, "[]", True, "shop")
        assert not unseen

    @rule()
    def heal(self) -> None:
        """After a while the sweep has woken whoever could go on: nobody else waits in silence (I11)."""
        self.world.clock.pass_by(STALLED_FOR + timedelta(seconds=1))
        with self.db.begin() as tx:
            cycles.wake_stalled(tx, cycles.stalled(tx, 100))
        self.going_on.clear()

    # --- what must always hold ------------------------------------------------------------------------------------

    @invariant()
    def released_only_with_everything(self) -> None:
        """I1, I2, I3, I4: at the moment of release the gate's whole promise held, by the events alone."""
        for cycle_id, events in self._events().items():
            kinds = [event.kind for event in events]
            if Kind.NUMBER_RELEASED not in kinds:
                assert State(self._row(cycle_id).state) not in (State.RESELLABLE, State.REASSIGNED)
                continue
            assert kinds.count(Kind.NUMBER_RELEASED) == 1
            self._check_release(events, kinds.index(Kind.NUMBER_RELEASED))

    @invariant()
    def nothing_goes_back(self) -> None:
        """I3: an ended cycle stays ended, and RESELLABLE leads only forward."""
        for row in self._rows():
            before, after = self.states.get(row.cycle_id, State.ENROLLED), State(row.state)
            if before in ACTIVE:
                assert after not in ACTIVE or ACTIVE.index(after) >= ACTIVE.index(before)
            else:
                assert after in AFTER.get(before, {before, State.REASSIGNED} if before is State.REASSIGNED else {before})
            self.states[row.cycle_id] = after

    @invariant()
    def events_fold(self) -> None:
        """I7: every cycle's events add up to its rows."""
        assert_folds(self.db)

    @invariant()
    def rows_are_conserved(self) -> None:
        """I9: cycles are what the files were told was accepted, and recalls; at most the last of a number is under way."""
        rows = self._rows()
        assert len(rows) == sum(report.accepted for report in self.reports.values()) + self.recalled
        by_number: dict[str, list[CycleRow]] = {}
        for row in rows:
            by_number.setdefault(row.number_id, []).append(row)
        for mine in by_number.values():
            assert sorted(row.cycle_no for row in mine) == list(range(1, len(mine) + 1))
            assert all(row.state not in (*ACTIVE, State.RESELLABLE) for row in sorted(mine, key=lambda row: row.cycle_no)[:-1])

    @invariant()
    def nobody_waits_in_silence(self) -> None:
        """I11: whoever is under way is woken, going on, waiting for time or an answer, HELD, or in ATTENTION.

        A ripe cycle that was looked at since it is ripe waits for time, too: the sweep wakes it an hour after that look.
        """
        with self.db.read() as tx:
            for row in tx.session.exec(select(CycleRow).where(col(CycleRow.state).in_(ACTIVE))):
                owed = obligations.of_cycle(tx, row.cycle_id)
                asked = any(each.status == Status.OPEN and each.due_at is not None for each in owed)
                seen = row.looked_at is not None and row.looked_at >= max(row.release_at, tx.now - SEEN_FOR)
                timed = row.state == State.QUARANTINED and (row.release_at >= tx.now - STALLED_FOR or seen)
                waits = row.held or row.attention != "[]" or timed or asked or self._owes_a_look(row.cycle_id)
                assert waits or row.wake_at is not None or row.cycle_id in self.going_on, row.cycle_id

    @invariant()
    def refusals_are_seen(self) -> None:
        """I11: an obligation that nobody asks about any more is in the ATTENTION queue under its target's name."""
        query = select(ObligationRow, CycleRow).join(CycleRow, col(CycleRow.cycle_id) == col(ObligationRow.cycle_id))
        with self.db.read() as tx:
            for owed, row in tx.session.exec(query.where(ObligationRow.status != Status.DISCHARGED, col(ObligationRow.due_at).is_(None))):
                if row.state in (*ACTIVE, State.RESELLABLE):
                    assert owed.target_id in {each.target_id for each in cycles.facts(row).attention}

    @invariant()
    def no_number_outside_the_vault(self) -> None:
        """I12: not in any table, index, journal or freed page of the database's own files."""
        written = b"".join(path.read_bytes() for path in Path(self.folder.name).glob("fallow.db*"))
        assert not [index for index in range(NUMBERS) for each in spellings(index) if each.encode() in written]

    # --- helpers --------------------------------------------------------------------------------------------------

    def _check_release(self, events: list[Event], at: int) -> None:
        cycle, owed = fold(events[:at])
        self._check_looked_at(events[:at])
        policy = self.world.installation.policy
        assert {target for target, each in owed.items() if each.kind is TargetKind.RECORDS} == set(policy.record_systems)
        assert {target for target, each in owed.items() if each.kind is TargetKind.PLATFORM} == set(policy.platforms)
        assert all(each.status is Status.DISCHARGED and each.evidence for each in owed.values())
        assert len({each.evidence for each in owed.values()}) == len(owed)
        assert (cycle.state, cycle.settled, cycle.held, cycle.handback) == (State.TAGGING, STAGES, False, False)
        assert cycle.attention == frozenset()
        assert cycle.tag == events[at].body["tag"]
        earliest = max(cycle.disconnected_at + RULE.quarantine_for, cycle.enrolled_at + RULE.observed_for)
        assert events[at].at >= max(earliest, cycle.release_at)
        people = {person.person_id for person in self.people.values()}
        assert all(event.body["by"] in people for event in events[:at] if event.kind is Kind.HOLD_LIFTED)
        with self.db.read() as tx:
            tag = tx.session.get_one(TagRow, events[at].body["tag"])
            assert self.world.installation.tag_signed(tag.digest, tag.signature)
            assert len(tx.session.exec(select(OutboxRow).where(OutboxRow.cycle_id == tag.cycle_id)).all()) == 1

    def _expect(self, order: Callable[[], object], *, allowed: bool, events: dict[str, list[Event]]) -> None:
        """Carry out an order: it succeeds if and only if it is allowed, and a refused one leaves no trace."""
        try:
            order()
        except FallowError:
            assert not allowed
            assert self._events() == events
            return
        assert allowed


TestRecycling = Recycling.TestCase
# Not shrunk: a step is several transactions, and a shorter story would take longer to find than the whole suite may last.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
TestRecycling.settings = settings(max_examples=15, stateful_step_count=25, phases=PHASES)

"""Rounds of looking at a platform: does what it cleared still stand? In batches, under its sender's lease, pace and pause."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from fallow.domain.answers import seen_again
from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import AnswerMalformed, FallowError, SignatureRefused
from fallow.domain.events import Kind, canonical
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome, TargetKind, shown
from fallow.domain.ports import SignedDelivery
from fallow.operations.answers import place_hold
from fallow.operations.installation import Installation
from fallow.operations.outgoing import Outgoing
from fallow.operations.reaching import Reached, reach
from fallow.operations.sending import CLAIM_FOR, Rounds, Tally, backoff
from fallow.platforms.forms import FORMS
from fallow.store import cycles, exchanges, inbox, leases, looks, obligations, targets
from fallow.store.engine import Tx
from fallow.store.looks import QUERY, Due
from fallow.store.tables import CycleRow, ObligationRow, TargetRow

#: Most looks for which a person is called in one transaction, beside those that have just failed.
LATE_PAGE = 200


class AskingAndLooking:
    """Implements ``sending.Rounds`` for one platform: each round does both, so that neither waits for the other's backlog.

    The first of both takes all that the pace lets through. It stays the first until there was something for it, however often the pace
    lets nothing through; then the other one is.
    """

    def __init__(self, asking: Rounds, looking: "LookingRounds") -> None:
        """Take the two kinds of round."""
        self.target_id = asking.target_id
        self._asking = asking
        self._order: tuple[Rounds | LookingRounds, Rounds | LookingRounds] = asking, looking

    @property
    def lanes(self) -> int:
        """As many as asking has."""
        return self._asking.lanes

    async def round(self, holder: str, fence: int, tally: Tally) -> bool:
        """Ask once and look once; tell whether there was anything to do."""
        first, second = self._order
        acted = await first.round(holder, fence, tally)
        if acted:
            self._order = second, first
        return await second.round(holder, fence, tally) or acted


class LookingRounds:
    """Looks at one platform, as it is registered when a round begins; does nothing at one that offers no status query.

    A status query that fails stops no request: it has a breaker of its own, and heeds the platform's pause, pace and breaker besides.
    """

    def __init__(self, installation: Installation, platform_id: str) -> None:
        """Look at the platform of that id at its own pace."""
        self.target_id = platform_id
        self._installation = installation

    async def round(self, holder: str, fence: int, tally: Tally) -> bool:
        """Make one status query; tell whether there was anything to look at.

        Raises:
            LeaseLost: another sender has taken over.
        """
        reached = reach(self._installation, self.target_id)
        return reached is not None and await _LookingRound(self._installation, self.target_id, reached).round(holder, fence, tally)


class _LookingRound:
    """One round."""

    def __init__(self, installation: Installation, platform_id: str, reached: Reached) -> None:
        self.target_id = platform_id
        self._installation = installation
        self._db = installation.db
        self._platform = reached.platform
        self._pace = reached.pace

    async def round(self, holder: str, fence: int, tally: Tally) -> bool:
        due = await asyncio.to_thread(self._claim, holder, fence) if self._platform.looks else []
        if not due:
            return False
        query = Outgoing(due)
        try:
            try:
                delivery = await self._platform.look([each.reference for each in due])
            finally:
                query.over()
            said = {} if delivery is None else {each.reference: each.outcome for each in FORMS[delivery.scheme].read(delivery.body)}
        except FallowError as failed:
            tally.failed += len(due)
            await asyncio.to_thread(self._failed, holder, fence, query, failed)
            return True
        try:
            await asyncio.to_thread(self._looked, holder, fence, query, delivery, said)
        except (AnswerMalformed, SignatureRefused) as refused:  # an old message once more, or by nobody who may speak for the platform
            tally.failed += len(due)
            await asyncio.to_thread(self._failed, holder, fence, query, refused)
        return True

    def _claim(self, holder: str, fence: int) -> list[Due]:
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            platform, query = targets.lock(tx, self.target_id, TargetKind.PLATFORM), self._query_row(tx)
            pace = self._pace.rate_per_second, self._pace.batch
            # No query closes the platform's breaker: after the last request has failed, every query would be a probe for ever.
            most = min(targets.allowance(tx, platform, *pace, probing=False), targets.allowance(tx, query, *pace))
            due = looks.claim(tx, self.target_id, most, CLAIM_FOR) if most else []
            for each in (platform, query) if due else ():
                each.tokens -= len(due)
            return due

    def _query_row(self, tx: Tx) -> TargetRow:
        """Return the row of the status query, whose breaker is not the platform's."""
        return targets.lock(tx, f"{self.target_id}{QUERY}", TargetKind.PLATFORM)

    def _looked(self, holder: str, fence: int, query: Outgoing[Due], delivery: SignedDelivery | None, said: Mapping[str, Outcome]) -> None:
        due = query.due

        def write(tx: Tx) -> None:
            leases.demand(tx, self.target_id, holder, fence)
            rows = {row.cycle_id: row for row in cycles.lock(tx, [each.cycle_id for each in due])}
            evidence = "" if delivery is None else self._keep(tx, delivery, said)
            still = self._still_cleared(tx, rows, due)
            answered = [each for each in still if each.reference in said]
            silent = [each for each in still if each.reference not in said]
            over = [each.cycle_id for each in answered if self._note(tx, rows[each.cycle_id], still[each], said[each.reference], evidence)]
            looks.done(tx, self.target_id, over)
            self._put_off(tx, rows, silent)
            obligations.note_attempts(tx, self.target_id, [each.cycle_id for each in answered], "looked")
            obligations.note_attempts(tx, self.target_id, [each.cycle_id for each in silent], "look-silent")
            targets.succeeded(self._query_row(tx))
            exchanges.note(tx, [query.exchange(self.target_id, "look-silent" if delivery is None else "looked")])
            self._wake(tx, [rows[each.cycle_id] for each in answered])

        self._db.once_more(write)

    def _keep(self, tx: Tx, delivery: SignedDelivery, said: Mapping[str, Outcome]) -> str:
        """Keep the answer verbatim, verified here once more, and return its digest: an old message proves nothing of how things are now."""
        installation, speaker_id = self._installation, delivery.speaker_id or self.target_id
        if installation.inbox.find(tx, speaker_id, delivery.delivery_id) is not None:
            what = f"{speaker_id} answered a status query with a message that had come before."
            raise AnswerMalformed(what, remedy="sign every answer anew, under an id of its own.")
        speaker = installation.speakers.now(speaker_id)
        if speaker is None or self.target_id not in speaker.speaks_for:
            what = f"{speaker_id} may not speak for {self.target_id}."
            raise SignatureRefused(what, remedy="register its key, or its hub.")
        FORMS[delivery.scheme].signer(speaker.keys, delivery)
        installation.inbox.keep(tx, speaker_id, delivery, canonical({"answers": dict.fromkeys(said, "accepted")}))
        return inbox.digest(speaker_id, delivery)

    def _still_cleared(self, tx: Tx, rows: Mapping[str, CycleRow], due: Sequence[Due]) -> dict[Due, ObligationRow]:
        """Return what still rests on the answer that was looked after: anything may have happened since the look was claimed."""
        owed = obligations.at_target(tx, self.target_id, rows)
        return {
            each: row
            for each in due
            if (row := owed.get(each.cycle_id)) is not None
            and obligations.facts(row).by_own_word
            and row.evidence == each.evidence
            and rows[each.cycle_id].state in looks.WORKING
        }

    def _note(self, tx: Tx, cycle: CycleRow, owed: ObligationRow, said: Outcome, evidence: str) -> bool:
        """Write down what a platform says of one clearance now; tell whether the look is over.

        It is not where a released number is contradicted: once the platform clears it again it is looked at again, before anybody can
        buy it.
        """
        change = seen_again(said)
        if change.status is None:
            owed.confirmed, owed.looked_at = evidence, tx.now
            cycles.record(tx, cycle, Kind.OBLIGATION_CONFIRMED, target_id=self.target_id, evidence=evidence)
            self._no_more_silent(tx, cycle)
            return True
        obligations.shift(tx, cycle, owed, change.status, shown(said), evidence, change.raises)
        if cycle.state != State.RESELLABLE:
            return True
        place_hold(tx, cycle, "engine", f"contradicted by {self.target_id}")  # a hold blocks the sale
        return False

    def _no_more_silent(self, tx: Tx, cycle: CycleRow) -> None:
        silent = Attention(Reason.PLATFORM_SILENT, self.target_id)
        if silent in cycles.facts(cycle).attention:
            cycles.clear_attention(tx, cycle, {silent})
            if cycles.facts(cycle).active:
                cycles.wake(tx, cycle)  # its workflow shows it in Temporal's lists

    def _put_off(self, tx: Tx, rows: Mapping[str, CycleRow], silent: Sequence[Due]) -> None:
        """Look again later; after as long as all the reminders of a request take, call a person and look as rarely as one reminds."""
        until = dict[str, datetime]()
        for each in silent:
            until[each.cycle_id] = tx.now + backoff(each.tries)
            if tx.now - each.since >= self._silent_for:
                until[each.cycle_id] = tx.now + timedelta(seconds=self._pace.remind_after)
                self._call_a_person(tx, rows[each.cycle_id])
        looks.postpone(tx, self.target_id, until)

    def _call_a_person(self, tx: Tx, cycle: CycleRow) -> None:
        cycles.raise_attention(tx, cycle, Attention(Reason.PLATFORM_SILENT, self.target_id))
        if cycles.facts(cycle).active:
            cycles.wake(tx, cycle)

    @property
    def _silent_for(self) -> timedelta:
        return timedelta(seconds=self._pace.remind_after * (self._pace.reminders + 1))

    def _failed(self, holder: str, fence: int, query: Outgoing[Due], error: FallowError) -> None:
        """Try again later, and call a person for whatever has waited too long, whether or not it was in this query."""
        due = query.due

        def write(tx: Tx) -> None:
            leases.demand(tx, self.target_id, holder, fence)
            late = looks.late(tx, self.target_id, tx.now - self._silent_for, LATE_PAGE)
            every = {each.cycle_id: each for each in (*late, *due)}
            rows = {row.cycle_id: row for row in cycles.lock(tx, every)}
            still = self._still_cleared(tx, rows, list(every.values()))
            self._put_off(tx, rows, list(still))
            obligations.note_attempts(tx, self.target_id, [each.cycle_id for each in due], f"look-{error.code}")
            targets.failed(tx, self._query_row(tx), error.what, getattr(error, "retry_after", None))
            exchanges.note(tx, [query.exchange(self.target_id, f"look-{error.code}")])

        self._db.once_more(write)

    def _wake(self, tx: Tx, rows: Sequence[CycleRow]) -> None:
        """Wake those that owe nothing any more: neither an answer nor a look."""
        owing = looks.still_owing(tx, [row.cycle_id for row in rows])
        obligations.wake_completed(tx, [row for row in rows if row.cycle_id not in owing])

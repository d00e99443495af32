"""Many cycles changed at once: locked with what their events can touch, changed by the same fold as one alone, written in bulk.

``cycles.record`` does the same for one row. Whoever changes cycles here changes them nowhere else in that transaction before
:meth:`Recording.write`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Insert, Select, Update, insert, select, update

from fallow.domain.attention import Attention, parse
from fallow.domain.events import Event, Kind, canonical
from fallow.domain.fold import changes
from fallow.domain.lifecycle import State
from fallow.store.cycles import columns_of
from fallow.store.engine import Tx
from fallow.store.given import bound, dialect_of, given
from fallow.store.tables import CycleRow, EventRow

_cycles, _events = CycleRow.__table__, EventRow.__table__  # type: ignore[attr-defined]
_COLUMNS = (
    *("cycle_id", "state", "holds", "attention", "settled", "quarantine_ended_at", "reminded_at", "denials"),
    *("events_no", "wake_no"),
)
_KINDS: dict[str, type] = {
    **dict.fromkeys(("events_no", "wake_no", "wake_tries", "denials"), int),
    **dict.fromkeys(("held", "handback"), bool),
    **dict.fromkeys(("release_at", "quarantine_ended_at", "released_at", "reminded_at", "state_at", "wake_at"), datetime),
}


@dataclass(slots=True)
class Standing:
    """A locked cycle, as :func:`fallow.domain.fold.changes` looks at it.

    Attributes:
        cycle_id: which.
        state: where it is.
        holds: ids of the open holds.
        attention: what waits for a person.
        settled: stages settled so far, in order.
        quarantine_ended_at: when quarantine was settled, or None.
        reminded_at: when the former holder was last reminded, or None.
        denials: claims that failed their identity check.
        events_no: number of its events.
        wake_no: number of its wakes.
        awaited: whether its workflow is to be told to look, anyway.
        changed: columns that are not written yet.
    """

    cycle_id: str
    state: State
    holds: frozenset[str]
    attention: frozenset[Attention]
    settled: tuple[str, ...]
    quarantine_ended_at: datetime | None
    reminded_at: datetime | None
    denials: int
    events_no: int
    wake_no: int
    awaited: bool
    changed: dict[str, Any] = field(default_factory=dict)


def locking(which: Select[tuple[str]]) -> Select[Any]:
    """Return the statement that locks the cycles that ``which`` selects, in id order, for :func:`lock`."""
    query = select(*(_cycles.c[name] for name in _COLUMNS), _cycles.c.wake_at.is_not(None))
    return query.where(_cycles.c.cycle_id.in_(which)).order_by(_cycles.c.cycle_id).with_for_update(of=_cycles)


def lock(tx: Tx, statement: Select[Any], parameters: Mapping[str, object]) -> dict[str, Standing]:
    """Lock the cycles that a statement of :func:`locking` selects until the transaction ends, and return them by id."""
    tx.session.flush()
    return {row[0]: _standing(*row) for row in tx.session.connection().execute(statement, parameters).all()}


def _standing(cycle_id: str, state: str, holds: str, attention: str, settled: str, *rest: Any) -> Standing:
    return Standing(cycle_id, State(state), _holds(holds), _attention(attention), _settled(settled), *rest)


class Recording:
    """Events of many locked cycles, gathered and then written together."""

    def __init__(self, tx: Tx) -> None:
        """Gather for ``tx``."""
        self._tx = tx
        self._events: list[dict[str, object]] = []
        self._changed: dict[str, Standing] = {}
        self._bodies: dict[tuple[object, ...], str] = {}

    def record(self, standing: Standing, kind: Kind, **body: Any) -> None:
        """Record one event and let it change the cycle."""
        changed = changes(standing, Event(kind, self._tx.now, body))
        for name, value in changed.items():
            setattr(standing, name, value)
        standing.events_no += 1
        standing.changed |= columns_of(changed, self._tx)
        standing.changed["events_no"] = standing.events_no
        self._changed[standing.cycle_id] = standing
        row = {"cycle_id": standing.cycle_id, "seq": standing.events_no, "kind": kind, "at": self._tx.now, "body": self._text(body)}
        self._events.append(row)

    def raise_attention(self, standing: Standing, attention: Attention, **why: Any) -> bool:
        """Put the cycle into the ATTENTION queue, once per reason and target; tell whether it was not there yet."""
        if attention in standing.attention:
            return False
        self.record(standing, Kind.ATTENTION_RAISED, attention=str(attention), **why)
        return True

    def clear_attention(self, standing: Standing, target_id: str) -> None:
        """Take what is wrong at a target off the ATTENTION queue."""
        for attention in sorted(each for each in standing.attention if each.target_id == target_id):
            self.record(standing, Kind.ATTENTION_CLEARED, attention=str(attention))

    def wake(self, standing: Standing) -> None:
        """Note durably that the cycle's workflow must look again; wakes that nobody has taken up yet are one."""
        if not standing.awaited:
            standing.awaited = True
            standing.wake_no += 1
            standing.changed |= {"wake_no": standing.wake_no, "wake_tries": 0}
        standing.changed["wake_at"] = self._tx.now
        self._changed[standing.cycle_id] = standing

    def write(self) -> None:
        """Write everything: one statement for the events and one for each set of columns that changed together."""
        alike: dict[tuple[str, ...], list[dict[str, object]]] = {}
        for standing in self._changed.values():
            row = {"cycle_id": standing.cycle_id, **standing.changed}
            alike.setdefault(tuple(sorted(standing.changed)), []).append(row)
            standing.changed = {}
        dialect = dialect_of(self._tx)
        for names, rows in alike.items():
            self._execute(_updating(dialect, names), rows)
        if self._events:
            self._execute(_inserting(dialect), self._events)
        forget(self._tx, CycleRow, self._changed)
        self._events, self._changed = [], {}

    def _execute(self, statement: Any, rows: list[dict[str, object]]) -> None:
        self._tx.session.connection().execute(statement, bound(self._tx, rows))

    def _text(self, body: dict[str, Any]) -> str:
        # The events that one message causes are mostly the same but for their cycle.
        key = tuple(body.items())
        try:
            text = self._bodies.get(key)
        except TypeError:  # holds a list
            return canonical(body)
        if text is None:
            text = self._bodies[key] = canonical(body)
        return text


@cache
def _updating(dialect: str, names: tuple[str, ...]) -> Update:
    relation = given(dialect, cycle_id=str, **{name: _KINDS.get(name, str) for name in names})
    statement = update(_cycles).where(_cycles.c.cycle_id == relation.c.cycle_id)
    return statement.values({name: relation.c[name] for name in names})


@cache
def _inserting(dialect: str) -> Insert:
    relation = given(dialect, cycle_id=str, seq=int, kind=str, at=datetime, body=str)
    return insert(_events).from_select(relation.c.keys(), select(relation))


def forget(tx: Tx, kind: type, cycle_ids: Iterable[str]) -> None:
    """Let the session read rows again that were written behind its back."""
    gone = set(cycle_ids)
    for row in list(tx.session):
        if isinstance(row, kind) and getattr(row, "cycle_id") in gone:  # noqa: B009 - of whatever table
            tx.session.expire(row)


@lru_cache(maxsize=4096)
def _attention(text: str) -> frozenset[Attention]:
    return frozenset(parse(each) for each in json.loads(text))


@lru_cache(maxsize=64)
def _settled(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _holds(text: str) -> frozenset[str]:
    return _NONE if text == "[]" else frozenset(json.loads(text))


_NONE = frozenset[str]()

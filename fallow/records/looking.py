"""The second look: a search over every spelling, on a connection that never changed anything. Imports the domain and SQLAlchemy."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, case, func, or_, select
from sqlalchemy.sql.elements import ClauseElement

from fallow.domain.ports import WipeOrder
from fallow.records.scope import Ground, Path


@dataclass
class Seen:
    """What a look found of one order in one collection.

    Attributes:
        in_scope: rows that a wipe would change.
        undecided: rows that may be the former holder's and that a wipe would not touch: no readable instant, no known country, or a
            number spelt otherwise than the map says.
        newer: rows of a newer holder.
        kept: rows that carry flag, basis and an expiry that is not after this order's.
    """

    in_scope: int = 0
    undecided: int = 0
    newer: int = 0
    kept: int = 0

    def add(self, other: "Seen") -> None:
        """Add what another column's look found."""
        self.in_scope += other.in_scope
        self.undecided += other.undecided
        self.newer += other.newer
        self.kept += other.kept


class Looking:
    """Looks by one number column of a collection."""

    def __init__(self, ground: Ground, path: Path) -> None:
        """Build the statements."""
        o = path.searching.relation
        scope, newer = ground.in_scope(o), ground.is_newer(o)
        sorted_out = case(
            *_restricted(ground, o, scope, newer),
            (and_(scope, path.as_mapped()), "in_scope"),
            (scope, "undecided"),
            (newer, "newer"),
            else_="undecided",
        )
        found = select(o.c.k.label("k"), sorted_out.label("how"))
        each = found.select_from(ground.table).join(o, path.may_be_holders()).subquery("each")
        self.statement: Select[int, str, int] = select(each.c.k, each.c.how, func.count()).group_by(each.c.k, each.c.how)
        self._archived = _archived(ground, path)
        self._path = path

    @property
    def statements(self) -> list[ClauseElement]:
        """Every statement of the look."""
        return [self.statement] if self._archived is None else [self.statement, self._archived]

    def look(self, connection: Connection, orders: Sequence[WipeOrder], until: Sequence[date | None]) -> list[Seen]:
        """Return what is there of each order."""
        seen = [Seen() for _ in orders]
        for place, how, count in connection.execute(self.statement, self._path.searched_by(orders, until)):
            seen[place].add(Seen(**{how: count}))
        if self._archived is not None:
            for place, count in connection.execute(self._archived, self._path.cleared_by(orders, until)):
                seen[place].kept += count
        return seen


def _restricted(
    ground: Ground, o: FromClause, scope: ColumnElement[bool], newer: ColumnElement[bool]
) -> list[tuple[ColumnElement[bool], str]]:
    """Return what comes of rows that carry the marks of a restriction; a newer holder's is a newer holder's with any marks."""
    if ground.mapped.restrict is None or ground.archive is not None:
        return []
    not_newer = or_(scope, ~newer, newer.is_(None))
    settled = and_(ground.is_marked(), not_newer, ground.expires_in_time(o))
    return [(settled, "kept"), (and_(ground.is_marked(), scope), "undecided")]


def _archived(ground: Ground, path: Path) -> Select[int, int] | None:
    """Return the count of rows in the archive that carry the order's number and basis, and expire in time."""
    restrict, archive = ground.mapped.restrict, ground.archive
    if restrict is None or archive is None:
        return None
    o = path.clearing.relation
    carried = and_(path.is_holders_in(archive), archive.c[restrict.basis_column] == restrict.basis, ground.expires_in_time(o))
    return select(o.c.k, func.count()).select_from(archive).join(o, carried).group_by(o.c.k)

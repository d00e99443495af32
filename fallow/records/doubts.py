"""What speaks against a records map in the tables it maps: numbers spelt otherwise, status values that it does not list.

Read only, of a sample, and never a number in what is said. Imports the domain and SQLAlchemy.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Column, Connection, Table, func, literal, select

from fallow.records.map_columns import NumberColumn
from fallow.records.spelling import is_kept_as_integer, is_spelt_so

#: Enough to tell a wrong spelling from a few odd numbers.
_NUMBERS = 100
#: Rows of a line register whose status is looked at; bounded, for a register of any size.
_STATUSES = 100_000
#: More different unlisted values than these are no list of states, and are not quoted.
_WORDS = 10
#: A value that can be quoted: short, one line, and with too few digits to be anybody's number.
_WORD = re.compile(r"(?!.*[0-9]{4})(?!(?:.*[0-9]){6})[\w .:/-]{1,32}")
_SPELT = {
    "e164": "+ and digits",
    "digits": "digits with the country's code",
    "national": "digits without the country's code",
    "split": "the country's code in a column of its own",
}


@dataclass(frozen=True)
class Doubt:
    """One thing that speaks against the map.

    Attributes:
        what: what was found; table, column and figures, never a number.
        remedy: what to do.
        grave: whether nothing can be wiped or released rightly as long as it is so.
        slows: whether it costs time and nothing else.
    """

    what: str
    remedy: str
    grave: bool = False
    slows: bool = False


def spelling_doubts(connection: Connection, table: Table, number: NumberColumn, where: str) -> Iterator[Doubt]:
    """Yield a doubt where values of the number column are no numbers in the mapped spelling; grave where none is."""
    column = table.c[number.column]
    country = literal(number.country) if number.place_column is None else table.c[number.place_column]
    sample = connection.execute(select(column, country).where(column.is_not(None)).limit(_NUMBERS)).all()
    rows = [row for row in sample if str(row[0]).strip()]
    is_integer = is_kept_as_integer(table, number)
    right = sum(is_spelt_so(value, number, None if home is None else str(home), is_integer=is_integer) for value, home in rows)
    if right == len(rows):
        return
    spelt = f"spelt {number.spelling}" + (f" with trunk prefix {number.trunk_prefix}" if number.trunk_prefix else "")
    columns = " and ".join(number.columns)
    remedy = f"look at {columns} in table {table.name}: {number.spelling} is {_SPELT[number.spelling]}; correct the records map."
    if right:
        yield Doubt(f"{where}: {len(rows) - right} of {len(rows)} values of {number.column} are not {spelt}.", remedy)
    else:
        yield Doubt(f"{where}: no value of {number.column} is {spelt} ({len(rows)} looked at).", remedy, grave=True)


def status_doubts(connection: Connection, status: Column[object], listed: Collection[str], off: Sequence[str]) -> Iterator[Doubt]:
    """Yield a doubt for status values that no list of the map has, and for ``off`` words that never occur."""
    sample = select(status).limit(_STATUSES).subquery()
    occurring = connection.execute(select(sample.c[0], func.count()).group_by(sample.c[0]).limit(_STATUSES)).all()
    if not occurring:
        return
    unlisted = {"NULL" if value is None else str(value): times for value, times in occurring if str(value) not in listed}
    if unlisted:
        what = f"the line register: {sum(unlisted.values())} rows have a {status.name} that no list names: {_quoted(list(unlisted))}."
        yield Doubt(what, "list each under off, in_service or ported; until then such a line is unknown, and its number is stopped.")
    absent = sorted(set(off) - {str(value) for value, _ in occurring})
    if absent:
        what = f"the line register: no row has the {status.name} {', '.join(absent)}, which the map lists as off."
        yield Doubt(what, f"compare off with the words in {status.name}; a number is only accepted while its line is off.")


def _quoted(values: Sequence[str]) -> str:
    if len(values) > _WORDS:
        return f"{len(values)} different values; is this the column that says so?"
    words = sorted(value for value in values if _WORD.fullmatch(value))
    hidden = len(values) - len(words)
    return ", ".join([*words, *([f"{hidden} not shown"] if hidden else [])])

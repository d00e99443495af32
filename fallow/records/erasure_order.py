"""In which order collections and systems are cleared: children before parents, as ``erase_after`` says. Imports the domain."""

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter


def in_order(ids: Sequence[str], after: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Return ``ids`` so that each comes after those it must come after; else in the order given.

    Args:
        ids: what is to be ordered.
        after: id -> ids that come before it.

    Raises:
        ValueError: an id that is not known, or a circle, whose path is named.
    """
    unknown = sorted({each for before in after.values() for each in before} - set(ids))
    if unknown:
        what = f"erase_after names what is not there: {', '.join(unknown)}"
        raise ValueError(what)
    sorter = TopologicalSorter({each: after.get(each, ()) for each in ids})
    try:
        sorter.prepare()
    except CycleError as circle:
        what = f"erase_after goes in a circle: {' → '.join(circle.args[1])}"
        raise ValueError(what) from None
    ready, ordered = list[str](), list[str]()
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=ids.index)
        ordered.append(ready.pop(0))
        sorter.done(ordered[-1])
    return tuple(ordered)

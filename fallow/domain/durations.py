"""Durations as people write them in maps and policies: ``90d``, ``12h``, ``30m``, ``5s``. Imports the standard library only."""

import re
from datetime import timedelta

_DURATION = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[dhms])", re.ASCII)
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def duration(text: str) -> timedelta:
    """Read a whole count and one unit.

    Raises:
        ValueError: anything else, also a sum such as ``1d12h``; the message does not repeat the text.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        what = "write a duration as 90d, 12h, 30m or 5s"
        raise ValueError(what)
    return timedelta(seconds=int(found["count"]) * _SECONDS[found["unit"]])

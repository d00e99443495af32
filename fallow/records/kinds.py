"""Kinds of record systems: what ``kind`` in a ``[[system]]`` of ``records.toml`` names, and who opens it.

A kind is an entry point of the group ``fallow.record_systems``; its object is a :class:`Kind`. ``sql`` and ``http`` are fallow's
own; any installed package may bring others (docs/record-systems.md). Imports the domain and the standard library.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.domain.ports import RecordSystem

Result = TypeVar("Result")

GROUP = "fallow.record_systems"
#: Fallow's own kinds. pyproject.toml says the same; said here too, a checkout needs no installed metadata to know them.
OWN: Mapping[str, str] = {"sql": "fallow.records.sql_kind:open_sql", "http": "fallow.records.http:open_http"}

_PORT = ("check", "close", "find", "read_back", "wipe", "expire")
#: The form of ids in a records map: collections of another form would not fit a policy.
ID = re.compile(r"[a-z][a-z0-9-]{0,39}\Z", re.ASCII)

#: Posts one signed request and returns the answer's body: (last part of the path, ``webhook-id``, body) -> body. The body is returned
#: only if one of the system's keys signed it just now and under the very same ``webhook-id``, whatever the status beside it.
#: Raises TargetUnavailable for everything else. Blocks, for at most the timeout it was made with.
Exchange = Callable[[str, str, bytes], bytes]


class Connect(Protocol):
    """Makes the way to a record system that is reached by signed HTTP requests."""

    def __call__(self, url: str, public_keys: Sequence[str], *, timeout: float, allow_loopback: bool) -> Exchange:
        """Check the address and the keys; nothing is connected yet.

        Args:
            url: https to a public host; the last part of each path is appended to it.
            public_keys: ``whpk_…``, one to four, any of which may sign the system's answers.
            timeout: seconds that one request may take altogether.
            allow_loopback: whether this machine may be named, over plain http too.

        Raises:
            MapRefused: the URL or a key can't be used; no value is quoted.
        """
        ...


def no_way_out(url: str, public_keys: Sequence[str], *, timeout: float, allow_loopback: bool) -> Exchange:
    """Connect to nothing: for those who only read the map. Each request is TargetUnavailable."""
    del url, public_keys, timeout, allow_loopback

    def exchange(_path: str, _delivery_id: str, _body: bytes) -> bytes:
        what = "A record system that is reached over HTTP was opened without a way out."
        raise TargetUnavailable(what, remedy="open the records map as fallow.bootstrap does.")

    return exchange


@dataclass(frozen=True, slots=True)
class OpenContext:
    """What a kind gets besides its entry.

    Attributes:
        map_path: the records map; relative files are relative to its folder, and messages name it.
        connect: makes the way to a system that is reached over HTTP.
        urls: addresses by system, for kinds that have one, to use instead of the map's own, which are not read then.
    """

    map_path: Path
    connect: Connect = no_way_out
    urls: Mapping[str, str] | None = None


class Kind(Protocol):
    """What an entry point of the group ``fallow.record_systems`` is: a function that opens one system."""

    def __call__(self, entry: Mapping[str, object], context: OpenContext, /) -> RecordSystem:
        """Check the entry and return its system; nothing needs to be connected yet.

        Args:
            entry: the ``[[system]]`` as TOML gives it, without ``kind``; ``id`` is checked.
            context: where the map lies, and the way out.

        Raises:
            MapRefused: the entry can't be used; names the file, the key and the remedy, never a value.
        """
        ...


def open_system(kind: str, entry: Mapping[str, object], context: OpenContext) -> RecordSystem:
    """Open one system by its kind.

    Raises:
        MapRefused: an unknown kind, one that two packages claim, one that can't be loaded, an entry that it does not take, or a
            system that is not what :class:`fallow.domain.ports.RecordSystem` says.
    """
    where = f"{context.map_path}: record system {entry['id']}"
    system = _guarded(where, kind, lambda: _kind(where, kind)(entry, context))
    trouble = _guarded(where, kind, lambda: _trouble(system, str(entry["id"])))
    if trouble:
        _refuse(where, f"its kind {kind} opened something that {trouble}", "mend the package that brings the kind.")
    return system


def demand_kind(where: str, name: str) -> None:
    """Refuse a kind that nobody brings.

    Raises:
        MapRefused: naming ``where`` and the kinds that are known.
    """
    known = {*OWN, *metadata.entry_points(group=GROUP).names}
    if name not in known:
        what = f"its kind is not known; known are {', '.join(sorted(known))}"
        _refuse(where, what, "correct kind, or install the package that brings it.")


def _kind(where: str, name: str) -> Kind:
    demand_kind(where, name)
    listed = metadata.entry_points(group=GROUP)
    claims = {(each.value, each.dist.name if each.dist else "an unnamed package") for each in listed if each.name == name}
    claims |= {(OWN[name], "fallow")} if name in OWN else set()
    if len(claims) > 1:
        packages = ", ".join(sorted({package for _, package in claims}))
        _refuse(where, f"its kind {name} is claimed by more than one package: {packages}", "uninstall all but one of them.")
    ((value, _),) = claims
    opens: Kind = metadata.EntryPoint(name, value, GROUP).load()
    return opens


def _trouble(system: RecordSystem, asked_for: str) -> str | None:
    """Say what is wrong with a system that foreign code has opened; None where it can be used."""
    missing = [name for name in _PORT if not callable(getattr(system, name, None))]
    if missing:
        return f"has no {', '.join(missing)}"
    if system.system_id != asked_for:
        return "has another id than the map gives it"
    if not system.collections or len(set(system.collections)) != len(system.collections) or not all(map(ID.match, system.collections)):
        return "has no collections, one twice, or one whose id is not of a-z 0-9 -"
    if not isinstance(system.after, frozenset) or system.batch < 1:
        return "has an `after` that is no frozenset, or a `batch` below 1"
    return None


def _guarded(where: str, kind: str, work: Callable[[], Result]) -> Result:
    try:
        return work()
    except MapRefused:
        raise
    except Exception as error:  # noqa: BLE001 - somebody else's code: whatever it raises, the map can't be used
        name = type(error).__name__
    # Raised out here: what foreign code says may quote a value of the map, and chaining would carry it into a log.
    raise _refusal(where, f"its kind {kind} could not open it ({name})", "mend the entry, or the package that brings the kind.")


def _refuse(where: str, what: str, remedy: str) -> NoReturn:
    raise _refusal(where, what, remedy)


def _refusal(where: str, what: str, remedy: str) -> MapRefused:
    return MapRefused(f"{where}: {what}.", remedy=remedy)

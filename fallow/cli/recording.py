"""``records check``, ``records plan``, ``records recheck``: the records map against the real systems; each changes nothing."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fallow.cli.asking import ask_lines, read_asked
from fallow.cli.ending import INSTALLATION, NOT_KNOWN, PARTLY, REFUSED, TRY_AGAIN
from fallow.cli.findings import Colour, Finding, as_mapped, parts, red, show
from fallow.cli.showing import print_json, print_line, print_table
from fallow.cli.words import Json, KeyFile
from fallow.domain.errors import FallowError, InputRefused, NotKnown, TargetUnavailable

if TYPE_CHECKING:
    from fallow.domain.number import E164
    from fallow.domain.ports import RecordSystem
    from fallow.operations.planning import Found, Plan, Planned, Refused
    from fallow.operations.rechecking import Rechecked
    from fallow.records.records_map import RecordsMap

_MOST = 1_000
_Records = Annotated[
    Path | None, typer.Option("--records", exists=True, dir_okay=False, help="The records map to check; default: the settings'.")
]
_DisconnectedAt = Annotated[
    str | None,
    typer.Option("--disconnected-at", metavar="INSTANT", help="For numbers without an open cycle here: ISO 8601 with an offset."),
]
_System = Annotated[str, typer.Argument(metavar="SYSTEM", help="Which record system, as the records map names it.")]
_UrlFile = Annotated[
    Path | None, typer.Option("--url-file", exists=True, dir_okay=False, help="File (mode 600) with the address to read by, your own.")
]


def check(*, records: _Records = None, json: Json = False) -> int:
    """Compare the records map with the real systems: what does not fit, number columns it leaves out, missing indexes, foreign keys.

    Changes nothing; needs the map only, no installation. Exit code 3 where something was found, 4 where the map does not fit:
    something is red.
    """
    from fallow.cli import logs  # noqa: PLC0415 - heavy
    from fallow.records.records_map import load_records_map  # noqa: PLC0415 - heavy
    from fallow.settings import load  # noqa: PLC0415 - heavy

    settings = load()
    logs.configure("error")
    mapped = load_records_map(records.absolute() if records is not None else settings.file("records"))
    try:
        found = sorted(_examined(mapped), key=lambda each: each[2])
    finally:
        mapped.close()
    if json:
        print_json({"findings": [each.to_json() for each, _, _ in found]})
    else:
        show(each for each, _, _ in found)
    return _worst(code for _, code, _ in found)


def plan(*, disconnected_at: _DisconnectedAt = None, key_file: KeyFile = None, json: Json = False) -> int:
    """Dry run: what a wipe of the numbers on standard input, one a line, would clear where, in which order, and what is in its way.

    Changes nothing; numbers are shown masked. It looks at rows: constraints and triggers are `records check`'s. Exit code 3 where
    lines were refused or something is in the way.
    """
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import planning  # noqa: PLC0415 - heavy

    numbers, malformed = _numbers(ask_lines(_MOST, "phone numbers"))
    with acting(key_file) as (here, person):
        found = planning.plan(here, person, numbers, disconnected_at)
    refused = sorted([*malformed, *found.refused], key=lambda each: each.line)
    if json:
        print_json(_as_json(found, refused))
    else:
        _print_plan(found, refused)
    troubled = bool(refused) or any(each.in_the_way for each in found.numbers)
    return _worst([*map(_code, found.silent.values()), PARTLY if troubled else 0])


def recheck(system: _System, *, url_file: _UrlFile = None, key_file: KeyFile = None, json: Json = False) -> int:
    """Read back again at SYSTEM for the cycles on standard input, one a line (n_…/1), and compare with their receipts.

    With --url-file by an account of your own; read-only will do. Exit code 1 where rows are found or a receipt is contradicted.
    """
    from fallow.cli.acting import opened, who  # noqa: PLC0415 - heavy
    from fallow.domain.people import Action  # noqa: PLC0415 - with its neighbours
    from fallow.operations import rechecking  # noqa: PLC0415 - heavy
    from fallow.store.vault import Vault  # noqa: PLC0415 - heavy
    from fallow.store.wrapping import WrappingKeys  # noqa: PLC0415 - heavy

    lines = ask_lines(_MOST, "cycles")
    with opened() as (settings, db, ring):
        person = who(settings, db, ring, key_file)
        person.demand(Action.READ)
        mapped = _readable(settings.file("records"), system, url_file)
        try:
            ledger = rechecking.Ledger(db, Vault(ring), WrappingKeys(settings.file("keys") / "wrapping"))
            told_apart = mapped.surveys[system].by_subscription if system in mapped.surveys else ()
            known = [text for _, text in lines]
            found, errors = rechecking.recheck(ledger, person, _named(mapped, system), known, told_apart, own_address=url_file is not None)
        finally:
            mapped.close()
    unsaid = [(line, errors[text]) for line, text in lines if text in errors]
    if json:
        print_json({"system": system, "found": [_rechecked(each) for each in found], "unsaid": [_unsaid(*each) for each in unsaid]})
    else:
        _print_rechecked(system, found, unsaid)
    return _verdict(found, errors.values())


def _examined(mapped: "RecordsMap") -> Iterator[tuple[Finding, int, int]]:
    """Yield every finding about every part of the map, the exit code that it alone would make, and how late it is told."""
    looks: dict[str, list[Any]] = {f"records: {name}": [system, mapped.surveys.get(name)] for name, system in mapped.systems.items()}
    for subject, compare in parts(mapped):
        try:
            compare()
            doubts = [doubt for each in looks.get(subject, [mapped.line_register]) for doubt in getattr(each, "doubts", list)()]
        except FallowError as error:
            yield red(subject, error), _code(error), 0
            continue
        for doubt in doubts:
            colour, code, place = (Colour.RED, INSTALLATION, 0) if doubt.grave else (Colour.YELLOW, PARTLY, 2 if doubt.slows else 1)
            yield Finding(colour, subject, doubt.what, doubt.remedy), code, place
        if not doubts:
            yield as_mapped(subject), 0, 3


def _code(error: FallowError) -> int:
    return TRY_AGAIN if isinstance(error, TargetUnavailable) else INSTALLATION


def _worst(codes: Iterable[int]) -> int:
    """Return the exit code of several: what is wrong for good before what was found, and that before what may answer later."""
    seen = set(codes)
    return next((code for code in (INSTALLATION, PARTLY, TRY_AGAIN) if code in seen), 0)


def _numbers(lines: list[tuple[int, str]]) -> "tuple[list[tuple[int, E164]], list[Refused]]":
    from fallow.operations.planning import refusal  # noqa: PLC0415 - heavy

    numbers, malformed = [], []
    for line, text in lines:
        try:
            numbers.append((line, read_asked(text)))
        except InputRefused as error:
            malformed.append(refusal(line, error))
    return numbers, malformed


def _as_json(found: "Plan", refused: "list[Refused]") -> dict[str, object]:
    from dataclasses import asdict  # noqa: PLC0415 - with its neighbours

    silent = [{"system": name, "error": each.code, "what": each.what, "remedy": each.remedy} for name, each in found.silent.items()]
    numbers = [
        {**_planned(each), "found": [{"system": one.system, **asdict(one.collection)} for one in each.found]} for each in found.numbers
    ]
    return {"order": found.order, "numbers": numbers, "refused": [asdict(each) for each in refused], "silent": silent}


def _planned(each: "Planned") -> dict[str, object]:
    return {
        "line": each.line,
        "number": each.number,
        "cycle_id": each.cycle_id,
        "disconnected_at": each.disconnected_at.isoformat(),
        "by_subscription": each.by_subscription,
        "in_the_way": each.in_the_way,
    }


def _print_plan(found: "Plan", refused: "list[Refused]") -> None:
    print_line(f"order: {' > '.join(found.order)}")
    rows = [(each.line, each.number, *_cells(one)) for each in found.numbers for one in each.found]
    print_table(("line", "number", "where", "strategy", "rows", "undecided", "newer holder's", "kept because", "until"), rows)
    for each in found.numbers:
        for what in each.in_the_way:
            print_line(f"in the way of line {each.line}: {what}")
    for name, error in found.silent.items():
        print_line(f"not asked: {name}: {error.what} Remedy: {error.remedy}")
    for line in refused:
        print_line(f"refused: {line.why}")


def _cells(found: "Found") -> tuple[object, ...]:
    seen = found.collection
    where = f"{found.system}.{seen.collection}"
    return where, seen.strategy, seen.in_scope, seen.undecided, seen.newer, seen.legal_basis, seen.kept_until


def _readable(path: Path, system: str, url_file: Path | None) -> "RecordsMap":
    """Load the map; with a file, the address in it stands for the system's own, and no other address is read.

    Raises:
        MapRefused: the map or the file can't be used.
        InputRefused: the system has no address that could be another.
    """
    from fallow.records.records_map import load_records_map  # noqa: PLC0415 - heavy
    from fallow.records.sql_kind import read_url_file  # noqa: PLC0415 - heavy

    if url_file is None:
        return load_records_map(path)
    mapped = load_records_map(path, urls={system: read_url_file(url_file.absolute(), path, "the --url-file")})
    if system in mapped.systems and system not in mapped.surveys:
        mapped.close()
        what = f"The record system {system} is no database: it has no address that could be another."
        raise InputRefused(what, remedy="leave --url-file out.")
    return mapped


def _named(mapped: "RecordsMap", system: str) -> "RecordSystem":
    if system not in mapped.systems:
        what = f"The records map has no system of that name; it has {', '.join(sorted(mapped.systems))}."
        raise NotKnown(what, remedy="name one of these.")
    return mapped.systems[system]


def _rechecked(each: "Rechecked") -> dict[str, object]:
    from dataclasses import asdict  # noqa: PLC0415 - with its neighbours

    return {**asdict(each), "amiss": each.amiss}


def _unsaid(line: int, error: FallowError) -> dict[str, object]:
    return {"line": line, "error": error.code, "what": error.what, "remedy": error.remedy}


def _print_rechecked(system: str, found: "list[Rechecked]", unsaid: list[tuple[int, FallowError]]) -> None:
    columns = ("cycle", "collection", "remaining", "newer holder's", "same query", "same meaning", "same place", "amiss")
    rows = [
        (each.cycle_id, each.collection, each.remaining, each.newer, each.same_query, each.same_meaning, each.same_place, each.amiss)
        for each in found
    ]
    if rows:
        print_table(columns, rows)
    blind: dict[str, list[str]] = {}
    for each in found:
        if each.by_time_only:
            blind.setdefault(each.cycle_id, []).append(each.collection)
    for cycle_id, collections in blind.items():
        why = "no subscription is known (never stated, or forgotten)"
        print_line(f"{cycle_id}: {system}, {', '.join(collections)}: told apart by time alone: {why}.")
    if any(each.same_place is False and each.own_address for each in found):
        print_line(f"{system}: your address is another place than the receipts name, by driver, host, port or database.")
    for line, error in unsaid:
        print_line(f"line {line}: {error.what} Remedy: {error.remedy}")


def _verdict(found: "list[Rechecked]", errors: Iterable[FallowError]) -> int:
    kinds = {isinstance(error, NotKnown) for error in errors}
    if False in kinds or any(each.amiss for each in found):
        return REFUSED
    return NOT_KNOWN if kinds else 0

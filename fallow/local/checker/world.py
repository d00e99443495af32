"""Everything that is looked at, read once, and which line of the file became which cycle. Standard library only."""

import csv
import io
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from .keyring import Keyring
from .past import Past, fold
from .reading import Row, Tables, instant, number_of, tables
from .terms import Terms, read_terms
from .verdict import Verdict


@dataclass(frozen=True)
class Paths:
    """Where everything lies.

    Attributes:
        database, keys: the engine's.
        carrier, planted: the sample carrier's database and what was planted in it.
        simulator, simulator_log: the platforms' database and log.
        policy, records, platforms: the three maps.
        files: (file of cancelled numbers, what is expected of it), one pair per enrolled file.
    """

    database: Path
    keys: Path
    carrier: Path
    planted: Path
    simulator: Path
    simulator_log: Path
    policy: Path
    records: Path
    platforms: Path
    files: tuple[tuple[Path, Path], ...]


@dataclass
class Line:
    """One line of an enrolled file.

    Attributes:
        position: its line number; the header is 1.
        where: file and line, as violations name it.
        ends: where it must end.
        cells: its cells by column; none where it has too many or too few.
        number: the E.164 number it plainly holds, or None.
        batch_id: the batch its file became.
    """

    position: int
    where: str
    ends: str
    cells: Mapping[str, str]
    number: str | None
    batch_id: str | None

    @property
    def rejected(self) -> bool:
        """Whether no cycle may come of it."""
        return self.ends.startswith("REJECTED")


@dataclass
class Case:
    """One cycle and all that is known of it.

    Attributes:
        cycle: its row.
        line: the line it came from; None for one begun by a recall.
        number: its number, opened from the vault.
        events: its events, oldest first.
        past: what they add up to.
        owed: its obligations by target.
        terms: its frozen policy.
        disconnected_at: by the file where there is a line, else by the row.
    """

    cycle: Row
    line: Line | None
    number: str
    events: list[Row]
    past: Past
    owed: dict[str, Row]
    terms: Terms
    disconnected_at: datetime

    @property
    def cycle_id(self) -> str:
        """Its id."""
        return str(self.cycle["cycle_id"])

    @property
    def attested(self) -> set[str]:
        """The platforms cleared by two people instead of by themselves."""
        return {target for target, owed in self.past.obligations.items() if owed.outcome == "attested"}


@dataclass
class World:
    """All of it."""

    paths: Paths
    keyring: Keyring
    ledger: Tables
    carrier: Tables
    planted: Mapping[str, Any]
    simulator: Tables
    simulator_log: list[Row]
    signing_keys: Mapping[str, list[str]]
    hubs: Mapping[str, str]
    looking: set[str]
    lines: list[Line]
    cases: list[Case] = field(default_factory=list)
    _grouped: dict[str, defaultdict[str, list[Row]]] = field(default_factory=dict)

    def rows_of(self, table: str, cycle_id: str) -> list[Row]:
        """Return a cycle's rows of one of our tables."""
        if table not in self._grouped:
            self._grouped[table] = _by_cycle(self.ledger[table])
        return self._grouped[table][cycle_id]

    def may_speak(self, platform: str, speaker: str) -> bool:
        """Tell whether a message that ``speaker`` signed can be a platform's: it is the platform itself, or its hub."""
        return speaker in (platform, self.hubs.get(platform))

    def case_at(self) -> dict[int, Case]:
        """Return the cases by line of the carrier's file. It may have been enrolled in parts that keep its line numbers; the first wins."""
        found: dict[int, Case] = {}
        for numbers, _ in reversed(self.paths.files):
            found |= {case.line.position: case for case in self.cases if case.line and case.line.where.startswith(f"{numbers.name} ")}
        return found


def read_world(paths: Paths, verdict: Verdict) -> World:
    """Read everything; the engine's database first, so that what the others know is never older.

    Raises:
        OSError, sqlite3.Error, ValueError: a file is missing or is not what it should be.
    """
    ledger, keyring = tables(paths.database), Keyring(paths.keys)
    platforms = tomllib.loads(paths.platforms.read_text("utf-8"))["platform"]
    by_id = {each["id"]: each for each in platforms}
    hubs = {each["id"]: each["via"] for each in platforms if each.get("via")}
    world = World(
        paths=paths,
        keyring=keyring,
        ledger=ledger,
        carrier=tables(paths.carrier),
        planted=json.loads(paths.planted.read_text("utf-8")),
        simulator=tables(paths.simulator),
        simulator_log=[json.loads(text) for text in paths.simulator_log.read_text("utf-8").splitlines()],
        signing_keys={each["id"]: _keys_of(each) for each in platforms},
        hubs=hubs,
        looking={each["id"] for each in platforms if by_id[hubs.get(each["id"], each["id"])].get("status_url")},
        lines=[line for pair in paths.files for line in _lines(pair, ledger["batches"], keyring)],
    )
    world.cases = list(_cases(world, verdict))
    return world


def _keys_of(platform: Row) -> list[str]:
    secret = platform.get("shared_secret", "")
    return [*platform.get("public_keys", []), *([secret] if secret else [])]


def _lines(pair: tuple[Path, Path], batches: Iterable[Row], keyring: Keyring) -> Iterable[Line]:
    content = pair[0].read_bytes()
    fingerprint = keyring.fingerprint(content)
    batch_id = next((batch["batch_id"] for batch in batches if batch["fingerprint"] == fingerprint), None)
    header, *texts = content.decode("utf-8").split("\n")
    columns = header.split(",")
    expected = {int(row["line"]): row["ends"] for row in csv.DictReader(io.StringIO(pair[1].read_text("utf-8")))}
    for position, text in enumerate(texts, start=2):
        if text:
            cells = next(csv.reader([text]), [])
            by_name = dict(zip(columns, cells, strict=True)) if len(cells) == len(columns) else {}
            ends = expected.pop(position, "NOT EXPECTED")
            where = f"{pair[0].name} line {position}"
            yield Line(position, where, ends, by_name, number_of(by_name.get("number", "")), batch_id)
    for position, ends in expected.items():
        yield Line(position, f"{pair[0].name} line {position}", ends, {}, None, batch_id)


def _cases(world: World, verdict: Verdict) -> Iterable[Case]:
    numbers = {row["number_id"]: row for row in world.ledger["numbers"]}
    terms = read_terms(verdict, world.ledger["policies"])
    lines = {(line.batch_id, line.number): line for line in world.lines if not line.rejected and line.number}
    for cycle in world.ledger["cycles"]:
        cycle_id = cycle["cycle_id"]
        with verdict.reading("events", f"cycle {cycle_id}"):
            row = numbers[cycle["number_id"]]
            number = world.keyring.open(row["number_id"], row["sealed"])
            found = world.keyring.lookup(number) == row["lookup"]
            verdict.demand("expected", found, f"cycle {cycle_id}: the vault and its index name different numbers")
            line = lines.get((cycle["batch_id"], number))
            mine = sorted(world.rows_of("events", cycle_id), key=lambda event: int(event["seq"]))
            yield Case(
                cycle=cycle,
                line=line,
                number=number,
                events=mine,
                past=fold(mine),
                owed={each["target_id"]: each for each in world.rows_of("obligations", cycle_id)},
                terms=terms[cycle["policy"]],
                disconnected_at=instant(line.cells["disconnected_at"] if line else cycle["disconnected_at"]),
            )


def _by_cycle(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    grouped: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["cycle_id"]].append(row)
    return grouped

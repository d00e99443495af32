"""The checker's command line: where everything lies, the verdict as JSON on standard output, exit code 0 only without violations.

Imports the checker's own modules.
"""

import argparse
import json
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import carrier, endings, gate, histories, holder_keys, ledger, looking, platforms
from .evidence import Evidence
from .terms import check_against_files, read_terms
from .verdict import Verdict
from .world import Paths, World, read_world

_NUMBERS, _EXPECTED = "cancelled_numbers.csv", "expected.csv"
_FILES = {
    "database": "fallow.db",
    "keys": "keys",
    "carrier": "carrier.db",
    "planted": "planted.json",
    "simulator": "simulator.db",
    "simulator_log": "simulator.log",
    "policy": "policy.toml",
    "records": "records.toml",
    "platforms": "platforms.toml",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check everything; return 0 without violations, 1 with some, 2 where something could not be read."""
    options = _options(arguments)
    verdict = Verdict()
    try:
        world = read_world(_paths(options), verdict)
    except Exception as error:  # noqa: BLE001 - whatever it is: without its inputs there is no verdict
        what = getattr(error, "filename", None) or "one of the files"
        sys.stderr.write(f"The checker can't read {what} ({type(error).__name__}).\n")
        return 2
    lengths = _check(world, options, verdict)
    sys.stdout.write(json.dumps(_report(world, verdict, lengths), indent=2) + "\n")
    return 1 if verdict.violations else 0


def _check(world: World, options: argparse.Namespace, verdict: Verdict) -> list[int]:
    paths = world.paths
    for terms in read_terms(Verdict(), world.ledger["policies"]).values():
        with verdict.reading("policy", f"policy {terms.name} or its files"):
            check_against_files(verdict, terms, paths.policy, paths.records, paths.platforms)
    for part in (endings, ledger, gate, holder_keys, carrier, platforms, looking):
        with verdict.reading(part.__name__.rpartition(".")[2], "something"):
            part.check(world, verdict)
    with verdict.reading("evidence", "something"):
        Evidence(world, verdict).check()
    if options.temporal is None:
        return []
    with verdict.reading("temporal", f"Temporal at {options.temporal}"):
        return histories.check(world.cases, options.temporal, options.namespace, verdict)
    return []


def _report(world: World, verdict: Verdict, lengths: list[int]) -> dict[str, Any]:
    return {
        "violations": verdict.violations,
        "states": dict(sorted(Counter(case.cycle["state"] for case in world.cases).items())),
        "standings": dict(sorted(Counter(map(endings.standing, world.cases)).items())),
        "rejected_rows": len(world.ledger["rejections"]),
        "checked": dict(sorted(verdict.checked.items())),
        "history_events_median": statistics.median(lengths) if lengths else None,
        "history_events_max": max(lengths, default=None),
    }


def _paths(options: argparse.Namespace) -> Paths:
    folder: Path = options.directory
    found = {name: getattr(options, name) or folder / default for name, default in _FILES.items()}
    samples = folder / "crowd" if (folder / "crowd").is_dir() else folder
    numbers = options.csv or sorted(samples.glob(f"?*{_NUMBERS}"), reverse=True) or [samples / _NUMBERS]
    expected = options.expected or [each.with_name(each.name.replace(_NUMBERS, _EXPECTED)) for each in numbers]
    return Paths(**found, files=tuple(zip(numbers, expected, strict=True)))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="checker", description="Check a finished run from outside, without the engine's code.")
    parser.add_argument("--directory", type=Path, required=True, help="the folder of the run")
    parser.add_argument("--csv", type=Path, action="append", help="file of cancelled numbers as enrolled; again for each one more")
    parser.add_argument("--expected", type=Path, action="append", help="what is expected of it, one per --csv, in the same order")
    parser.add_argument("--temporal", help="host:port of Temporal; without it no history is looked at")
    parser.add_argument("--namespace", default="fallow", help="Temporal's namespace")
    for name, default in _FILES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, help=f"default: {default} in the folder")
    return parser.parse_args(arguments)

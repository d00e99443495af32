"""How results are shown: JSON for programs, plain tables for people."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Wide enough that nothing is cut where output goes into a file or a pipe.
_UNLIMITED = 400


def print_json(value: object) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_line(text: str) -> None:
    """Print one line; control characters that a file could have smuggled in are shown, not obeyed."""
    sys.stdout.write("".join(each if each.isprintable() else "�" for each in text) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their columns; a terminal wraps, a pipe gets every cell whole."""
    from rich.console import Console  # noqa: PLC0415 - not for --help
    from rich.table import Table  # noqa: PLC0415 - same
    from rich.text import Text  # noqa: PLC0415 - same

    table = Table(*columns, box=None, pad_edge=False, header_style="bold", show_edge=False)
    for row in rows:
        table.add_row(*(Text(_cell(each)) for each in row))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _UNLIMITED, highlight=False)
    with console.capture() as shown:
        console.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in shown.get().splitlines()))


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values, one a line."""
    widest = max(map(len, facts), default=0)
    for name, value in facts.items():
        print_line(f"{name.replace('_', ' '):<{widest}}  {_cell(value)}")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) or "-" if isinstance(value, list | tuple) else str(value)
    return "".join(each if each.isprintable() else "�" for each in text)

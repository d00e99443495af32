"""``python -m bench [part]``: run one part or all, print the figures and write them to ``bench/results/latest.json``.

Exit codes: 0 measured; 1 a part could not be measured; 2 there is no such part, or an option is wrong.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import callbacks, isolation, pipeline, sending, wiping
from bench.asked import Asked
from bench.figures import Figure, write
from fallow.domain.errors import FallowError

PARTS: Mapping[str, Callable[[Asked], list[Figure]]] = {
    "pipeline": pipeline.measure,
    "wiping": wiping.measure,
    "callbacks": callbacks.measure,
    "sending": sending.measure,
    "isolation": isolation.measure,
}
RESULTS = Path(__file__).parent / "results" / "latest.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for."""
    options = _arguments(arguments)
    if options.list:
        print("\n".join(PARTS))
        return 0
    if options.part is not None and options.part not in PARTS:
        print(f"error: there is no part {options.part!r}; the parts are: {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    # Ended from outside, the children and the scratch folder must go as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    asked = Asked(numbers=options.numbers, repeats=options.repeats, profile=options.profile, full=options.scale == "full")
    figures: list[Figure] = []
    try:
        for name in [options.part] if options.part else PARTS:
            figures += PARTS[name](asked)
    except (FallowError, RuntimeError) as error:  # ours, and those of the local programs, which say what to do
        print(f"error: {error}", file=sys.stderr)
        return 1
    write(figures, options.results)
    print("\n".join(line for figure in figures for line in figure.lines()))
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("part", nargs="?", help=f"one of: {', '.join(PARTS)}; all of them where none is named")
    parser.add_argument("--list", action="store_true", help="name the parts and measure nothing")
    parser.add_argument("--numbers", type=_positive, help="how many numbers a run takes through; each part has its own default")
    parser.add_argument("--scale", choices=("tenth", "full"), default="tenth", help="size of parts that have a full scale (tenth)")
    parser.add_argument("--repeats", type=_positive, default=2, help="runs of each side, taken in turns (2)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the rows are written (bench/results/latest.json)")
    parser.add_argument("--profile", type=Path, help="folder for cProfile files of the engine; the figures are worth nothing then")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # The SDK can abort while the interpreter winds down; the figures are out by then, and an abort must not replace them.
    os._exit(code)

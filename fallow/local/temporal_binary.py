"""Find, fetch or build the executable of the local Temporal server.

Run as `python -m fallow.local.temporal_binary` it prepares the machine before the first command
that needs a server. Imports its sources and the standard library.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fallow.local.temporal_probe import NotATemporalServer, TemporalBinary, probe
from fallow.local.temporal_sources import DEFAULT_CACHE, Progress, Source, SourceUnavailable, standard_sources

__all__ = ["NoTemporalServer", "TemporalBinary", "find_server"]


class NoTemporalServer(RuntimeError):
    """No source gave a Temporal server that can do what is needed; the message says what to install."""


def find_server(  # each keyword is one thing a caller or a test may settle
    progress: Progress,
    *,
    need_ui: bool = False,
    need_time_skipping: bool = False,
    given: Path | None = None,
    search_path: str | None = None,
    cache: Path | None = None,
    sources: Sequence[Source] | None = None,
) -> TemporalBinary:
    """Return the first executable, from the cheapest source on, that can do what is needed.

    Args:
        progress: receives one line for each source, with the reason when it is passed over.
        need_ui: take only one with Temporal's web interface.
        need_time_skipping: take only one whose workflows' clocks can be moved.
        given: the executable the user named (setting FALLOW_TEMPORAL_CLI).
        search_path: directories to search, as in PATH; None for PATH itself.
        cache: where fetched executables are kept; None for `DEFAULT_CACHE`.
        sources: replaces the standard sources.

    Raises:
        NoTemporalServer: every source was passed over, or the executable the user named does not work.
    """
    if sources is None:
        sources = standard_sources(progress, given, search_path, (cache or DEFAULT_CACHE).expanduser())
    needs = _Needs(need_ui, need_time_skipping)
    for source in sources:
        for binary in _candidates(source, needs, progress):
            lack = needs.not_met_by(binary)
            if lack is None:
                progress(f"Temporal server: {source.name}: using {binary}")
                return binary
            progress(f"Temporal server: {source.name}: passed over, {binary.path} has {lack}")
    raise NoTemporalServer(needs.remedy())


@dataclass(frozen=True)
class _Needs:
    ui: bool
    time_skipping: bool

    def not_met_by(self, what: TemporalBinary | Source) -> str | None:
        if self.ui and not what.has_ui:
            return "no web UI"
        if self.time_skipping and not what.has_time_skipping:
            return "no time skipping (Temporal 1.32 or newer has it)"
        return None

    def remedy(self) -> str:
        cli = "1.9" if self.time_skipping else "1.5"
        return (
            "no Temporal server could be found, downloaded or built. Do one of these and run the command again: "
            f"install the Temporal CLI {cli} or newer (https://docs.temporal.io/cli) on PATH, or name it in "
            "FALLOW_TEMPORAL_CLI; allow downloads from https://temporal.download; "
            "or install Go 1.26 or newer (https://go.dev/dl) with access to a Go module proxy."
        )


def _candidates(source: Source, needs: _Needs, progress: Progress) -> Iterator[TemporalBinary]:
    lack = needs.not_met_by(source)
    if lack is not None:
        progress(f"Temporal server: {source.name}: passed over, it has {lack}")
        return
    try:
        paths = source.find()
    except SourceUnavailable as reason:
        progress(f"Temporal server: {source.name}: passed over, {reason}")
        return
    for path in paths:
        try:
            yield probe(path)
        except NotATemporalServer as reason:
            if source.must_work:
                message = f"{source.name} names no Temporal server: {reason}; correct it or unset it"
                raise NoTemporalServer(message) from reason
            progress(f"Temporal server: {source.name}: passed over, {reason}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the executable: progress on standard error, its path on standard output; 1 if there is none."""
    parser = argparse.ArgumentParser(prog="python -m fallow.local.temporal_binary", description=main.__doc__)
    parser.add_argument("--given", type=Path, help="executable to try first")
    parser.add_argument("--cache", type=Path, help=f"where fetched ones are kept (default {DEFAULT_CACHE})")
    parser.add_argument("--need-ui", action="store_true", help="only one with the web interface")
    parser.add_argument("--need-time-skipping", action="store_true", help="only one that can skip time")
    options = vars(parser.parse_args(arguments))

    def show(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    try:
        binary = find_server(show, **options)
    except NoTemporalServer as error:
        show(f"error: {error}")
        return 1
    sys.stdout.write(f"{binary.path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

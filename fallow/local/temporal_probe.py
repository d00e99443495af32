"""What a Temporal executable is and can do, found out by running it.

Imports the standard library only.
"""

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["server", "cli"]

# The name depends on the server's version; one that does not know a name only warns, so both are
# always set.
TIME_SKIPPING_KEYS = ("frontend.WorkflowTimeSkippingEnabled", "system.workflowTimeSkippingEnabled")

OLDEST_SERVER = (1, 29)
_TIME_SKIPPING_SINCE = (1, 32)
_PROBE_SECONDS = 30
_VERSION = re.compile(r"version (?P<own>\S+)(?: \(Server (?P<server>[\d.]+)(?:, UI (?P<ui>[\d.]+))?)?")


class NotATemporalServer(Exception):
    """A file is not an executable that runs a Temporal server; the message says why."""


@dataclass(frozen=True)
class TemporalBinary:
    """A probed executable that can run a Temporal server.

    Attributes:
        path: where it is.
        kind: `server` needs a configuration file; `cli` has a development server built in.
        version: version of the Temporal server inside, e.g. `1.32.0`.
        has_ui: whether it serves Temporal's web interface.
        has_time_skipping: whether workflows' virtual clocks can be moved (tests of long waits).
    """

    path: Path
    kind: Kind
    version: str
    has_ui: bool
    has_time_skipping: bool

    def __str__(self) -> str:
        """Describe it in one line."""
        extras = [name for name, has in (("web UI", self.has_ui), ("time skipping", self.has_time_skipping)) if has]
        return f"{self.path} ({self.kind}, Temporal {self.version}, {' and '.join(extras) or 'no extras'})"


def probe(path: Path) -> TemporalBinary:
    """Run an executable to learn its kind, version and capabilities.

    Raises:
        NotATemporalServer: it does not run, is something else, or is older than `OLDEST_SERVER`.
    """
    output = _run(path, "--version")
    found = _VERSION.search(output)
    if found is None:
        message = f"{path} does not tell a Temporal version"
        raise NotATemporalServer(message)
    kind: Kind = "server" if found["server"] is None else "cli"
    version = found["own"] if kind == "server" else found["server"]
    number = _number(version, path)
    if number < OLDEST_SERVER:
        message = f"{path} is Temporal {version}, older than {'.'.join(map(str, OLDEST_SERVER))}"
        raise NotATemporalServer(message)
    skips = number >= _TIME_SKIPPING_SINCE and (kind == "cli" or _accepts_time_skipping(path))
    return TemporalBinary(path, kind, version, found["ui"] is not None, skips)


def _number(version: str, path: Path) -> tuple[int, ...]:
    digits = re.match(r"(\d+)\.(\d+)", version)
    if digits is None:
        message = f"{path} tells no usable version: {version}"
        raise NotATemporalServer(message)
    return tuple(map(int, digits.groups()))


def _accepts_time_skipping(path: Path) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        settings = Path(directory, "dynamic.json")
        settings.write_text(json.dumps({key: [{"value": True}] for key in TIME_SKIPPING_KEYS}))
        output = _run(path, "validate-dynamic-config", str(settings))
    return output.count("unregistered key") < len(TIME_SKIPPING_KEYS)


def _run(path: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(  # noqa: S603 - running the candidate is the purpose
            [path, *arguments], capture_output=True, check=True, timeout=_PROBE_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError) as error:
        message = f"{path} does not run: {error}"
        raise NotATemporalServer(message) from error
    return (answer.stdout + answer.stderr).decode(errors="replace")

"""The real program, run as a person or a script would: `python -m fallow.cli` in a state folder of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from fallow.local.processes import free_ports, wait_until

ROOT = Path(__file__).parents[1]
#: Nothing listens there, and nothing can: a port that needs privileges and that no test takes.
NOWHERE = "127.0.0.1:9"


@dataclass(frozen=True)
class Ran:
    """What a run came to.

    Attributes:
        code: exit code.
        out: standard output.
        err: standard error.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    @property
    def fault(self) -> dict[str, str]:
        """The error it printed as JSON, which must be the only line on standard error."""
        fault: dict[str, str] = json.loads(self.err)
        assert fault.keys() == {"error", "what", "remedy"}
        return fault


@dataclass
class CommandLine:
    """The program on one state folder.

    Attributes:
        state: the folder.
        settings: environment variables by name.
    """

    state: Path
    settings: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """What the program sees: nothing of the tester's own settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FALLOW_")}
        return {**inherited, "PYTHONPATH": str(ROOT), "FALLOW_STATE": str(self.state), **self.settings}

    def run(self, *arguments: str | Path, stdin: str = "", key: str = "", **settings: str) -> Ran:
        """Run one command to its end.

        Args:
            *arguments: as on the command line.
            stdin: its standard input.
            key: the API key to act with.
            **settings: further environment variables.
        """
        variables = {**self.environment(), **settings, **({"FALLOW_API_KEY": key} if key else {})}
        ran = subprocess.run(
            self.command(*arguments), input=stdin, env=variables, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the command with its arguments."""
        return [sys.executable, "-m", "fallow.cli", *map(str, arguments)]

    def copy(self, state: Path) -> "CommandLine":
        """Return the same installation in another folder, to be damaged there."""
        shutil.copytree(self.state, state)
        return CommandLine(state, dict(self.settings))


def assert_one_clear_line(ran: Ran) -> None:
    """An expected fault is said in one line with its remedy, and never as a traceback."""
    assert ran.err.startswith("error: ")
    assert " Remedy: " in ran.err
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err
    assert ran.out == ""


@dataclass(frozen=True)
class RunningUp:
    """A `fallow up --json` that is ready.

    Attributes:
        process: the program.
        ready: what it said when it was ready.
        log: file with everything it says, one JSON object a line.
    """

    process: subprocess.Popen[bytes]
    ready: dict[str, str]
    log: Path

    def says(self, words: str) -> bool:
        """Tell whether it has said this."""
        return words in self.log.read_text()

    def children(self) -> dict[int, str]:
        """Return its children's command lines by process id."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found


def free_addresses() -> dict[str, str]:
    """Return settings with ports that nothing listens on, so that tests do not meet."""
    api, temporal = free_ports(2)
    return {"FALLOW_API_PORT": str(api), "FALLOW_TEMPORAL_ADDRESS": f"127.0.0.1:{temporal}"}


@contextmanager
def running_up(cli: CommandLine, log: Path, *options: str | Path) -> Iterator[RunningUp]:
    """Run `fallow up --json` until it is ready, yield it, and end it."""
    with log.open("wb") as out:
        process = subprocess.Popen(cli.command("up", "--json", *options), stdout=out, stderr=out, env=cli.environment(), cwd=ROOT)
    try:
        ended = wait_until(lambda: b'{"ready"' in log.read_bytes() or process.poll() is not None, timedelta(seconds=120))
        assert ended, log.read_text()
        ready = [json.loads(line)["ready"] for line in log.read_text().splitlines() if line.startswith('{"ready"')]
        assert ready, log.read_text()
        yield RunningUp(process, ready[0], log)
    finally:
        process.terminate()
        process.wait(60)


def is_gone(process_id: int) -> bool:
    """Tell whether a process has ended; one that nobody has collected yet counts as ended."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True

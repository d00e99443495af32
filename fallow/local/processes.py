"""Children of a local run: free ports, starting, waiting until ready, stopping.

Imports the standard library only, so that the checker, the simulators and the tests can use it too.
"""

import asyncio
import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

LOOPBACK = "127.0.0.1"

# Below Linux's range for outgoing connections (32768 and up), so that no client takes the port
# of a killed server while it is being started again.
_PORTS = range(15_000, 32_000)
_ASK_EVERY_SECONDS = 0.05
_SHOWN_LOG_LINES = 15


class ChildNotReady(RuntimeError):
    """A child exited, or did not answer in time, before it was ready; the message shows its last log lines."""


class NoFreePort(RuntimeError):
    """No port could be bound on 127.0.0.1."""


@dataclass
class Child:
    """A started program, its log file and the ways to end it.

    Attributes:
        name: what it is called in messages.
        log_path: file that receives its standard output and error.
        popen: the running program, leader of its own session.
        stop_signal: what asks it to end in good order.
    """

    name: str
    log_path: Path
    popen: subprocess.Popen[bytes]
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def pid(self) -> int:
        """Operating system id of the program."""
        return self.popen.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self.popen.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program itself; nothing happens if it has ended."""
        self.popen.send_signal(number)

    def stop(self, within: timedelta = timedelta(seconds=10)) -> None:
        """Ask it to end, and kill it when it has not ended within the given time. Safe to call again."""
        if self.exit_code is None:
            self.send(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(within.total_seconds())
        self.kill()

    def kill(self) -> None:
        """End it and its group by SIGKILL and wait until it is gone. Safe to call again."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()

    def wait(self, within: timedelta | None = None) -> int:
        """Wait until it has ended and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after the given time.
        """
        return self.popen.wait(None if within is None else within.total_seconds())

    def last_log_lines(self, count: int = _SHOWN_LOG_LINES) -> str:
        """Return the end of its log, for an error message."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-count:])
        return ""


def start_child(  # each option is one property of the started program
    name: str,
    command: Sequence[str | Path],
    *,
    log_path: Path,
    directory: Path | None = None,
    variables: Mapping[str, str] | None = None,
    user_id: int | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    inherited: Sequence[int] = (),
) -> Child:
    """Start a program in a session of its own, logging to a file, that dies with this process.

    Args:
        name: what it is called in messages.
        command: program and arguments, no shell.
        log_path: standard output and error are appended here.
        directory: its working directory.
        variables: environment variables added to the inherited ones.
        user_id: unprivileged user to run as (this process must be root).
        stop_signal: what `Child.stop` sends first, and what it gets when this process dies.
        inherited: open file descriptors it keeps, for example a lock.

    Raises:
        OSError: the program cannot be started.
    """
    full_command = [*_death_wrapper(stop_signal, user_id), *map(str, command)]
    log_path.parent.mkdir(parents=True, exist_ok=True)

    def spawn() -> subprocess.Popen[bytes]:
        with log_path.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - no shell; every caller names its program
                full_command,
                cwd=directory,
                env=environment_with(variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=inherited,
            )

    return Child(name, log_path, _spawner().submit(spawn).result(), stop_signal)


def environment_with(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the inherited environment plus these variables, to pass on to a child."""
    return {**os.environ, **variables}


def free_ports(count: int) -> list[int]:
    """Return that many different ports of 127.0.0.1 that nothing listens on.

    Raises:
        NoFreePort: none can be bound.
    """
    chosen: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(chosen) == count:
            return chosen
        if is_port_free(port):
            chosen.append(port)
    message = f"no free port on {LOOPBACK} from {_PORTS.start} to {_PORTS.stop}; end programs that hold them"
    raise NoFreePort(message)


def is_port_free(port: int) -> bool:
    """Tell whether a server could bind this port of 127.0.0.1 now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def wait_until_ready(child: Child, is_ready: Callable[[], bool], within: timedelta) -> None:
    """Ask again and again until the child answers that it is ready.

    Raises:
        ChildNotReady: it ended or the time is over.
    """
    if wait_until(lambda: is_ready() or child.exit_code is not None, within) and child.exit_code is None:
        return
    if child.exit_code is None:
        raise _not_ready(child, f"was not ready after {within.total_seconds():.0f} s")
    raise _not_ready(child, f"ended with exit code {child.exit_code} before it was ready")


def wait_until(is_true: Callable[[], bool], within: timedelta) -> bool:
    """Ask again and again until something is true; False when it is not within the given time."""
    deadline = time.monotonic() + within.total_seconds()
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(_ASK_EVERY_SECONDS)
    return True


def in_own_loop(ask: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine to its end from synchronous code, whether or not a loop runs in this thread."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(lambda: asyncio.run(ask())).result()


def _not_ready(child: Child, what: str) -> ChildNotReady:
    message = f"{child.name} {what}; the end of its log {child.log_path}:\n{child.last_log_lines()}"
    return ChildNotReady(message)


def _death_wrapper(death_signal: signal.Signals, user_id: int | None) -> list[str]:
    # setpriv replaces itself by the program, so the id stays; unlike preexec_fn it is safe with
    # threads. Without it (not Linux) a child may outlive a killed parent, as any program would.
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    user: list[str] = []
    if user_id is not None:
        user = [f"--reuid={user_id}", f"--regid={pwd.getpwuid(user_id).pw_gid}", "--clear-groups"]
    return [setpriv, *user, "--pdeathsig", death_signal.name.removeprefix("SIG"), "--"]


@cache
def _spawner() -> ThreadPoolExecutor:
    # The kernel sends the death signal when the *thread* that started the child ends, so all
    # children are started by one thread that lives as long as this process.
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")

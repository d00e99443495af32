"""Where a local Temporal server can come from, cheapest first.

Imports the standard library and the Temporal SDK, whose own download is one of the sources.
"""

import asyncio
import contextlib
import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from fallow.local.processes import environment_with, in_own_loop
from fallow.local.temporal_probe import Kind, NotATemporalServer, probe

Progress = Callable[[str], None]

DEFAULT_CACHE = Path("~/.cache/fallow/temporal")
_DOWNLOAD_FOR = timedelta(minutes=10)
_BUILD_FOR = timedelta(minutes=30)


class SourceUnavailable(Exception):
    """A source cannot give an executable here and now; the message says why."""


@dataclass(frozen=True)
class Release:
    """A pinned executable we know how to get, and what it will be able to do.

    Attributes:
        kind: see `TemporalBinary.kind`.
        version: its own release number.
        module: Go package to build it from, or None when it cannot be built.
        has_ui: whether it brings the web interface.
        has_time_skipping: whether its server can skip time.
    """

    kind: Kind
    version: str
    module: str | None
    has_ui: bool
    has_time_skipping: bool

    def path_in(self, cache: Path) -> Path:
        """Return where this release is kept in a cache."""
        return cache / f"{self.kind}-{self.version}" / ("temporal" if self.kind == "cli" else "temporal-server")


SERVER = Release("server", "1.32.0", "go.temporal.io/server/cmd/server", has_ui=False, has_time_skipping=True)
NEWER_CLI = Release("cli", "1.9.1", None, has_ui=True, has_time_skipping=True)
OLDER_CLI = Release("cli", "1.5.1", "github.com/temporalio/cli/cmd/temporal", has_ui=True, has_time_skipping=False)


@dataclass(frozen=True)
class Source:
    """One place to look.

    Attributes:
        name: how a line of progress calls it.
        find: gives candidates, best first; raises `SourceUnavailable`.
        has_ui: False if nothing from here can have a web interface.
        has_time_skipping: False if nothing from here can skip time.
        must_work: a candidate that does not run is an error, because the user named it.
    """

    name: str
    find: Callable[[], Sequence[Path]]
    has_ui: bool = True
    has_time_skipping: bool = True
    must_work: bool = False


def standard_sources(progress: Progress, given: Path | None, search_path: str | None, cache: Path) -> list[Source]:
    """Return the sources in the order they are tried.

    Args:
        progress: receives a line before anything that takes long.
        given: the executable the user named.
        search_path: directories to search as in PATH; None for PATH itself.
        cache: where downloaded and built executables are kept.
    """

    def built(release: Release) -> Source:
        name = f"go install {release.module}@v{release.version}"
        return Source(name, lambda: _prepare(release, cache, build, progress), release.has_ui, release.has_time_skipping)

    def build(release: Release, into: Path) -> Path:
        return _build(release, into, search_path, progress)

    def download(release: Release, into: Path) -> Path:
        progress(f"Temporal server: downloading the Temporal CLI {release.version} (once)")
        return _download(release, into)

    return [
        *([] if given is None else [Source("FALLOW_TEMPORAL_CLI", lambda: [given], must_work=True)]),
        Source("PATH", lambda: _on_path(search_path)),
        Source("cache", lambda: _cached(cache)),
        Source("download", lambda: _prepare(NEWER_CLI, cache, download, progress)),
        built(SERVER),
        built(OLDER_CLI),
    ]


def _on_path(search_path: str | None) -> list[Path]:
    found = [shutil.which(name, path=search_path) for name in ("temporal-server", "temporal")]
    if not any(found):
        message = "neither `temporal-server` nor `temporal` is on it"
        raise SourceUnavailable(message)
    return [Path(path) for path in found if path]


def _cached(cache: Path) -> list[Path]:
    paths = [release.path_in(cache) for release in (SERVER, NEWER_CLI, OLDER_CLI)]
    found = [path for path in paths if path.exists()]
    if not found:
        message = f"nothing in {cache}"
        raise SourceUnavailable(message)
    return found


def _prepare(release: Release, cache: Path, make: Callable[[Release, Path], Path], progress: Progress) -> list[Path]:
    target = release.path_in(cache)
    with _one_at_a_time(cache, progress):
        if not _is_usable(target):
            with tempfile.TemporaryDirectory(dir=cache, prefix=".partial-") as partial:
                made = make(release, Path(partial))
                target.parent.mkdir(parents=True, exist_ok=True)
                made.rename(target)
    return [target]


def _is_usable(path: Path) -> bool:
    with contextlib.suppress(NotATemporalServer):
        probe(path)
        return True
    return False


@contextlib.contextmanager
def _one_at_a_time(cache: Path, progress: Progress) -> Iterator[None]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock_file = (cache / ".lock").open("w")
    except OSError as error:
        message = f"cannot write to {cache}: {error}"
        raise SourceUnavailable(message) from error
    with lock_file:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("Temporal server: waiting for another command that is fetching it")
            fcntl.flock(lock_file, fcntl.LOCK_EX)
        yield


def _download(release: Release, into: Path) -> Path:
    target = into / f"temporal-v{release.version}"
    error: Exception | None = None
    try:
        in_own_loop(lambda: asyncio.wait_for(_download_by_sdk(release, into), _DOWNLOAD_FOR.total_seconds()))
    except (RuntimeError, TimeoutError, OSError) as failure:
        error = failure
    # The SDK can only download and start in one step; a failed start leaves a good download.
    if not target.exists():
        message = f"failed: {error or 'the SDK stored no file'}"
        raise SourceUnavailable(message)
    return target


async def _download_by_sdk(release: Release, into: Path) -> None:
    server = await WorkflowEnvironment.start_local(
        download_dest_dir=str(into),
        dev_server_download_version=f"v{release.version}",
        dev_server_log_level="error",
        dev_server_startup_timeout=timedelta(seconds=30),
    )
    await server.shutdown()


def _build(release: Release, into: Path, search_path: str | None, progress: Progress) -> Path:
    go = shutil.which("go", path=search_path)
    if go is None:
        message = "`go` is not on PATH"
        raise SourceUnavailable(message)
    progress(f"Temporal server: building {release.module}@v{release.version} (about 3 minutes on 2 cores, once)")
    command = [go, "install", f"{release.module}@v{release.version}"]
    try:
        subprocess.run(  # noqa: S603 - fixed arguments
            command,
            env=environment_with({"GOBIN": str(into)}),
            cwd=into,
            capture_output=True,
            check=True,
            timeout=_BUILD_FOR.total_seconds(),
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        message = f"failed: {lines[-1] if lines else error}"
        raise SourceUnavailable(message) from error
    except (OSError, subprocess.SubprocessError) as error:
        message = f"failed: {error}"
        raise SourceUnavailable(message) from error
    return into / str(release.module).rsplit("/", 1)[-1]

"""A folder that two parties share: files written whole or not at all, read within bounds, moved once; no link is ever followed.

Whoever writes into it may be hostile: every folder is opened once and all work is done beneath its descriptor, so that a folder
swapped for a link leads nowhere.
"""

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

#: Most names looked at in one visit; others wait until these are gone.
MOST_NAMES = 1000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.csv\Z", re.ASCII)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(root: Path, *below: str) -> Iterator[int]:
    """Open a folder beneath ``root``, which must be there; what is missing below it is made. Gives its descriptor.

    Raises:
        OSError: it can't be opened, or is a link.
    """
    folder = os.open(root, _FOLDER & ~os.O_NOFOLLOW)  # the root is the operator's own; a link there is theirs
    try:
        for name in below:
            _made(folder, name)
            folder, above = os.open(name, _FOLDER, dir_fd=folder), folder
            os.close(above)
        yield folder
    finally:
        os.close(folder)


def write(folder: int, name: str, content: bytes) -> None:
    """Write a file so that it is there whole, after a crash too, or not at all. Names that begin with a dot are not finished yet."""
    unfinished = f".{name}.{secrets.token_hex(4)}"
    descriptor = os.open(unfinished, _NEW, 0o640, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(unfinished, dir_fd=folder)
        raise
    os.fsync(folder)


def names(folder: int) -> list[str]:
    """Return the names of CSV files, sorted; others are left alone."""
    with os.scandir(folder) as entries:
        return sorted(islice((entry.name for entry in entries if _NAME.match(entry.name)), MOST_NAMES))


def read(folder: int, name: str, most: int) -> bytes | None:
    """Return a plain file's content; None for a link, a pipe, a folder, or more than ``most`` bytes.

    Raises:
        FileNotFoundError: it is not there.
    """
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1)
    finally:
        os.close(descriptor)
    return None if len(content) > most else content


def move(folder: int, name: str, into: int) -> str:
    """Move a file, or the link itself; return its name there, which is another where one of that name is there already.

    Another process may have moved it before: then nothing is left to do.
    """
    free = name if not _exists(into, name) else f"{secrets.token_hex(4)}-{name}"
    try:
        os.rename(name, free, src_dir_fd=folder, dst_dir_fd=into)
    except FileNotFoundError:
        return free
    os.fsync(into)
    return free


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _made(folder: int, name: str) -> None:
    try:
        os.mkdir(name, 0o770, dir_fd=folder)
    except FileExistsError:
        return

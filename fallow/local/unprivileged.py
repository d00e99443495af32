"""A directory for a server that refuses to run as root. Imports the standard library only."""

import os
import pwd
from collections.abc import Sequence
from pathlib import Path


class DirectoryUnreachable(RuntimeError):
    """A server refuses to run as root, and the unprivileged user can't reach its directory."""


def give_directory(home: Path, server: str, users: Sequence[str]) -> int | None:
    """Make a directory and give it to the user who will run the server.

    Args:
        home: the directory; made where it is not there.
        server: what runs in it, for the message.
        users: names of users to run it as, the first known one counts; only asked when this process is root.

    Returns:
        The user's id; None where this process is not root and runs the server itself.

    Raises:
        DirectoryUnreachable: that user may not pass through a folder above it; give a directory that others may pass through.
    """
    home.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    user_id = next(known[name] for name in users if name in known)
    closed = [parent for parent in home.parents if not parent.stat().st_mode & 0o001]
    if closed:
        message = f"{closed[0]} is closed to the unprivileged user that {server} must run as in {home}"
        raise DirectoryUnreachable(message)
    os.chown(home, user_id, -1)
    return user_id

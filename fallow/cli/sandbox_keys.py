"""The sandbox's keys and secrets: each in a file of its own, made for its owner alone where the file is new; never an argument."""

import base64
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fallow.domain.errors import InputRefused

if TYPE_CHECKING:
    from fallow.platforms.signing import SigningKey

_SECRET_BYTES = 32


def signing_key(file: Path | None) -> "SigningKey":
    """Return the key of a file, made if the file is new; without a file one for this run.

    Raises:
        InputRefused: it can't be read or kept.
        SettingRefused: the file holds something else.
    """
    from fallow.platforms.signing import SigningKey  # noqa: PLC0415 - heavy

    if file is None:
        return SigningKey.generate()
    return SigningKey.from_text(_kept(file, "The sandbox's key", lambda: SigningKey.generate().text))


def secret(file: Path | None, prefix: str) -> str:
    """Return the secret of a file, as a registration has it: its prefix and base64; made if the file is new. Without a file "".

    Raises:
        InputRefused: it can't be read or kept.
    """
    if file is None:
        return ""
    return _kept(file, "A secret", lambda: prefix + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode())


def _kept(file: Path, what: str, make: Callable[[], str]) -> str:
    try:
        return file.read_text("ascii").strip()
    except FileNotFoundError:
        made = make()
    except (OSError, UnicodeDecodeError) as error:
        trouble = f"{what} can't be read from {file} ({type(error).__name__})."
        raise InputRefused(trouble, remedy="name a file that you may read, or one that is not there yet.") from None
    try:
        file.touch(mode=0o600)
        file.write_text(f"{made}\n", "ascii")
    except OSError as error:
        trouble = f"{what} can't be kept in {file} ({type(error).__name__})."
        raise InputRefused(trouble, remedy="name a file in a folder that is there and that you may write.") from None
    return made

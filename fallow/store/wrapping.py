"""Wrapping keys: the keys that wrap other keys, one file each in the keys' own folder, and truly gone once destroyed.

The database holds only wrapped keys, so that a backup of it opens nothing once the wrapping key of its day is destroyed.
Two kinds, by name: ``holder-7`` is the seventh epoch of the key that wraps holder keys; ``retention-2028-11`` wraps the
retention keys that expire in that month, and goes with it.
"""

import os
import re
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fallow.domain.errors import SettingRefused

_BYTES = 32
_NONCE = 12
_NAME = re.compile(r"holder-[1-9][0-9]{0,8}|retention-[0-9]{4}-[0-9]{2}")


class WrappingKeys:
    """The wrapping keys of an installation. Every look reads the folder: another process may have rotated them."""

    def __init__(self, folder: Path) -> None:
        """Keep them in ``folder``, which is made when it is first needed."""
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names of the keys that exist, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.key") if _NAME.fullmatch(path.stem))

    def exists(self, name: str) -> bool:
        """Tell whether the key ``name`` exists."""
        return self._path(name).is_file()

    def make(self, name: str) -> None:
        """Make the key if it does not exist yet; durable when it returns."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.exists(name):
            return
        draft = self._folder / f".{name}.{secrets.token_hex(4)}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, self._path(name))  # of two processes that make it at once, one wins and both then read the same
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        self._sync_folder()

    def destroy(self, name: str) -> None:
        """Overwrite the key's file, flush it, and remove it. Safe to call again."""
        path = self._path(name)
        try:
            with path.open("r+b") as file:
                file.write(secrets.token_bytes(_BYTES))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except FileNotFoundError:
            return
        self._sync_folder()

    def wrap(self, name: str, key: bytes, bound_to: str) -> bytes:
        """Return ``key`` under the wrapping key ``name``, bound to what it belongs to (AES-256-GCM, NIST SP 800-38D).

        Raises:
            SettingRefused: there is no such wrapping key.
        """
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher(name).encrypt(nonce, key, f"{name}|{bound_to}".encode())

    def unwrap(self, name: str, wrapped: bytes, bound_to: str) -> bytes:
        """Return what :meth:`wrap` was given.

        Raises:
            SettingRefused: the wrapping key was destroyed, or never was here.
            cryptography.exceptions.InvalidTag: the wrapped key was altered or belongs to something else.
        """
        return self._cipher(name).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], f"{name}|{bound_to}".encode())

    def _cipher(self, name: str) -> AESGCM:
        path = self._path(name)
        try:
            if path.stat().st_mode & 0o077:
                what = f"The key file {path} can be read by others."
                raise SettingRefused(what, remedy=f"chmod 600 {path}")
            secret = path.read_bytes()
        except FileNotFoundError:
            what = f"The wrapping key {name} is not in {self._folder}: it was destroyed, or never was here."
            raise SettingRefused(
                what, remedy="what it wrapped can't be read any more; for a live one restore the keys' own backup."
            ) from None
        return AESGCM(secret)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            what = "a wrapping key was asked for under a name that none has"
            raise ValueError(what)
        return self._folder / f"{name}.key"

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""Keys on disk: one folder, one file a key, owner-readable only, left out of database backups.

The folder is a mount of its own in production (``docs/operations.md``).
"""

import os
import secrets
from pathlib import Path

from fallow.domain.errors import SettingRefused

#: 256-bit secrets: vault (AES-GCM of numbers), lookup (HMAC index), access (HMAC of API keys and file fingerprints),
#: signing (seeds of Ed25519 keys), evidence (AES-GCM of platforms' answers), platforms (AES-GCM of secrets shared with platforms).
NAMES = ("vault", "lookup", "access", "signing", "evidence", "platforms")
_BYTES = 32


class Keys:
    """The installation's secrets."""

    def __init__(self, folder: Path) -> None:
        """Read every key.

        Raises:
            SettingRefused: a key is missing, has the wrong length, or may be read by others.
        """
        self._secrets = {name: _read(folder / f"{name}.key") for name in NAMES}

    def __getitem__(self, name: str) -> bytes:
        """Return the secret called ``name``."""
        return self._secrets[name]


def create(folder: Path) -> None:
    """Create the keys that do not exist yet; existing ones stay as they are."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in NAMES:
        path = folder / f"{name}.key"
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_BYTES))


def _read(path: Path) -> bytes:
    if not path.is_file():
        what = f"The key file {path} is missing."
        raise SettingRefused(what, remedy="point FALLOW_KEYS at the right folder, or run `fallow setup` for a new installation.")
    if path.stat().st_mode & 0o077:
        what = f"The key file {path} can be read by others."
        raise SettingRefused(what, remedy=f"chmod 600 {path}")
    secret = path.read_bytes()
    if len(secret) != _BYTES:
        what = f"The key file {path} does not hold {_BYTES} bytes."
        raise SettingRefused(what, remedy="restore it from the keys' own backup.")
    return secret

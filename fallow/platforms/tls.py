"""Whom an endpoint is believed to be, and who we show ourselves to be: one platform's own authorities and our certificate for it."""

import os
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fallow.domain.errors import MapRefused

_T = TypeVar("_T")
#: Longest file read, in bytes: all public authorities together take a quarter of it.
LONGEST_FILE = 1024 * 1024
_OPENED = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What one endpoint wants beyond TLS as everybody speaks it. Read when the first connection is made.

    Attributes:
        ca_file: PEM of the only authorities that may vouch for it; "" for the public ones.
        client_certificate_file: PEM of our certificate and its key, unencrypted; "" for none.
    """

    ca_file: str = ""
    client_certificate_file: str = ""

    def __bool__(self) -> bool:
        """Tell whether it wants anything."""
        return bool(self.ca_file or self.client_certificate_file)

    def context(self, public: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Return a context that believes and shows what the files say.

        Args:
            public: makes a context of its own that believes the public authorities.

        Raises:
            MapRefused: naming the file that can't be used.
        """
        made = _reading("ca_file", self.ca_file, lambda: ssl.create_default_context(cafile=self.ca_file)) if self.ca_file else public()
        if self.client_certificate_file:
            # An encrypted key must fail; without a password OpenSSL would ask for one on the terminal.
            _reading(
                "client_certificate_file",
                self.client_certificate_file,
                lambda: made.load_cert_chain(self.client_certificate_file, password=lambda: b""),
            )
        return made

    def demand_readable(self) -> None:
        """Refuse files that no connection could be made with: now, instead of at the first request.

        Raises:
            MapRefused: naming the file that can't be used.
        """
        if self:
            self.context(lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def _reading(key: str, path: str, read: Callable[[], _T]) -> _T:
    """Read a file; whatever is wrong with it is worded alike, so that proposing paths tells nothing of what lies where."""
    try:
        _demand_plain(path)
        return read()
    except (OSError, ValueError):  # what OpenSSL can't read is an OSError too
        pass
    wants = "certificates of authorities" if key == "ca_file" else "our certificate and its unencrypted key"
    what = f"The {key} {path} can't be used."
    raise MapRefused(what, remedy=f"put a PEM file with {wants} there, readable by this process; see docs/platforms.md.")


def _demand_plain(path: str) -> None:
    """Refuse a pipe, a device, a folder and what is too long, without ever waiting for a writer.

    Raises:
        OSError: it is one of these, or can't be opened.
    """
    descriptor = os.open(path, _OPENED)
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size > LONGEST_FILE:
        raise OSError

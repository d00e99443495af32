"""What verifies a sender's messages: one interface over every kind of key. Imports nothing."""

from typing import Protocol


class VerifyingKey(Protocol):
    """A key that a sender registered."""

    @property
    def text(self) -> str:
        """The key as a registration holds it: a prefix that names its kind, and base64."""
        ...

    @property
    def fingerprint(self) -> str:
        """What people compare out of band and evidence cites: 64 hex digits."""
        ...

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Tell whether ``signature`` of ``content`` was made by this key's owner; the algorithm is the key's, never the message's."""
        ...

"""What verifies a sender's messages: one interface over every kind of key. Imports nothing."""

from typing import ClassVar, Protocol


class VerifyingKey(Protocol):
    """A key that a sender registered, or a secret shared with it.

    Attributes:
        kind: what a message under it proves. ``hmac-sha256`` is a secret that the engine holds too, so the operator could have made
            the message; under any other kind only the sender could.
    """

    kind: ClassVar[str]

    @property
    def text(self) -> str:
        """The key as a registration holds it: a prefix that names its kind, and base64; a mask where it is secret."""
        ...

    @property
    def fingerprint(self) -> str:
        """What people compare out of band and evidence cites: 64 hex digits."""
        ...

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Tell whether ``signature`` of ``content`` was made by this key's owner; the algorithm is the key's, never the message's."""
        ...

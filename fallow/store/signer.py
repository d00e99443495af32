"""The installation's own signatures: seeds derived per purpose, so that no signature for one purpose passes for another."""

import base64

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fallow.store.keys import Keys

_TAG_PREFIX = b"fallow.tag.v1\n"


def seed(keys: Keys, purpose: str) -> bytes:
    """Return the 32-byte Ed25519 seed for ``purpose`` ("tag" or "request"): HKDF-SHA-256 of the signing key."""
    return HKDF(hashes.SHA256(), 32, salt=None, info=f"fallow.{purpose}.v1".encode()).derive(keys["signing"])


class TagSigner:
    """Signs disclosure tags with Ed25519."""

    def __init__(self, keys: Keys) -> None:
        """Derive the tag key."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed(keys, "tag"))
        self.public_key = base64.b64encode(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    def sign(self, digest: str) -> tuple[str, str]:
        """Return (signature, public key), both base64, for a tag's digest."""
        return base64.b64encode(self._key.sign(_TAG_PREFIX + digest.encode())).decode(), self.public_key

    def signed(self, digest: str, signature: str) -> bool:
        """Tell whether ``signature`` over ``digest`` is ours."""
        try:
            self._key.public_key().verify(base64.b64decode(signature, validate=True), _TAG_PREFIX + digest.encode())
        except (InvalidSignature, ValueError):
            return False
        return True

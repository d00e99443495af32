"""RSA keys of platforms that sign with RSASSA-PKCS1-v1_5 over SHA-256 (RFC 8017 section 8.2): ``SHA256-RSA``, ``RS256``."""

import base64
import hashlib
from dataclasses import dataclass
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from fallow.domain.errors import SettingRefused

#: What an RSA key's text begins with.
PREFIX = "rsapk_"
_LEAST_BITS, _MOST_BITS = 2048, 4096
_EXPONENT = 65537
_LONGEST_TEXT = 1024
_SERIAL_DIGITS = 40


@dataclass(frozen=True, slots=True)
class RsaKey:
    """What verifies messages signed with RSA.

    Attributes:
        der: the key as DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), in its one canonical form.
    """

    kind: ClassVar[str] = "rsa-sha256"
    der: bytes

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read ``rsapk_`` and base64 of the key's DER SubjectPublicKeyInfo.

        Raises:
            SettingRefused: another form or kind, fewer than 2048 or more than 4096 bits, or another exponent than 65537.
        """
        try:
            der = base64.b64decode(text.removeprefix(PREFIX), validate=True) if len(text) <= _LONGEST_TEXT else b""
            key = load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm):
            key = None
        sound = isinstance(key, RSAPublicKey) and _LEAST_BITS <= key.key_size <= _MOST_BITS and key.public_numbers().e == _EXPONENT
        if key is None or not sound or text != PREFIX + base64.b64encode(_der(key)).decode():
            what = f"A public key is not `{PREFIX}` and the base64 of a sound RSA key."
            remedy = f"ask its owner for the DER SubjectPublicKeyInfo of {_LEAST_BITS} to {_MOST_BITS} bits with exponent {_EXPONENT}."
            raise SettingRefused(what, remedy=remedy)
        return cls(der)

    @property
    def text(self) -> str:
        """The key as a registration holds it."""
        return PREFIX + base64.b64encode(self.der).decode()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, in hex."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def serial(self) -> str:
        """What a message names the key by: the first 40 digits of the fingerprint, in capitals."""
        return self.fingerprint[:_SERIAL_DIGITS].upper()

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Tell whether ``signature`` of ``content`` was made by this key's owner."""
        key = load_der_public_key(self.der)
        if not isinstance(key, RSAPublicKey):
            return False
        try:
            key.verify(signature, content, PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True


def _der(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) if isinstance(key, RSAPublicKey) else b""

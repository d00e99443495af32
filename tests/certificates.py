"""TLS of a platform made in the test: an authority, and certificates of it that are good or flawed in one way each."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

#: The name of the platform's host in these certificates; ``localhost`` may be any address of this machine.
HOST = "localhost"
_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """An authority whose certificates are written to a folder.

    Attributes:
        folder: where its files go.
    """

    folder: Path

    @cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    @cached_property
    def trusts(self) -> ssl.SSLContext:
        """What believes this authority and no other."""
        made = _builder("authority", self._key, _A_DAY).issuer_name(_named("authority"))
        basic = x509.BasicConstraints(ca=True, path_length=None)
        pem = made.add_extension(basic, critical=True).sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return ssl.create_default_context(cadata=pem.decode())

    @cached_property
    def good(self) -> ssl.SSLContext:
        """What a sound platform serves with."""
        return self._serves("good", HOST, _A_DAY)

    @cached_property
    def expired(self) -> ssl.SSLContext:
        """A certificate that ended a minute ago."""
        return self._serves("expired", HOST, timedelta(minutes=-1))

    @cached_property
    def of_another_name(self) -> ssl.SSLContext:
        """A good certificate of another host."""
        return self._serves("another", "elsewhere.example", _A_DAY)

    @cached_property
    def self_signed(self) -> ssl.SSLContext:
        """A certificate that vouches for itself."""
        return self._serves("self", HOST, _A_DAY, by_itself=True)

    def _serves(self, file: str, host: str, lasts: timedelta, *, by_itself: bool = False) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(host, key, lasts).issuer_name(_named(host if by_itself else "authority"))
        made = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        pem = self.folder / f"{file}.pem"
        pem.write_bytes(private + made.sign(key if by_itself else self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
        return context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _builder(name: str, key: ec.EllipticCurvePrivateKey, lasts: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(_named(name)).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(now - 9 * _A_DAY).not_valid_after(now + lasts)

"""TLS on a real socket: one platform's own authorities, and our certificate for it."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rude_server import OK, Server, says, serving, transport_to

from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.domain.obligations import Category
from fallow.platforms.http_platform import HttpPlatform
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.signing import SigningKey
from fallow.platforms.tls import TlsFiles
from fallow.platforms.transport import Transport

HOST = "platform.example"
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """An authority made for a test, which issues certificates into a folder."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> str:
        """Its own certificate, as PEM."""
        path = self.folder / f"{self.name}.pem"
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return str(path)

    def issues(self, host: str, *, until: datetime = NOW + DAY, encrypted: bool = False) -> str:
        """Issue a certificate for a host; return the PEM file of it and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = unsigned(host, self.name, key, until).add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        lock = serialization.BestAvailableEncryption(b"secret") if encrypted else serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
        path = self.folder / f"{self.name}-{host}-{until:%Y%m%d}-{encrypted}.pem"
        path.write_bytes(pem + made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return str(path)


def unsigned(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, until: datetime) -> x509.CertificateBuilder:
    """Return a certificate that waits for its signature."""
    of, by = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in (subject, issuer))
    builder = x509.CertificateBuilder(by, of, key.public_key(), x509.random_serial_number())
    return builder.not_valid_before(NOW - 3 * DAY).not_valid_after(until)


def an_authority(folder: Path, name: str) -> Authority:
    """Make one."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = unsigned(name, name, key, NOW + DAY).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Authority(folder, name, key, own.sign(key, hashes.SHA256()))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return the authority that the platform's certificates come from."""
    return an_authority(tmp_path, "authority")


@contextlib.asynccontextmanager
async def a_platform(certificate: str, clients_of: Authority | None = None) -> AsyncIterator[tuple[Server, Transport]]:
    """Serve TLS with a certificate; demand one of ``clients_of`` of whoever comes. Yield the server and a transport that finds it."""
    serves = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serves.load_cert_chain(certificate)
    if clients_of is not None:
        serves.load_verify_locations(clients_of.file)
        serves.verify_mode = ssl.CERT_REQUIRED
    async with serving(says(OK), serves) as server, transport_to() as transport:
        yield server, transport


async def asked(server: Server, transport: Transport, files: TlsFiles) -> bytes:
    """Ask the platform; return what it said."""
    return (await transport.post(server.endpoint(HOST, "https"), {}, b"{}", 5, tls=files)).body


async def test_a_platforms_own_authority_vouches_for_it(authority: Authority) -> None:
    """Whoever names the authority is answered; the public ones do not know the platform."""
    async with a_platform(authority.issues(HOST)) as (server, transport):
        assert await asked(server, transport, TlsFiles(authority.file)) == b"hi"
        with pytest.raises(TargetUnavailable, match="not believed"):
            await asked(server, transport, TlsFiles())

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("issued", "why"),
    [
        (lambda theirs, _: theirs.issues(HOST, until=NOW - DAY), "certificate has expired"),
        (lambda theirs, _: theirs.issues("other.example"), "Hostname mismatch"),
        (lambda _, another: another.issues(HOST), "unable to get local issuer certificate"),
    ],
    ids=["expired", "wrong host", "wrong authority"],
)
async def test_a_certificate_that_is_not_believed_gets_no_request(authority: Authority, tmp_path: Path, issued: object, why: str) -> None:
    """Nothing is sent, and the trouble says what is wrong with the certificate."""
    assert callable(issued)
    certificate = issued(authority, an_authority(tmp_path, "another"))
    async with a_platform(certificate) as (server, transport):
        with pytest.raises(TargetUnavailable, match=why):
            await asked(server, transport, TlsFiles(authority.file))

    assert server.requests == []


async def test_a_platform_may_demand_our_certificate(authority: Authority, tmp_path: Path) -> None:
    """With the right one it answers; without one, or with another authority's, it hears nothing."""
    clients, strangers = an_authority(tmp_path, "clients"), an_authority(tmp_path, "strangers")
    async with a_platform(authority.issues(HOST), clients) as (server, transport):
        assert await asked(server, transport, TlsFiles(authority.file, clients.issues("fallow.example"))) == b"hi"
        for files in (TlsFiles(authority.file), TlsFiles(authority.file, strangers.issues("fallow.example"))):
            with pytest.raises(TargetUnavailable):
                await asked(server, transport, files)

    assert len(server.requests) == 1


async def test_connections_are_not_shared_across_authorities_or_certificates(authority: Authority, tmp_path: Path) -> None:
    """One platform's trust never rides on a connection that another's opened; the same files share one."""
    certificate = authority.issues("fallow.example")
    async with a_platform(authority.issues(HOST)) as (server, transport):
        for files in (TlsFiles(authority.file), TlsFiles(authority.file), TlsFiles(authority.file, certificate)):
            await asked(server, transport, files)
        with pytest.raises(TargetUnavailable):
            await asked(server, transport, TlsFiles(an_authority(tmp_path, "another").file))

    assert (len(server.requests), server.connections) == (3, 2 + 3)  # two that asked, and three attempts with the wrong authority


def unusable(folder: Path, authority: Authority) -> dict[str, tuple[TlsFiles, str]]:
    """Return files that no connection can be made with, and what is said of them."""
    (folder / "empty.pem").write_text("")
    missing, empty = str(folder / "missing.pem"), str(folder / "empty.pem")
    return {
        "no authority": (TlsFiles(missing), "ca_file"),
        "an empty authority": (TlsFiles(empty), "ca_file"),
        "no certificate": (TlsFiles("", missing), "client_certificate_file"),
        "no key": (TlsFiles("", authority.file), "client_certificate_file"),
        "an encrypted key": (TlsFiles("", authority.issues("fallow.example", encrypted=True)), "client_certificate_file"),
        "a folder": (TlsFiles(str(folder)), "ca_file"),
    }


CASES = ["no authority", "an empty authority", "no certificate", "no key", "an encrypted key", "a folder"]


@pytest.mark.parametrize("case", CASES)
async def test_a_file_that_can_not_be_used_is_refused_by_name(authority: Authority, tmp_path: Path, case: str) -> None:
    """When the platform is registered; and if it goes bad later, the request is trouble that names it, not a crash."""
    files, key = unusable(tmp_path, authority)[case]
    async with a_platform(authority.issues(HOST)) as (server, transport):
        entry = PlatformEntry("larkchat", Category.SOCIAL, server.endpoint(HOST, "https"), (), 50, 20.0, 60.0, 3, 5.0, "x")
        named = replace(entry, ca_file=files.ca_file, client_certificate_file=files.client_certificate_file)
        with pytest.raises(MapRefused, match=f"The {key} {files.ca_file or files.client_certificate_file}"):
            named.tls.demand_readable()
        assert HttpPlatform(named, transport, SigningKey.generate(), None).platform_id == "larkchat"  # type: ignore[arg-type]
        with pytest.raises(TargetUnavailable, match=key):
            await asked(server, transport, files)


async def test_the_platforms_files_are_those_of_its_entry(authority: Authority) -> None:
    """What was registered is what requests to it are made with."""
    async with a_platform(authority.issues(HOST), authority) as (server, transport):
        entry = PlatformEntry("larkchat", Category.SOCIAL, server.endpoint(HOST, "https"), (), 50, 20.0, 60.0, 3, 5.0, "x")
        named = replace(entry, ca_file=authority.file, client_certificate_file=authority.issues("fallow.example"))

        class Wall:
            def now(self) -> datetime:
                return datetime.now(UTC)

        with pytest.raises(Exception, match="could not be proved"):  # it was reached, and `hi` is not signed
            await HttpPlatform(named, transport, SigningKey.generate(), Wall()).ask([])

    assert len(server.requests) == 1

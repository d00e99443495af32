"""The transport against real sockets that misbehave: bounded in time, size, attempts and destination."""

import asyncio
import gzip
import socket
import ssl
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rude_server import OK, Play, drips, response, says, says_and_ends, serving, transport_to

from fallow.domain.errors import RequestRejected, TargetUnavailable
from fallow.platforms.endpoints import read_endpoint
from fallow.platforms.retry_after import read_retry_after
from fallow.platforms.transport import LONGEST_REPLY, Reply, Transport

NUMBER = "+447700900123"


async def post(play: Play, total: float = 5.0) -> Reply:
    """Send one request to a server that plays so."""
    async with serving(play) as server, transport_to() as transport:
        return await transport.post(server.endpoint(), {"x-own": "1"}, b"{}", total)


async def unavailable(play: Play, total: float = 5.0) -> TargetUnavailable:
    """Send one request that must end in TargetUnavailable; return it."""
    with pytest.raises(TargetUnavailable) as caught:
        await post(play, total)
    return caught.value


async def test_a_response_comes_back_whole() -> None:
    """Status, headers and body of a good response."""
    reply = await post(says(response("200 OK", "Webhook-Id: x", body=b"hi")))

    assert (reply.status, reply.headers["webhook-id"], reply.body) == (200, "x", b"hi")


async def test_the_request_asks_for_plain_bytes_and_names_the_host() -> None:
    """Accept-Encoding is identity; the Host header names the endpoint, not the address it is pinned to."""
    async with serving(says(OK)) as server, transport_to() as transport:
        await transport.post(server.endpoint("localhost"), {"x-own": "1"}, b"{}", 5)

    head = server.requests[0].lower()
    assert b"accept-encoding: identity\r\n" in head
    assert f"host: localhost:{server.port}\r\n".encode() in head
    assert b"x-own: 1\r\n" in head


async def test_connections_are_kept_and_cookies_are_not() -> None:
    """Ten requests in a row share one connection; nothing a platform sets comes back to it."""
    async with serving(says(response("200 OK", "Set-Cookie: a=b; Path=/"))) as server, transport_to() as transport:
        for _ in range(10):
            await transport.post(server.endpoint(), {}, b"{}", 5)

    assert server.connections == 1
    assert not [request for request in server.requests if b"cookie" in request.lower()]


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment can't redirect requests."""
    async with serving(says(OK)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await post(says(OK))

    assert proxy.connections == 0


async def test_a_refused_connection_is_tried_three_times_in_all() -> None:
    """Addresses are taken in turn, one per attempt: the third is reached, the fourth never."""
    async with serving(says(OK)) as server:
        async with transport_to(["127.0.0.2", "127.0.0.3", "127.0.0.1"]) as transport:
            await transport.post(server.endpoint("localhost"), {}, b"{}", 5)
        reached = server.connections
        async with transport_to(["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1"]) as transport:
            with pytest.raises(TargetUnavailable):
                await transport.post(server.endpoint("localhost"), {}, b"{}", 5)

    assert (reached, server.connections) == (1, 1)


@pytest.mark.parametrize(
    "play",
    [
        says(response("500 Internal Server Error")),
        says_and_ends(b""),
        says_and_ends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", by_reset=True),
    ],
    ids=["500", "closed", "reset mid-body"],
)
async def test_what_may_have_been_sent_is_not_repeated(play: Play) -> None:
    """After a connection stood, repeating is the sender's business: exactly one request."""
    async with serving(play) as server, transport_to() as transport:
        with pytest.raises(TargetUnavailable):
            await transport.post(server.endpoint(), {}, b"{}", 5)

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "play",
    [
        drips(b"", b"", 0.01),
        drips(b"HTTP/1.1 200 OK\r\n", b"x-slow: 1\r\n", 0.02),
        drips(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b"x", 0.01),
    ],
    ids=["silence", "slow headers", "drip body"],
)
async def test_a_slow_platform_is_given_up_at_the_total_deadline(play: Play) -> None:
    """Bytes that keep coming do not extend the time."""
    assert "within its timeout" in str(await unavailable(play, total=0.2))


async def test_an_endless_body_is_cut() -> None:
    """No more than the limit is read."""
    endless = drips(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"4000\r\n" + b"x" * 0x4000 + b"\r\n", 0)

    assert str(LONGEST_REPLY) in str(await unavailable(endless))


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    """The limit itself is allowed."""
    assert len((await post(says(response("200 OK", body=b"x" * LONGEST_REPLY)))).body) == LONGEST_REPLY


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "GZIP"])
async def test_a_compressed_answer_is_refused_unopened(encoding: str) -> None:
    """48 KB that unpack to 50 MB are never unpacked."""
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 50_000

    assert "compressed" in str(await unavailable(says(response("200 OK", f"content-encoding: {encoding}", body=bomb))))


@pytest.mark.parametrize("status", ["300 X", "302 Found", "303 See Other", "304 Not Modified", "307 X"])
async def test_a_redirect_is_not_followed(status: str) -> None:
    """A passing redirect counts as trouble, and its target is never asked."""
    async with serving(says(OK)) as target:
        error = await unavailable(says(response(status, f"location: http://127.0.0.1:{target.port}/")))
        await unavailable(says(response(status, "location: http://169.254.169.254/latest/meta-data/")))

    assert target.connections == 0
    assert status.partition(" ")[0] in str(error)


@pytest.mark.parametrize("status", [400, 409, 413, 422])
async def test_a_4xx_or_a_permanent_move_is_rejected(status: int) -> None:
    """Repeating can't mend it, so it must reach a person."""
    with pytest.raises(RequestRejected, match=str(status)):
        await post(says(response(f"{status} X", "location: https://elsewhere.example/", body=NUMBER.encode())))


@pytest.mark.parametrize("status", [301, 308, 401, 403, 404, 405, 408, 410, 418, 425, 429, 451, 499, 500, 501, 502, 503, 504, 599])
async def test_a_passing_fault_is_unavailable(status: int) -> None:
    """These are worth another try, at the time the platform names."""
    error = await unavailable(says(response(f"{status} X", "retry-after: 7")))

    assert (error.retry_after, error.retryable) == (7.0, True)


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("86400", 86400.0),
        ("1000000000", 86400.0),
        ("9" * 20, 86400.0),
        ("9" * 21, None),
        ("-1", None),
        ("+5", None),
        ("1e9", None),
        ("1.5", None),
        ("\u0663", None),
        ("", None),
        (" 5", None),
        ("soon", None),
        ("inf", None),
        (format_datetime(NOW + timedelta(minutes=2), usegmt=True), 120.0),
        (format_datetime(NOW - timedelta(days=9), usegmt=True), 0.0),
        (format_datetime(NOW + timedelta(days=900), usegmt=True), 86400.0),
        ("Thu, 32 Jan 2026 12:00:00 GMT", None),
        ("Thu, 01 Foo 2026 12:00:00 GMT", None),
        ("2026-01-01T12:00:00Z", None),
        ("Thu, 00 Jan 2026 12:00:00 GMT", None),
        ("Thu, 01 Jan 2026 24:00:00 GMT", None),
        ("Thu, 01 Jan 2026 12:01:60 GMT", 119.0),
        ("Thursday, 01-Jan-26 12:02:00 GMT", 120.0),
        ("Thursday, 01-Jan-70 12:00:00 GMT", 86400.0),
        ("Friday, 01-Jan-77 12:00:00 GMT", 0.0),
        ("Thu, 01-Jan-26 12:02:00 GMT", None),
        ("Thursday, 01-Jan-2026 12:02:00 GMT", None),
        ("Thu Jan  1 12:02:00 2026", 120.0),
        ("Fri Jan 02 11:00:00 2026", 82800.0),
        ("Sun Dec 28 12:00:00 2025", 0.0),
        ("Thu Jan 1 12:02:00 2026", None),
        ("Thu Jan  1 12:02:00 2026 GMT", None),
        ("thu, 01 jan 2026 12:02:00 gmt", None),
        ("Thu, 01 Jan 2026 12:00:00 +0000", None),
    ],
)
def test_retry_after_is_read_strictly_and_bounded(text: str | None, wait: float | None) -> None:
    """Seconds or a date in any of HTTP's three spellings, from now to a day; anything else is as if it were absent."""
    assert read_retry_after(text, NOW) == wait


@pytest.mark.parametrize(
    "raw",
    [
        f"{NUMBER} is no status line\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\n{NUMBER}\r\n\r\n".encode(),
        b"HTTP/1.1 200 OK\r\nx: " + b"9" * 10_000_000 + b"\r\n\r\n",
        f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{NUMBER}\r\n".encode(),
    ],
    ids=["status line", "header", "10 MB header", "chunk"],
)
async def test_what_is_no_http_is_unavailable_and_not_quoted(raw: bytes) -> None:
    """The error, with everything chained to it, holds nothing that came in."""
    error = await unavailable(says_and_ends(raw))

    assert "447700900123" not in "".join(traceback.format_exception(error))
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize(
    "addresses",
    [["10.0.0.1"], ["169.254.169.254"], ["8.8.8.8", "10.0.0.1"], ["127.0.0.1"], ["::ffff:127.0.0.1"], ["64:ff9b::1"], ["fe80::1%1"], []],
)
async def test_a_name_that_resolves_to_a_denied_address_is_not_asked(addresses: list[str]) -> None:
    """One denied address among good ones is enough: rebinding and mixed answers stay outside."""
    async with transport_to(addresses) as transport:
        with pytest.raises(TargetUnavailable, match="no request may go to"):
            await transport.post(read_endpoint("https://api.larkchat.example/"), {}, b"{}", 5)


async def test_a_name_that_is_not_known_is_unavailable() -> None:
    """A failing resolver is trouble that may pass."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror

    with pytest.raises(TargetUnavailable, match="gaierror"):
        await Transport(resolve=resolve).post(read_endpoint("https://api.larkchat.example/"), {}, b"{}", 5)


async def test_cancelling_is_not_mistaken_for_a_timeout() -> None:
    """A sender that is told to stop stops."""
    async with serving(drips(b"", b"", 0.01)) as server, transport_to() as transport:
        task = asyncio.create_task(transport.post(server.endpoint(), {}, b"{}", 30))
        await asyncio.wait_for(server.asked.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def certificate(directory: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a self-signed certificate for ``host``; return the server's context and one that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    now = datetime.now(UTC)
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False).sign(key, hashes.SHA256())
    pem = directory / f"{host}.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    serves = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serves.load_cert_chain(pem)
    return serves, ssl.create_default_context(cafile=str(pem))


async def test_the_certificate_must_be_of_the_name_although_the_address_is_pinned(tmp_path: Path) -> None:
    """TLS is checked against the endpoint's name; another name or an unknown authority gets no request."""
    serves, trusts = certificate(tmp_path, "platform.example")
    async with serving(says(OK), serves) as server:
        async with transport_to(trust=trusts) as transport:
            reply = await transport.post(server.endpoint("platform.example", "https"), {}, b"{}", 5)
            with pytest.raises(TargetUnavailable):
                await transport.post(server.endpoint("other.example", "https"), {}, b"{}", 5)
        async with transport_to() as distrustful:
            with pytest.raises(TargetUnavailable):
                await distrustful.post(server.endpoint("platform.example", "https"), {}, b"{}", 5)

    assert reply.body == b"hi"
    assert len(server.requests) == 1

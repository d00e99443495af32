"""The one way out: HTTP requests to platforms, bounded in time, size, attempts and destination.

The only module of the engine that imports httpx and tenacity. httpx knows no total deadline, unpacks gzip without a
bound and reads proxies from the environment; each of these is closed here. Retries cover what is over in a second and
has sent nothing yet (connecting); everything else is the sender's to repeat.
"""

import asyncio
import itertools
import socket
import ssl
from collections.abc import Awaitable, Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_none, wait_random_exponential

from fallow.domain.errors import MapRefused, RequestRejected, TargetUnavailable
from fallow.domain.sent import under_way
from fallow.platforms.endpoints import Address, Endpoint, bracketed, literal
from fallow.platforms.retry_after import read_retry_after
from fallow.platforms.tls import TlsFiles

#: Longest response body read, in bytes.
LONGEST_REPLY = 256 * 1024

_CONNECTIONS = httpx.Limits(max_connections=8, max_keepalive_connections=4)
# These blame what was sent, so the items go to a person. Every other 4xx blames the url or the keys, which would be wrong for
# all numbers alike: that is trouble of one target, seen in its breaker, not an ATTENTION for each number.
_BLAMES_THE_ITEMS = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
)
_NO_FILES = TlsFiles()
_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "fallow"}

#: Turns a host name and port into the texts of its addresses.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve_by_system(host: str, port: int) -> list[str]:
    """Ask the operating system's resolver.

    Raises:
        OSError: the name is not known or the resolver can't be asked.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful response (2xx), or one of another status that was asked for.

    Attributes:
        status: the HTTP status.
        headers: names in lower case.
        body: the bytes as sent, at most :data:`LONGEST_REPLY`.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Sends requests for all platforms of one event loop; close it with :meth:`aclose`."""

    def __init__(
        self,
        *,
        resolve: Resolve = resolve_by_system,
        trust: ssl.SSLContext | None = None,
        quick_attempts: int = 3,
        quick_waits: bool = True,
    ) -> None:
        """Take what tests and unusual installations replace.

        Args:
            resolve: the resolver.
            trust: which certificates are believed; None means the public authorities of certifi.
            quick_attempts: most attempts to connect within one post.
            quick_waits: whether to wait (at most half a second) between them; tests turn it off.
        """
        self._resolve = resolve
        self._trust = trust
        self._retry = AsyncRetrying(
            stop=stop_after_attempt(quick_attempts),
            wait=wait_random_exponential(multiplier=0.1, max=0.5) if quick_waits else wait_none(),
            retry=retry_if_exception_type(httpx.ConnectError),
            reraise=True,
        )
        # One pool per host: a pool shared by address could send one platform's numbers over another's TLS session. And one per
        # authorities and certificate: a connection must not serve whoever would not have believed it, nor show who we are elsewhere.
        self._clients: dict[tuple[str, TlsFiles], httpx.AsyncClient] = {}

    async def post(
        self,
        endpoint: Endpoint,
        headers: Mapping[str, str],
        body: bytes,
        total_seconds: float,
        *,
        reads: Container[int] = (),
        tls: TlsFiles = _NO_FILES,
    ) -> Reply:
        """Send one request; everything together takes at most ``total_seconds``.

        Args:
            endpoint: where to.
            headers: beside the transport's own.
            body: the bytes to send.
            total_seconds: for all attempts, the answer read.
            reads: statuses other than 2xx whose response is returned like a successful one, because its body says more.
            tls: the endpoint's own authorities and our certificate for it.

        Raises:
            TargetUnavailable: not reached or believed, too slow or big, broken off, compressed, redirected, 5xx, or a 4xx about the url.
            RequestRejected: a 4xx about what was sent (400, 409, 413, 422).
        """
        under_way().delivery_id = headers.get("webhook-id", "")
        try:
            async with asyncio.timeout(total_seconds):
                addresses = itertools.cycle(await self._addresses(endpoint))
                client = self._client(endpoint, tls)
                return await self._retry.copy()(self._exchange, client, endpoint, addresses, headers, body, total_seconds, reads)
        except TimeoutError:
            trouble = "did not answer within its timeout"
        except httpx.HTTPError as error:
            trouble = _disbelief(error) or f"could not be talked to ({type(error).__name__})"
        except MapRefused as error:
            trouble = f"could not be talked to: {error.what.rstrip('.')}"
        except OSError as error:
            trouble = f"could not be found or reached ({type(error).__name__})"
        # Raised outside the except clauses: a protocol error quotes what came in, and chaining would carry it into a log.
        raise _unavailable(endpoint, trouble)

    async def aclose(self) -> None:
        """Close all connections."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()

    async def _addresses(self, endpoint: Endpoint) -> list[Address]:
        """Resolve once, judge every address: the connection goes to a judged address, not to a second look-up's."""
        own = literal(endpoint.host)
        texts = await self._resolve(endpoint.host, endpoint.port) if own is None else [endpoint.host]
        try:
            addresses = [ip_address(text) for text in texts]
        except ValueError:
            addresses = []  # a resolver's garbage is trouble of this target: anything but a FallowError would end the sender's lane
        if not addresses or not all(endpoint.allows(address) for address in addresses):
            raise _unavailable(endpoint, "resolves to an address that no request may go to")
        return list(dict.fromkeys(addresses))

    async def _exchange(
        self,
        client: httpx.AsyncClient,
        endpoint: Endpoint,
        addresses: Iterator[Address],
        headers: Mapping[str, str],
        body: bytes,
        total_seconds: float,
        reads: Container[int],
    ) -> Reply:
        request = client.build_request(
            "POST",
            f"{endpoint.scheme}://{bracketed(str(next(addresses)))}:{endpoint.port}{endpoint.path}",
            headers={**headers, "host": endpoint.authority},
            content=body,
            timeout=total_seconds,
            extensions={"sni_hostname": endpoint.host},
        )
        response = await client.send(request, stream=True)
        under_way().status = response.status_code
        try:
            _demand_success(endpoint, response, reads)
            return Reply(response.status_code, dict(response.headers), await _body(endpoint, response))
        finally:
            await response.aclose()

    def _client(self, endpoint: Endpoint, tls: TlsFiles) -> httpx.AsyncClient:
        key = (f"{endpoint.scheme}://{endpoint.authority}", tls)
        if key not in self._clients:
            self._clients[key] = httpx.AsyncClient(
                # False only where no https is spoken: making a context takes long.
                verify=self._context(tls) if endpoint.scheme == "https" else False,
                trust_env=False,
                follow_redirects=False,
                limits=_CONNECTIONS,
                headers=_HEADERS,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )
        return self._clients[key]

    def _context(self, tls: TlsFiles) -> ssl.SSLContext:
        if tls:
            return tls.context(partial(httpx.create_ssl_context, trust_env=False))
        return self._trust or _public_authorities()


@cache
def _public_authorities() -> ssl.SSLContext:
    """Return certifi's authorities; made once, because making it takes longer than a short-lived transport's one request."""
    return httpx.create_ssl_context(trust_env=False)


def _disbelief(error: BaseException) -> str | None:
    """Return why the endpoint's certificate is not believed, where that was the trouble; OpenSSL's words, nothing of the certificate's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"shows a certificate that is not believed ({cause.verify_message.rstrip('.')})"
        cause = cause.__cause__ or cause.__context__
    return None


def _demand_success(endpoint: Endpoint, response: httpx.Response, reads: Container[int]) -> None:
    status = response.status_code
    if status in _BLAMES_THE_ITEMS and status not in reads:
        what = f"The endpoint {endpoint.authority} rejected the request with status {status}."
        raise RequestRejected(what, remedy="compare docs/platforms.md with the platform's log; check its url and keys.")
    if not response.is_success and status not in reads:
        wait = read_retry_after(response.headers.get("retry-after"), datetime.now(UTC))
        raise _unavailable(endpoint, f"answered with status {status}", wait)
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise _unavailable(endpoint, "compressed its answer although asked not to")


async def _body(endpoint: Endpoint, response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        under_way().octets = len(body)
        if len(body) > LONGEST_REPLY:
            raise _unavailable(endpoint, f"answered with more than {LONGEST_REPLY} bytes")
    return bytes(body)


def _unavailable(endpoint: Endpoint, trouble: str, retry_after: float | None = None) -> TargetUnavailable:
    what = f"The endpoint {endpoint.authority} {trouble}."
    return TargetUnavailable(what, remedy="it is tried again by itself; see the platform's log.", retry_after=retry_after)

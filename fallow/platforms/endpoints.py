"""Where a request may go: strict URLs, and a deny list of addresses. Imports the standard library and the domain's errors.

Rules (reliability.md S5): https on port 443 or 8443 to a public address. A test endpoint on this machine needs
``allow_loopback = true``: then loopback addresses are allowed as well, on any port and over plain http. No credentials,
query or fragment; hosts in one canonical spelling, because ``0x7f.1`` and ``2130706433`` are addresses too.

Python's ``ipaddress.is_global`` is not such a filter: it calls NAT64, 6to4 and even multicast addresses global.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

_PORTS = frozenset({443, 8443})
_LONGEST_URL = 512
_LONGEST_HOST = 253
_MOST_PORT = 65535
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label starts with a letter: what ends in a number is an address in disguise (WHATWG URL, "ends in a number").
_NAME = re.compile(rf"(?:{_LABEL}\.)+(?=[a-z]){_LABEL}\Z", re.ASCII)
_URL = re.compile(r"[!-~]+\Z", re.ASCII)
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]*)*\Z", re.ASCII)

_DENIED_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT; some clouds' metadata
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # a cloud's host agent, although public
            "169.254.0.0/16",  # link-local; most clouds' metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # automatic multicast tunnels
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
# Outside 2000::/3 nothing is a public host: loopback, mapped and NAT64 forms, unique local, link-local, multicast.
_GLOBAL_6 = IPv6Network("2000::/3")
_DENIED_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: carries any IPv4 address
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)

Address = IPv4Address | IPv6Address


class UrlMalformed(ValueError):
    """A URL that no request may go to; the message says why, without the URL."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A checked URL.

    Attributes:
        scheme: https, or http to loopback.
        host: a lower-case name or the canonical text of an address, without brackets.
        port: the port, always explicit.
        path: begins with ``/``.
        allow_loopback: whether loopback addresses are allowed.
    """

    scheme: str
    host: str
    port: int
    path: str
    allow_loopback: bool = False

    @property
    def authority(self) -> str:
        """``host:port`` as the Host header carries it."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def allows(self, address: Address) -> bool:
        """Tell whether a connection to ``address`` may carry a request for this endpoint."""
        if is_loopback(address):
            return self.allow_loopback
        return self.scheme == "https" and self.port in _PORTS and is_public(address)


def read_endpoint(url: str, *, allow_loopback: bool = False) -> Endpoint:
    """Read a URL.

    Raises:
        UrlMalformed: it is not one that a request may go to.
    """
    parts, port = _split(url)
    host = _host(parts.hostname or "")
    if parts.scheme not in ("https", "http"):
        begins = f"begins with {parts.scheme}://, not with" if parts.scheme.isalpha() else "does not begin with"
        raise UrlMalformed(f"{begins} https://")
    address = literal(host)
    local = host == "localhost" or (address is not None and is_loopback(address))
    if local and not allow_loopback:
        raise UrlMalformed("names this machine; a test endpoint here needs `allow_loopback = true`")
    if address is not None and not local and not is_public(address):
        raise UrlMalformed("names an address that is not a public host")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise UrlMalformed("does not begin with https://")
    chosen = port if port is not None else {"https": 443, "http": 80}[parts.scheme]
    if not local and chosen not in _PORTS:
        raise UrlMalformed("names a port other than 443 or 8443, which only `localhost` and loopback addresses may have")
    return Endpoint(parts.scheme, host, chosen, parts.path or "/", allow_loopback)


def literal(host: str) -> Address | None:
    """Return the address a host spells out, or None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_loopback(address: Address) -> bool:
    """Tell whether an address is this machine's own: 127.0.0.0/8 or ::1."""
    return address in IPv4Network("127.0.0.0/8") if isinstance(address, IPv4Address) else address == IPv6Address("::1")


def is_public(address: Address) -> bool:
    """Tell whether an address may be a platform's on the internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _DENIED_4)
    scoped = address.scope_id is not None
    return address in _GLOBAL_6 and not scoped and not any(address in network for network in _DENIED_6)


def bracketed(host: str) -> str:
    """Return a host as a URL carries it: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def _split(url: str) -> tuple[SplitResult, int | None]:
    if len(url) > _LONGEST_URL or not _URL.match(url) or "\\" in url:
        raise UrlMalformed("is too long or holds a character that a URL can't")
    try:
        parts, port = urlsplit(url), urlsplit(url).port
    except ValueError:
        raise UrlMalformed("names no usable host and port") from None
    if "@" in parts.netloc:
        raise UrlMalformed("holds credentials; platforms are authenticated by signatures")
    if "?" in url or "#" in url:
        raise UrlMalformed("holds a query or a fragment; use a path")
    if not _PATH.match(parts.path) or {".", ".."} & set(parts.path.split("/")):
        raise UrlMalformed("holds a path with other characters than A-Z a-z 0-9 . _ ~ - /")
    if "[" in parts.netloc and not isinstance(literal(parts.hostname or ""), IPv6Address):
        raise UrlMalformed("holds brackets around something other than an IPv6 address")
    if parts.netloc.endswith(":") or (port is not None and not 0 < port <= _MOST_PORT):
        raise UrlMalformed("names no usable port")
    return parts, port


def _host(host: str) -> str:
    address = literal(host)
    if address is not None:
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise UrlMalformed("names an address with a zone")
        return str(address)
    if host != "localhost" and (len(host) > _LONGEST_HOST or not _NAME.match(host)):
        raise UrlMalformed("names a host that is neither a plain name (IDN as xn--…) nor a plain address")
    return host

"""No registration and no resolver leads a request where none may go (reliability.md S5): the transport against the corpus."""

import ssl
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from rude_server import OK, response, says, serving
from ssrf_corpus import DENIED_ADDRESSES, DENIED_ANSWERS, DISGUISED_URLS, PUBLIC_ADDRESSES

from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.platforms.endpoints import Endpoint, UrlMalformed, bracketed, read_endpoint
from fallow.platforms.platform_map import read_registration
from fallow.platforms.signing import SigningKey
from fallow.platforms.transport import Transport

_KEY = SigningKey.generate().public.text


class Names:
    """A resolver that says one thing after the other, the last for ever, and counts.

    Attributes:
        asked: how often it was asked.
    """

    def __init__(self, *says: Sequence[str]) -> None:
        """Take what it says."""
        self._says = says
        self.asked = 0

    async def resolve(self, _host: str, _port: int) -> Sequence[str]:
        """Say the next."""
        self.asked += 1
        return self._says[min(self.asked, len(self._says)) - 1]


def test_the_corpus_has_a_hundred_urls_and_a_hundred_addresses() -> None:
    """As many as the matrix asks for, none of them twice."""
    assert len(set(DISGUISED_URLS)) == len(DISGUISED_URLS) >= 100
    assert len(set(DENIED_ADDRESSES)) + len(set(PUBLIC_ADDRESSES)) >= 100


@pytest.mark.parametrize("url", DISGUISED_URLS)
@pytest.mark.parametrize("key", ["url", "status_url"])
def test_a_registration_with_a_disguised_url_is_refused_without_quoting_it(url: str, key: str) -> None:
    """Both URLs of a registration are read alike, and the refusal repeats nothing of them; a status URL may be left out."""
    table = {
        "id": "larkchat",
        "category": "social",
        "contact": "x",
        "public_keys": [_KEY],
        "url": "https://api.larkchat.example/",
        key: url,
    }
    if (key, url) == ("status_url", ""):
        return

    if url == "":
        assert read_registration("here", table).endpoint is None
        return
    with pytest.raises(MapRefused) as refused:
        read_registration("here", table)

    assert url == "https://" or url.strip("/") not in str(refused.value)


@pytest.mark.parametrize("text", [each for each in DENIED_ADDRESSES if "%" not in each])
def test_a_denied_address_in_a_url_is_refused(text: str) -> None:
    """Written out, with and without the switch for test endpoints, unless it is this machine's own."""
    url = f"https://{bracketed(text)}/"
    with pytest.raises(UrlMalformed):
        read_endpoint(url)
    if text not in ("127.0.0.1", "127.255.255.255", "::1"):
        with pytest.raises(UrlMalformed):
            read_endpoint(url, allow_loopback=True)


@pytest.mark.parametrize("said", DENIED_ANSWERS, ids=" ".join)
async def test_a_resolver_s_denied_answer_ends_the_request(said: list[str]) -> None:
    """Alone or beside good ones, first or last: nothing is connected to, and the name is asked once, not once an attempt."""
    names = Names(said)
    transport = Transport(resolve=names.resolve, trust=ssl.create_default_context(), quick_waits=False)

    with pytest.raises(TargetUnavailable, match="no request may go to"):
        await transport.post(read_endpoint("https://api.larkchat.example/"), {}, b"{}", 5)

    assert names.asked == 1
    assert transport._clients == {}
    await transport.aclose()


async def test_a_name_that_is_rebound_between_two_requests_is_judged_again() -> None:
    """The second request goes neither to the new address nor over the connection that the first left open."""
    async with serving(says(OK)) as server:
        for rebound in (["10.0.0.1"], ["169.254.169.254"], ["127.0.0.1", "10.0.0.1"], ["::ffff:127.0.0.1"], []):
            names = Names(["127.0.0.1"], rebound)
            transport = Transport(resolve=names.resolve, quick_waits=False)
            before = len(server.requests)
            await transport.post(server.endpoint("localhost"), {}, b"{}", 5)
            with pytest.raises(TargetUnavailable, match="no request may go to"):
                await transport.post(server.endpoint("localhost"), {}, b"{}", 5)
            assert (names.asked, len(server.requests) - before) == (2, 1)
            await transport.aclose()


async def test_a_name_that_is_rebound_within_a_request_is_not_looked_up_again() -> None:
    """What was judged is what is connected to: the three attempts to connect share one look-up."""
    async with serving(says(OK)) as server:
        names = Names(["127.0.0.2", "127.0.0.3", "127.0.0.4"], ["127.0.0.1"])
        transport = Transport(resolve=names.resolve, quick_waits=False)
        with pytest.raises(TargetUnavailable, match="ConnectError"):
            await transport.post(server.endpoint("localhost"), {}, b"{}", 5)
        await transport.aclose()

    assert (names.asked, server.connections) == (1, 0)


@pytest.mark.parametrize(
    "text", ["fe80::1%1", "fe80::1%eth0", "not-an-address", "127.0.0.1.evil", "2130706433", "0x7f.1", "", "127.0.0.1\0"]
)
async def test_what_a_resolver_says_that_is_no_plain_address_ends_the_request(text: str) -> None:
    """A resolver's garbage is trouble of that target, not an error of ours."""
    transport = Transport(resolve=Names([text]).resolve, trust=ssl.create_default_context(), quick_waits=False)

    with pytest.raises(TargetUnavailable):
        await transport.post(read_endpoint("https://api.larkchat.example/"), {}, b"{}", 5)

    await transport.aclose()


_ELSEWHERE = [
    "http://127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "/elsewhere",
    "?again",
    "http://[::1]:{port}/",
    "gopher://127.0.0.1:{port}/",
]


@pytest.mark.parametrize("status", [301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize("location", _ELSEWHERE)
async def test_no_redirect_is_followed_wherever_it_leads(status: int, location: str) -> None:
    """Not even to the same host, to another scheme, or to a proxy: one request, and nothing at the other place."""
    async with serving(says(OK)) as other:
        raw = response(f"{status} X", f"location: {location.format(port=other.port)}", "refresh: 0; url=/", "link: </x>; rel=preload")
        async with serving(says(raw)) as server:
            transport = Transport(resolve=Names(["127.0.0.1"]).resolve, quick_waits=False)
            with pytest.raises(TargetUnavailable, match=str(status)):
                await transport.post(server.endpoint("localhost"), {}, b"{}", 5)
            await transport.aclose()

    assert (len(server.requests), other.connections) == (1, 0)


@pytest.mark.parametrize("text", PUBLIC_ADDRESSES)
def test_a_public_address_is_reached_by_https_on_two_ports_only(text: str) -> None:
    """Judged once more where the connection is made, whatever the registration was."""
    address = ip_address(text)
    allowed = {
        (scheme, port)
        for scheme in ("http", "https")
        for port in (22, 80, 443, 8080, 8443)
        if Endpoint(scheme, "a.example", port, "/", True).allows(address)
    }

    assert allowed == {("https", 443), ("https", 8443)}

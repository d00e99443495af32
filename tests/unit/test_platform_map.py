"""The platforms map: every key checked, every refusal named; and where a request may go at all."""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

import pytest
from ssrf_corpus import DENIED_ADDRESSES, DISGUISED_URLS, PUBLIC_ADDRESSES

from fallow.domain.errors import MapRefused
from fallow.domain.obligations import Category
from fallow.platforms.endpoints import UrlMalformed, read_endpoint
from fallow.platforms.platform_map import load_platform_map
from fallow.platforms.signing import SigningKey

KEY = SigningKey(bytes(range(32))).public.text
OTHER_KEY = SigningKey(bytes(range(1, 33))).public.text
PAGE = Path(__file__).parents[2] / "docs" / "platforms.md"
GOOD = {
    "id": '"larkchat"',
    "category": '"social"',
    "url": '"https://api.larkchat.example/unbind"',
    "public_keys": f'["{KEY}"]',
    "contact": '"numbers@larkchat.example"',
}


def written(directory: Path, *tables: Mapping[str, str]) -> Path:
    """Write a map of these tables."""
    path = directory / "platforms.toml"
    path.write_text("\n".join("[[platform]]\n" + "\n".join(f"{k} = {v}" for k, v in table.items()) for table in tables))
    return path


def test_what_is_left_out_takes_its_default(tmp_path: Path) -> None:
    """Five keys suffice; the pace has defaults."""
    entry = load_platform_map(written(tmp_path, GOOD))["larkchat"]

    assert (entry.platform_id, entry.category, entry.contact) == ("larkchat", Category.SOCIAL, "numbers@larkchat.example")
    assert (entry.endpoint and entry.endpoint.url) == "https://api.larkchat.example:443/unbind"
    assert [key.text for key in entry.public_keys] == [KEY]
    assert (entry.batch, entry.rate_per_second, entry.remind_after, entry.reminders, entry.timeout) == (
        50,
        20.0,
        86400.0,
        3,
        10.0,
    )


def test_every_key_is_read(tmp_path: Path) -> None:
    """Pace, rotation keys and loopback come from the file."""
    more = {
        "public_keys": f'["{KEY}", "{OTHER_KEY}"]',
        "batch": "7",
        "rate_per_second": "2",
        "remind_after": '"1.5h"',
        "reminders": "0",
        "timeout": '"500ms"',
        "url": '"http://127.0.0.1:8088/hook"',
        "allow_loopback": "true",
    }

    entry = load_platform_map(written(tmp_path, GOOD | more))["larkchat"]

    assert len(entry.public_keys) == 2
    assert (entry.batch, entry.rate_per_second, entry.remind_after, entry.reminders, entry.timeout) == (7, 2.0, 5400.0, 0, 0.5)
    assert (entry.endpoint and entry.endpoint.url) == "http://127.0.0.1:8088/hook"


def test_the_map_of_the_documentation_loads(tmp_path: Path) -> None:
    """The example a platform's engineer reads is a true one."""
    block = PAGE.read_text().partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "platforms.toml").write_text(block)

    assert list(load_platform_map(tmp_path / "platforms.toml")) == ["larkchat"]


def test_the_order_of_the_file_is_kept(tmp_path: Path) -> None:
    """Platforms appear as the operator wrote them."""
    tables = [{**GOOD, "id": f'"{name}"'} for name in ("zeta", "alpha", "mid-2")]

    assert list(load_platform_map(written(tmp_path, *tables))) == ["zeta", "alpha", "mid-2"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", '"Larkchat"'),
        ("id", '"x"'),
        ("id", '"8bit"'),
        ("id", '"a/b"'),
        ("id", '"' + "a" * 42 + '"'),
        ("id", "7"),
        ("id", '"a\\n"'),
        ("category", '"games"'),
        ("category", '["bank"]'),
        ("url", '"http://api.larkchat.example/"'),
        ("url", "1"),
        ("url", '"http://127.0.0.1:80/"'),
        ("url", '"https://10.0.0.1/"'),
        ("allow_loopback", '"yes"'),
        ("allow_loopback", "1"),
        ("public_keys", "[]"),
        ("public_keys", f'"{KEY}"'),
        ("public_keys", '["whpk_AAAA"]'),
        ("public_keys", f'["{KEY}", "{KEY}"]'),
        ("public_keys", "[1]"),
        ("public_keys", '["whpk_' + "A" * 43 + '="]'),
        ("public_keys", "[" + f'"{KEY}",' * 5 + "]"),
        ("contact", '""'),
        ("contact", '"a\\nb"'),
        ("contact", "1"),
        ("contact", '"' + "x" * 201 + '"'),
        ("batch", "0"),
        ("batch", "1001"),
        ("batch", "1.5"),
        ("batch", "true"),
        ("rate_per_second", "0"),
        ("rate_per_second", "nan"),
        ("rate_per_second", "inf"),
        ("rate_per_second", "true"),
        ("remind_after", "1"),
        ("remind_after", '"1w"'),
        ("remind_after", '"-1d"'),
        ("remind_after", '"1 d"'),
        ("reminders", "-1"),
        ("reminders", "101"),
        ("timeout", '"0s"'),
        ("timeout", '"61s"'),
        ("timeout", '""'),
        ("waiver", "true"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tmp_path: Path, key: str, value: str) -> None:
    """The refusal names the file, the table, the key and what to write."""
    path = written(tmp_path, {**GOOD, "id": '"fine"'}, {**GOOD, key: value})

    with pytest.raises(MapRefused) as caught:
        load_platform_map(path)
    error = caught.value

    assert f"{path}: [[platform]] no. 2: {key} " in error.what
    assert error.remedy


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_key_is_refused_by_name(tmp_path: Path, key: str) -> None:
    """The five keys without a default are demanded."""
    path = written(tmp_path, {name: value for name, value in GOOD.items() if name != key})

    with pytest.raises(MapRefused) as caught:
        load_platform_map(path)
    assert f": {key} is missing" in caught.value.what


@pytest.mark.parametrize(
    "text", ["", "x = 1", "platform = 1", "platform = []", "platform = [1]", "[[platform]", "[platform]\nid='a'", "other = 1\n[[platform]]"]
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    """An empty map is not a map: nobody would be asked."""
    path = tmp_path / "platforms.toml"
    path.write_text(text)

    with pytest.raises(MapRefused) as caught:
        load_platform_map(path)
    assert str(path) in caught.value.what


def test_a_file_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    """Missing, or not UTF-8: one clear error."""
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")

    for name in ("missing.toml", "binary.toml"):
        with pytest.raises(MapRefused) as caught:
            load_platform_map(tmp_path / name)
        assert name in caught.value.what


def test_an_id_used_twice_is_refused(tmp_path: Path) -> None:
    """Two platforms of one name would be one obligation."""
    with pytest.raises(MapRefused) as caught:
        load_platform_map(written(tmp_path, GOOD, GOOD))
    error = caught.value

    assert "used twice" in error.what


@pytest.mark.parametrize("text", DENIED_ADDRESSES)
def test_a_denied_address_gets_no_connection(text: str) -> None:
    """Whatever a name resolves to, these addresses are never connected to."""
    assert not read_endpoint("https://api.larkchat.example/").allows(ip_address(text))


@pytest.mark.parametrize("text", [each for each in DENIED_ADDRESSES if not each.startswith("127.") and each != "::1"])
def test_allow_loopback_allows_loopback_and_nothing_else(text: str) -> None:
    """The switch for test endpoints opens no door to other networks."""
    assert not read_endpoint("https://api.larkchat.example/", allow_loopback=True).allows(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC_ADDRESSES)
def test_a_public_address_gets_a_connection(text: str) -> None:
    """The neighbours of the denied ranges stay reachable, by https only."""
    assert read_endpoint("https://api.larkchat.example/").allows(ip_address(text))
    assert not read_endpoint("http://localhost/", allow_loopback=True).allows(ip_address(text))


@pytest.mark.parametrize("url", DISGUISED_URLS)
def test_a_url_in_disguise_is_refused(url: str) -> None:
    """One canonical spelling of a public https host is accepted, nothing else."""
    with pytest.raises(UrlMalformed):
        read_endpoint(url)


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://api.larkchat.example", "api.larkchat.example:443"),
        ("HTTPS://API.LarkChat.example/a/b", "api.larkchat.example:443"),
        ("https://api.larkchat.example:8443/x", "api.larkchat.example:8443"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example:443"),
        ("https://8.8.8.8/", "8.8.8.8:443"),
        ("https://[2606:4700:4700:0::1111]/", "[2606:4700:4700::1111]:443"),
    ],
)
def test_a_plain_url_is_accepted(url: str, authority: str) -> None:
    """Names, international names in their ASCII form, and public addresses."""
    assert read_endpoint(url).authority == authority


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080/x", "http://localhost:1/", "http://[::1]:65535/", "https://127.0.0.1:9999/"],
)
def test_allow_loopback_opens_this_machine_on_any_port(url: str) -> None:
    """A test endpoint of one's own needs one line in the map, plain http included."""
    endpoint = read_endpoint(url, allow_loopback=True)

    assert endpoint.allows(ip_address("127.0.0.1"))
    assert endpoint.allows(ip_address("::1"))


@pytest.mark.parametrize("url", ["https://api.larkchat.example:9999/", "https://8.8.8.8:22/", "https://[2606:4700:4700::1111]:25/"])
def test_allow_loopback_frees_no_port_of_a_public_host(url: str) -> None:
    """The switch is for this machine: elsewhere 443 and 8443 stay the only ports."""
    with pytest.raises(UrlMalformed, match="port"):
        read_endpoint(url, allow_loopback=True)


def test_localhost_that_resolves_to_a_public_address_is_no_way_out_to_any_port() -> None:
    """Judged again once the name is resolved."""
    assert not read_endpoint("https://localhost:9999/", allow_loopback=True).allows(ip_address("8.8.8.8"))


@pytest.mark.parametrize(
    "url", ["http://api.larkchat.example/", "http://8.8.8.8/", "http://10.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/"]
)
def test_allow_loopback_allows_no_other_plain_http(url: str) -> None:
    """Plain http and private networks stay closed with the switch on."""
    with pytest.raises(UrlMalformed):
        read_endpoint(url, allow_loopback=True)

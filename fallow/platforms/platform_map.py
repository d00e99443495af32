"""Reading ``platforms.toml``: who is asked, where, how fast, and whose signature is believed."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fallow.domain.errors import MapRefused
from fallow.domain.obligations import Category
from fallow.platforms.endpoints import Endpoint
from fallow.platforms.key_kinds import ED25519, RSA
from fallow.platforms.map_values import MapValues, refuse
from fallow.platforms.protocol import MOST_ITEMS
from fallow.platforms.signing import HmacKey
from fallow.platforms.tls import TlsFiles
from fallow.platforms.verifying import VerifyingKey

#: How a number can travel: as itself over TLS, or as HMAC-SHA-256 under the platform's own key.
NUMBER_FORMS = ("e164", "keyed-hash")
#: Most requests in flight at one platform.
MOST_LANES = 32
#: The adapter of those that speak for others.
HUB = "hub"
#: What each adapter needs beside id, category and contact.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "generic": ("url", "public_keys"),
    "hub": ("url", "public_keys"),
    "shared-signals": ("url", "public_keys"),
    "rsa-notify": ("url", "public_keys"),
    "file-drop": ("folder", "public_keys"),
    "manual": (),
}
_NEEDS_VIA_HUB: tuple[str, ...] = ()
#: Adapters whose answers may be signed with the shared secret instead of a key of the platform's own.
_SIGN_WEBHOOKS = frozenset({"generic", "hub"})
#: Adapters whose forms have no shared secret: it would only be one more key that seems to count.
_KNOW_NO_SECRET = frozenset({"shared-signals", "rsa-notify", "file-drop"})
#: Longest that a platform may stay silent before a person is asked, all reminders together, in seconds.
_LONGEST_SILENCE = 400 * 86400
#: The kinds of keys that each adapter verifies with, where they are others than Ed25519 alone.
_KEYS: Mapping[str, tuple[str, ...]] = {"shared-signals": (ED25519, RSA), "rsa-notify": (RSA,)}
_ID = re.compile(r"[a-z][a-z0-9-]{1,40}\Z", re.ASCII)
_ID_OR_NONE = re.compile(r"([a-z][a-z0-9-]{1,40})?\Z", re.ASCII)
_PATH = re.compile(r"(?!(?:.*/)?\.\.(?:/|\Z))(/[!-~]{1,400})?\Z", re.ASCII)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*\Z", re.ASCII)
_CODE = re.compile(r"[a-z][a-z0-9-]{1,40}\Z", re.ASCII)
_REFERENCE = re.compile(r"(?!.*[0-9]{7})[ -~]{0,80}\Z", re.ASCII)
_REQUIRED = ("id", "category", "contact")
_DEFAULTS: Mapping[str, Any] = {
    "adapter": "generic",
    "via": "",
    "url": "",
    "status_url": "",
    "public_keys": [],
    "folder": "",
    "language": "en",
    "legal_basis": "number-recycling",
    "contract": "",
    "answer_within": "5d",
    "number_form": "e164",
    "number_key": "",
    "shared_secret": "",
    "ca_file": "",
    "client_certificate_file": "",
    "lanes": 3,
    "batch": 50,
    "rate_per_second": 20.0,
    "remind_after": "1d",
    "reminders": 3,
    "timeout": "10s",
    "allow_loopback": False,
}


@dataclass(frozen=True, slots=True)
class PlatformEntry:
    """One platform of the map.

    Attributes:
        platform_id: its name everywhere: ``[a-z][a-z0-9-]{1,40}``.
        category: what it is to the former holder.
        endpoint: where requests go.
        public_keys: up to four keys, any of which may sign its answers; none only beside a shared secret, or at a hub's member.
        batch: most items in one request.
        rate_per_second: items per second.
        remind_after: seconds without an answer after which it is asked again.
        reminders: how often, before a person is asked.
        timeout: seconds one request may take altogether.
        contact: whom to ask at the platform.
        adapter: how it is spoken to: a name of ``fallow.platforms.adapters``.
        via: the hub that speaks for it, by its platform id; "" where it speaks for itself.
        status_url: where it can be asked how something stands; None: nowhere.
        folder: for the adapter ``file-drop``, where files go out and come in; "" otherwise.
        language: of the people who will read a request, as BCP 47 names it.
        legal_basis: code of the basis on which it is asked; docs/platforms.md lists them.
        contract: reference of the contract with the platform; "" where there is none.
        answer_within: seconds from the first request to the deadline it names.
        number_form: ``e164``, or ``keyed-hash`` under ``number_key``.
        number_key: ``whnk_`` and base64 of 32 secret bytes; "" unless numbers go as keyed hashes.
        shared_secret: ``whsec_`` and base64, for platforms that sign and verify with HMAC (``v1``); "" otherwise.
        ca_file: PEM of the authorities that may vouch for its endpoint; "" for the public ones.
        client_certificate_file: PEM of our certificate and its key, for endpoints that ask for one; "" for none.
        lanes: most requests in flight at once.
    """

    platform_id: str
    category: Category
    endpoint: Endpoint | None
    public_keys: tuple[VerifyingKey, ...]
    batch: int
    rate_per_second: float
    remind_after: float
    reminders: int
    timeout: float
    contact: str
    adapter: str = "generic"
    via: str = ""
    status_url: Endpoint | None = None
    folder: str = ""
    language: str = "en"
    legal_basis: str = "number-recycling"
    contract: str = ""
    answer_within: float = 5 * 86400.0
    number_form: str = "e164"
    number_key: str = field(default="", repr=False)
    shared_secret: str = field(default="", repr=False)
    ca_file: str = ""
    client_certificate_file: str = ""
    lanes: int = 3

    @property
    def tls(self) -> TlsFiles:
        """What its endpoints want beyond TLS as everybody speaks it."""
        return TlsFiles(self.ca_file, self.client_certificate_file)

    @property
    def shared_key(self) -> HmacKey | None:
        """The shared secret as a key, where there is one."""
        return HmacKey.from_text(self.shared_secret) if self.shared_secret else None

    @property
    def keys(self) -> tuple[VerifyingKey, ...]:
        """Every key that may sign its answers; those that only the platform holds come first, so that evidence cites them."""
        shared = self.shared_key
        return self.public_keys if shared is None else (*self.public_keys, shared)


def load_platform_map(path: Path) -> dict[str, PlatformEntry]:
    """Read the map; the platforms by id, in the file's order.

    Raises:
        MapRefused: naming the file, the platform, the key and the remedy.
    """
    return {platform_id: entry for platform_id, (entry, _) in load_registrations(path).items()}


def load_registrations(path: Path) -> dict[str, tuple[PlatformEntry, dict[str, Any]]]:
    """Read the map like :func:`load_platform_map`; with each entry the table that it was read from.

    Raises:
        MapRefused: naming the file, the platform, the key and the remedy.
    """
    document = _document(path)
    tables = document.get("platform")
    if document.keys() != {"platform"} or not isinstance(tables, list) or not tables:
        refuse(f"{path}", "does not hold [[platform]] tables and nothing else", "write one [[platform]] per platform.")
    entries: dict[str, tuple[PlatformEntry, dict[str, Any]]] = {}
    for position, table in enumerate(tables, start=1):
        entry = read_registration(f"{path}: [[platform]] no. {position}", table)
        if entry.platform_id in entries:
            refuse(f"{path}: [[platform]] no. {position}: id", "is used twice", "give each platform an id of its own.")
        entries[entry.platform_id] = (entry, table)
    demand_hubs({platform_id: entry for platform_id, (entry, _) in entries.items()})
    return entries


def load_proposed(path: Path) -> dict[str, Any]:
    """Read a file with the one ``[[platform]]`` table that is proposed; the table is not judged yet.

    Raises:
        MapRefused: the file can't be read, or holds anything else.
    """
    document = _document(path)
    tables = document.get("platform")
    if document.keys() != {"platform"} or not isinstance(tables, list) or len(tables) != 1 or not isinstance(tables[0], dict):
        refuse(f"{path}", "does not hold one [[platform]] table and nothing else", "write one; each platform is proposed by itself.")
    table: dict[str, Any] = tables[0]
    return table


def asked(entries: Mapping[str, PlatformEntry]) -> dict[str, PlatformEntry]:
    """Return the platforms that can be asked: a hub only speaks for others and is no obligation's target."""
    return {platform_id: entry for platform_id, entry in entries.items() if entry.adapter != HUB}


def demand_hubs(entries: Mapping[str, PlatformEntry]) -> None:
    """Refuse registrations that name a hub which is none of them.

    Raises:
        MapRefused: naming the platform and what it names.
    """
    for entry in entries.values():
        hub = entries.get(entry.via)
        if entry.via and (hub is None or hub.adapter != HUB or hub.via or entry.adapter == HUB):
            what = f"The platform {entry.platform_id} names the hub {entry.via}, which is no hub that can speak for it."
            raise MapRefused(what, remedy=f'register {entry.via} with `adapter = "hub"` and no `via`, or leave `via` out.')


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the keys in which two registrations differ, sorted; a key left out has its default."""
    first, second = {**_DEFAULTS, **one}, {**_DEFAULTS, **other}
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        trouble = f"can't be read ({error.strerror})"
    except UnicodeDecodeError:
        trouble = "is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        trouble = f"is not TOML ({error})"
    what = f"{path} {trouble}."
    raise MapRefused(what, remedy="see docs/platforms.md for a map to start from.")


def read_registration(where: str, table: object) -> PlatformEntry:
    """Read one platform: a table of the map, or what is kept of a registration. ``where`` begins every refusal.

    Raises:
        MapRefused: naming the key and the remedy.
    """
    if not isinstance(table, dict):
        refuse(where, "is not a table", "write [[platform]] and its keys below.")
    unknown = sorted(table.keys() - set(_REQUIRED) - _DEFAULTS.keys())
    if unknown:
        refuse(f"{where}: {unknown[0]}", "is not a key of a platform", f"use {', '.join((*_REQUIRED, *_DEFAULTS))}.")
    values = MapValues(where, {**_DEFAULTS, **table})
    if not isinstance(values.table["allow_loopback"], bool):
        values.refuse("allow_loopback", "is neither true nor false", "write true for a test endpoint on this machine.")
    adapter, via = values.one_of("adapter", tuple(_NEEDS)), values.text("via", _ID_OR_NONE, "the id of a hub of this map, or nothing")
    needed = _NEEDS_VIA_HUB if via else _NEEDS[adapter]
    if table.get("shared_secret") and adapter in _SIGN_WEBHOOKS:
        needed = tuple(key for key in needed if key != "public_keys")
    if table.get("shared_secret") and adapter in _KNOW_NO_SECRET:
        values.refuse("shared_secret", f"is nothing that the adapter {adapter} signs or verifies with", "leave it out.")
    for key in (*_REQUIRED, *needed):
        if key not in table:
            refuse(f"{where}: {key}", "is missing", f"add `{key} = …`; see docs/platforms.md.")
    remind_after, reminders = values.duration("remind_after", 0.1, 365 * 86400), values.whole("reminders", 0, 100)
    if remind_after * (reminders + 1) > _LONGEST_SILENCE:
        values.refuse("remind_after", "is so long that nobody is asked for years", "keep it, times `reminders` + 1, within 400 days.")
    return PlatformEntry(
        platform_id=values.matching("id", _ID, "2 to 41 of a-z 0-9 -, beginning with a letter"),
        category=values.category(),
        endpoint=values.endpoint("url"),
        public_keys=values.public_keys(int("public_keys" in needed), (ED25519,) if via else _KEYS.get(adapter, (ED25519,))),
        batch=values.whole("batch", 1, MOST_ITEMS),
        rate_per_second=values.rate(),
        remind_after=remind_after,
        reminders=reminders,
        timeout=values.duration("timeout", 0.1, 60),
        contact=values.contact(),
        adapter=adapter,
        via=via,
        status_url=values.endpoint("status_url"),
        folder=values.text("folder", _PATH, "an absolute path without `..`"),
        language=values.text("language", _LANGUAGE, 'a language as BCP 47 names it, such as "en" or "zh-CN"'),
        legal_basis=values.text("legal_basis", _CODE, "a code of a-z 0-9 -"),
        contract=values.text("contract", _REFERENCE, "a reference of at most 80 characters without seven digits in a row"),
        answer_within=values.duration("answer_within", 1, 365 * 86400),
        number_form=values.one_of("number_form", NUMBER_FORMS),
        number_key=values.secret("number_key", "whnk_", demanded=table.get("number_form") == "keyed-hash"),
        shared_secret=values.secret("shared_secret", "whsec_"),
        ca_file=values.text("ca_file", _PATH, "an absolute path without `..`"),
        client_certificate_file=values.text("client_certificate_file", _PATH, "an absolute path without `..`"),
        lanes=values.whole("lanes", 1, MOST_LANES),
    )

"""Reading ``platforms.toml``: who is asked, where, how fast, and whose signature is believed."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from fallow.domain.errors import MapRefused, SettingRefused
from fallow.domain.obligations import Category
from fallow.platforms.endpoints import Endpoint, UrlMalformed, read_endpoint
from fallow.platforms.protocol import MOST_ANSWERS
from fallow.platforms.signing import MOST_KEYS, PublicKey

_ID = re.compile(r"[a-z][a-z0-9-]{1,40}\Z", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)\Z", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_CONTACT = 200
_REQUIRED = ("id", "category", "url", "public_keys", "contact")
_DEFAULTS: Mapping[str, Any] = {
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
        public_keys: one to four keys, any of which may sign its answers.
        batch: most items in one request.
        rate_per_second: items per second.
        remind_after: seconds without an answer after which it is asked again.
        reminders: how often, before a person is asked.
        timeout: seconds one request may take altogether.
        contact: whom to ask at the platform.
    """

    platform_id: str
    category: Category
    endpoint: Endpoint
    public_keys: tuple[PublicKey, ...]
    batch: int
    rate_per_second: float
    remind_after: float
    reminders: int
    timeout: float
    contact: str


def load_platform_map(path: Path) -> dict[str, PlatformEntry]:
    """Read the map; the platforms by id, in the file's order.

    Raises:
        MapRefused: naming the file, the platform, the key and the remedy.
    """
    document = _document(path)
    tables = document.get("platform")
    if document.keys() != {"platform"} or not isinstance(tables, list) or not tables:
        _refuse(f"{path}", "does not hold [[platform]] tables and nothing else", "write one [[platform]] per platform.")
    entries: dict[str, PlatformEntry] = {}
    for position, table in enumerate(tables, start=1):
        entry = _entry(f"{path}: [[platform]] no. {position}", table)
        if entry.platform_id in entries:
            _refuse(f"{path}: [[platform]] no. {position}: id", "is used twice", "give each platform an id of its own.")
        entries[entry.platform_id] = entry
    return entries


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


def _entry(where: str, table: object) -> PlatformEntry:
    if not isinstance(table, dict):
        _refuse(where, "is not a table", "write [[platform]] and its keys below.")
    unknown = sorted(table.keys() - set(_REQUIRED) - _DEFAULTS.keys())
    if unknown:
        _refuse(f"{where}: {unknown[0]}", "is not a key of a platform", f"use {', '.join((*_REQUIRED, *_DEFAULTS))}.")
    for key in _REQUIRED:
        if key not in table:
            _refuse(f"{where}: {key}", "is missing", f"add `{key} = …`; see docs/platforms.md.")
    values = _Values(where, {**_DEFAULTS, **table})
    return PlatformEntry(
        platform_id=values.matching("id", _ID, "2 to 41 of a-z 0-9 -, beginning with a letter"),
        category=values.category(),
        endpoint=values.endpoint(),
        public_keys=values.public_keys(),
        batch=values.whole("batch", 1, MOST_ANSWERS),
        rate_per_second=values.rate(),
        remind_after=values.duration("remind_after", 0.1, 365 * 86400),
        reminders=values.whole("reminders", 0, 100),
        timeout=values.duration("timeout", 0.1, 60),
        contact=values.contact(),
    )


@dataclass(frozen=True, slots=True)
class _Values:
    """The values of one table, each read in its own way; every refusal names the key."""

    where: str
    table: Mapping[str, Any]

    def matching(self, key: str, form: re.Pattern[str], shape: str) -> str:
        value = self.table[key]
        if not isinstance(value, str) or not form.match(value):
            self.refuse(key, "has another form than it must", f"write {shape}.")
        return value

    def category(self) -> Category:
        value = self.table["category"]
        if not isinstance(value, str) or value not in set(Category):
            self.refuse("category", "is not a category", f"write one of {', '.join(Category)}.")
        return Category(value)

    def endpoint(self) -> Endpoint:
        url, allow_loopback = self.table["url"], self.table["allow_loopback"]
        if not isinstance(allow_loopback, bool):
            self.refuse("allow_loopback", "is neither true nor false", "write true for a test endpoint on this machine.")
        try:
            return read_endpoint(str(url), allow_loopback=allow_loopback)
        except UrlMalformed as error:
            self.refuse("url", str(error), "write https://host/path with a public host; see docs/platforms.md.")

    def public_keys(self) -> tuple[PublicKey, ...]:
        texts = self.table["public_keys"]
        if not isinstance(texts, list) or not 1 <= len(texts) <= MOST_KEYS:
            self.refuse("public_keys", "is not a list of keys", f'write ["whpk_…"] with 1 to {MOST_KEYS} keys.')
        try:
            keys = tuple(PublicKey.from_text(str(text)) for text in texts)
        except SettingRefused as error:
            self.refuse("public_keys", "holds something that is not a sound key", error.remedy)
        if len(set(keys)) != len(keys):
            self.refuse("public_keys", "holds a key twice", "name each key once.")
        return keys

    def whole(self, key: str, least: int, most: int) -> int:
        value = self.table[key]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.refuse(key, "is out of range", f"write a whole number from {least} to {most}.")
        return value

    def rate(self) -> float:
        value = self.table["rate_per_second"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.001 <= value <= 10_000:  # noqa: PLR2004 - named below
            self.refuse("rate_per_second", "is out of range", "write items per second, 0.001 to 10000.")
        return float(value)

    def duration(self, key: str, least: float, most: float) -> float:
        value = self.table[key]
        found = _DURATION.match(value) if isinstance(value, str) else None
        seconds = float(found[1]) * _SECONDS[found[2]] if found else -1.0
        if not least <= seconds <= most:
            self.refuse(key, "is not a duration in range", f'write "10s", "12h" or "1d": {least:g} s to {most:g} s.')
        return seconds

    def contact(self) -> str:
        value = self.table["contact"]
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_CONTACT or not value.isprintable():
            self.refuse("contact", "is not one line of text", f"write whom to ask, at most {_LONGEST_CONTACT} characters.")
        return value

    def refuse(self, key: str, trouble: str, remedy: str) -> NoReturn:
        _refuse(f"{self.where}: {key}", trouble, remedy)


def _refuse(where: str, trouble: str, remedy: str) -> NoReturn:
    what = f"{where} {trouble}."
    raise MapRefused(what, remedy=remedy)

"""The values of one table of ``platforms.toml``, each read in its own way; every refusal names the key and the remedy, never the value."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from fallow.domain.errors import MapRefused, SettingRefused
from fallow.domain.obligations import Category
from fallow.platforms.endpoints import Endpoint, UrlMalformed, read_endpoint
from fallow.platforms.key_kinds import read_key
from fallow.platforms.signing import MOST_KEYS
from fallow.platforms.verifying import VerifyingKey

_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)\Z", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_CONTACT = 200
_LEAST_SECRET, _MOST_SECRET = 24, 64


@dataclass(frozen=True, slots=True)
class MapValues:
    """The values of one table, each read in its own way; every refusal names the key."""

    where: str
    table: Mapping[str, Any]

    def matching(self, key: str, form: re.Pattern[str], shape: str) -> str:
        """Read a text of one form."""
        value = self.table[key]
        if not isinstance(value, str) or not form.match(value):
            self.refuse(key, "has another form than it must", f"write {shape}.")
        return value

    def category(self) -> Category:
        """Read the category."""
        value = self.table["category"]
        if not isinstance(value, str) or value not in set(Category):
            self.refuse("category", "is not a category", f"write one of {', '.join(Category)}.")
        return Category(value)

    def endpoint(self, key: str) -> Endpoint | None:
        """Read a URL; "" is none."""
        url, allow_loopback = self.table[key], self.table["allow_loopback"]
        if url == "":
            return None
        if not isinstance(allow_loopback, bool):
            self.refuse("allow_loopback", "is neither true nor false", "write true for a test endpoint on this machine.")
        try:
            return read_endpoint(str(url), allow_loopback=allow_loopback)
        except UrlMalformed as error:
            self.refuse(key, str(error), "write https://host/path with a public host; see docs/platforms.md.")

    def public_keys(self, least: int, kinds: Sequence[str]) -> tuple[VerifyingKey, ...]:
        """Read the keys that sign its answers, of the kinds that its adapter verifies with."""
        texts = self.table["public_keys"]
        if not isinstance(texts, list) or not least <= len(texts) <= MOST_KEYS:
            self.refuse("public_keys", "is not a list of keys", f'write ["{kinds[0]}…"] with {least} to {MOST_KEYS} keys.')
        try:
            keys = tuple(read_key(str(text), kinds) for text in texts)
        except SettingRefused as error:
            self.refuse("public_keys", "holds something that is not a sound key", error.remedy)
        if len(set(keys)) != len(keys):
            self.refuse("public_keys", "holds a key twice", "name each key once.")
        return keys

    def whole(self, key: str, least: int, most: int) -> int:
        """Read a whole number."""
        value = self.table[key]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.refuse(key, "is out of range", f"write a whole number from {least} to {most}.")
        return value

    def rate(self) -> float:
        """Read items per second."""
        value = self.table["rate_per_second"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.001 <= value <= 10_000:  # noqa: PLR2004 - named below
            self.refuse("rate_per_second", "is out of range", "write items per second, 0.001 to 10000.")
        return float(value)

    def duration(self, key: str, least: float, most: float) -> float:
        """Read a duration; seconds."""
        value = self.table[key]
        found = _DURATION.match(value) if isinstance(value, str) else None
        seconds = float(found[1]) * _SECONDS[found[2]] if found else -1.0
        if not least <= seconds <= most:
            self.refuse(key, "is not a duration in range", f'write "10s", "12h" or "1d": {least:g} s to {most:g} s.')
        return seconds

    def contact(self) -> str:
        """Read one line of text."""
        value = self.table["contact"]
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_CONTACT or not value.isprintable():
            self.refuse("contact", "is not one line of text", f"write whom to ask, at most {_LONGEST_CONTACT} characters.")
        return value

    def refuse(self, key: str, trouble: str, remedy: str) -> NoReturn:
        """Refuse this key."""
        refuse(f"{self.where}: {key}", trouble, remedy)

    def text(self, key: str, form: re.Pattern[str], shape: str) -> str:
        """Read a text of one form, which may be empty where the form allows it."""
        return self.matching(key, form, shape)

    def one_of(self, key: str, words: Sequence[str]) -> str:
        """Read one of some words."""
        value = self.table[key]
        if not isinstance(value, str) or value not in words:
            self.refuse(key, "is not one of its words", f"write one of {', '.join(words)}.")
        return value

    def secret(self, key: str, prefix: str, *, demanded: bool = False) -> str:
        """Read a shared secret: its prefix and the base64 of 24 to 64 bytes; "" is none, unless one is demanded."""
        value = self.table[key]
        if value == "" and not demanded:
            return ""
        encoded = value.removeprefix(prefix) if isinstance(value, str) and value.startswith(prefix) else "-"
        try:
            raw = base64.b64decode(encoded, validate=True)
        except ValueError:
            raw = b""
        length = len(raw) if base64.b64encode(raw).decode() == encoded else 0
        if not _LEAST_SECRET <= length <= _MOST_SECRET:
            self.refuse(key, "is not a secret of its form", f"write `{prefix}` and the base64 of 24 to 64 random bytes.")
        return str(value)


def refuse(where: str, trouble: str, remedy: str) -> NoReturn:
    """Refuse a map.

    Raises:
        MapRefused: always.
    """
    what = f"{where} {trouble}."
    raise MapRefused(what, remedy=remedy)

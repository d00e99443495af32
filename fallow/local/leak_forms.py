"""Every form in which a number could lie somewhere it must not: spelled, encoded, or hashed without a key.

Spelled forms are found by looking at runs of digits; the others are fixed bytes, found by looking up aligned words of a file in
a set: an occurrence of at least 11 bytes contains a whole word of 8 that begins at a multiple of 4. Imports phonenumbers.
"""

import base64
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import phonenumbers

WORD = 8
STRIDE = 4
_SHORTEST_NEEDLE = WORD + STRIDE - 1
#: Shorter texts that betray a person can't be looked for.
SHORTEST_TEXT = _SHORTEST_NEEDLE
#: Shorter digit strings occur by chance; where the national number is shorter, only the full one is looked for inside encodings.
_SHORTEST_CORE = 9
#: Next to a letter only this many digits count: shorter runs between letters are found in every hexadecimal id.
_LEAST_BESIDE_LETTERS = 10
#: And this many between other digits, which a timestamp in nanoseconds does not hold by chance.
_LEAST_INSIDE = 11

# Possessive, so that a run that ends too early is given up at once instead of being tried again from each of its digits.
_RUN = re.compile(rb"[0-9](?:(?:%20|%2[89Dd]|\xc2\xa0|\xe2\x80[\x80-\xaf]|[ \t.()/+_-]){0,3}+[0-9]){6,}+")
_GROUP = re.compile(rb"%20|%2[89Dd]|([0-9]+)")


@dataclass(frozen=True, slots=True, repr=False)
class Needle:
    """Fixed bytes that betray a number or a person.

    Attributes:
        index: which number, or which of the other texts.
        form: what they are.
        content: the bytes.
    """

    index: int
    form: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """A form of a number at an offset of some bytes."""

    offset: int
    index: int
    form: str


class Forms:
    """All forms of some numbers, ready to be looked for."""

    def __init__(self, numbers: Sequence[str], texts: Sequence[str] = ()) -> None:
        """Take numbers, each ``+`` and digits, and other texts that betray a person; their indexes go on behind the numbers'.

        Raises:
            ValueError: a text is too short to be found.
        """
        self._spelled: dict[bytes, tuple[int, str]] = {}
        self._by_word: defaultdict[int, list[Needle]] = defaultdict(list)
        for index, number in enumerate(numbers):
            digits, national = number.removeprefix("+"), _national(number)
            for text, form in ((national, "national"), ("0" + national, "national, trunk 0"), ("00" + digits, "00"), (digits, "E.164")):
                self._spelled[text.encode()] = (index, form)
            self._seek(_needles(index, digits, national))
        for index, text in enumerate(texts, start=len(numbers)):
            self._seek(_needles_of(index, text.encode()))
        self._words = frozenset(self._by_word)
        self._longest = max(map(len, self._spelled), default=0)
        self._shortest = min(map(len, self._spelled), default=0)

    def look(self, content: bytes) -> Iterator[Found]:
        """Yield every form found in ``content``."""
        yield from self._encoded(content)
        for run in _RUN.finditer(content):
            yield from self._spelled_in(content, run.start(), run.end())
            if content[run.start() - 1 : run.start()] == b"%":
                yield from self._spelled_in(content, run.start() + 2, run.end())

    def _seek(self, needles: Iterable[Needle]) -> None:
        for needle in needles:
            for start in range(STRIDE):
                self._by_word[int.from_bytes(needle.content[start : start + WORD], "little")].append(needle)

    def _encoded(self, content: bytes) -> Iterator[Found]:
        words = set[int]()
        for start in range(0, WORD, STRIDE):
            view = memoryview(content)[start : start + (len(content) - start) // WORD * WORD].cast("Q")
            if not self._words.isdisjoint(view):
                words |= self._words.intersection(view)
        for needle in {needle for word in words for needle in self._by_word[word]}:
            at = content.find(needle.content)
            while at >= 0:
                yield Found(at, needle.index, needle.form)
                at = content.find(needle.content, at + 1)

    def _spelled_in(self, content: bytes, start: int, end: int) -> Iterator[Found]:
        """Put neighbouring groups of a run together in every way that gives a number's length."""
        groups = [group for group in _GROUP.finditer(content, start, end) if group[1]]
        for group in groups:
            if group[1] not in self._spelled:
                yield from self._inside(group.start(), group[1])
        for first in range(len(groups)):
            text = b""
            for last in range(first, len(groups)):
                text += groups[last][1]
                if len(text) > self._longest:
                    break
                known = self._spelled.get(text) if len(text) >= self._shortest else None
                if known and _is_plausible(content, groups[first : last + 1], len(text)):
                    yield Found(groups[first].start(), known[0], known[1] if first == last else known[1] + ", grouped")

    def _inside(self, start: int, digits: bytes) -> Iterator[Found]:
        """Look inside digits that are too many for one number: neighbouring cells of a database page touch each other."""
        for first in range(max(0, len(digits) - _LEAST_INSIDE + 1)):
            for last in range(first + _LEAST_INSIDE, min(len(digits), first + self._longest) + 1):
                known = self._spelled.get(digits[first:last])
                if known:
                    yield Found(start + first, known[0], known[1] + ", between digits")


def _is_plausible(content: bytes, groups: Sequence[re.Match[bytes]], digits: int) -> bool:
    """Tell whether groups of digits could be meant as one number: not a decimal fraction, not a piece of an id."""
    start, end = groups[0].start(), groups[-1].end()
    is_fraction = len(groups) == 2 and content[groups[0].end() : groups[1].start()] == b"."  # noqa: PLR2004 - before and behind the point
    return not is_fraction and (digits >= _LEAST_BESIDE_LETTERS or _stands_alone(content, start, end))


def _stands_alone(content: bytes, start: int, end: int) -> bool:
    """Tell whether no letter touches the digits, not counting that of an escape, such as an encoded plus sign or line end."""
    before, after = content[max(0, start - 3) : start], content[end : end + 1]
    escaped = before[:1] == b"%" or before[-2:-1] == b"\\"
    return (escaped or not before[-1:].isalpha()) and not after.isalpha()


def _national(number: str) -> str:
    try:
        return phonenumbers.national_significant_number(phonenumbers.parse(number, None))
    except phonenumbers.NumberParseException:
        return number.removeprefix("+")


def _needles(index: int, digits: str, national: str) -> Iterator[Needle]:
    # The national number is the end of the full one, so whatever encodes the full one holds the national one's encoding too.
    core = (national if len(national) >= _SHORTEST_CORE else digits).encode()
    yield from _encodings(index, core)
    for text in ("+" + digits, digits, national):
        for name in ("md5", "sha1", "sha256"):
            hashed = hashlib.new(name, text.encode(), usedforsecurity=False).digest()
            yield from (Needle(index, f"{name}, {how}", content) for how, content in _written(hashed))


def _needles_of(index: int, text: bytes) -> Iterator[Needle]:
    """Yield a text as it is and encoded; what is hashed of it is not looked for."""
    if len(text) < SHORTEST_TEXT:
        what = f"a text of fewer than {SHORTEST_TEXT} bytes can't be looked for"
        raise ValueError(what)
    yield Needle(index, "text", text)
    yield from _encodings(index, text)


def _encodings(index: int, core: bytes) -> Iterator[Needle]:
    yield Needle(index, "hexadecimal", core.hex().encode())
    yield Needle(index, "UTF-16", core.decode().encode("utf-16-le"))
    yield Needle(index, "UTF-16", core.decode().encode("utf-16-be"))
    for shift in range(3):
        yield Needle(index, "base64", _inner_base64(core, shift))


def _inner_base64(core: bytes, shift: int) -> bytes:
    """Return the part of ``core``'s base64 that does not depend on its neighbours, when it begins at ``shift`` modulo 3."""
    encoded = base64.b64encode(bytes(shift) + core + bytes(2))
    first_bit, last_bit = 8 * shift, 8 * (shift + len(core))
    return encoded[-(-first_bit // 6) : last_bit // 6]


def _written(hashed: bytes) -> Iterable[tuple[str, bytes]]:
    """Yield the ways a hash is written, each cut to what a shortened one would still have."""
    plain, url_safe = base64.b64encode(hashed)[:12], base64.urlsafe_b64encode(hashed)[:12]
    code = base64.b32encode(hashed)[:16]
    hexadecimal = hashed.hex()[:16].encode()
    written = [("raw", hashed[:_SHORTEST_NEEDLE]), ("hexadecimal", hexadecimal), ("hexadecimal", hexadecimal.upper()), ("base64", plain)]
    written += [("base64", url_safe)] * (url_safe != plain) + [("base32", code), ("base32", code.lower())]
    return dict.fromkeys(written)

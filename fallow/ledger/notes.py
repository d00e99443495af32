"""Signed notes (https://c2sp.org/signed-note): a text, and below it a line for each signature; and cosignatures of witnesses.

Keys are Ed25519. A key has a name, such as ``example.com/ledger``, and an id of four octets that is made of the name, the form of the
signature and the key itself; verifiers exchange it as ``name+id+base64``. Signatures of keys that nobody asked about are left alone: that
is how a ledger changes its key, and how witnesses add what they saw (https://c2sp.org/tlog-cosignature). One that was asked about and does
not verify refuses the whole note.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import NamedTuple, NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fallow.domain.curve import is_weak
from fallow.domain.errors import NoteRefused
from fallow.domain.spelling import read_base64

#: Most octets of a note that is read; sixteen signatures of the longest kind there is fit, as the specification demands.
LONGEST_NOTE = 128 * 1024
#: Most signature lines that are read; the specification demands 16.
MOST_SIGNATURES = 64
#: Most characters of a key's name.
LONGEST_NAME = 255

_KEY_OCTETS, _ID_OCTETS, _INSTANT_OCTETS = 32, 4, 8
_LAST_INSTANT = 2**63 - 1
_LONGEST_KEY = LONGEST_NAME + 64
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_LINE = re.compile(r"— ([^ ]+) ([A-Za-z0-9+/=]+)\Z", re.ASCII)


class Form(IntEnum):
    """What a key signs, by the octet that the specification assigned."""

    #: the note's text
    ED25519 = 1
    #: "cosignature/v1", the instant and the text of a checkpoint that the witness saw to go on from all it saw before
    COSIGNATURE = 4


class NoteSignature(NamedTuple):
    """One line below a note: whose, by name and id, and the octets after the id."""

    name: str
    key_id: bytes
    raw: bytes


class Signed(NamedTuple):
    """A signature that was verified: by which key; of a cosignature also when, in seconds since 1970."""

    key: "VerifierKey"
    at: int | None


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """What verifies one signer's notes.

    Attributes:
        name: whose key; no spaces, no plus.
        raw: the 32 octets of an Ed25519 public key.
        form: what it signs.

    Raises:
        NoteRefused: a name that can be none, or a key that is none or that anybody could sign under.
    """

    name: str
    raw: bytes
    form: Form = Form.ED25519

    def __post_init__(self) -> None:
        """Refuse what can be no key."""
        if not _is_name(self.name) or type(self.raw) is not bytes or len(self.raw) != _KEY_OCTETS or is_weak(self.raw):
            _refuse_key()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read ``name+id+base64`` in its one spelling.

        Raises:
            NoteRefused: another form, an id that is not this key's, another kind of key, or a weak one.
        """
        if not isinstance(text, str) or len(text) > _LONGEST_KEY:
            _refuse_key()
        name, _, rest = text.partition("+")
        raw = read_base64(rest.partition("+")[2]) or b"\0"
        if raw[0] not in tuple(Form):
            _refuse_key()
        key = cls(name, raw[1:], Form(raw[0]))
        if key.text != text:
            _refuse_key()
        return key

    @property
    def key_id(self) -> bytes:
        """The four octets by which a signature line says whose it is."""
        return sha256(self.name.encode() + b"\n" + self._formed).digest()[:_ID_OCTETS]

    @property
    def text(self) -> str:
        """The key as verifiers exchange it."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._formed).decode()}"

    @property
    def _formed(self) -> bytes:
        return bytes([self.form]) + self.raw

    def opens(self, text: str, signature: bytes) -> Signed | None:
        """Return what a signature of ``text`` says, or None where this key's owner did not make it."""
        if self.form is Form.ED25519:
            return Signed(self, None) if self._verifies(text.encode(), signature) else None
        at = int.from_bytes(signature[:_INSTANT_OCTETS], "big")
        if at > _LAST_INSTANT or not self._verifies(cosigned(text, at), signature[_INSTANT_OCTETS:]):
            return None
        return Signed(self, at)

    def _verifies(self, content: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, content)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True, repr=False)
class NoteSigner:
    """What signs notes under a name. It does not print.

    Attributes:
        name: as in :class:`VerifierKey`.
        seed: the 32 octets of an Ed25519 private key.
    """

    name: str
    seed: bytes

    @property
    def verifier(self) -> VerifierKey:
        """What verifies this signer's notes."""
        return VerifierKey(self.name, self._key.public_key().public_bytes_raw())

    @property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def sign(self, text: str) -> NoteSignature:
        """Return the signature of a text."""
        return NoteSignature(self.name, self.verifier.key_id, self._key.sign(text.encode()))


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures; nothing of it counts before :func:`signed_by`.

    Attributes:
        text: ends in a newline.
        signatures: in the order of their lines.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    @property
    def raw(self) -> bytes:
        """The note as it is exchanged."""
        lines = [f"— {each.name} {base64.b64encode(each.key_id + each.raw).decode()}\n" for each in self.signatures]
        return f"{self.text}\n{''.join(lines)}".encode()


def sign_note(text: str, signers: Sequence[NoteSigner]) -> bytes:
    """Return a note with a signature of each signer.

    Raises:
        NoteRefused: a text that can't be read back: without a newline at its end, with control characters, or too long; or no signer.
    """
    raw = Note(text, tuple(signer.sign(text) for signer in signers)).raw
    if read_note(raw).text != text:
        _refuse("has a text that can't be signed")
    return raw


def read_note(raw: bytes) -> Note:
    """Read a note in its one spelling; who signed it is not known yet.

    Raises:
        NoteRefused: it is none, is longer than :data:`LONGEST_NOTE`, or has more than :data:`MOST_SIGNATURES`.
    """
    whole = _decoded(raw)
    cut = whole.rfind("\n\n")
    if cut < 0 or not whole.endswith("\n"):
        _refuse("is not a text, an empty line and signatures, each line ended")
    lines = whole[cut + 2 : -1].split("\n")
    if len(lines) > MOST_SIGNATURES:
        _refuse(f"has more than {MOST_SIGNATURES} signatures")
    return Note(whole[: cut + 1], tuple(map(_signature, lines)))


def signed_by(note: Note, keys: Iterable[VerifierKey]) -> list[Signed]:
    """Return every signature that one of these keys made, in the note's order; the others' are left alone.

    Raises:
        NoteRefused: a signature bears the name and id of one of the keys and is not its owner's.
    """
    known = _by_name_and_id(keys)
    found = list[Signed]()
    for name, key_id, raw in note.signatures:
        key = known.get((name, key_id))
        if key is None:
            continue
        signed = key.opens(note.text, raw)
        if signed is None:
            _refuse(f"has a signature under the name and id of {key.text}, which that key did not make")
        found.append(signed)
    return found


def open_note(raw: bytes, keys: Sequence[VerifierKey]) -> tuple[str, list[Signed]]:
    """Return the text of a note that at least one of these keys signed, and who did.

    Raises:
        NoteRefused: it can't be read, none of them signed it, or one of them seems to have and did not.
    """
    note = read_note(raw)
    found = signed_by(note, keys)
    if not found:
        _refuse("is signed by none of the keys it must be signed by")
    return note.text, found


def cosigned(text: str, at: int) -> bytes:
    """Return what a witness signs who saw a checkpoint of this text at ``at``, in seconds since 1970."""
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _decoded(raw: object) -> str:
    whole = None
    if type(raw) is bytes and len(raw) <= LONGEST_NOTE:
        try:
            whole = raw.decode("utf-8")
        except UnicodeDecodeError:
            whole = None
    # Raised outside the except clause: a decoder's error quotes what came in.
    if whole is None or _CONTROL.search(whole):
        _refuse(f"is not UTF-8 of at most {LONGEST_NOTE} octets without control characters")
    return whole


def _signature(line: str) -> NoteSignature:
    matched = _LINE.match(line)
    raw = read_base64(matched[2]) if matched else None
    if matched is None or raw is None or len(raw) <= _ID_OCTETS or not _is_name(matched[1]):
        _refuse("has a line below its text that is no signature")
    return NoteSignature(matched[1], raw[:_ID_OCTETS], raw[_ID_OCTETS:])


def _is_name(name: object) -> bool:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or "+" in name:
        return False
    return not any(each.isspace() or each < " " or "\ud800" <= each <= "\udfff" for each in name)


def _by_name_and_id(keys: Iterable[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known = dict[tuple[str, bytes], VerifierKey]()
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            what = "Two different keys that are to verify a note have the same name and id."
            raise NoteRefused(what, remedy="give one of the keys another name.")
    return known


def _refuse_key() -> NoReturn:
    what = "A verifier key is not `name+id+base64` of a sound Ed25519 key, with the id that belongs to it."
    raise NoteRefused(what, remedy="ask its owner for the key, by a way on which nobody can change it.")


def _refuse(trouble: str) -> NoReturn:
    what = f"A signed note {trouble}."
    raise NoteRefused(what, remedy="ask for it once more; if it stays so, keep it: it shows that somebody changed it.")

"""A change of the ledger's key: a note that names the old key and the new one, signed by both, and kept as an entry of the ledger.

The old key vouches for the new one, and the new key shows that somebody holds it. Who trusts the first key of a ledger can follow the
changes to the one that must have signed a checkpoint of any size, without being told anything more. What it can't repair: whoever stole
the old key can name a new one of his own; only an anchor outside tells which came first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from fallow.domain.errors import NoteRefused
from fallow.ledger.notes import NoteSigner, VerifierKey, open_note, sign_note

#: First line of the text. A checkpoint has its size on the second line, where this text has a key, so neither can pass for the other.
HEADER = "fallow/key-rotation/v1"
_LINES = 3


@dataclass(frozen=True, slots=True)
class Rotation:
    """From which key to which.

    Attributes:
        old: the key that signs checkpoints as large as the place of this change, or smaller.
        new: the key that signs the larger ones.
    """

    old: VerifierKey
    new: VerifierKey

    @property
    def text(self) -> str:
        """What both keys sign."""
        return f"{HEADER}\n{self.old.text}\n{self.new.text}\n"


def sign_rotation(old: NoteSigner, new: NoteSigner) -> bytes:
    """Return the change of the ledger's key, signed by both.

    Raises:
        NoteRefused: it is no change, or the two have different names.
    """
    rotation = Rotation(old.verifier, new.verifier)
    _demand_change(rotation)
    return sign_note(rotation.text, [old, new])


def open_rotation(raw: bytes, old: VerifierKey) -> Rotation:
    """Return what a change says, once both keys are known to have signed it.

    Raises:
        NoteRefused: it is none, changes another key than ``old``, or is not signed by both.
    """
    text, _ = open_note(raw, [old])
    lines = text.split("\n")
    if len(lines) != _LINES + 1 or lines[0] != HEADER or lines[3]:
        _refuse("is not written as one")
    rotation = Rotation(VerifierKey.from_text(lines[1]), VerifierKey.from_text(lines[2]))
    if rotation.old != old:
        _refuse("names another old key than the one that counted until then")
    _demand_change(rotation)
    open_note(raw, [rotation.new])
    return rotation


def key_at(first: VerifierKey, rotations: Iterable[tuple[int, bytes]], size: int) -> VerifierKey:
    """Return the key that must have signed the ledger's checkpoint of this size.

    Args:
        first: the key that the reader was told to trust.
        rotations: place in the ledger and note of each change, all of them, in the ledger's order.
        size: of the checkpoint.

    Raises:
        NoteRefused: a change among those within the first ``size`` entries does not hold, or they are not in order.
    """
    key, before = first, -1
    for index, raw in rotations:
        if index <= before:
            _refuse("does not come after the one before it")
        if index >= size:
            break
        key, before = open_rotation(raw, key).new, index
    return key


def _demand_change(rotation: Rotation) -> None:
    old, new = rotation.old, rotation.new
    if old.name != new.name or old.form is not new.form or old.raw == new.raw:
        _refuse("must lead from one key of a name to another of the same name")


def _refuse(trouble: str) -> NoReturn:
    what = f"A change of the ledger's key {trouble}."
    raise NoteRefused(what, remedy="ask the ledger's owner which keys it had, by a way on which nobody can change it.")

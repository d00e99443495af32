"""Checkpoints (https://c2sp.org/tlog-checkpoint): a signed note that says how large the ledger is and what its root is.

Which ledger (its *origin*) and which keys are told to the reader beforehand and never taken from the checkpoint itself: a ledger that may
name its own key can be replaced whole.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from fallow.domain.errors import NoteRefused
from fallow.domain.spelling import read_base64
from fallow.ledger.merkle import EMPTY_ROOT, HASH_OCTETS
from fallow.ledger.notes import NoteSigner, Signed, VerifierKey, read_note, sign_note, signed_by
from fallow.ledger.proofs import MOST_LEAVES, verify_consistency

_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z", re.ASCII)
_ESSENTIAL = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a ledger says of itself.

    Attributes:
        origin: which ledger.
        size: how many entries.
        root: the root over them.
        extensions: further lines; we write none, and keep what another wrote, because it was signed.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is signed."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, base64.b64encode(self.root).decode(), *self.extensions))


@dataclass(frozen=True, slots=True)
class Opened:
    """A checkpoint whose signatures were verified.

    Attributes:
        checkpoint: what was said.
        signed: the ledger's own signatures, one at least.
        witnessed: those of the witnesses that were asked for, each with its instant.
    """

    checkpoint: Checkpoint
    signed: tuple[Signed, ...]
    witnessed: tuple[Signed, ...]


def read_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint's text in its one spelling.

    Raises:
        NoteRefused: it is none, or is one of no entry with another root than nothing has.
    """
    lines = text[:-1].split("\n")
    if not text.endswith("\n") or len(lines) < _ESSENTIAL or not all(lines):
        _refuse("is not an origin, a size and a root, each on a line")
    origin, written, encoded, *extensions = lines
    size = int(written) if _SIZE.match(written) else MOST_LEAVES + 1
    root = read_base64(encoded)
    if size > MOST_LEAVES or root is None or len(root) != HASH_OCTETS:
        _refuse("does not say its size and its root as it must")
    if not size and root != EMPTY_ROOT:
        _refuse("says that there is no entry, and a root over some")
    return Checkpoint(origin, size, root, tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[NoteSigner]) -> bytes:
    """Return the signed checkpoint; every signer bears the origin as its name, as the specification wishes.

    Raises:
        NoteRefused: it could not be read back, or a signer has another name.
    """
    if any(signer.name != checkpoint.origin for signer in signers):
        _refuse("would be signed under another name than its origin")
    if read_checkpoint(checkpoint.text) != checkpoint:
        _refuse("could not be read back")
    return sign_note(checkpoint.text, signers)


def open_checkpoint(
    raw: bytes, *, origin: str, keys: Sequence[VerifierKey], witnesses: Sequence[VerifierKey] = (), quorum: int = 0
) -> Opened:
    """Return what a signed checkpoint says, once it is known to be this ledger's.

    Args:
        raw: the note.
        origin: the ledger that it must be of.
        keys: the ledger's; one of them must have signed, and none of them may seem to have.
        witnesses: whose cosignatures are looked for.
        quorum: how many different ones of them must be there; a key of the ledger's own is no witness.

    Raises:
        NoteRefused: it can't be read, is another ledger's, or is not signed as demanded.
    """
    note = read_note(raw)
    signed = tuple(signed_by(note, keys))
    if not signed:
        _refuse("is signed by none of the ledger's keys")
    witnessed = tuple(signed_by(note, witnesses))
    seen = len({each.key.raw for each in witnessed} - {key.raw for key in keys})
    if seen < quorum:
        _refuse(f"was seen by {seen} of the {quorum} witnesses that are demanded")
    checkpoint = read_checkpoint(note.text)
    if checkpoint.origin != origin:
        _refuse("is of another ledger than the one that was asked for")
    return Opened(checkpoint, signed, witnessed)


def verify_growth(earlier: Checkpoint, later: Checkpoint, proof: Sequence[bytes]) -> None:
    """Check that a ledger went on from what it said before.

    Raises:
        ProofRefused: it did not, or it is not proved: rolled back, forked, rewritten. Every one goes on from an empty one, without proof.
        NoteRefused: the checkpoints are of different ledgers.
    """
    if earlier.origin != later.origin:
        _refuse("is of another ledger than the one before it")
    if earlier.size:
        verify_consistency(earlier.size, later.size, proof, earlier.root, later.root)


def _refuse(trouble: str) -> NoReturn:
    what = f"A checkpoint {trouble}."
    raise NoteRefused(what, remedy="compare origin and keys with those you were told to trust; if they are right, keep the checkpoint.")

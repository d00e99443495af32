"""A witness for tests: it cosigns whatever checkpoint it is given."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fallow.ledger.notes import Form, Note, NoteSignature, VerifierKey, cosigned, read_note


@dataclass(frozen=True)
class Witness:
    """A key of the form that witnesses have."""

    name: str
    seed: bytes

    @property
    def verifier(self) -> VerifierKey:
        """What verifies its cosignatures."""
        raw = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return VerifierKey(self.name, raw, Form.COSIGNATURE)

    def cosign(self, raw: bytes, at: int) -> bytes:
        """Return the note with one more line: this witness saw it at ``at``, in seconds since 1970."""
        note = read_note(raw)
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(cosigned(note.text, at))
        line = NoteSignature(self.name, self.verifier.key_id, at.to_bytes(8, "big") + signature)
        return Note(note.text, (*note.signatures, line)).raw

"""Signed notes: the examples of others open, everything else is refused in words."""

import base64
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ledger_witness import Witness

from fallow.domain.errors import NoteRefused
from fallow.ledger.notes import (
    LONGEST_NOTE,
    MOST_SIGNATURES,
    Form,
    Note,
    NoteSignature,
    NoteSigner,
    VerifierKey,
    open_note,
    read_note,
    sign_note,
    signed_by,
)

# The example of c2sp.org/signed-note, and keys and notes of golang.org/x/mod/sumdb/note.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
ENOCH_KEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
ENOCH = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
SUM_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

SIGNER = NoteSigner("ledger.example/1", b"\x11" * 32)
OTHER = NoteSigner("ledger.example/1", b"\x22" * 32)
WITNESS = Witness("witness.example/w1", b"\x33" * 32)


def key(text: str) -> VerifierKey:
    """Read a verifier key."""
    return VerifierKey.from_text(text)


def test_the_example_of_the_specification_opens() -> None:
    """The note of c2sp.org/signed-note opens under its key, with its text."""
    text, signed = open_note(SPEC_NOTE, [key(SPEC_KEY)])

    assert text == "This is an example message.\n"
    assert [each.key.name for each in signed] == ["example.com/foo"]


def test_a_note_of_another_implementation_is_written_the_same() -> None:
    """Under the key of Go's documentation we sign Go's note, octet for octet, and open the one that two keys signed."""
    peter = NoteSigner("PeterNeumann", PETER_SEED)
    both = (TEXT + "\n" + PETER + ENOCH).encode()

    assert peter.verifier.text == PETER_KEY
    assert sign_note(TEXT, [peter]) == (TEXT + "\n" + PETER).encode()
    assert [each.key.text for each in open_note(both, [key(ENOCH_KEY), key(PETER_KEY)])[1]] == [PETER_KEY, ENOCH_KEY]
    assert [each.key.text for each in open_note(both, [key(ENOCH_KEY)])[1]] == [ENOCH_KEY]


@pytest.mark.parametrize("text", [SPEC_KEY, PETER_KEY, ENOCH_KEY, SUM_KEY])
def test_verifier_keys_of_others_are_read(text: str) -> None:
    """A verifier key is written as it was read, and its id is the one its owner computed."""
    assert key(text).text == text
    assert key(text).form is Form.ED25519


def test_a_verifier_key_has_one_spelling() -> None:
    """A key cut short anywhere, with one character changed, of another kind or length, or weak, is none."""
    wrong = {PETER_KEY[start:end] for start in range(len(PETER_KEY)) for end in range(start, len(PETER_KEY) + 1)} - {PETER_KEY}
    wrong |= {"a" * 10**6, PETER_KEY * 20}
    wrong |= {PETER_KEY[:at] + chr(ord(PETER_KEY[at]) + 1) + PETER_KEY[at + 1 :] for at in range(len(PETER_KEY))}
    wrong |= {PETER_KEY.replace("c74f20a3", "C74F20A3"), PETER_KEY + "\n", " " + PETER_KEY, "\ud800" + PETER_KEY, ""}
    wrong |= {
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    }
    for text in wrong:
        with pytest.raises(NoteRefused):
            key(text)
    for raw in (bytes(32), b"\1" + bytes(31), bytes(31) + b"\x80", bytes(31), bytes(33)):
        with pytest.raises(NoteRefused):
            VerifierKey("name", raw)


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\tb", "a\nb", "a\u00a0b", "a\u2003b", "a\u2028b", "a\u3000b", "a\x00b", "\ud800", "a" * 256]
)
def test_a_name_holds_no_space_and_no_plus(name: str) -> None:
    """A name with any kind of space, with a plus, with a control character, empty or endless, is none."""
    with pytest.raises(NoteRefused):
        VerifierKey(name, SIGNER.verifier.raw)


def test_a_key_that_nobody_asked_about_is_left_alone() -> None:
    """A signature with another name, or with the same name and another id, counts for nothing and spoils nothing."""
    raw = sign_note("text\n", [OTHER, SIGNER])
    spoiled = Note("text\n", (NoteSignature("somebody", b"1234", b"nothing"), *read_note(raw).signatures)).raw

    assert [each.key for each in open_note(spoiled, [SIGNER.verifier])[1]] == [SIGNER.verifier]
    with pytest.raises(NoteRefused, match="none of the keys"):
        open_note(sign_note("text\n", [OTHER]), [SIGNER.verifier])
    assert signed_by(read_note(raw), []) == []


def test_a_known_key_that_did_not_sign_refuses_the_note() -> None:
    """A signature under a known name and id that does not verify refuses the note, although another key did sign it."""
    good = read_note(sign_note("text\n", [SIGNER, OTHER]))
    forged = Note("text\n", (good.signatures[0], good.signatures[1]._replace(raw=bytes(64))))

    with pytest.raises(NoteRefused, match="did not make"):
        open_note(forged.raw, [SIGNER.verifier, OTHER.verifier])


def test_a_witness_says_when() -> None:
    """A cosignature opens under the witness's key with its instant, and no other instant or text can be put in its place."""
    raw = WITNESS.cosign(sign_note("ledger.example/1\n0\nroot\n", [SIGNER]), 1_679_315_147)
    note = read_note(raw)
    line = note.signatures[1]
    later = line._replace(raw=(1_679_315_148).to_bytes(8, "big") + line.raw[8:])

    assert open_note(raw, [WITNESS.verifier])[1] == [(WITNESS.verifier, 1_679_315_147)]
    assert key(WITNESS.verifier.text) == WITNESS.verifier
    for changed in (Note(note.text, (later,)), Note("other\n" + note.text, (line,)), Note(note.text, (line._replace(raw=line.raw[:-1]),))):
        with pytest.raises(NoteRefused, match="did not make"):
            open_note(changed.raw, [WITNESS.verifier])


def test_a_witness_and_a_signer_are_not_each_other() -> None:
    """The same key under the same name has another id as a witness, and one kind of signature is none of the other kind."""
    both = Witness(SIGNER.name, SIGNER.seed)
    signed = read_note(sign_note("text\n", [SIGNER])).signatures[0]
    misnamed = Note("text\n", (signed._replace(key_id=both.verifier.key_id),))

    assert both.verifier.key_id != SIGNER.verifier.key_id
    with pytest.raises(NoteRefused, match="did not make"):
        open_note(misnamed.raw, [both.verifier])


def test_an_instant_beyond_all_bounds_is_refused() -> None:
    """A cosignature of an instant beyond 2**63 - 1 seconds is none, also when the witness made it."""
    with pytest.raises(NoteRefused, match="did not make"):
        open_note(WITNESS.cosign(sign_note("text\n", [SIGNER]), 2**63), [WITNESS.verifier])


@pytest.mark.parametrize("text", ["", "no newline", "bell\a\n", "tab\t\n", "carriage\r\n", "x" * LONGEST_NOTE + "\n"])
def test_what_could_not_be_read_back_is_not_signed(text: str) -> None:
    """A text that no verifier would read is refused before it leaves."""
    with pytest.raises(NoteRefused):
        sign_note(text, [SIGNER])


def test_a_text_may_hold_empty_lines() -> None:
    """The signatures are below the last empty line; what is above it is text, and empty lines in it stay."""
    for text in ("\n", "a\n\nb\n", "a\n\n\n", "— name AAAAAAA=\n\n— name AAAAAAA=\n"):
        assert open_note(sign_note(text, [SIGNER]), [SIGNER.verifier])[0] == text


@pytest.mark.parametrize(
    "below",
    [
        "",
        "\n",
        "- name AAAAAAA=\n",
        "—name AAAAAAA=\n",
        "—  AAAAAAA=\n",
        "— na me AAAAAAA=\n",
        "— na+me AAAAAAA=\n",
        "— na\u00a0me AAAAAAA=\n",
        "— name  AAAAAAA=\n",
        "— name AAAAAAA= \n",
        "— name AAAAAAA\n",
        "— name AAAAAAB=\n",
        "— name AAAA-AA=\n",
        "— name AAAAAA==\n",
        "— name \n",
        "— name AAAAAAA=",
        "— name AAAAAAA=\r\n",
        "— name AAAAAAA=\ntext\n",
        "— name AAAAAAA=\n" * (MOST_SIGNATURES + 1),
    ],
)
def test_a_line_that_is_no_signature_refuses_the_note(below: str) -> None:
    """One line below the text that is not a signature in its one spelling, or one too many, and nothing of the note is read."""
    assert read_note(b"text\n\n" + "— name AAAAAAA=\n".encode() * MOST_SIGNATURES).text == "text\n"
    with pytest.raises(NoteRefused):
        read_note(f"text\n\n{below}".encode())


@pytest.mark.parametrize("hostile", [None, "text", 1, b"", b"\n", b"\n\n", b"\xff\n\n", bytearray(SPEC_NOTE), b"\n" * 10**6])
def test_what_is_no_note_is_refused(hostile: Any) -> None:
    """Another type, no UTF-8, nothing, or far too much is refused in words."""
    with pytest.raises(NoteRefused):
        read_note(hostile)


@given(st.binary(max_size=300))
@example(SPEC_NOTE)
def test_nothing_crashes_the_reading(raw: bytes) -> None:
    """Whatever is read is refused in words, or is a note that is written as it was read."""
    try:
        note = read_note(raw)
    except NoteRefused:
        return
    assert note.raw == raw


@given(st.data())
def test_nothing_changed_opens(drawn: st.DataObject) -> None:
    """A signed note with any octet changed, dropped or put in, or cut short, is refused."""
    at = drawn.draw(st.integers(0, len(SPEC_NOTE) - 1))
    octet = bytes([drawn.draw(st.integers(0, 255))])
    kept = drawn.draw(st.sampled_from([SPEC_NOTE[at + 1 :], SPEC_NOTE[at:], b""]))
    changed = SPEC_NOTE[:at] + drawn.draw(st.sampled_from([octet, b""])) + kept
    if changed != SPEC_NOTE:
        with pytest.raises(NoteRefused):
            open_note(changed, [key(SPEC_KEY)])


def test_two_keys_that_can_not_be_told_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Different keys with one name and id are not guessed between."""
    monkeypatch.setattr(VerifierKey, "key_id", b"same")
    with pytest.raises(NoteRefused, match="same name and id"):
        open_note(SPEC_NOTE, [SIGNER.verifier, OTHER.verifier])


def test_what_signs_does_not_print() -> None:
    """A signer shows nothing of its seed."""
    assert repr(SIGNER.seed) not in repr(SIGNER)

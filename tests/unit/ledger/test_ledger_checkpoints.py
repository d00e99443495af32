"""Checkpoints and changes of the ledger's key: pinned from outside, or refused."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_witness import Witness

from fallow.domain.errors import NoteRefused, ProofRefused
from fallow.ledger.checkpoints import Checkpoint, open_checkpoint, read_checkpoint, sign_checkpoint, verify_growth
from fallow.ledger.merkle import EMPTY_ROOT, CompactRange, leaf_hash
from fallow.ledger.notes import Form, Note, NoteSigner, VerifierKey, read_note, sign_note
from fallow.ledger.proofs import prove_consistency
from fallow.ledger.rotation import HEADER, Rotation, key_at, open_rotation, sign_rotation

ORIGIN = "ledger.example/1"
SIGNER, NEXT, THIRD = (NoteSigner(ORIGIN, bytes([octet]) * 32) for octet in (1, 2, 3))
WITNESSES = [Witness(f"witness.example/w{number}", bytes([16 + number]) * 32) for number in range(3)]
LEAVES = [leaf_hash(str(number).encode()) for number in range(20)]
STORED = {(level, index): value for level, index, value in CompactRange().append(LEAVES)[1]}
GOOD = Checkpoint(ORIGIN, 8, CompactRange().extend(LEAVES[:8]).root())
ROOT = base64.b64encode(GOOD.root).decode()
RAW = sign_checkpoint(GOOD, [SIGNER])
#: The text of the example in c2sp.org/tlog-checkpoint; the key that signed it was not published.
EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def at_size(size: int) -> Checkpoint:
    """Return the honest ledger's checkpoint."""
    return Checkpoint(ORIGIN, size, CompactRange().extend(LEAVES[:size]).root())


def test_a_checkpoint_is_written_as_the_specification_says() -> None:
    """The example of the specification is read, and written as it was read."""
    read = read_checkpoint(EXAMPLE)

    assert (read.origin, read.size, read.root[:2]) == ("example.com/behind-the-sofa", 20852163, b"\x0a\xc5")
    assert read.text == EXAMPLE
    assert GOOD.text == f"{ORIGIN}\n8\n{ROOT}\n"


def test_the_cosigned_example_is_taken_apart() -> None:
    """The example of c2sp.org/tlog-cosignature is two lines below a checkpoint, the second with the instant it names."""
    raw = (
        EXAMPLE
        + "\n— example.com/behind-the-sofa "
        + "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        + "— witness.example.com/w1 "
        + "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    ).encode()
    note = read_note(raw)

    assert note.text == EXAMPLE
    assert [len(each.raw) for each in note.signatures] == [64, 72]
    assert int.from_bytes(note.signatures[1].raw[:8], "big") == 1679315147


def test_extension_lines_of_others_are_kept() -> None:
    """What another ledger wrote below the root belongs to what was signed."""
    longer = replace(GOOD, extensions=("one line", "another"))

    assert open_checkpoint(sign_checkpoint(longer, [SIGNER]), origin=ORIGIN, keys=[SIGNER.verifier]).checkpoint == longer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "origin\n",
        "origin\n1\n",
        f"{ORIGIN}\n8\n{ROOT}",
        f"\n8\n{ROOT}\n",
        f"{ORIGIN}\n8\n{ROOT}\n\n",
        *(f"{ORIGIN}\n{size}\n{ROOT}\n" for size in ("08", "-8", "+8", " 8", "8 ", "8.0", "0x8", "٨", "1_0", "")),
        *(f"{ORIGIN}\n{size}\n{ROOT}\n" for size in (0, 2**63, 10**100)),
        *(f"{ORIGIN}\n8\n{base64.b64encode(root).decode()}\n" for root in (b"", GOOD.root[:-1], GOOD.root + b"\0")),
        f"{ORIGIN}\n8\n{ROOT.rstrip('=')}\n",
    ],
)
def test_another_text_is_no_checkpoint(text: str) -> None:
    """A line missing or empty, a size or a root in another spelling or out of bounds, and it is refused, signed or not."""
    with pytest.raises(NoteRefused):
        read_checkpoint(text)


def test_an_empty_ledger_has_the_root_of_nothing() -> None:
    """A checkpoint of no entry has the root over nothing."""
    assert read_checkpoint(Checkpoint(ORIGIN, 0, EMPTY_ROOT).text).size == 0


def test_origin_and_keys_are_pinned() -> None:
    """A checkpoint opens for who asks for its origin and its key, and for nobody else."""
    assert open_checkpoint(RAW, origin=ORIGIN, keys=[SIGNER.verifier]).checkpoint == GOOD
    with pytest.raises(NoteRefused, match="another ledger"):
        open_checkpoint(RAW, origin="ledger.example/2", keys=[SIGNER.verifier])
    for keys in ([], [NEXT.verifier], [VerifierKey("ledger.example/2", SIGNER.verifier.raw)]):
        with pytest.raises(NoteRefused, match="none of the ledger's keys"):
            open_checkpoint(RAW, origin=ORIGIN, keys=keys)


def test_a_stranger_signs_nothing_for_the_ledger() -> None:
    """We sign under the origin's name only, and a checkpoint of another origin under our key is refused by who pins ours."""
    with pytest.raises(NoteRefused, match="another name"):
        sign_checkpoint(GOOD, [NoteSigner("somebody", b"\x01" * 32)])
    foreign = replace(GOOD, origin="another")
    with pytest.raises(NoteRefused, match="another ledger"):
        open_checkpoint(sign_note(foreign.text, [SIGNER]), origin=ORIGIN, keys=[SIGNER.verifier])
    for wrong in (replace(GOOD, root=b""), replace(GOOD, size=-1), replace(GOOD, extensions=("",)), replace(GOOD, size=2**63)):
        with pytest.raises(NoteRefused):
            sign_checkpoint(wrong, [SIGNER])


def test_witnesses_are_counted_once() -> None:
    """The quorum is of different witnesses that were asked for; twice the same, a stranger, or the ledger itself do not help."""
    seen = WITNESSES[0].cosign(WITNESSES[1].cosign(RAW, 1000), 2000)
    asked = [each.verifier for each in WITNESSES]
    opened = open_checkpoint(seen, origin=ORIGIN, keys=[SIGNER.verifier], witnesses=asked, quorum=2)
    itself = Witness(ORIGIN, SIGNER.seed)

    assert [(each.key.name, each.at) for each in opened.witnessed] == [("witness.example/w1", 1000), ("witness.example/w0", 2000)]
    for raw, witnesses, quorum in (
        (seen, asked, 3),
        (seen, asked[1:], 2),
        (WITNESSES[0].cosign(WITNESSES[0].cosign(RAW, 1000), 2000), asked, 2),
        (itself.cosign(RAW, 1000), [itself.verifier], 1),
    ):
        with pytest.raises(NoteRefused, match="witnesses"):
            open_checkpoint(raw, origin=ORIGIN, keys=[SIGNER.verifier], witnesses=witnesses, quorum=quorum)


def test_a_witness_alone_is_not_the_ledger() -> None:
    """A checkpoint that only a witness signed is not the ledger's word."""
    alone = read_note(WITNESSES[0].cosign(RAW, 1000))
    with pytest.raises(NoteRefused, match="none of the ledger's keys"):
        open_checkpoint(
            Note(alone.text, alone.signatures[1:]).raw, origin=ORIGIN, keys=[SIGNER.verifier], witnesses=[WITNESSES[0].verifier], quorum=1
        )


def test_every_octet_counts() -> None:
    """A signed checkpoint with any bit of any octet turned is refused."""
    for at in range(len(RAW)):
        for bit in range(8):
            changed = RAW[:at] + bytes([RAW[at] ^ 1 << bit]) + RAW[at + 1 :]
            with pytest.raises(NoteRefused):
                open_checkpoint(changed, origin=ORIGIN, keys=[SIGNER.verifier])


@given(st.text(max_size=120))
def test_nothing_crashes_the_reading_of_a_text(text: str) -> None:
    """Whatever text was signed is refused in words, or is a checkpoint that is written as it was read."""
    try:
        read = read_checkpoint(text)
    except NoteRefused:
        return
    assert read.text == text


@pytest.mark.parametrize(("earlier", "later"), [(0, 0), (0, 8), (1, 20), (8, 8), (7, 20)])
def test_a_ledger_that_grew_is_told(earlier: int, later: int) -> None:
    """A later checkpoint with its proof goes on from the earlier one; from an empty ledger every one goes on."""
    proof = prove_consistency(earlier, later, lambda addresses: {each: STORED[each] for each in addresses}) if earlier else []

    verify_growth(at_size(earlier), at_size(later), proof)


def test_rollback_and_fork_are_named() -> None:
    """Who kept a checkpoint sees that the ledger was rolled back, forked, or is another one."""
    forked = replace(GOOD, root=CompactRange().extend(LEAVES[1:9]).root())
    proof = prove_consistency(8, 20, lambda addresses: {each: STORED[each] for each in addresses})

    for later in (at_size(7), at_size(0)):
        with pytest.raises(ProofRefused, match="rolled back"):
            verify_growth(GOOD, later, [])
    with pytest.raises(ProofRefused, match="forked"):
        verify_growth(GOOD, forked, [])
    with pytest.raises(ProofRefused, match="another root"):
        verify_growth(forked, at_size(20), proof)
    with pytest.raises(NoteRefused, match="another ledger"):
        verify_growth(GOOD, replace(at_size(20), origin="another"), proof)


def test_a_new_key_is_vouched_for_by_the_old() -> None:
    """A change signed by both keys opens for who trusts the old one, and names the new one."""
    assert open_rotation(sign_rotation(SIGNER, NEXT), SIGNER.verifier) == Rotation(SIGNER.verifier, NEXT.verifier)


def test_a_change_that_one_key_did_not_sign_is_none() -> None:
    """Signed by the old key alone, by the new key alone, or by a third, it is refused."""
    text = Rotation(SIGNER.verifier, NEXT.verifier).text
    for signers in ([SIGNER], [NEXT], [SIGNER, THIRD], [THIRD, NEXT]):
        with pytest.raises(NoteRefused, match="none of the keys"):
            open_rotation(sign_note(text, signers), SIGNER.verifier)


def test_a_change_is_from_one_key_to_another_of_its_name() -> None:
    """To the same key, to another name, to a witness's key, from a key that did not count: refused, made or read."""
    elsewhere = NoteSigner("ledger.example/2", b"\x02" * 32)
    for new in (SIGNER, elsewhere):
        with pytest.raises(NoteRefused, match="same name"):
            sign_rotation(SIGNER, new)
    witness = VerifierKey(ORIGIN, NEXT.verifier.raw, Form.COSIGNATURE)
    lines = f"{HEADER}\n{SIGNER.verifier.text}\n"
    for text in (f"{lines}{witness.text}\n", f"{lines}{SIGNER.verifier.text}\n", f"{lines}{elsewhere.verifier.text}\n"):
        with pytest.raises(NoteRefused):
            open_rotation(sign_note(text, [SIGNER, NEXT]), SIGNER.verifier)
    as_witness = Witness(ORIGIN, NEXT.seed).cosign(sign_note(f"{lines}{witness.text}\n", [SIGNER]), 1000)
    with pytest.raises(NoteRefused, match="same name"):
        open_rotation(as_witness, SIGNER.verifier)
    with pytest.raises(NoteRefused, match="another old key"):
        open_rotation(sign_note(Rotation(THIRD.verifier, NEXT.verifier).text, [SIGNER, NEXT, THIRD]), SIGNER.verifier)
    for text in ("", f"{lines}\n", f"other\n{SIGNER.verifier.text}\n{NEXT.verifier.text}\n", f"{lines}{NEXT.verifier.text}\nmore\n"):
        with pytest.raises(NoteRefused):
            open_rotation(sign_note(text or "\n", [SIGNER, NEXT]), SIGNER.verifier)


def test_a_change_of_key_is_no_checkpoint() -> None:
    """A change can't be shown as a checkpoint."""
    with pytest.raises(NoteRefused):
        open_checkpoint(sign_rotation(SIGNER, NEXT), origin=HEADER, keys=[SIGNER.verifier])


def test_the_key_of_every_size_follows_from_the_first() -> None:
    """A checkpoint within a change's place is the old key's, one that includes it the new one's, over any number of changes."""
    changes = [(4, sign_rotation(SIGNER, NEXT)), (9, sign_rotation(NEXT, THIRD))]
    names = {SIGNER.verifier: "first", NEXT.verifier: "next", THIRD.verifier: "third"}

    assert [names[key_at(SIGNER.verifier, changes, size)] for size in (0, 4, 5, 9, 10, 99)] == [
        *("first", "first", "next", "next", "third", "third")
    ]


def test_a_chain_with_a_break_is_refused() -> None:
    """A change left out, changes in another order, or two at one place are refused as soon as they matter."""
    one, two = sign_rotation(SIGNER, NEXT), sign_rotation(NEXT, THIRD)
    for changes in ([(9, two)], [(9, one), (4, two)], [(4, one), (4, two)], [(4, two), (9, one)]):
        with pytest.raises(NoteRefused):
            key_at(SIGNER.verifier, changes, 10)
    assert key_at(SIGNER.verifier, [(9, two)], 9) == SIGNER.verifier

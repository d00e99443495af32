"""Proofs of the tree: every honest one holds, nothing else does, and nothing crashes the check."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.domain.errors import ProofRefused
from fallow.ledger.merkle import EMPTY_ROOT, Address, CompactRange, leaf_hash, node_hash
from fallow.ledger.proofs import (
    LONGEST_PROOF,
    MOST_LEAVES,
    consistency_nodes,
    inclusion_nodes,
    prove_consistency,
    prove_inclusion,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(str(number).encode()) for number in range(300)]
STORED: dict[Address, bytes] = {(level, index): value for level, index, value in CompactRange().append(LEAVES)[1]}
ROOTS = [CompactRange().extend(LEAVES[:size]).root() for size in range(301)]
#: What a stranger could put in the place of a number, a hash, a proof.
HOSTILE = (None, -1, 2**63, 10**5000, 1.0, True, "8", b"8", [], {}, float("nan"), bytes(31), bytes(33), "x" * 32, bytearray(32), object())


def read(addresses: Sequence[Address]) -> dict[Address, bytes]:
    """Return the stored hashes."""
    return {address: STORED[address] for address in addresses}


def defined_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """Return PATH(index, D) of RFC 9162 2.1.3.1, by its recursion."""
    if len(leaves) <= 1:
        return []
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < split:
        return [*defined_path(index, leaves[:split]), CompactRange().extend(leaves[split:]).root()]
    return [*defined_path(index - split, leaves[split:]), CompactRange().extend(leaves[:split]).root()]


def defined_proof(first: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """Return PROOF(first, D) of RFC 9162 2.1.4.1, by its recursion."""
    if first == len(leaves):
        return [] if whole else [CompactRange().extend(leaves).root()]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if first <= split:
        return [*defined_proof(first, leaves[:split], whole=whole), CompactRange().extend(leaves[split:]).root()]
    return [*defined_proof(first - split, leaves[split:], whole=False), CompactRange().extend(leaves[:split]).root()]


def refused(check: Callable[..., None], *arguments: Any) -> bool:
    """Tell whether a check refuses."""
    try:
        check(*arguments)
    except ProofRefused:
        return True
    return False


def test_every_leaf_of_every_size_can_be_proved() -> None:
    """For every size up to 70 the proof of every leaf is the one the RFC defines, and holds."""
    for size in range(1, 71):
        for index in range(size):
            proof = prove_inclusion(index, size, read)
            assert proof == defined_path(index, LEAVES[:size])
            verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])


def test_every_size_goes_on_from_every_smaller_one() -> None:
    """For every two sizes up to 70 the proof of consistency is the one the RFC defines, and holds."""
    for second in range(1, 71):
        for first in range(1, second + 1):
            proof = prove_consistency(first, second, read)
            assert proof == defined_proof(first, LEAVES[:second])
            verify_consistency(first, second, proof, ROOTS[first], ROOTS[second])


@given(st.data())
def test_a_proof_of_one_leaf_is_a_proof_of_no_other(drawn: st.DataObject) -> None:
    """A proof with another leaf, index, size or root, or another proof in its place, is refused."""
    size = drawn.draw(st.integers(2, 300))
    index = drawn.draw(st.integers(0, size - 1))
    proof = prove_inclusion(index, size, read)
    other = drawn.draw(st.integers(0, 299).filter(lambda number: number != index))

    assert not refused(verify_inclusion, LEAVES[index], index, size, proof, ROOTS[size])
    assert refused(verify_inclusion, LEAVES[other], index, size, proof, ROOTS[size])
    assert refused(verify_inclusion, LEAVES[index], other, size, proof, ROOTS[size])
    assert refused(verify_inclusion, LEAVES[index], index, size, proof, ROOTS[other + 1] if other + 1 != size else EMPTY_ROOT)
    for changed in mutations(proof):
        assert refused(verify_inclusion, LEAVES[index], index, size, changed, ROOTS[size])


@given(st.data())
def test_a_proof_of_growth_is_a_proof_of_no_other(drawn: st.DataObject) -> None:
    """A proof of consistency with other roots, swapped roots or anything changed in it is refused."""
    second = drawn.draw(st.integers(2, 300))
    first = drawn.draw(st.integers(1, second - 1))
    proof = prove_consistency(first, second, read)

    assert not refused(verify_consistency, first, second, proof, ROOTS[first], ROOTS[second])
    assert refused(verify_consistency, first, second, proof, ROOTS[second], ROOTS[first])
    assert refused(verify_consistency, second, first, proof, ROOTS[second], ROOTS[first])
    assert refused(verify_consistency, first, second, proof, ROOTS[first - 1], ROOTS[second])
    assert refused(verify_consistency, first, second, proof, ROOTS[first], ROOTS[second - 1])
    for changed in mutations(proof):
        assert refused(verify_consistency, first, second, changed, ROOTS[first], ROOTS[second])


def mutations(proof: list[bytes]) -> list[list[bytes]]:
    """Return the proof changed in every way: a bit of each hash, one dropped, one more, two swapped, emptied, doubled."""
    changed = [[], [*proof, EMPTY_ROOT], [EMPTY_ROOT, *proof], proof[:-1], proof[1:], proof + proof, [*proof, *proof[-1:]]]
    for place, value in enumerate(proof):
        flipped = bytes([value[0] ^ 1]) + value[1:]
        changed += [[*proof[:place], flipped, *proof[place + 1 :]], [*proof[:place], *proof[place + 1 :]]]
        changed += [[*proof[:place], value[:-1], *proof[place + 1 :]], [*proof[:place], value + b"\0", *proof[place + 1 :]]]
    changed += [[*proof[:place], proof[place + 1], proof[place], *proof[place + 2 :]] for place in range(len(proof) - 1)]
    return [each for each in changed if each != proof]


def test_a_size_that_is_off_by_one_is_refused() -> None:
    """A proof for a size is none for the size before or after it with the same root, where the path there has another length."""
    for size in range(2, 71):
        for index in range(size):
            proof = prove_inclusion(index, size, read)
            for wrong in (size - 1, size + 1):
                if index < wrong and len(defined_path(index, LEAVES[:wrong])) != len(proof):
                    assert refused(verify_inclusion, LEAVES[index], index, wrong, proof, ROOTS[size])


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda value: type(value).__name__)
def test_nothing_crashes_the_checks(place: int, hostile: Any) -> None:
    """Whatever stands in the place of an argument or of a hash is refused in words, and shown to nobody."""
    inclusion: list[Any] = [LEAVES[5], 5, 8, prove_inclusion(5, 8, read), ROOTS[8]]
    consistency: list[Any] = [5, 8, prove_consistency(5, 8, read), ROOTS[5], ROOTS[8]]
    for check, arguments in ((verify_inclusion, inclusion), (verify_consistency, consistency)):
        with pytest.raises(ProofRefused) as refusal:
            check(*arguments[:place], hostile, *arguments[place + 1 :])
        assert len(str(refusal.value)) < 400
    assert refused(verify_inclusion, *inclusion[:3], [hostile], inclusion[4])
    assert refused(verify_consistency, *consistency[:2], [hostile], *consistency[3:])


def test_a_proof_without_end_is_refused_at_once() -> None:
    """A proof longer than any tree is high is refused before anything of it is hashed."""
    endless = [EMPTY_ROOT] * (LONGEST_PROOF + 1)

    with pytest.raises(ProofRefused, match="a sequence of at most"):
        verify_inclusion(LEAVES[0], 0, MOST_LEAVES, endless, ROOTS[8])
    with pytest.raises(ProofRefused, match="a sequence of at most"):
        verify_consistency(1, MOST_LEAVES, endless, ROOTS[1], ROOTS[8])
    assert refused(verify_inclusion, LEAVES[0], 0, MOST_LEAVES, [EMPTY_ROOT] * LONGEST_PROOF, ROOTS[8])


def test_a_proof_goes_no_higher_than_its_tree() -> None:
    """A proof that goes on above the root it should end at, and does lead to the one shown, is refused."""
    above = prove_inclusion(1, 2, read)
    higher = [node_hash(EMPTY_ROOT, ROOTS[size]) for size in (3, 4)]

    assert not refused(verify_inclusion, LEAVES[1], 1, 2, above, ROOTS[2])
    assert refused(verify_inclusion, LEAVES[1], 0, 1, above, ROOTS[2])
    assert refused(verify_consistency, 3, 4, [*prove_consistency(3, 4, read), EMPTY_ROOT], *higher)


def test_truth_is_no_number() -> None:
    """True does not stand for one, neither as a place nor as a size."""
    assert refused(verify_inclusion, LEAVES[1], True, 8, prove_inclusion(1, 8, read), ROOTS[8])
    assert refused(verify_consistency, True, 8, prove_consistency(1, 8, read), ROOTS[1], ROOTS[8])


def test_the_highest_tree_needs_no_longer_proof_than_is_read() -> None:
    """A proof in the largest tree that can be is within the bound, and each of its nodes has a complete node's address."""
    for addresses in (inclusion_nodes(0, MOST_LEAVES), inclusion_nodes(MOST_LEAVES - 1, MOST_LEAVES), consistency_nodes(1, MOST_LEAVES)):
        assert all(index < MOST_LEAVES >> level for level, index in addresses)
    proof = prove_consistency(2**62 + 1, MOST_LEAVES, lambda addresses: dict.fromkeys(addresses, EMPTY_ROOT))

    assert len(proof) <= LONGEST_PROOF


@pytest.mark.parametrize(("index", "size"), [(0, 0), (8, 8), (-1, 8), (0, 2**63)])
def test_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    """Who asks for the proof of a leaf outside the tree is told so."""
    with pytest.raises(ProofRefused):
        inclusion_nodes(index, size)


@pytest.mark.parametrize(("first", "second", "words"), [(0, 8, "empty ledger"), (9, 8, "rolled back"), (-1, 8, "whole numbers")])
def test_no_proof_of_growth_that_was_none(first: int, second: int, words: str) -> None:
    """Who asks for a proof from nothing, or backwards, is told so."""
    with pytest.raises(ProofRefused, match=words):
        consistency_nodes(first, second)


def test_two_ledgers_of_one_size_are_called_a_fork() -> None:
    """Two roots of the same size are named as what they are."""
    with pytest.raises(ProofRefused, match="forked"):
        verify_consistency(8, 8, [], ROOTS[8], ROOTS[7])


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda value: type(value).__name__)
def test_nothing_crashes_the_check_of_one_size(hostile: Any) -> None:
    """Whatever stands for a root or a proof where two sizes are equal is refused too."""
    assert refused(verify_consistency, 8, 8, [], hostile, ROOTS[8])
    assert refused(verify_consistency, 8, 8, [], ROOTS[8], hostile)
    assert refused(verify_consistency, 8, 8, [hostile], ROOTS[8], ROOTS[8])


def test_a_node_that_is_not_kept_is_named() -> None:
    """A proof that can't be made says which node is missing."""
    with pytest.raises(ProofRefused, match="2/0"):
        prove_inclusion(5, 8, lambda addresses: {address: STORED[address] for address in addresses if address != (2, 0)})

"""The tree, against a definition that can be read off the RFC."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.ledger.merkle import EMPTY_ROOT, CompactRange, Node, leaf_hash, node_hash, peaks

LEAVES = [leaf_hash(str(number).encode()) for number in range(300)]


def defined_root(hashes: list[bytes]) -> bytes:
    """Return MTH of RFC 9162 2.1.1, over the leaves' hashes: split at the largest power of two below the size."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return sha256(b"\x01" + defined_root(hashes[:split]) + defined_root(hashes[split:])).digest()


def test_the_roots_that_everybody_knows() -> None:
    """The roots over the eight entries of the reference implementations are the published ones."""
    entries = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
    published = (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
    hashes = [leaf_hash(bytes.fromhex(entry)) for entry in entries]

    assert [CompactRange().append(hashes[:size])[0].root().hex() for size in range(9)] == list(published)


def test_a_root_is_what_the_rfc_defines() -> None:
    """For every size up to 300 the root is that of the recursive definition, and over nothing it is the hash of nothing."""
    assert CompactRange().root() == EMPTY_ROOT
    for size in range(301):
        assert CompactRange().append(LEAVES[:size])[0].root() == defined_root(LEAVES[:size])


@given(st.lists(st.integers(0, 40), max_size=8))
def test_it_does_not_matter_in_how_many_parts(parts: list[int]) -> None:
    """However the leaves are cut into parts, the tree and the set of nodes are the same, and each node came once."""
    leaves = [leaf_hash(str(number).encode()) for number in range(sum(parts))]
    tree, nodes, at = CompactRange(), list[Node](), 0
    for part in parts:
        tree, fresh = tree.append(leaves[at : at + part])
        nodes += fresh
        at += part
    whole, together = CompactRange().append(leaves)

    assert tree == whole == CompactRange().extend(leaves)
    assert sorted(nodes) == sorted(together)
    assert len(set(nodes)) == len(nodes)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 100, 255, 300])
def test_every_complete_node_is_handed_out(size: int) -> None:
    """Every node whose leaves are all there is handed out, with the hash over just its leaves, and no other is."""
    _, nodes = CompactRange().append(LEAVES[:size])
    complete = {(level, index) for level in range(10) for index in range(size >> level)}

    assert {(level, index) for level, index, _ in nodes} == complete
    for level, index, value in nodes:
        assert value == defined_root(LEAVES[index << level : (index + 1) << level])


def test_the_peaks_are_what_a_range_holds() -> None:
    """A range can be made again from the stored hashes at its peaks."""
    stored = {(level, index): value for level, index, value in CompactRange().append(LEAVES)[1]}
    for size in range(301):
        again = CompactRange(size, tuple(stored[address] for address in peaks(size)))
        assert again == CompactRange().extend(LEAVES[:size])


def test_a_leaf_is_no_node() -> None:
    """An entry that spells two hashes has another hash than the node over them."""
    left, right = LEAVES[:2]

    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize(("size", "hashes"), [(-1, ()), (1, ()), (2, (bytes(32), bytes(32))), (1, (bytes(31),)), (0, (bytes(32),))])
def test_a_range_that_can_be_none_is_refused(size: int, hashes: tuple[bytes, ...]) -> None:
    """A size and hashes that do not belong together are no tree."""
    with pytest.raises(ValueError, match="peaks"):
        CompactRange(size, hashes)


def test_any_change_of_a_leaf_changes_the_root() -> None:
    """Leaves that are changed, dropped, inserted or swapped make another root."""
    honest = CompactRange().extend(LEAVES).root()
    for place in range(0, 299, 13):
        changed = [*LEAVES[:place], leaf_hash(b"another"), *LEAVES[place + 1 :]]
        dropped = LEAVES[:place] + LEAVES[place + 1 :]
        inserted = [*LEAVES[:place], LEAVES[place], *LEAVES[place:]]
        swapped = [*LEAVES[:place], LEAVES[place + 1], LEAVES[place], *LEAVES[place + 2 :]]
        for leaves in (changed, dropped, inserted, swapped):
            assert CompactRange().extend(leaves).root() != honest

"""Proofs of the tree, made and checked: that an entry is in it, and that it begins with all of an earlier one (RFC 9162, 2.1.3 and 2.1.4).

Who makes a proof holds the hashes of complete nodes and nothing else (:class:`~fallow.ledger.merkle.Node`); who checks one was handed
all of it by somebody who may lie. So the checks take any value at all: what is not a proof is refused, whatever else it is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NoReturn, TypeGuard

from fallow.domain.errors import ProofRefused
from fallow.ledger.merkle import HASH_OCTETS, Address, node_hash, peaks, root_of

#: Reads the hashes of these nodes from wherever they are kept.
Read = Callable[[Sequence[Address]], Mapping[Address, bytes]]
#: Most leaves a tree can have: what fits a signed integer of 64 bits, as databases hold it.
MOST_LEAVES = 2**63 - 1
#: A path is at most as long as such a tree is high, and a consistency proof has one hash more.
LONGEST_PROOF = 64


def inclusion_nodes(index: int, size: int) -> list[Address]:
    """Return the addresses of the nodes whose hashes the proof is made of that leaf ``index`` is in the tree of ``size`` leaves.

    Raises:
        ProofRefused: the tree has no such leaf.
    """
    return [address for group in _inclusion(index, size) for address in group]


def consistency_nodes(first: int, second: int) -> list[Address]:
    """Return the addresses of the nodes whose hashes the proof is made of that ``second`` leaves go on from ``first``.

    Raises:
        ProofRefused: ``first`` is nought, or more than ``second``.
    """
    return [address for group in _consistency(first, second) for address in group]


def prove_inclusion(index: int, size: int, read: Read) -> list[bytes]:
    """Make the proof that leaf ``index`` is in the tree of ``size`` leaves.

    Raises:
        ProofRefused: the tree has no such leaf, or a node that it needs is not kept.
    """
    return _folded(_inclusion(index, size), read)


def prove_consistency(first: int, second: int, read: Read) -> list[bytes]:
    """Make the proof that the tree of ``second`` leaves goes on from that of ``first``; empty where they are equal.

    Raises:
        ProofRefused: ``first`` is nought, or more than ``second``, or a node that it needs is not kept.
    """
    return _folded(_consistency(first, second), read)


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf of this hash is at ``index`` in the tree of ``size`` leaves with this root (RFC 9162, 2.1.3.2).

    Raises:
        ProofRefused: it is not proved; whatever the arguments are.
    """
    _demand_leaf(index, size)
    path = _hashes(proof, leaf_hash, root)
    seen = leaf_hash
    at, last = index, size - 1
    for sibling in path:
        if not last:
            _refuse(f"The proof that entry {index} is in the ledger of {size} entries is too long.")
        if at & 1 or at == last:
            seen = node_hash(sibling, seen)
            at, last = _to_right_child(at, last)
        else:
            seen = node_hash(seen, sibling)
        at, last = at >> 1, last >> 1
    if last:
        _refuse(f"The proof that entry {index} is in the ledger of {size} entries is too short.")
    if seen != root:
        _refuse(f"The proof that entry {index} is in the ledger of {size} entries leads to another root.")


def verify_consistency(first: int, second: int, proof: Sequence[bytes], root_first: bytes, root_second: bytes) -> None:
    """Check that the tree of ``second`` leaves begins with all of the tree of ``first`` leaves, in its order (RFC 9162, 2.1.4.2).

    Of an empty tree nothing can be proved; two trees of the same size are proved to be one by an empty proof and equal roots.

    Raises:
        ProofRefused: it is not proved; whatever the arguments are.
    """
    _demand_sizes(first, second)
    if first == second:
        _demand_one(first, _hashes(proof), root_first, root_second)
        return
    path = _hashes(proof, root_first, root_second)
    if not first & (first - 1):
        path = [root_first, *path]
    if not path:
        _refuse(f"The proof that the ledger of {second} entries goes on from {first} is empty.")
    _walk(first, second, path, root_first, root_second)


def _demand_one(size: int, path: list[bytes], root_first: object, root_second: object) -> None:
    if path:
        _refuse(f"The proof that the ledger of {size} entries is itself is not empty.")
    if not (type(root_first) is type(root_second) is bytes):
        _refuse("A root is bytes.")
    if root_first != root_second:
        _refuse(f"There are two ledgers of {size} entries with different roots: the ledger was forked.")


def _walk(first: int, second: int, path: list[bytes], root_first: bytes, root_second: bytes) -> None:
    claim = f"The proof that the ledger of {second} entries goes on from {first}"
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if not last:
            _refuse(f"{claim} is too long.")
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            at, last = _to_right_child(at, last)
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    if last:
        _refuse(f"{claim} is too short.")
    if old != root_first:
        _refuse(f"{claim} leads to another root of the first {first}.")
    if new != root_second:
        _refuse(f"{claim} leads to another root of all {second}.")


def _to_right_child(at: int, last: int) -> tuple[int, int]:
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _inclusion(index: int, size: int) -> list[list[Address]]:
    """Return for each hash of the proof, from the leaf up, the complete nodes that it is made of."""
    _demand_leaf(index, size)
    groups, start, end = list[list[Address]](), 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            groups.append(_cover(middle, end))
            end = middle
        else:
            groups.append(_cover(start, middle))
            start = middle
    return groups[::-1]


def _consistency(first: int, second: int) -> list[list[Address]]:
    """Return for each hash of the proof, as RFC 9162 2.1.4.1 orders them, the complete nodes that it is made of."""
    _demand_sizes(first, second)
    groups, start, end = list[list[Address]](), 0, second
    while end != first:
        middle = start + _split(end - start)
        if first <= middle:
            groups.append(_cover(middle, end))
            end = middle
        else:
            groups.append(_cover(start, middle))
            start = middle
    if start:
        groups.append(_cover(start, end))
    return groups[::-1]


def _split(count: int) -> int:
    """Return the largest power of two below ``count``."""
    return 1 << ((count - 1).bit_length() - 1)


def _cover(start: int, end: int) -> list[Address]:
    """Return the complete nodes over the leaves from ``start`` up to ``end``; ``start`` is a multiple of the largest one's leaves."""
    return [(level, (start >> level) + index) for level, index in peaks(end - start)]


def _folded(groups: Iterable[list[Address]], read: Read) -> list[bytes]:
    wanted = list(groups)
    held = read([address for group in wanted for address in group])
    return [root_of(list(_kept(group, held))) for group in wanted]


def _kept(group: list[Address], held: Mapping[Address, bytes]) -> Iterator[bytes]:
    for address in group:
        value = held.get(address)
        if value is None:
            what = f"The ledger keeps no node {address[0]}/{address[1]}, which a proof needs."
            raise ProofRefused(what, remedy="let the sequencer make the tree's nodes again from the leaves, or ask for a smaller ledger.")
        yield value


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MOST_LEAVES


def _demand_leaf(index: object, size: object) -> None:
    if not (_is_count(index) and _is_count(size)):
        _refuse(f"An entry's place and a ledger's size are whole numbers up to {MOST_LEAVES}.")
    if index >= size:
        _refuse(f"A ledger of {size} entries has no entry {index}.")


def _demand_sizes(first: object, second: object) -> None:
    if not (_is_count(first) and _is_count(second)):
        _refuse(f"The sizes of ledgers are whole numbers up to {MOST_LEAVES}.")
    if not first:
        _refuse("Nothing can be proved of an empty ledger: every ledger goes on from it.")
    if first > second:
        _refuse(f"A ledger of {second} entries can't go on from {first}: it was rolled back.")


def _hashes(proof: object, *others: object) -> list[bytes]:
    """Return the proof's hashes, once all of them and the others are hashes."""
    path = list(proof) if isinstance(proof, list | tuple) and len(proof) <= LONGEST_PROOF else None
    if path is None:
        _refuse(f"A proof is a sequence of at most {LONGEST_PROOF} hashes.")
    if any(type(each) is not bytes or len(each) != HASH_OCTETS for each in (*path, *others)):
        _refuse(f"A hash has {HASH_OCTETS} octets, in a proof, of a leaf and of a root.")
    return path


def _refuse(what: str) -> NoReturn:
    raise ProofRefused(what, remedy="ask for checkpoint and proof once more; if it stays so, keep both: they show what was changed.")

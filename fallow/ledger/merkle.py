"""The Merkle tree over the ledger's entries: SHA-256, RFC 6962 (2.1) and RFC 9162 (2.1), leaves and nodes told apart by a prefix.

A node's address is ``(level, index)``: leaves are level 0, and the node ``(level, index)`` stands over the ``2**level`` leaves from
``index * 2**level`` on. Only nodes whose leaves are all there (*complete* ones) have an address, because only they never change again.
The hashes over an incomplete right edge are computed from them when they are needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count, repeat
from typing import NamedTuple, Self

#: Octets of a hash.
HASH_OCTETS = 32
#: The root over no entry (RFC 9162, 2.1.1).
EMPTY_ROOT = sha256().digest()
#: Level and index of a complete node.
Address = tuple[int, int]


class Node(NamedTuple):
    """A complete node and its address."""

    level: int
    index: int  # type: ignore[assignment]  # the word of the RFCs for a place in a level; nobody looks a node up in itself
    hash: bytes


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf that holds these bytes."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over two others."""
    return sha256(b"\x01" + left + right).digest()


def peaks(size: int) -> list[Address]:
    """Return the addresses of the largest complete nodes that together stand over ``size`` leaves, from left to right.

    Their hashes, in this order, are what a :class:`CompactRange` of that size holds.
    """
    return [(level, (size >> level) - 1) for level in reversed(range(size.bit_length())) if size >> level & 1]


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of adjoining complete nodes, each smaller than the one to its left."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


@dataclass(frozen=True, slots=True)
class CompactRange:
    """All that must be known of a tree to append to it: how many leaves it has, and the hashes of its :func:`peaks`.

    Attributes:
        size: how many leaves.
        hashes: of its peaks, from left to right.

    Raises:
        ValueError: there are not as many hashes as a tree of that size has peaks, or one is no hash.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what can be no tree."""
        if self.size < 0 or len(self.hashes) != self.size.bit_count() or any(len(held) != HASH_OCTETS for held in self.hashes):
            raise ValueError(f"A tree of {self.size} leaves has {max(self.size, 0).bit_count()} peaks of {HASH_OCTETS} octets each.")

    def root(self) -> bytes:
        """Return the tree's root."""
        return root_of(self.hashes)

    def append(self, leaf_hashes: Sequence[bytes]) -> tuple[Self, list[Node]]:
        """Return the tree with these leaves after its own, and every complete node that came into being, leaves included.

        The nodes come level by level from the leaves up, each level from left to right.
        """
        rows, hashes = _rows(self, leaf_hashes)
        nodes = list[Node]()
        for level, (first, row) in enumerate(rows):
            nodes += map(Node, repeat(level), count(first), row)
        return type(self)(self.size + len(leaf_hashes), hashes), nodes

    def extend(self, leaf_hashes: Sequence[bytes]) -> Self:
        """Return the tree with these leaves after its own, for somebody who keeps no nodes."""
        return type(self)(self.size + len(leaf_hashes), _rows(self, leaf_hashes)[1])


def _rows(tree: CompactRange, leaf_hashes: Sequence[bytes]) -> tuple[list[tuple[int, Sequence[bytes]]], tuple[bytes, ...]]:
    """Return each level's new hashes after the index of the first, and the hashes of the peaks after them.

    A level is made whole before the next one, because a loop over one list is several times as fast as a walk up from every leaf.
    """
    rows, waiting, standing = list[tuple[int, Sequence[bytes]]](), list(tree.hashes), list[bytes]()
    row, first = leaf_hashes, tree.size
    while row or first:
        rows.append((first, row))
        if first & 1:
            row = [waiting.pop(), *row]
        if len(row) & 1:
            standing.append(row[-1])
        lefts = iter(row)
        row = [sha256(b"\x01" + left + right).digest() for left, right in zip(lefts, lefts, strict=False)]
        first >>= 1
    return rows, tuple(reversed(standing))

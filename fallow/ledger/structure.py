"""The structure of a whole ledger, checked entry by entry without holding it: spelling, order, and the root at each checkpoint."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise

from fallow.domain.errors import EntryRefused, ProofRefused
from fallow.ledger.checkpoints import Checkpoint
from fallow.ledger.entries import CYCLE, Entry, read_entry
from fallow.ledger.merkle import CompactRange, leaf_hash

#: Entries that are hashed together; what is held at a time.
PAGE = 4096

#: Looks at an entry and its place.
Look = Callable[[int, Entry], None]


class Order:
    """Sees that the events of each cycle come in their order and that none is left out; a :data:`Look`."""

    def __init__(self) -> None:
        self._last = dict[str, int]()

    def __call__(self, index: int, entry: Entry) -> None:
        """Look at one more entry.

        Raises:
            EntryRefused: it is not the next event of its cycle.
        """
        if entry.of != CYCLE:
            return
        expected = self._last.get(entry.id, 0) + 1
        if entry.seq != expected:
            what = f"Entry {index} of the ledger is event {entry.seq} of its cycle, where event {expected} must come."
            raise EntryRefused(what, remedy="keep the ledger as it came: an event was left out, put in twice or put elsewhere.")
        self._last[entry.id] = entry.seq


def check_structure(entries: Iterable[bytes], checkpoints: Sequence[Checkpoint], looks: Sequence[Look] = ()) -> CompactRange:
    """Check that these entries, from the first on, are what the checkpoints say, and return their tree.

    Args:
        entries: the leaves' octets, all up to the largest checkpoint; those after it are not read.
        checkpoints: at least one, by size; their signatures are the caller's to verify.
        looks: what else is to see every entry.

    Raises:
        EntryRefused: an entry is not written as one, or a look refused it; the first one is named.
        ProofRefused: there are fewer entries than a checkpoint says, or their root is another one; says after which entry all was well.
    """
    if not checkpoints or any(later.size < earlier.size for earlier, later in pairwise(checkpoints)):
        what = "The checkpoints are not in the order of their sizes, or there is none."
        raise ProofRefused(what, remedy="give at least one checkpoint, and the smaller ones first.")
    arriving, tree, well = iter(entries), CompactRange(), 0
    for checkpoint in checkpoints:
        tree = _read_on(arriving, tree, checkpoint.size, looks)
        if tree.root() != checkpoint.root:
            what = f"The first {tree.size} entries have another root than their checkpoint says; of the first {well} one is right."
            remedy = "keep ledger and checkpoints as they came: after those, an entry was changed, left out, put in or put elsewhere."
            raise ProofRefused(what, remedy=remedy)
        well = tree.size
    return tree


def _read_on(arriving: Iterator[bytes], tree: CompactRange, size: int, looks: Sequence[Look]) -> CompactRange:
    while tree.size < size:
        page = list(islice(arriving, min(PAGE, size - tree.size)))
        if not page:
            what = f"The ledger ends after {tree.size} entries, where its checkpoint says {size}."
            raise ProofRefused(what, remedy="ask for the entries that are missing; if there are none, keep what came: the ledger was cut.")
        tree = _with_page(tree, page, looks)
    return tree


def _with_page(tree: CompactRange, page: list[bytes], looks: Sequence[Look]) -> CompactRange:
    for index, raw in enumerate(page, start=tree.size):
        try:
            entry = read_entry(raw)
        except EntryRefused as refused:
            what = f"Entry {index} of the ledger: {refused.what}"
            raise EntryRefused(what, remedy=refused.remedy) from None
        for look in looks:
            look(index, entry)
    return tree.extend([leaf_hash(raw) for raw in page])

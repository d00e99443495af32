"""A whole ledger, entry by entry: what was changed is found, and named."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from fallow.domain.errors import EntryRefused, EvidenceRefused, ProofRefused
from fallow.ledger.checkpoints import Checkpoint
from fallow.ledger.entries import CYCLE, PLATFORM, Entry
from fallow.ledger.merkle import EMPTY_ROOT, CompactRange, leaf_hash
from fallow.ledger.structure import PAGE, Order, check_structure

START = datetime(2026, 3, 1, tzinfo=UTC)
#: Five cycles, each with 20 events, in turn, and an event of a platform after every tenth.
ENTRIES = [
    Entry(CYCLE, f"n_{place % 5}/1", place // 5 + 1, "LineChecked", START + timedelta(seconds=place), {"place": place}).raw
    for place in range(100)
]
for _place in range(100, 0, -10):
    ENTRIES.insert(_place, Entry(PLATFORM, "delta-shop", 1000 - _place, "TermsSet", START, {}).raw)


def at_size(size: int) -> Checkpoint:
    """Return what the honest ledger says of itself at a size."""
    return Checkpoint("ledger.example/1", size, CompactRange().extend([leaf_hash(raw) for raw in ENTRIES[:size]]).root())


WHOLE = at_size(110)


def test_an_honest_ledger_is_as_its_checkpoints_say() -> None:
    """The entries of every size are what the checkpoints say, and what comes after the largest is not read."""
    for size in range(1, 111):
        assert check_structure(ENTRIES, [at_size(size)], [Order()]).size == size
    everything = [at_size(size) for size in range(111)]
    arriving = iter(ENTRIES)

    assert check_structure(ENTRIES, [*everything, WHOLE], [Order()]).root() == WHOLE.root
    check_structure(arriving, [at_size(50)])
    assert len(list(arriving)) == 60


def test_more_than_a_page_is_read_page_by_page() -> None:
    """A ledger of more entries than are held at a time is checked as one that is held whole."""
    raw = [Entry(CYCLE, f"n_{place}/1", 1, "LineChecked", START, {}).raw for place in range(2 * PAGE + 3)]
    tree = CompactRange().extend([leaf_hash(each) for each in raw])

    assert check_structure(iter(raw), [Checkpoint("ledger", tree.size, tree.root())], [Order()]) == tree
    asked = list[int]()

    def slowly() -> Iterator[bytes]:
        for place, each in enumerate(raw):
            asked.append(place)
            yield each

    with pytest.raises(EntryRefused):
        check_structure(slowly(), [Checkpoint("ledger", tree.size, tree.root())], [_refuse_at(PAGE - 1)])
    assert len(asked) == PAGE


def _refuse_at(place: int) -> Callable[[int, Entry], None]:
    def look(index: int, _entry: Entry) -> None:
        if index == place:
            raise EntryRefused("Enough.", remedy="none.")

    return look


def test_everything_changed_is_found() -> None:
    """An entry changed, dropped, put in, put in twice, swapped with the next, emptied or cut, at any place, and the ledger is refused."""
    other = Entry(CYCLE, "n_0/1", 1, "NumberSold", START, {}).raw
    for place in range(110):
        before, after = ENTRIES[:place], ENTRIES[place + 1 :]
        kinds = [[*before, other, *after], [*before, *after, other], [*before, other, ENTRIES[place], *after]]
        kinds += [before, [*before, b"", *after], [*before, ENTRIES[place][:-1], *after]]
        if after:
            kinds += [[*before, after[0], ENTRIES[place], *after[1:]], [*before, ENTRIES[place], ENTRIES[place], *after]]
        for entries in kinds:
            with pytest.raises(EvidenceRefused):
                check_structure(entries, [WHOLE])


def test_the_first_bad_entry_is_named() -> None:
    """An entry that can't be read, or is not its cycle's next, is named by its place."""
    for place in (0, 37, 109):
        with pytest.raises(EntryRefused, match=f"Entry {place} of"):
            check_structure([*ENTRIES[:place], ENTRIES[place] + b" ", *ENTRIES[place + 1 :]], [WHOLE])
    without = ENTRIES[:37] + ENTRIES[38:]
    following = next(place for place, raw in enumerate(without) if raw == ENTRIES[42])
    with pytest.raises(EntryRefused, match=f"Entry {following} of the ledger is event"):
        check_structure(without, [WHOLE], [Order()])


def test_the_last_checkpoint_that_held_is_named() -> None:
    """With several checkpoints an entry that was replaced is said to be after the last that held."""
    replaced = [*ENTRIES[:60], Entry(CYCLE, "n_9/1", 1, "LineChecked", START, {}).raw, *ENTRIES[61:]]

    with pytest.raises(ProofRefused, match=r"first 75 entries .* first 50"):
        check_structure(replaced, [at_size(25), at_size(50), at_size(75), WHOLE])


def test_a_ledger_that_was_cut_is_named() -> None:
    """Fewer entries than the checkpoint says is said with both numbers."""
    with pytest.raises(ProofRefused, match="ends after 90 entries, where its checkpoint says 110"):
        check_structure(ENTRIES[:90], [WHOLE])


def test_an_empty_ledger_is_one() -> None:
    """No entries are what a checkpoint of none says."""
    assert check_structure([], [Checkpoint("ledger", 0, EMPTY_ROOT)]).size == 0


@pytest.mark.parametrize("sizes", [[], [5, 4], [1, 5, 2]])
def test_checkpoints_out_of_order_are_refused(sizes: list[int]) -> None:
    """Without a checkpoint, or with a smaller one after a larger one, nothing is checked."""
    with pytest.raises(ProofRefused, match="order"):
        check_structure(ENTRIES, [at_size(size) for size in sizes])

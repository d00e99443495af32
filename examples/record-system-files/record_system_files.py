"""The kind ``files``: a folder of JSON-lines files, one a collection. An example of a record system outside fallow."""

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from fallow.domain.errors import MapRefused, NumberMalformed, TargetUnavailable
from fallow.domain.number import E164
from fallow.domain.ports import CollectionReceipt, ExpiryOrder, Finding, Keeper, WipeOrder, WipeReceipt
from fallow.records.kinds import OpenContext

_FORM = hashlib.sha256(b"files.v1: rows by number and began_at, the whole file read").hexdigest()


class _Row(NamedTuple):
    line: str
    number: E164
    began_at: datetime


def open_files(entry: Mapping[str, object], context: OpenContext) -> "Files":
    """Open a ``[[system]]`` with ``folder``, relative to the map, and ``collections``, the files' names without ``.jsonl``."""
    folder, collections = entry.get("folder"), entry.get("collections")
    if not isinstance(folder, str) or not isinstance(collections, list) or entry.keys() != {"id", "folder", "collections"}:
        what = f"{context.map_path}: record system {entry['id']} needs folder and collections, and nothing else."
        raise MapRefused(what, remedy="compare with the README of record-system-files.")
    return Files(str(entry["id"]), context.map_path.parent / folder, tuple(map(str, collections)))


class Files:
    """The :class:`fallow.domain.ports.RecordSystem` of one folder."""

    def __init__(self, system_id: str, folder: Path, collections: tuple[str, ...]) -> None:
        """Take the folder; nothing is read yet."""
        self.system_id, self.collections, self.after, self.batch = system_id, collections, frozenset[str](), 200
        self._folder = folder

    def check(self) -> None:
        """Read every file, changing nothing."""
        self.read_back([])

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def find(self, orders: Sequence[WipeOrder]) -> list[tuple[Finding, ...]]:
        """Say what a wipe would find."""
        found = [receipt.collections for receipt in self.read_back(orders)]
        return [tuple(Finding(each.collection, "delete", each.remaining, 0, each.newer) for each in one) for one in found]

    def read_back(self, orders: Sequence[WipeOrder]) -> list[WipeReceipt]:
        """Read the files and count what they hold of each former holder."""
        with self._locked():
            return self._receipts(orders, {each: [0] * len(orders) for each in self.collections})

    def wipe(self, orders: Sequence[WipeOrder], keeper: Keeper | None = None) -> list[WipeReceipt]:
        """Write each file anew without the former holders' rows, then read it again."""
        del keeper  # nothing is sealed here
        with self._locked():
            return self._receipts(orders, {each: self._clear(each, orders) for each in self.collections})

    def expire(self, orders: Sequence[ExpiryOrder]) -> list[int]:
        """Say that nothing is left: nothing is kept by law here."""
        return [0] * len(orders)

    def _clear(self, collection: str, orders: Sequence[WipeOrder]) -> list[int]:
        rows = self._rows(collection)
        kept = [row.line for row in rows if not any(_is_formers(row, order) for order in orders)]
        if len(kept) < len(rows):
            old, new = self._folder / f"{collection}.jsonl", self._folder / f"{collection}.new"
            with new.open("w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), stat.S_IMODE(old.stat().st_mode))
                file.writelines(f"{line}\n" for line in kept)
                file.flush()
                os.fsync(file.fileno())
            new.replace(old)  # whoever reads finds the old file or the new one, never half of one
        return [sum(_is_formers(row, order) for row in rows) for order in orders]

    def _receipts(self, orders: Sequence[WipeOrder], gone: Mapping[str, list[int]]) -> list[WipeReceipt]:
        at, files = datetime.now(UTC), {each: self._rows(each) for each in self.collections}

        def one(order: WipeOrder, collection: str, affected: int) -> CollectionReceipt:
            mine = [_is_formers(row, order) for row in files[collection] if row.number == order.number]
            left, newer = mine.count(True), mine.count(False)
            return CollectionReceipt(collection, "delete", affected, left, _FORM, _FORM, newer=newer, read_back_at=at)

        parts = [tuple(one(order, each, gone[each][place]) for each in files) for place, order in enumerate(orders)]
        return [WipeReceipt(order.cycle_id, self.system_id, part) for order, part in zip(orders, parts, strict=True)]

    def _rows(self, collection: str) -> list[_Row]:
        try:
            lines = (self._folder / f"{collection}.jsonl").read_text("utf-8").removesuffix("\n").split("\n")
            return [_read(line) for line in lines if line]
        except (NumberMalformed, ValueError, TypeError, KeyError):
            what = f"Record system {self.system_id}: {collection}.jsonl has a line without a number or a began_at that can be read."
        raise MapRefused(what, remedy="mend the line: it may be anybody's.")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with (self._folder / ".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield
                return
        except OSError as error:
            trouble = type(error).__name__
        what = f"Record system {self.system_id}: its folder could not be locked, read or written ({trouble})."
        raise TargetUnavailable(what, remedy="check that the folder and its files are there, and who may write them.")


def _read(line: str) -> _Row:
    said = json.loads(line)
    began_at = datetime.fromisoformat(said["began_at"])
    if began_at.tzinfo is None:
        raise ValueError
    return _Row(line, E164(said["number"]), began_at)


def _is_formers(row: _Row, order: WipeOrder) -> bool:
    return row.number == order.number and row.began_at <= order.disconnected_at

"""The kind ``http``: a record system that speaks our protocol (docs/record-systems.md). Imports the domain and pydantic.

It clears itself and counts itself, so its word is worth what its signature is: every answer is signed by its own key and bound to
the request it answers, and a receipt rests on its second answer, to ``verify``. The way there is injected
(:class:`fallow.records.kinds.Connect`); nothing here knows HTTP.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError

from fallow.domain.errors import AnswerMalformed, MapRefused, TargetUnavailable
from fallow.domain.ports import CollectionReceipt, ExpiryOrder, Finding, Keeper, WipeOrder, WipeReceipt
from fallow.records.http_protocol import CollectionsDiffer, Counts, delivery_id, digest, instant, name_of, read_answer, reference
from fallow.records.http_schema import HttpCollection, HttpSystem
from fallow.records.kinds import Exchange, OpenContext

_Order = TypeVar("_Order", WipeOrder, ExpiryOrder)
_Rendered = dict[str, object]


def open_http(entry: Mapping[str, object], context: OpenContext) -> "HttpRecordSystem":
    """Open a ``[[system]]`` of the kind ``http``; nothing is connected yet.

    Raises:
        MapRefused: a key is missing, unknown or has a value outside its list; names the file, the key and the remedy.
    """
    try:
        mapped = HttpSystem.model_validate(entry)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "(whole entry)"
        what = f"{context.map_path}: record system {entry['id']}: key {where}: {fault['msg']}."
    else:
        seconds = mapped.timeout.total_seconds()
        exchange = context.connect(mapped.url, mapped.public_keys, timeout=seconds, allow_loopback=mapped.allow_loopback)
        return HttpRecordSystem(mapped, exchange)
    raise MapRefused(what, remedy="compare with docs/record-systems.md.")


class HttpRecordSystem:
    """The :class:`fallow.domain.ports.RecordSystem` of one ``[[system]]`` of the kind ``http``."""

    def __init__(self, mapped: HttpSystem, exchange: Exchange) -> None:
        """Take the map and the way there."""
        self.system_id = mapped.id
        self.collections = tuple(each.id for each in mapped.collections)
        self.after = frozenset(mapped.after)
        self.batch = mapped.batch
        self._mapped = mapped
        self._exchange = exchange
        self._told = [each.model_dump(mode="json", include={"id", "strategy", "basis"}, exclude_none=True) for each in mapped.collections]

    @property
    def meanings(self) -> dict[str, str]:
        """Collection id -> digest of what the map says of it."""
        return {each.id: each.meaning for each in self._mapped.collections}

    def check(self) -> None:
        """Ask for nobody: a signed answer shows that the way, the keys and the collections fit.

        Raises:
            MapRefused: it clears other collections than the map names.
            TargetUnavailable: it can't be reached, or gave no answer that counts.
        """
        self._ask("list", [], {})

    def close(self) -> None:
        """Do nothing: a connection lives no longer than its request."""

    def find(self, orders: Sequence[WipeOrder]) -> list[tuple[Finding, ...]]:
        """Say what a wipe would find; see :meth:`fallow.domain.ports.RecordSystem.find`."""
        found = [counts for batch in _batches(orders, self.batch) for counts in self._about("list", batch)]
        return [
            tuple(_finding(each, counts[each.id], order) for each in self._mapped.collections)
            for counts, order in zip(found, orders, strict=True)
        ]

    def read_back(self, orders: Sequence[WipeOrder]) -> list[WipeReceipt]:
        """Ask again what is left; see :meth:`fallow.domain.ports.RecordSystem.read_back`."""
        return [receipt for batch in _batches(orders, self.batch) for receipt in self._receipts(batch, [None] * len(batch))]

    def wipe(self, orders: Sequence[WipeOrder], keeper: Keeper | None = None) -> list[WipeReceipt]:
        """Have the orders cleared, then verified by another request; see :meth:`fallow.domain.ports.RecordSystem.wipe`."""
        del keeper  # the system keeps by itself what the law wants kept
        return [receipt for batch in _batches(orders, self.batch) for receipt in self._receipts(batch, self._about("clear", batch))]

    def expire(self, orders: Sequence[ExpiryOrder]) -> list[int]:
        """Have what has expired destroyed; see :meth:`fallow.domain.ports.RecordSystem.expire`."""
        return [left for batch in _batches(orders, self.batch) for left in self._expired(batch)]

    def _expired(self, orders: Sequence[ExpiryOrder]) -> list[int]:
        rendered = [self._expiry(order) for order in orders]
        asked = {str(each["reference"]): (order.collection,) for each, order in zip(rendered, orders, strict=True)}
        answer = self._ask("expire", rendered, asked)
        return [answer[each][collection]["remaining"] for each, (collection,) in asked.items()]

    def _about(self, verb: str, orders: Sequence[WipeOrder]) -> list[Counts]:
        rendered = [self._order(order) for order in orders]
        return list(self._ask(verb, rendered, {str(each["reference"]): self.collections for each in rendered}).values())

    def _ask(self, verb: str, orders: Sequence[_Rendered], asked: Mapping[str, Sequence[str]]) -> dict[str, Counts]:
        if len(asked) != len(orders):
            what = "two orders of one batch are for the same cycle"
            raise ValueError(what)
        said = {"type": name_of(verb), "system": self.system_id, "collections": self._told, "orders": orders}
        body = json.dumps(said, separators=(",", ":")).encode()
        answer = self._exchange(verb, delivery_id(verb, orders, self.system_id, digest({"told": self._told})), body)
        try:
            return read_answer(verb, answer, asked, self.collections)
        except CollectionsDiffer as differ:
            raise MapRefused(f"Record system {self.system_id}: {differ.what}", remedy=differ.remedy) from None
        except AnswerMalformed as malformed:
            what = f"Record system {self.system_id} gave no receipt: {malformed.what}"
            raise TargetUnavailable(what, remedy=f"{malformed.remedy} It is asked again by itself.") from None

    def _order(self, order: WipeOrder) -> _Rendered:
        rendered: _Rendered = {
            "reference": reference(self.system_id, order.cycle_id),
            "number": order.number.text,
            "disconnected_at": instant(order.disconnected_at),
        }
        if order.subscription is not None:
            rendered["subscription"] = order.subscription
        kept = {each.id: until for each in self._mapped.collections if (until := _kept_until(order, each))}
        return {**rendered, "kept_until": kept} if kept else rendered

    def _expiry(self, order: ExpiryOrder) -> _Rendered:
        kept = {order.collection: order.kept_until.isoformat()}
        name = reference(self.system_id, order.cycle_id, order.collection, order.kept_until.isoformat())
        return {"reference": name, "number": order.number.text, "kept_until": kept}

    def _receipts(self, orders: Sequence[WipeOrder], cleared: Sequence[Counts | None]) -> Iterator[WipeReceipt]:
        at = datetime.now(UTC)  # before it looks: rows that came meanwhile are not vouched for
        found = self._about("verify", orders)
        for order, affected, left in zip(orders, cleared, found, strict=True):
            parts = tuple(self._receipt(order, each, affected, left[each.id], at) for each in self._mapped.collections)
            yield WipeReceipt(order.cycle_id, self.system_id, parts, self._mapped.place)

    def _receipt(
        self, order: WipeOrder, collection: HttpCollection, cleared: Counts | None, left: Mapping[str, int], at: datetime
    ) -> CollectionReceipt:
        live = self._mapped.backups_live_for
        return CollectionReceipt(
            collection.id,
            collection.strategy,
            0 if cleared is None else cleared[collection.id]["affected"],
            left["remaining"],
            self._digest("clear", collection),
            self._digest("verify", collection),
            meaning=collection.meaning,
            newer=left["newer"],
            kept=left["kept"],
            read_back_at=at,
            legal_basis=collection.basis,
            kept_until=_kept_until(order, collection),
            backups_until=None if live is None else (at + live).date().isoformat(),
            not_reached=tuple(self._mapped.not_reached),
        )

    def _digest(self, verb: str, collection: HttpCollection) -> str:
        """Return the SHA-256 of what was asked of the collection, without values: protocol, path and definition."""
        path = f"{urlsplit(self._mapped.url).path.rstrip('/')}/{verb}"
        return digest({"type": name_of(verb), "path": path, "collection": collection.model_dump(mode="json")})


def _finding(collection: HttpCollection, counts: Mapping[str, int], order: WipeOrder) -> Finding:
    told = (counts["in_scope"], counts["undecided"], counts["newer"])
    return Finding(collection.id, collection.strategy, *told, collection.basis, _kept_until(order, collection))


def _kept_until(order: WipeOrder, collection: HttpCollection) -> str | None:
    if collection.keep_for is None:
        return None
    last: date = (order.disconnected_at.astimezone(UTC) + collection.keep_for).date()
    return last.isoformat()


def _batches(orders: Sequence[_Order], size: int) -> Iterator[Sequence[_Order]]:
    for start in range(0, len(orders), size):
        yield orders[start : start + size]

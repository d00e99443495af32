"""An HTTP record system on a real socket: what it is sent, what its receipt says, and which entries of the map are refused."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from carrier_database import FORMER, LEFT_AT, OTHER, order
from record_server import CONTRACTS, EARLIER, LATER, LETTERS, STRANGER, SYSTEM, Archive, Reply, Row

from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.domain.ports import ExpiryOrder
from fallow.local.simulator_signing import public_half


def test_a_wipe_clears_and_verifies(archive: Archive) -> None:
    """The former holder's rows go or are kept by law, a stranger's stays, and the receipt says so of each collection."""
    system = archive.open(backups_live_for="35d", not_reached=["the replica in the south"])

    (receipt,) = system.wipe([order()])

    letters, contracts = receipt.collections
    assert (letters.collection, letters.strategy, letters.affected, letters.remaining, letters.newer) == ("letters", "delete", 1, 0, 0)
    assert (contracts.affected, contracts.remaining, contracts.kept) == (1, 0, 1)
    assert (letters.legal_basis, letters.kept_until, contracts.legal_basis, contracts.kept_until) == (None, None, "tax", "2028-04-29")
    assert letters.backups_until == (letters.read_back_at + timedelta(days=35)).date().isoformat()
    assert letters.not_reached == ("the replica in the south",)
    assert archive.server.rows == [Row("contracts", FORMER.text, EARLIER, "2028-04-29"), Row("letters", OTHER.text, EARLIER)]
    assert [each.verb for each in archive.server.asked] == ["clear", "verify"]


def test_a_receipt_names_what_was_asked_without_values(archive: Archive) -> None:
    """Statement and query are digests of protocol, path and definition: alike for every number, another for another definition."""
    first, second = archive.open().wipe([order()])[0], archive.open().wipe([order(OTHER)])[0]
    (other, _) = archive.open(url=archive.server.url + "/v2").read_back([order()])[0].collections

    assert [(each.statement, each.query) for each in first.collections] == [(each.statement, each.query) for each in second.collections]
    assert len({digest for each in (*first.collections, other) for digest in (each.statement, each.query)}) == 6
    assert len(other.query) == 64


def test_a_receipt_names_its_place(archive: Archive) -> None:
    """The place follows from the URL and the keys whose word counts there, and from nothing else."""
    here, again = (archive.open().wipe([each])[0].place for each in (order(), order(OTHER)))
    (longer,) = archive.open(batch=7, timeout="3s").read_back([order()])
    (elsewhere,) = archive.open(url=archive.server.url + "/v2").read_back([order()])
    keys = [public_half(SYSTEM), public_half(STRANGER)]
    (other_keys,) = archive.open(public_keys=keys).read_back([order()])
    (same_keys,) = archive.open(public_keys=keys[::-1]).read_back([order()])

    assert re.fullmatch("[0-9a-f]{16}", here)
    assert here == again == longer.place
    assert len({here, elsewhere.place, other_keys.place}) == 3
    assert same_keys.place == other_keys.place


def test_a_repeat_clears_nothing_twice_and_gives_a_full_receipt(archive: Archive) -> None:
    """The second attempt finds nothing left to clear."""
    system = archive.open()
    system.wipe([order()])

    (receipt,) = system.wipe([order()])

    assert [(each.affected, each.remaining, each.kept) for each in receipt.collections] == [(0, 0, 0), (0, 0, 1)]


def test_a_look_changes_nothing(archive: Archive) -> None:
    """A plan counts what a wipe would find, and a read-back what is left, without a change."""
    before, system = [replace(row) for row in archive.server.rows], archive.open()

    ((letters, contracts),) = system.find([order()])
    (left,) = system.read_back([order()])

    assert (letters.in_scope, letters.undecided, letters.newer, contracts.in_scope) == (1, 0, 0, 1)
    assert [(each.affected, each.remaining) for each in left.collections] == [(0, 1), (0, 1)]
    assert archive.server.rows == before


def test_rows_of_a_newer_holder_are_reported_and_stay(archive: Archive) -> None:
    """What began after the disconnect is counted and not touched."""
    archive.server.rows.append(newer := Row("letters", FORMER.text, LATER))

    (receipt,) = archive.open().wipe([order()])

    assert receipt.collections[0].newer == 1
    assert newer in archive.server.rows


def test_a_row_that_stayed_is_in_the_receipt(archive: Archive) -> None:
    """What `clear` claims is not believed: `verify` counts, and what it still finds remains."""
    kept = list(archive.server.rows)

    def undo(verb: str, _: Reply) -> None:
        if verb == "clear":
            archive.server.rows[:] = [replace(row, kept_until=None) for row in kept]

    archive.server.lie = undo

    (receipt,) = archive.open().wipe([order()])

    assert [(each.affected, each.remaining) for each in receipt.collections] == [(1, 1), (1, 1)]


def test_many_orders_go_in_batches_and_come_back_in_order(archive: Archive) -> None:
    """No request holds more orders than the map allows, and each order gets its own receipt."""
    orders = [replace(order(FORMER if place == 3 else OTHER), cycle_id=f"n_x/{place}") for place in range(5)]

    receipts = archive.open(batch=2).wipe(orders)

    assert [receipt.cycle_id for receipt in receipts] == [each.cycle_id for each in orders]
    assert [receipt.collections[0].affected for receipt in receipts] == [1, 0, 0, 1, 0]
    assert [each.verb for each in archive.server.asked] == ["clear", "verify"] * 3


def test_what_has_expired_is_destroyed(archive: Archive) -> None:
    """Each expiry has an answer of its own, and a repeat says the same."""
    archive.server.rows.append(over := Row("contracts", FORMER.text, EARLIER, "2026-06-01"))
    system, day = archive.open(), datetime(2026, 6, 1, tzinfo=UTC).date()
    orders = [ExpiryOrder("number-1/1", "contracts", number, day, "kept by law") for number in (FORMER,)]

    assert (system.expire(orders), system.expire(orders)) == ([0], [0])
    assert over not in archive.server.rows
    assert len({each.message_id for each in archive.server.asked}) == 1


def test_a_number_is_in_bodies_only(archive: Archive) -> None:
    """Request line and headers hold neither the number nor anything like one; references and ids are letters."""
    archive.open().wipe([order()])

    for asked in archive.server.asked:
        assert b"13800000001" not in asked.head
        assert b"13800000001" in asked.body
        assert asked.message_id.removeprefix("msg_").isalpha()
        assert asked.said["orders"][0]["reference"].removeprefix("ref_").isalpha()


def test_a_lost_answer_is_asked_again_under_the_same_key(archive: Archive) -> None:
    """What was cleared before the answer was lost is not lost: the repeat has the same idempotency key, and its receipt is full."""
    archive.server.drops.append("clear")
    system = archive.open()
    with pytest.raises(TargetUnavailable):
        system.wipe([order()])

    (receipt,) = system.wipe([order()])

    assert [(each.affected, each.remaining) for each in receipt.collections] == [(0, 0), (0, 0)]
    clears, verifies = ([each.message_id for each in archive.server.asked if each.verb == verb] for verb in ("clear", "verify"))
    assert [clears[0]] * 2 == clears
    assert clears[0] != verifies[0]


def test_the_key_is_that_of_the_batch_however_it_is_sorted(archive: Archive) -> None:
    """The same orders have one key; other orders, another instant, another system or another map have another, and no look has one."""
    one, two = order(), replace(order(OTHER), cycle_id="number-2/1")
    for orders in ([one, two], [two, one], [one], [replace(one, disconnected_at=LEFT_AT + timedelta(seconds=1)), two]):
        archive.open().wipe(orders)
    archive.open(id="annex").wipe([one, two])
    archive.open(collections=[LETTERS, {**CONTRACTS, "basis": "law"}]).wipe([one, two])
    keys = [each.message_id for each in archive.server.asked if each.verb == "clear"]

    assert keys[0] == keys[1]
    assert len(set(keys)) == len(keys) - 1
    assert len({each.message_id for each in archive.server.asked if each.verb == "verify"}) == len(keys)


def test_a_subscription_is_told_where_it_is_known(archive: Archive) -> None:
    """The system can tell the holders apart by it; nothing stands for one that is not known."""
    archive.open().find([replace(order(), subscription="S-77"), replace(order(OTHER), cycle_id="number-2/1")])

    first, second = archive.server.asked[0].said["orders"]
    assert first["subscription"] == "S-77"
    assert "subscription" not in second


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("url", "http://records.example/x"),
        ("url", "https://10.0.0.7/secret"),
        ("url", "https://me:secret@records.example/x"),
        ("public_keys", []),
        ("public_keys", ["whpk_secret"]),
        ("public_keys", [public_half(SYSTEM)] * 2),
        ("collections", []),
        ("collections", [LETTERS, LETTERS]),
        ("collections", [{"id": "letters", "strategy": "seal", "basis": "secret"}]),
        ("collections", [{"id": "letters", "strategy": "restrict", "basis": "secret"}]),
        ("collections", [{"id": "letters", "strategy": "delete", "basis": "secret"}]),
        ("timeout", "26s"),
        ("timeout", "0s"),
        ("batch", 501),
        ("batch", True),
        ("backups_live_for", "a secret"),
        ("allow_loopback", 1),
        ("secret", 1),
    ],
)
def test_a_fault_of_the_entry_is_named_and_no_value_told(archive: Archive, key: str, value: object) -> None:
    """File, system or key, and remedy."""
    with pytest.raises(MapRefused, match=r"records\.toml") as caught:
        archive.open(**{key: value})

    assert key in str(caught.value) or key == "collections"
    assert key == "secret" or "secret" not in str(caught.value)


def test_an_answer_always_fits(archive: Archive) -> None:
    """More counts in one request than the transport would read back are refused in the map."""
    many = [{"id": f"c-{place}", "strategy": "delete"} for place in range(4)]

    with pytest.raises(MapRefused, match="make batch smaller"):
        archive.open(collections=many, batch=500)

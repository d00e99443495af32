"""Numbers under seal, keys on disk, and platforms' messages kept word for word."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from builders import World, enrolled, number
from builders_cycles import number_of, spellings
from cryptography.exceptions import InvalidTag
from memory_ports import signed_delivery
from sqlalchemy import MetaData, text
from sqlmodel import select

from fallow.domain.errors import AnswerMalformed, SettingRefused
from fallow.domain.obligations import Outcome
from fallow.operations.answers import accept_answer
from fallow.store import exchanges, inbox, keys
from fallow.store.engine import Tx
from fallow.store.exchanges import Direction, Exchange
from fallow.store.tables import NumberRow
from fallow.store.vault import Vault, opaque

REFERENCE = opaque("ref_")


def contents(tx: Tx) -> list[tuple[str, str]]:
    """Return every cell of the database as (table.column, text)."""
    everything = MetaData()
    everything.reflect(tx.session.connection())
    return [
        (f"{table.name}.{column.name}", bytes(cell).decode("latin-1") if isinstance(cell, bytes | memoryview) else str(cell))
        for table in everything.sorted_tables
        for row in tx.session.execute(table.select())
        for column, cell in zip(table.columns, row, strict=True)
    ]


def test_a_number_is_sealed_and_comes_back(world: World) -> None:
    """The vault opens what it sealed, and finds it by the number."""
    cycle_id = enrolled(world)[0]

    assert number_of(world, cycle_id) == number(0)
    with world.installation.db.read() as tx:
        found = world.installation.vault.find(tx, number(0))
        missing = world.installation.vault.find(tx, number(1))
    assert found is not None
    assert found.number_id == cycle_id.rpartition("/")[0]
    assert missing is None


def test_no_cell_of_the_database_holds_the_number(world: World) -> None:
    """Enrolled, refused as a duplicate and looked up: no table holds it in any spelling."""
    enrolled(world)
    enrolled(world, source_ref="again")

    with world.installation.db.read() as tx:
        cells = contents(tx)

    assert len(cells) > 50
    assert [where for where, cell in cells if any(each in cell for each in spellings(0))] == []


def test_the_same_number_is_never_sealed_alike(world: World) -> None:
    """Two seals of one number share neither bytes nor id, only the keyed index."""
    vault = world.installation.vault

    first, second = vault.new_row(number(0), "FR"), vault.new_row(number(0), "FR")

    assert first.lookup == second.lookup
    assert first.sealed != second.sealed
    assert first.number_id != second.number_id


def test_a_row_moved_to_another_number_does_not_open(world: World) -> None:
    """The seal is bound to its number_id: swapping sealed numbers is found."""
    vault = world.installation.vault
    first, second = vault.new_row(number(0), "FR"), vault.new_row(number(1), "FR")
    first.sealed, second.sealed = second.sealed, first.sealed

    for row in (first, second):
        with pytest.raises(InvalidTag):
            vault.open(row)


def test_another_installation_opens_and_finds_nothing(world: World, tmp_path: Path) -> None:
    """A stolen database is useless without the keys."""
    enrolled(world)
    keys.create(tmp_path / "other")
    foreign = Vault(keys.Keys(tmp_path / "other"))

    with world.installation.db.read() as tx:
        row = tx.session.exec(select(NumberRow)).one()
        assert foreign.find(tx, number(0)) is None
    with pytest.raises(InvalidTag):
        foreign.open(row)


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    """Folder and files are closed to others, and four different secrets."""
    keys.create(tmp_path / "keys")
    ring = keys.Keys(tmp_path / "keys")

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()}

    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert modes == {0o600}
    assert len({ring[name] for name in keys.NAMES}) == len(keys.NAMES)


def test_existing_keys_stay_as_they_are(tmp_path: Path) -> None:
    """Setting up again never makes the database unreadable."""
    keys.create(tmp_path)
    before = {name: keys.Keys(tmp_path)[name] for name in keys.NAMES}

    keys.create(tmp_path)

    assert {name: keys.Keys(tmp_path)[name] for name in keys.NAMES} == before


@pytest.mark.parametrize("name", keys.NAMES)
@pytest.mark.parametrize("fault", ["missing", "open to others", "too short"])
def test_a_key_that_cannot_be_trusted_is_refused_by_name(tmp_path: Path, name: str, fault: str) -> None:
    """Missing, readable by others or of the wrong length: the refusal names the file and the remedy."""
    keys.create(tmp_path)
    path = tmp_path / f"{name}.key"
    match fault:
        case "missing":
            path.unlink()
        case "open to others":
            path.chmod(0o640)
        case _:
            path.write_bytes(b"short")

    with pytest.raises(SettingRefused, match=path.name) as refused:
        keys.Keys(tmp_path)
    assert refused.value.remedy


def test_a_delivery_is_kept_word_for_word(world: World) -> None:
    """What a platform signed can be verified again from the row alone."""
    delivery = signed_delivery(world.keys["alpha-pay"], {REFERENCE: Outcome.CLEAR}, world.clock.now())

    with world.installation.db.begin() as tx:
        row = world.installation.inbox.keep(tx, "alpha-pay", delivery, "ack")
    with world.installation.db.read() as tx:
        again = world.installation.inbox.by_digest(tx, row.digest)
    speaker = world.installation.speakers.now("alpha-pay")

    assert again is not None
    assert speaker is not None
    assert (again.speaker_id, again.delivery, again.received_at) == ("alpha-pay", delivery, world.clock.now())
    assert speaker.form.signer(speaker.keys, again.delivery) == world.keys["alpha-pay"].public


def test_a_kept_body_can_be_read_with_the_evidence_key_only(world: World) -> None:
    """Who reads the database learns neither what a platform said nor about which reference."""
    delivery = signed_delivery(world.keys["alpha-pay"], {REFERENCE: Outcome.UNBOUND}, world.clock.now())
    with world.installation.db.begin() as tx:
        row = world.installation.inbox.keep(tx, "alpha-pay", delivery, "ack")

    assert REFERENCE.encode() not in row.body
    assert b"unbound" not in row.body
    assert world.installation.inbox.open(row) == delivery


def test_a_delivery_moved_to_another_platform_is_no_evidence(world: World) -> None:
    """Who spoke is part of the digest, and of what the body's seal is bound to."""
    delivery = signed_delivery(world.keys["alpha-pay"], {REFERENCE: Outcome.CLEAR}, world.clock.now())
    with world.installation.db.begin() as tx:
        row = world.installation.inbox.keep(tx, "alpha-pay", delivery, "ack")

    with world.installation.db.begin() as tx:
        tx.session.execute(text("UPDATE deliveries SET platform_id = 'beta-chat'"))

    with world.installation.db.read() as tx:
        assert world.installation.inbox.by_digest(tx, row.digest) is None
        assert world.installation.inbox.by_digest(tx, "0" * 64) is None


@pytest.mark.parametrize("column", ["body", "signature", "signed_at", "delivery_id"])
def test_an_altered_delivery_is_no_evidence(world: World, column: str) -> None:
    """Whatever part of a kept message is altered, its digest no longer finds it."""
    delivery = signed_delivery(world.keys["alpha-pay"], {REFERENCE: Outcome.CLEAR}, world.clock.now())
    with world.installation.db.begin() as tx:
        row = world.installation.inbox.keep(tx, "alpha-pay", delivery, "ack")
    forged = {"body": b"{}", "signature": "v1a,AAAA", "signed_at": 1, "delivery_id": "other"}[column]
    with world.installation.db.begin() as tx:
        tx.session.execute(text(f"UPDATE deliveries SET {column} = :forged"), {"forged": forged})

    with world.installation.db.read() as tx:
        assert world.installation.inbox.by_digest(tx, row.digest) is None


def test_the_digest_covers_every_part_of_a_delivery(world: World) -> None:
    """No two different messages share a digest, nor one message of two platforms."""
    delivery = signed_delivery(world.keys["alpha-pay"], {REFERENCE: Outcome.CLEAR}, world.clock.now())
    others = [
        replace(delivery, body=delivery.body + b" "),
        replace(delivery, signed_at=delivery.signed_at + 1),
        replace(delivery, signature=delivery.signature + "x"),
        replace(delivery, delivery_id=delivery.delivery_id + "x"),
    ]

    digests = {inbox.digest("alpha-pay", each) for each in (delivery, *others)} | {inbox.digest("beta-chat", delivery)}

    assert len(digests) == 6


def test_a_repeated_delivery_gets_the_same_acknowledgement(world: World) -> None:
    """Unknown references included, and however often it comes."""
    delivery = signed_delivery(world.keys["alpha-pay"], {REFERENCE: Outcome.CLEAR}, world.clock.now())
    said = [(REFERENCE, Outcome.CLEAR)]

    acks = {accept_answer(world.installation, "alpha-pay", delivery, said) for _ in range(5)}

    assert acks == {f'{{"answers":{{"{REFERENCE}":"unknown"}}}}'}


def test_one_delivery_id_for_two_messages_is_refused(world: World) -> None:
    """A platform that reuses an id is told so, and the first message stands."""
    now = world.clock.now()
    first = signed_delivery(world.keys["alpha-pay"], {REFERENCE: Outcome.CLEAR}, now, delivery_id="msg_abcdefghijklmnop")
    second = signed_delivery(world.keys["alpha-pay"], {REFERENCE: Outcome.REFUSED}, now, delivery_id="msg_abcdefghijklmnop")
    accept_answer(world.installation, "alpha-pay", first, [(REFERENCE, Outcome.CLEAR)])

    with pytest.raises(AnswerMalformed, match="used before"):
        accept_answer(world.installation, "alpha-pay", second, [(REFERENCE, Outcome.REFUSED)])
    with world.installation.db.read() as tx:
        kept = world.installation.inbox.find(tx, "alpha-pay", "msg_abcdefghijklmnop")
    assert kept is not None
    assert world.installation.inbox.open(kept) == first


def test_neither_log_nor_inbox_tells_by_length_what_was_said(world: World) -> None:
    """The three clearances differ in length; what is kept of them does not."""
    kept = set[int]()
    with world.installation.db.begin() as tx:
        for outcome in ("unbound", "not-bound", "clear"):
            delivery = signed_delivery(world.keys["alpha-pay"], {REFERENCE: outcome}, world.clock.now())
            kept.add(len(world.installation.inbox.keep(tx, "alpha-pay", delivery, "ack").body))
            exchanges.note(tx, [Exchange("alpha-pay", Direction.IN, "", 1, len(delivery.body), 200, "accepted", 1)])
        exchanges.note(tx, [Exchange("beta-chat", Direction.OUT, "", 1, 0, None, "target-unavailable", 1)])

    with world.installation.db.read() as tx:
        assert {row.octets for row in exchanges.latest(tx, "alpha-pay", 10)} == {1024}
        assert [row.octets for row in exchanges.latest(tx, "beta-chat", 10)] == [0]
    assert len(kept) == 1

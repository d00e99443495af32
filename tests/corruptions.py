"""Ways of corrupting a finished run, each with the kind of violation that the checker must report."""

import base64
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from corruptions_records import OF_RECORDS, ONE, change, number_at
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fallow.local import crowd


def reopen_a_binding(folder: Path) -> None:
    """Bind one account again, as it was before."""
    statement = "UPDATE bindings SET unbound_at = NULL WHERE number = :n AND unbound_at IS NOT NULL"
    change(folder, "simulator.db", statement, n=cut_number(folder))


def cut_number(folder: Path) -> str:
    """Return a number that is for sale and had an account that was cut."""
    expected = (folder / crowd.EXPECTED).read_text().splitlines()
    sold = [number_at(folder, int(text.split(",")[0])) for text in expected if text.split(",")[1] == "RESELLABLE"]
    with closing(sqlite3.connect(folder / "simulator.db")) as connection:
        cut = [number for (number,) in connection.execute("SELECT number FROM bindings WHERE unbound_at IS NOT NULL")]
    return next(number for number in sold if number in cut)


def ask_during_quarantine(folder: Path) -> None:
    """Let a platform have been asked long before."""
    change(folder, "simulator.db", "UPDATE requests SET first_at = '2026-05-01T00:00:00Z'")


def ask_about_a_held_number(folder: Path) -> None:
    """Let a platform have been asked about a number under legal hold."""
    number = number_at(folder, 7)
    change(
        folder,
        "simulator.db",
        "INSERT INTO requests SELECT platform, 'ref_other', :n, first_at, 1, outcome, answered FROM requests LIMIT 1",
        n=number,
    )


def contradict_a_platform(folder: Path) -> None:
    """Let the platform itself know another outcome than the engine."""
    change(folder, "simulator.db", "UPDATE requests SET outcome = 'refused', answered = 'refused' WHERE outcome = 'not_bound'")


def count_one_answer_twice(folder: Path) -> None:
    """Let one platform's answer stand for another's too, with the events to match."""
    one = f"SELECT evidence FROM obligations WHERE cycle_id = {ONE} AND target_id = 'larkchat'"
    event = f"cycle_id = {ONE} AND kind = 'ObligationMoved' AND body LIKE '%pennywell-pay%'"
    change(
        folder,
        "fallow.db",
        f"UPDATE events SET body = json_set(body, '$.evidence', ({one})) WHERE {event}",
        f"UPDATE obligations SET evidence = ({one}) WHERE cycle_id = {ONE} AND target_id = 'pennywell-pay'",
    )


def delete_an_obligation(folder: Path) -> None:
    """Forget that a platform had to be asked."""
    change(folder, "fallow.db", f"DELETE FROM obligations WHERE cycle_id = {ONE} AND target_id = 'larkchat'")


def forget_a_platform_everywhere(folder: Path) -> None:
    """Forget a platform in rows and events alike, as if the policy had never named it."""
    change(
        folder,
        "fallow.db",
        "DELETE FROM obligations WHERE target_id = 'larkchat'",
        "DELETE FROM events WHERE kind = 'ObligationMoved' AND body LIKE '%larkchat%'",
        """UPDATE events SET body = replace(body, '"larkchat",', '') WHERE body LIKE '%"larkchat",%'""",
    )


def sell_a_held_number(folder: Path) -> None:
    """Flip a number under legal hold to RESELLABLE behind the gate's back."""
    change(
        folder,
        "fallow.db",
        "DROP TRIGGER gate_update",
        "DROP TRIGGER gate_keys",
        "UPDATE cycles SET state = 'RESELLABLE' WHERE held AND attention = '[]' AND state = 'QUARANTINED'",
    )


def alter_an_answer(folder: Path) -> None:
    """Make a platform's refusal read like a clearance, sealed anew with the right key."""
    cipher = AESGCM((folder / "keys" / "evidence.key").read_bytes())
    with closing(sqlite3.connect(folder / "fallow.db")) as connection, connection:
        for platform, delivery, sealed in connection.execute("SELECT platform_id, delivery_id, body FROM deliveries").fetchall():
            head, nonce, bound_to = sealed[:9], sealed[9:21], f"answer|webhook|{platform}|{delivery}".encode()
            # As long as before, so that the length in front and the zeros behind fit still.
            body = cipher.decrypt(nonce, sealed[21:], bound_to).replace(b'"refused"', b'"unbound"')
            altered = head + nonce + cipher.encrypt(nonce, body, bound_to)
            connection.execute("UPDATE deliveries SET body = ? WHERE delivery_id = ?", (altered, delivery))


def alter_a_receipt(folder: Path) -> None:
    """Let a wipe receipt say other than was found."""
    where = f"cycle_id = {ONE} AND target_id = 'billing'"
    change(folder, "fallow.db", f"""UPDATE evidence SET body = replace(body, '"remaining":0', '"remaining":1') WHERE {where}""")


def alter_a_key_receipt(folder: Path) -> None:
    """Let the receipt for a holder key claim another epoch."""
    where = f"cycle_id = {ONE} AND kind = 'holder-key'"
    change(folder, "fallow.db", f"UPDATE evidence SET body = json_set(body, '$.epoch', 77) WHERE {where}")


def exchange_key_receipts(folder: Path) -> None:
    """Let a cycle cite another cycle's receipt for its holder key."""
    other = f"(SELECT min(digest) FROM evidence WHERE kind = 'holder-key' AND cycle_id <> {ONE})"
    event = f"cycle_id = {ONE} AND kind = 'HolderKeyDestroyed'"
    change(folder, "fallow.db", f"UPDATE events SET body = json_set(body, '$.evidence', {other}) WHERE {event}")


def lose_a_key_receipt(folder: Path) -> None:
    """Forget the receipt for a holder key."""
    change(folder, "fallow.db", f"DELETE FROM evidence WHERE cycle_id = {ONE} AND kind = 'holder-key'")


def keep_a_holder_key(folder: Path) -> None:
    """Keep the holder key of a number that is for sale."""
    change(folder, "fallow.db", f"INSERT INTO holders SELECT {ONE}, epoch, wrapped, sealed FROM holders LIMIT 1")


def lose_a_holder_key(folder: Path) -> None:
    """Lose the holder key of a number that is still to be wiped, without a word."""
    change(folder, "fallow.db", "DELETE FROM holders WHERE cycle_id = (SELECT min(cycle_id) FROM cycles WHERE state = 'QUARANTINED')")


def destroy_a_key_too_early(folder: Path) -> None:
    """Let a holder key have been destroyed before the wipe that needs it."""
    event = f"cycle_id = {ONE} AND kind = 'HolderKeyDestroyed'"
    change(
        folder,
        "fallow.db",
        f"UPDATE events SET seq = -2 WHERE cycle_id = {ONE} AND seq = 2",
        f"UPDATE events SET seq = -3 WHERE {event}",
        f"UPDATE events SET seq = (SELECT max(b.seq) + 1 FROM events b WHERE b.cycle_id = {ONE}) WHERE cycle_id = {ONE} AND seq = -2",
        f"UPDATE events SET seq = 2 WHERE cycle_id = {ONE} AND seq = -3",
    )


def alter_a_tag(folder: Path) -> None:
    """Tell the buyer of fewer former holders."""
    change(folder, "fallow.db", f"UPDATE tags SET body = json_set(body, '$.former_holders_at_least', 0) WHERE cycle_id = {ONE}")


def forge_a_signature(folder: Path) -> None:
    """Sign a tag with another key."""
    change(folder, "fallow.db", f"UPDATE tags SET signature = :s WHERE cycle_id = {ONE}", s=base64.b64encode(bytes(64)).decode())


def delete_an_event(folder: Path) -> None:
    """Take an event out of the middle."""
    change(folder, "fallow.db", f"DELETE FROM events WHERE cycle_id = {ONE} AND kind = 'LineChecked' AND body LIKE '%gate%'")


def shorten_the_quarantine(folder: Path) -> None:
    """Let a cycle have been released before its time, row and events alike."""
    early = "'2026-05-01 00:00:00.000000'"
    change(
        folder,
        "fallow.db",
        f"UPDATE events SET at = {early} WHERE cycle_id = {ONE} AND (kind = 'NumberReleased' OR body LIKE '%QUARANTINE%')",
        f"UPDATE cycles SET released_at = {early}, quarantine_ended_at = {early} WHERE cycle_id = {ONE}",
    )


def weaken_the_policy(folder: Path) -> None:
    """Take a platform out of the frozen policy."""
    change(folder, "fallow.db", """UPDATE policies SET body = replace(body, '"larkchat":"social",', '')""")


def tell_inventory_twice(folder: Path) -> None:
    """Put one number into inventory twice."""
    change(folder, "fallow.db", f"INSERT INTO outbox (kind, cycle_id, at) SELECT kind, cycle_id, at FROM outbox WHERE cycle_id = {ONE}")


def lose_an_expected_line(folder: Path) -> None:
    """Take a line out of what is expected."""
    lines = (folder / crowd.EXPECTED).read_text().splitlines(keepends=True)
    (folder / crowd.EXPECTED).write_text("".join(lines[:3] + lines[4:]))


def lose_a_rejection(folder: Path) -> None:
    """Forget that a line was rejected."""
    change(folder, "fallow.db", "DELETE FROM rejections WHERE line = (SELECT min(line) FROM rejections)")


def lose_a_cycle(folder: Path) -> None:
    """Forget a cycle with everything that hangs on it."""
    doomed = "(SELECT cycle_id FROM cycles WHERE state = 'RECLAIMED')"
    change(folder, "fallow.db", *(f"DELETE FROM {table} WHERE cycle_id IN {doomed}" for table in ("events", "proposals", "cycles")))


def forget_a_confirmation(folder: Path) -> None:
    """Let a platform that can be looked at never have been, in rows and events alike."""
    change(
        folder,
        "fallow.db",
        f"UPDATE obligations SET confirmed = NULL WHERE cycle_id = {ONE}",
        f"UPDATE events SET kind = 'RetryOrdered' WHERE cycle_id = {ONE} AND kind = 'ObligationConfirmed'",
    )


def confirm_by_the_first_answer(folder: Path) -> None:
    """Let a platform's answer stand for its confirmation too, with the events to match."""
    first = f"SELECT evidence FROM obligations WHERE cycle_id = {ONE} AND target_id = 'larkchat'"
    event = f"cycle_id = {ONE} AND kind = 'ObligationConfirmed'"
    change(
        folder,
        "fallow.db",
        f"UPDATE events SET body = json_set(body, '$.evidence', ({first})) WHERE {event}",
        f"UPDATE obligations SET confirmed = ({first}) WHERE cycle_id = {ONE} AND target_id = 'larkchat'",
    )


def sell_a_sampled_number_unseen(folder: Path) -> None:
    """Let every number be in the sample, and one of them have been sold before anybody looked again."""
    released = f"SELECT max(seq) FROM events WHERE cycle_id = {ONE} AND kind = 'NumberReleased'"  # one in 20 was really drawn
    event = "SELECT cycle_id, events_no + 1, 'NumberSold', state_at, '{}' FROM cycles"
    change(
        folder,
        "fallow.db",
        "UPDATE policies SET body = json_set(body, '$.sample_one_in', 1)",
        f"UPDATE events SET kind = iif(kind = 'ObligationConfirmed' AND seq > ({released}), 'RetryOrdered', kind) WHERE cycle_id = {ONE}",
        f"INSERT INTO events (cycle_id, seq, kind, at, body) {event} WHERE cycle_id = {ONE}",
    )


CORRUPTIONS: tuple[tuple[Callable[[Path], None], str], ...] = (
    *((each, "records") for each in OF_RECORDS),
    (confirm_by_the_first_answer, "looks"),
    (forget_a_confirmation, "looks"),
    (sell_a_sampled_number_unseen, "looks"),
    (reopen_a_binding, "platforms"),
    (ask_during_quarantine, "platforms"),
    (ask_about_a_held_number, "platforms"),
    (contradict_a_platform, "platforms"),
    (count_one_answer_twice, "evidence"),
    (delete_an_obligation, "obligations"),
    (forget_a_platform_everywhere, "obligations"),
    (sell_a_held_number, "gate"),
    (alter_an_answer, "evidence"),
    (alter_a_receipt, "evidence"),
    (alter_a_key_receipt, "holder-key"),
    (exchange_key_receipts, "holder-key"),
    (lose_a_key_receipt, "holder-key"),
    (keep_a_holder_key, "holder-key"),
    (lose_a_holder_key, "holder-key"),
    (destroy_a_key_too_early, "events"),
    (alter_a_tag, "tag"),
    (forge_a_signature, "tag"),
    (delete_an_event, "events"),
    (shorten_the_quarantine, "quarantine"),
    (weaken_the_policy, "policy"),
    (tell_inventory_twice, "outbox"),
    (lose_an_expected_line, "expected"),
    (lose_a_rejection, "expected"),
    (lose_a_cycle, "expected"),
)

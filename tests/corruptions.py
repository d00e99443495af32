"""Ways of corrupting a finished run, each with the kind of violation that the checker must report."""

import base64
import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from fallow.local import crowd

#: The cycle that most corruptions are done to.
ONE = "(SELECT min(cycle_id) FROM cycles WHERE state = 'RESELLABLE')"
#: A line that is sold at the end, and its number as the files of the sample have it.
SOLD_LINE = 2


def change(folder: Path, file: str, *statements: str, **values: object) -> None:
    """Run statements on one of the databases; each must change something."""
    with closing(sqlite3.connect(folder / file)) as connection, connection:
        for statement in statements:
            assert connection.execute(statement, values).rowcount != 0, statement


def planted(folder: Path, why: str, line: int = SOLD_LINE) -> dict[str, Any]:
    """Return one row that was planted for a line, for a reason."""
    listed = [entry for fate in json.loads((folder / "planted.json").read_text()).values() if isinstance(fate, list) for entry in fate]
    found: dict[str, Any] = next(entry for entry in listed if (entry["line"], entry["why"]) == (line, why))
    return found


def number_at(folder: Path, line: int) -> str:
    """Return the number on a line."""
    return crowd.rows_of((folder / crowd.NUMBERS).read_text())[line]["number"]


def put_a_row_back(folder: Path) -> None:
    """Bring one bill of the former holder back, under a new key."""
    digits = number_at(folder, SOLD_LINE).removeprefix("+")
    change(folder, "carrier.db", "INSERT INTO bills (subscriber, amount, issued_at) VALUES (:n, '1', '2026-01-01 00:00:00')", n=digits)


def put_a_row_back_elsewhere(folder: Path) -> None:
    """Bring a voicemail back, spelled nationally with the trunk zero."""
    national = "0" + number_at(folder, SOLD_LINE).removeprefix("+86")
    change(folder, "carrier.db", "INSERT INTO voicemails VALUES (9999, :n, 'CN', 'hello', '2026-01-01T00:00:00+08:00')", n=national)


def change_a_survivor(folder: Path) -> None:
    """Change a row in which the number is the other party."""
    entry = planted(folder, "the number is the other party")
    change(folder, "carrier.db", f"UPDATE {entry['table']} SET seconds = seconds + 1 WHERE id = {entry['key']}")


def delete_a_newer_holder(folder: Path) -> None:
    """Delete a row of the holder who came after."""
    entry = planted(folder, "newer holder's", line=9)
    change(folder, "carrier.db", f"DELETE FROM {entry['table']} WHERE id = {entry['key']}")


def wipe_a_held_number(folder: Path) -> None:
    """Delete a row of a number under legal hold."""
    entry = planted(folder, "former holder's", line=7)
    change(folder, "carrier.db", f"DELETE FROM {entry['table']} WHERE id = {entry['key']}")


def put_a_late_bill_back(folder: Path) -> None:
    """Bring a bill back that was issued after the disconnect: only its subscription says whose it is."""
    row = crowd.rows_of((folder / crowd.NUMBERS).read_text())[SOLD_LINE]
    statement = "INSERT INTO bills (subscriber, subscription, amount, issued_at) VALUES (:n, :s, '1', '2026-09-01 00:00:00')"
    change(folder, "carrier.db", statement, n=row["number"].removeprefix("+"), s=row["subscription"])


def put_an_identity_back(folder: Path) -> None:
    """Bring an identity document back, its number split in two."""
    national = number_at(folder, SOLD_LINE).removeprefix("+86")
    change(folder, "carrier.db", "INSERT INTO identity_documents VALUES (9999, 1, '86', :n, 'it', '2026-01-01T00:00:00Z')", n=national)


def leave_a_row_beside_a_newer_holder(folder: Path) -> None:
    """Leave a bill of the former holder in a table that has rows of a newer one."""
    digits = number_at(folder, 9).removeprefix("+")
    change(folder, "carrier.db", "INSERT INTO bills (subscriber, amount, issued_at) VALUES (:n, '1', '2026-01-01 00:00:00')", n=digits)


def keep_silent_about_a_newer_holder(folder: Path) -> None:
    """Let a receipt, digest and all, tell of no newer holder where there is one."""
    with closing(sqlite3.connect(folder / "fallow.db")) as connection:
        query = "SELECT digest, body FROM evidence WHERE kind = 'receipt' AND target_id = 'crm' AND body LIKE '%\"newer\":1%'"
        digest, body = connection.execute(query).fetchone()
    silent = body.replace('"newer":1', '"newer":0')
    change(
        folder,
        "fallow.db",
        "UPDATE evidence SET digest = :new, body = :silent WHERE digest = :old",
        "UPDATE obligations SET evidence = :new WHERE evidence = :old",
        "UPDATE events SET body = replace(body, :old, :new) WHERE body LIKE '%' || :old || '%'",
        new=hashlib.sha256(silent.encode()).hexdigest(),
        old=digest,
        silent=silent,
    )


def shorten_the_keeping(folder: Path) -> None:
    """Let the archive forget a day too early."""
    change(folder, "carrier.db", "UPDATE subscribers_archive SET kept_until = '2028-04-29'")


def drop_the_basis(folder: Path) -> None:
    """Keep the archived row without saying why."""
    change(folder, "carrier.db", "UPDATE subscribers_archive SET legal_basis = NULL")


def lose_an_archived_row(folder: Path) -> None:
    """Delete what the law wants kept."""
    change(folder, "carrier.db", "DELETE FROM subscribers_archive WHERE id = (SELECT min(id) FROM subscribers_archive)")


def alter_an_archived_row(folder: Path) -> None:
    """Archive another holder's name than was there."""
    change(folder, "carrier.db", "UPDATE subscribers_archive SET holder = 'Somebody' WHERE id = (SELECT min(id) FROM subscribers_archive)")


def archive_a_stranger(folder: Path) -> None:
    """Put a row of a number that was not wiped into the archive."""
    row = "(9999, :n, '', 'Sample Person 7', '2026-01-01T00:00:00+00:00', 'law', '2028-12-31')"
    change(folder, "carrier.db", f"INSERT INTO subscribers_archive VALUES {row}", n=number_at(folder, 7))


def forget_what_is_archived(folder: Path) -> None:
    """Take what is archived of a cycle out of the register of what the law keeps."""
    change(folder, "fallow.db", f"DELETE FROM retention WHERE cycle_id = {ONE} AND how = 'restrict'")


def lose_a_sealed_row(folder: Path) -> None:
    """Lose what was sealed of a cycle."""
    change(folder, "fallow.db", f"DELETE FROM sealed_rows WHERE cycle_id = {ONE}")


def exchange_sealed_rows(folder: Path) -> None:
    """Give one cycle's sealed row out as another's."""
    change(folder, "fallow.db", f"UPDATE sealed_rows SET cycle_id = {ONE} WHERE cycle_id <> {ONE}")


def lose_a_retention_key(folder: Path) -> None:
    """Lose the key of what the law wants readable."""
    change(folder, "fallow.db", f"DELETE FROM retention_keys WHERE cycle_id = {ONE}")


def name_a_caller_again(folder: Path) -> None:
    """Put a number back where its pseudonym stands."""
    digits = number_at(folder, SOLD_LINE).removeprefix("+")
    change(folder, "carrier.db", "UPDATE call_statistics SET caller = :n WHERE id = :k", n=digits, k=_rewritten(folder))


def give_a_second_pseudonym(folder: Path) -> None:
    """Let the rows of one holder carry two pseudonyms."""
    change(folder, "carrier.db", "UPDATE call_statistics SET caller = :p WHERE id = :k", p="a" * 26, k=_rewritten(folder))


def share_a_pseudonym(folder: Path) -> None:
    """Let all holders carry one pseudonym."""
    change(folder, "carrier.db", "UPDATE call_statistics SET caller = :p WHERE handset = '***'", p="a" * 26)


def unmask_a_handset(folder: Path) -> None:
    """Say again which handset it was."""
    change(folder, "carrier.db", "UPDATE call_statistics SET handset = 'handset 2' WHERE id = :k", k=_rewritten(folder))


def miscount_a_rewritten_row(folder: Path) -> None:
    """Change what a rewriting leaves as it was."""
    change(folder, "carrier.db", "UPDATE call_statistics SET seconds = seconds + 1 WHERE id = :k", k=_rewritten(folder))


def _rewritten(folder: Path) -> int:
    """Return the key of a rewritten row of the line that is sold."""
    listed = json.loads((folder / "planted.json").read_text())["rewritten"]
    return int(next(entry["key"] for entry in listed if entry["line"] == SOLD_LINE))


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
    """Make a platform's refusal read like a clearance."""
    altered = """CAST(replace(CAST(body AS TEXT), '"refused"', '"unbound"') AS BLOB)"""
    change(folder, "fallow.db", f"UPDATE deliveries SET body = {altered} WHERE instr(CAST(body AS TEXT), 'refused')")


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


CORRUPTIONS: tuple[tuple[Callable[[Path], None], str], ...] = (
    (put_a_row_back, "records"),
    (put_a_row_back_elsewhere, "records"),
    (change_a_survivor, "records"),
    (delete_a_newer_holder, "records"),
    (wipe_a_held_number, "records"),
    *((each, "records") for each in (put_a_late_bill_back, put_an_identity_back, leave_a_row_beside_a_newer_holder)),
    (keep_silent_about_a_newer_holder, "records"),
    *((each, "records") for each in (shorten_the_keeping, drop_the_basis, lose_an_archived_row, alter_an_archived_row)),
    *((each, "records") for each in (archive_a_stranger, forget_what_is_archived)),
    *((each, "records") for each in (lose_a_sealed_row, exchange_sealed_rows, lose_a_retention_key)),
    *((each, "records") for each in (name_a_caller_again, give_a_second_pseudonym, share_a_pseudonym, unmask_a_handset)),
    (miscount_a_rewritten_row, "records"),
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

"""Ways of corrupting what lies at the carrier, and what is kept of it, in a finished run; and what every corruption needs."""

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
    rewrite_a_receipt(folder, '"newer":1', '"newer":0')


def rewrite_a_receipt(folder: Path, said: str, says: str) -> None:
    """Let a receipt of ``crm`` say something else, digest and all."""
    with closing(sqlite3.connect(folder / "fallow.db")) as connection:
        query = """SELECT digest, body FROM evidence e WHERE kind = 'receipt' AND target_id = 'crm' AND instr(body, ?)
            AND EXISTS (SELECT 1 FROM obligations o WHERE o.evidence = e.digest)"""
        digest, body = connection.execute(query, (said,)).fetchone()
    rewritten = body.replace(said, says)
    change(
        folder,
        "fallow.db",
        "UPDATE evidence SET digest = :new, body = :body WHERE digest = :old",
        "UPDATE obligations SET evidence = :new WHERE evidence = :old",
        "UPDATE events SET body = replace(body, :old, :new) WHERE body LIKE '%' || :old || '%'",
        new=hashlib.sha256(rewritten.encode()).hexdigest(),
        old=digest,
        body=rewritten,
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


def seal_in_the_clear(folder: Path) -> None:
    """Keep a row that is to be sealed so that anybody can read it."""
    change(folder, "fallow.db", f"UPDATE sealed_rows SET sealed = CAST('{{}}' AS BLOB) WHERE cycle_id = {ONE}")


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


#: What the checker must report of each is of the kind "records".
OF_RECORDS: tuple[Callable[[Path], None], ...] = (
    put_a_row_back,
    put_a_row_back_elsewhere,
    change_a_survivor,
    delete_a_newer_holder,
    wipe_a_held_number,
    put_a_late_bill_back,
    put_an_identity_back,
    leave_a_row_beside_a_newer_holder,
    keep_silent_about_a_newer_holder,
    shorten_the_keeping,
    drop_the_basis,
    lose_an_archived_row,
    alter_an_archived_row,
    archive_a_stranger,
    forget_what_is_archived,
    seal_in_the_clear,
    lose_a_sealed_row,
    exchange_sealed_rows,
    lose_a_retention_key,
    name_a_caller_again,
    give_a_second_pseudonym,
    share_a_pseudonym,
    unmask_a_handset,
    miscount_a_rewritten_row,
)

"""Answers as CSV: two or three columns, no quoting, so that nothing but a reference, an outcome and a reason has a place in it."""

import json

from fallow.domain.obligations import Outcome, RefusalReason
from fallow.platforms.strict import refuse

#: Longest file, in bytes.
LONGEST_FILE = 64 * 1024

_HEADS = ("reference,outcome", "reference,outcome,reason")


def csv_answers(body: bytes) -> bytes:
    """Return the answers of a CSV file as the JSON of our own protocol, which is read strictly from there.

    Raises:
        AnswerMalformed: another head, a row of another length, or a reason that is none; the message holds nothing of the body.
    """
    lines = body.decode().split("\n") if len(body) <= LONGEST_FILE and body.isascii() else []
    rows = [line.removesuffix("\r") for line in lines]
    if rows and rows[-1] == "":
        rows.pop()
    if not rows or rows[0] not in _HEADS:
        refuse(f"is not CSV in ASCII that begins with the line `{_HEADS[0]}` or `{_HEADS[1]}`")
    columns = rows[0].split(",")
    cells = [row.split(",") for row in rows[1:]]
    if not all(len(row) == len(columns) for row in cells):
        refuse(f"has a row without exactly {len(columns)} cells")
    if not all(row[2] == "" or (row[1] == Outcome.REFUSED and row[2] in set(RefusalReason)) for row in cells if len(row) > len(_HEADS)):
        refuse("gives a reason that is none of a refusal's")
    said = [{name: cell for name, cell in zip(columns, row, strict=True) if cell or name != "reason"} for row in cells]
    return json.dumps({"answers": said}, separators=(",", ":")).encode()

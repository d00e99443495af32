"""What the sample carrier knows of holders, table by table, and which systems were wiped: said here anew, not read from the map.

Standard library only.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .world import Case, World

FORMER, NEWER = "former holder's", "newer holder's"
LINES, ARCHIVE = "lines", "subscribers_archive"


@dataclass(frozen=True)
class Holding:
    """One table.

    Attributes:
        system, collection: where the policy demands that it be wiped.
        number: the column of the holder's number.
        since: the column of the row's beginning.
        becomes: what becomes of a former holder's rows.
    """

    system: str
    collection: str
    number: str
    since: str
    becomes: str = "gone"


#: Every table that names a holder, mapped or not.
HOLDINGS: Mapping[str, Holding] = {
    "subscribers": Holding("crm", "register", "msisdn", "activated_at", "archived"),
    "identity_documents": Holding("crm", "identity", "national_number", "checked_at", "sealed"),
    "marketing_contacts": Holding("crm", "marketing", "phone", "consented_at"),
    "bills": Holding("billing", "bills", "subscriber", "issued_at"),
    "value_added": Holding("billing", "value-added", "msisdn", "started_at"),
    "call_records": Holding("network", "calls", "caller", "began_at"),
    "messages": Holding("network", "messages", "sender", "sent_at"),
    "voicemails": Holding("network", "voicemail", "mailbox", "left_at"),
    "call_statistics": Holding("network", "statistics", "caller", "day_began_at", "rewritten"),
}


def is_wiped(case: Case, holding: Holding) -> bool:
    """Tell whether the engine says that it wiped a cycle there: by the stage, or by a receipt of that system alone."""
    owed = case.past.obligations.get(holding.system)
    return "WIPING" in case.past.settled or (owed is not None and owed.evidence is not None)


def receipts_of(world: World, case: Case, holding: Holding) -> Iterator[Mapping[str, Any]]:
    """Yield what the receipt that a cycle cites says of a collection: once, or not at all where nothing is cited yet."""
    owed = case.past.obligations.get(holding.system)
    if owed is None or owed.evidence is None:
        return
    (kept,) = (row for row in world.rows_of("evidence", case.cycle_id) if row["digest"] == owed.evidence)
    yield from (each for each in json.loads(kept["body"])["collections"] if each["collection"] == holding.collection)

"""Keeping by law: sealed rows are taken from record systems, and destroyed by schedule once their last day has passed."""

from collections.abc import Sequence
from datetime import date

import structlog

from fallow.domain.errors import SettingRefused, TargetUnavailable
from fallow.domain.ports import KeptRow
from fallow.operations.installation import Installation
from fallow.store import cycles, retention
from fallow.store.engine import Tx
from fallow.store.keeping_tables import RetentionRow

_log = structlog.get_logger()
#: Cycles of which sealed rows are destroyed in one transaction.
_PAGE = 100


class Retention:
    """Implements ``ports.Keeper``, and destroys by schedule what it sealed."""

    def __init__(self, installation: Installation) -> None:
        """Keep in the installation's database, under its wrapping keys."""
        self._db = installation.db
        self._wrapping = installation.wrapping
        # Also at the start: a process that died between the two would have left destroyed rows in the log.
        self._log_is_due = True

    def keep(self, system_id: str, rows: Sequence[KeptRow]) -> None:
        """Seal the rows durably; the same row of the same cycle and collection again is kept once.

        Raises:
            TargetUnavailable: a key that is needed can't be had; nothing is kept then, and the system deletes nothing.
        """
        if not rows:
            return
        try:
            self._db.once_more(lambda tx: self._keep(tx, system_id, rows))
        except SettingRefused as error:
            raise TargetUnavailable(error.what, remedy=error.remedy) from None
        except OSError as error:
            what = f"A wrapping key for what {system_id} hands over can't be made or read ({type(error).__name__})."
            raise TargetUnavailable(what, remedy="let the worker write into the folder `wrapping` of the keys.") from None

    def upkeep(self) -> bool:
        """Destroy a page of what has had its last day, then the wrapping keys that nothing needs any more; tell whether more is due.

        What is held stays, under the present month's wrapping key. A page at a time: whoever calls this has other things to do.
        """
        with self._db.read() as tx:
            due = retention.due_sealed(tx, _PAGE)
        destroyed = self.expire_sealed(_PAGE) if due else 0
        self._log_is_due = self._log_is_due or destroyed > 0
        if len(due) == _PAGE:
            return True
        for cycle_id in self._db.once_more(lambda tx: retention.rewrap_held(tx, self._wrapping)):
            _log.error("retention-key-unreadable", cycle_id=cycle_id)
        gone = self._db.once_more(lambda tx: retention.destroy_months(tx, self._wrapping))
        self._log_is_due = (self._log_is_due or bool(gone)) and not self._db.truncate_log()
        return False

    def expire_sealed(self, most: int) -> int:
        """Destroy what is sealed and due of at most ``most`` cycles; return how many entries expired. A hold suspends it."""
        with self._db.begin() as tx:
            rows = cycles.lock(tx, retention.due_sealed(tx, most))
            return sum(retention.destroy_sealed(tx, row) for row in rows if not row.held)

    def _keep(self, tx: Tx, system_id: str, rows: Sequence[KeptRow]) -> None:
        locked = {row.cycle_id: row for row in cycles.lock(tx, {row.cycle_id for row in rows})}
        retention.seal_all(tx, self._wrapping, system_id, rows)
        for (cycle_id, collection, kept_until), basis in sorted(_entries(rows).items()):
            kept = RetentionRow(
                cycle_id=cycle_id,
                target_id=system_id,
                collection=collection,
                kept_until=kept_until,
                how=retention.SEAL,
                basis=basis,
                rows=0,
            )
            kept.rows = retention.count_sealed(tx, cycle_id, system_id, collection, kept_until)
            retention.note(tx, locked[cycle_id], kept)


def _entries(rows: Sequence[KeptRow]) -> dict[tuple[str, str, date], str]:
    """Return the entries of the register that the rows belong to, each with its legal basis."""
    return {(row.cycle_id, row.collection, row.kept_until): row.basis for row in rows}

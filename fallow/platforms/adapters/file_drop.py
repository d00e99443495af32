"""A platform that exchanges files: requests as signed CSV in ``out``, answers as signed CSV in ``in``.

What protects from a replay is the delivery id, which is kept for as long as the obligation; a time window would not do, because
files lie for days before anybody takes them.
"""

import asyncio
import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from fallow.domain.errors import AnswerMalformed, FallowError, MapRefused, SignatureRefused, TargetUnavailable
from fallow.domain.ports import Clock, SignedDelivery, UnbindItem
from fallow.platforms import drop_folder
from fallow.platforms.csv_answers import LONGEST_FILE
from fallow.platforms.forms import FileForm
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, SigningKey, new_delivery_id, sign

#: Columns of a request.
COLUMNS = ("reference", "number", "disconnected_at", "deadline", "reminder", "legal_basis", "contract", "language")
#: What the signature's file of a file is called.
SIGNATURE = ".sig"

_HEADERS = (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)
_LONGEST_SIGNATURE = 4096
_MOST_FILES = 50
_WHENEVER = 10**11


class FileDropPlatform:
    """One platform behind a folder; the folder is the operator's, what is in it may be anybody's.

    Attributes:
        platform_id: its id.
        looks: no.
    """

    looks = False

    def __init__(self, entry: PlatformEntry, signing_key: SigningKey, clock: Clock) -> None:
        """Take the platform's entry, the engine's key and the clock that dates signatures.

        Raises:
            MapRefused: it has no folder, or wants numbers as keyed hashes.
        """
        if not entry.folder or entry.number_form != "e164":
            what = f"The platform {entry.platform_id} has no folder, or wants its numbers as {entry.number_form}."
            raise MapRefused(what, remedy='write `folder` and `number_form = "e164"`, or choose the adapter generic.')
        self.platform_id = entry.platform_id
        self._entry = entry
        self._root = Path(entry.folder)
        self._form = FileForm()
        self._signing_key = signing_key
        self._clock = clock
        self._names: dict[str, str] = {}

    async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
        """Write one file; the answers come as files, see :meth:`collect`.

        Raises:
            TargetUnavailable: the folder can't be written.
        """
        await asyncio.to_thread(self._write, items)
        return None

    async def look(self, references: Sequence[str]) -> SignedDelivery | None:
        """Offer no status query."""
        del references
        return None

    async def collect(self) -> list[SignedDelivery]:
        """Read the files that lie in ``in``; those that are no answers of the platform's go to ``in/refused`` at once.

        Raises:
            TargetUnavailable: the folder can't be read.
        """
        return await asyncio.to_thread(self._collect)

    async def settle(self, delivery: SignedDelivery, error: FallowError | None) -> None:
        """Move an answer's file to ``in/done``, or with the reason to ``in/refused``."""
        name = self._names.pop(delivery.delivery_id, None)
        if name is not None:
            await asyncio.to_thread(self._away, name, error)

    def _write(self, items: Sequence[UnbindItem]) -> None:
        delivery_id, body = new_delivery_id(), self._csv(items)
        headers = sign(self._signing_key, delivery_id, self._clock.now(), body)
        proof = "".join(f"{name}: {headers[name]}\n" for name in _HEADERS)
        with self._available(), drop_folder.opened(self._root, "out") as out:
            # The signature first: whoever sees the file finds its proof beside it.
            drop_folder.write(out, f"{delivery_id}.csv{SIGNATURE}", proof.encode())
            drop_folder.write(out, f"{delivery_id}.csv", body)

    def _csv(self, items: Sequence[UnbindItem]) -> bytes:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        same = (self._entry.legal_basis, self._entry.contract, self._entry.language)
        for item in items:
            deadline = "" if item.deadline is None else _instant(item.deadline)
            what = (item.reference, item.number.text, _instant(item.disconnected_at), deadline, "yes" if item.reminder else "no")
            rows.writerow((*what, *same))
        return text.getvalue().encode()

    def _collect(self) -> list[SignedDelivery]:
        self._names = {}
        found: list[SignedDelivery] = []
        with self._available(), drop_folder.opened(self._root, "in") as folder:
            for name in drop_folder.names(folder):
                delivery = self._read(folder, name)
                if delivery is not None and delivery.delivery_id not in self._names:  # a second one waits for the next visit
                    self._names[delivery.delivery_id] = name
                    found.append(delivery)
                if len(found) == _MOST_FILES:
                    break
        return found

    def _read(self, folder: int, name: str) -> SignedDelivery | None:
        """Read and verify one file; None where it is not complete yet, is gone, or was refused."""
        try:
            proof = drop_folder.read(folder, name + SIGNATURE, _LONGEST_SIGNATURE)
            body = drop_folder.read(folder, name, LONGEST_FILE)
        except FileNotFoundError:
            return None
        if body is None or proof is None:
            what = f"A file or its signature is no plain file of at most {LONGEST_FILE} or {_LONGEST_SIGNATURE} bytes."
            self._away(name, AnswerMalformed(what, remedy="write smaller plain files, no links; see docs/adapters.md."))
            return None
        try:
            return self._form.receive(_headers(proof), body, self._entry.public_keys, self._clock.now(), _WHENEVER)
        except (SignatureRefused, AnswerMalformed) as error:
            self._away(name, error)
            return None

    def _away(self, name: str, error: FallowError | None) -> None:
        into = "done" if error is None else "refused"
        with self._available(), drop_folder.opened(self._root, "in") as folder, drop_folder.opened(self._root, "in", into) as there:
            moved = drop_folder.move(folder, name, there)
            drop_folder.move(folder, name + SIGNATURE, there)
            if error is not None:
                drop_folder.write(there, f"{moved}.reason", f"{error}\n".encode())

    @contextmanager
    def _available(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            trouble = error.strerror
        else:
            return
        what = f"The folder of the platform {self.platform_id} can't be used ({trouble})."
        raise TargetUnavailable(
            what, remedy="see that the folder is there, is the worker's to write, and that `in` and `out` are no links."
        )


def _headers(proof: bytes) -> dict[str, str]:
    """Read the three headers of a signature's file: one a line, each once, nothing else."""
    lines = [line.partition(": ") for line in proof.decode("ascii", "replace").splitlines()]
    read = {name.lower(): value for name, _, value in lines}
    return read if len(lines) == len(_HEADERS) and read.keys() == set(_HEADERS) else {}


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")

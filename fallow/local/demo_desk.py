"""The demo's people: they work through the API with keys of their own, as anybody would."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

_WITHIN_SECONDS = 60.0


class Refused(RuntimeError):
    """The API refused a request of the demo; the message is its own."""


class Desk:
    """The API as one of the demo's people sees it."""

    def __init__(self, url: str, keys: Mapping[str, str]) -> None:
        """Work at ``url`` with ``keys`` by name (``stack.EVERYONE``)."""
        self._url = url
        self._keys = keys

    def get(self, path: str, who: str = "auditor") -> Any:
        """Return the JSON answer to a GET.

        Raises:
            Refused: any answer but 2xx.
        """
        return self._ask(path, who, None, "application/json")

    def order(self, path: str, who: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON answer to a POST of a JSON body."""
        return self._ask(path, who, json.dumps(body).encode(), "application/json")

    def enrol(self, csv: str) -> Any:
        """Enrol a file of cancelled numbers and return the report."""
        return self._ask("/v1/batches", "administrator", csv.encode(), "text/csv")

    def cycle_of(self, number: str) -> str:
        """Return the latest cycle of a number."""
        found = self.order("/v1/numbers/lookup", "operator", {"number": number})
        return str((found["cycles"] if isinstance(found, dict) else found)[0])

    def two_people(self, cycle_id: str, command: str, reference: str) -> None:
        """Propose and approve a command by two people."""
        self.order(f"/v1/proposals/{self._proposed(cycle_id, command, reference)}/approve", "approver-2", {})

    def deny(self, cycle_id: str, command: str, reference: str, why: str) -> None:
        """Propose a command by one person, and have a second one deny it."""
        self.order(f"/v1/proposals/{self._proposed(cycle_id, command, reference)}/deny", "approver-2", {"reference": why})

    def _proposed(self, cycle_id: str, command: str, reference: str) -> str:
        arguments = {"ground": "former-holder"} if command == "reclaim" else {}
        body = {"command": command, "reference": reference, "arguments": arguments}
        return str(self.order(f"/v1/cycles/{cycle_id}/proposals", "approver-1", body)["proposal_id"])

    def _ask(self, path: str, who: str, body: bytes | None, kind: str) -> Any:
        headers = {"authorization": f"Bearer {self._keys[who]}", "content-type": kind}
        request = urllib.request.Request(self._url + path, data=body, headers=headers)  # noqa: S310 - our own address
        try:
            with urllib.request.urlopen(request, timeout=_WITHIN_SECONDS) as reply:  # noqa: S310 - same
                return json.load(reply)
        except urllib.error.HTTPError as error:
            what = f"{path.split('?', maxsplit=1)[0]}: {error.code} {error.read(2000).decode(errors='replace')}"
            raise Refused(what) from None


def control(url: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Ask the sample carrier or the simulator something over their control address."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, headers={"content-type": "application/json"})  # noqa: S310 - our own
    text = fetch(request)
    return json.loads(text) if text else None


def fetch(address: str | urllib.request.Request) -> bytes:
    """Return what a local address answers."""
    with urllib.request.urlopen(address, timeout=_WITHIN_SECONDS) as reply:  # noqa: S310 - our own
        body: bytes = reply.read()
    return body

"""The verification ping: whoever is to be sent numbers first proves that they read what arrives there and hold the key they named.

``{"type": "fallow.ping.v1", "challenge": "…"}`` goes to the endpoint, signed like a request; the answer is 200 with a
body, signed like an answer: ``{"type": "fallow.pong.v1", "challenge": …}`` with the same challenge. Nothing of it is kept.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.platforms.adapters.catalogue import Way, adapter_of
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.protocol import parse_pong
from fallow.platforms.signing import new_delivery_id, sign
from fallow.platforms.verifying import VerifyingKey

PING_TYPE = "fallow.ping.v1"
#: Adapters that are not pinged: nothing is sent to anybody, or the form of their answers has no pong. Two people compare fingerprints.
UNPINGED = frozenset({"file-drop", "manual", "rsa-notify", "shared-signals"})


def is_pinged(entry: PlatformEntry) -> bool:
    """Tell whether an entry is pinged: whoever is reached over a hub is, there, whatever its own adapter."""
    return bool(entry.via) or entry.adapter not in UNPINGED


async def ping(served_by: PlatformEntry, keys: Sequence[VerifyingKey], way: Way, challenge: str) -> VerifyingKey:
    """Send the ping to an entry's endpoint; return which of ``keys`` signed the answer.

    Raises:
        TargetUnavailable: not reached, or an answer other than 200.
        RequestRejected: the endpoint calls the ping itself wrong.
        SignatureRefused: the answer is signed by none of ``keys``.
        AnswerMalformed: it does not repeat the challenge.
        MapRefused: there is no endpoint, or no such adapter.
    """
    if served_by.endpoint is None:
        what = f"The platform {served_by.platform_id} has no url to ping."
        raise MapRefused(what, remedy="propose it with one.")
    body = json.dumps({"type": PING_TYPE, "challenge": challenge}, separators=(",", ":")).encode()
    at = await asyncio.to_thread(way.clock.now)
    headers = {"content-type": "application/json", **sign(way.signing_key, new_delivery_id(), at, body, served_by.shared_key)}
    reply = await way.transport.post(served_by.endpoint, headers, body, served_by.timeout, tls=served_by.tls)
    if reply.status != HTTPStatus.OK:
        what = f"The endpoint of {served_by.platform_id} answered the ping with status {reply.status}."
        raise TargetUnavailable(what, remedy="answer 200 with the challenge in a signed body; see docs/platforms.md.")
    form = adapter_of(served_by).form
    delivery = form.receive(reply.headers, reply.body, keys, await asyncio.to_thread(way.clock.now))
    parse_pong(delivery.body, challenge)
    return form.signer(keys, delivery)


def demand_writable(entry: PlatformEntry) -> None:
    """Refuse a file drop whose folder can't be written.

    Raises:
        TargetUnavailable: naming the platform.
    """
    folder = Path(entry.folder)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        what = f"The folder of {entry.platform_id} is not there or can't be written."
        raise TargetUnavailable(what, remedy="mount it where API and workers run, writable for the engine's user.")

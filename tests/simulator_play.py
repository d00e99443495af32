"""The platform simulator as a child, and the engine's side of the conversation with it. Used by acceptance tests."""

import asyncio
import contextlib
import json
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from fallow.domain.number import E164
from fallow.domain.ports import SignedDelivery, UnbindItem
from fallow.local.simulator_http import Exchange, Response, listen
from fallow.platforms.http_platform import HttpPlatform
from fallow.platforms.platform_map import PlatformEntry, load_platform_map
from fallow.platforms.protocol import Answer, parse_answers
from fallow.platforms.signing import SigningKey, new_delivery_id, receive, sign
from fallow.platforms.transport import Transport

ENGINE = SigningKey.generate()
NUMBERS = [f"+4477009{i:05}" for i in range(40)]
DISCONNECTED = datetime(2026, 1, 31, tzinfo=UTC)
HEADER = "number,country,carrier,range_holder,class,disconnected_at,reason,prior_holders,hold_reference,source_ref"
PAYMENT, SOCIAL = "pennywell-pay", "larkchat"


class Wall:
    """A clock that shows the time."""

    def now(self) -> datetime:
        """Return this instant."""
        return datetime.now(UTC)


@dataclass
class Play:
    """A running simulator, and the engine's side of the conversation.

    Attributes:
        directory: where its files are.
        url: its control URL.
        pid: its process.
        entries: the map it wrote.
        transport: the way to it.
        received: callbacks that came, verified, with their platform.
        refusals: how many callbacks are still to be answered 503.
    """

    directory: Path
    url: str = ""
    pid: int = 0
    entries: dict[str, PlatformEntry] = field(default_factory=dict)
    transport: Transport = field(default_factory=lambda: Transport(quick_waits=False))
    received: list[tuple[str, SignedDelivery]] = field(default_factory=list)
    refusals: int = 0
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, exchange: Exchange) -> Response:
        """Be the engine's callback URL: verify, keep, acknowledge."""
        platform = exchange.path.split("/")[-2]
        delivery = receive(exchange.headers, exchange.body, self.entries[platform].public_keys, datetime.now(UTC))
        async with self.came:
            self.received.append((platform, delivery))
            self.came.notify_all()
        self.refusals -= 1
        return Response(503 if self.refusals >= 0 else 200)

    async def callbacks(self, count: int) -> list[list[Answer]]:
        """Wait for that many callbacks; return what each said."""
        async with self.came:
            await asyncio.wait_for(self.came.wait_for(lambda: len(self.received) >= count), 20)
        return [parse_answers(delivery.body) for _, delivery in self.received]

    async def ask(self, *items: UnbindItem, platform: str = PAYMENT, key: SigningKey = ENGINE) -> list[Answer]:
        """Ask as the engine does; return what the response said."""
        delivery = await HttpPlatform(self.entries[platform], self.transport, key, Wall()).ask(items)
        return [] if delivery is None else parse_answers(delivery.body)

    async def look(self, *items: UnbindItem, platform: str = PAYMENT) -> list[Answer]:
        """Ask how items stand, as the engine does; return what the response said."""
        delivery = await HttpPlatform(self.entries[platform], self.transport, ENGINE, Wall()).look([item.reference for item in items])
        return [] if delivery is None else parse_answers(delivery.body)

    async def post(self, body: bytes, platform: str = PAYMENT) -> bytes:
        """Send another request of the engine's; return the body of the response, whose signature has been verified."""
        entry, now = self.entries[platform], datetime.now(UTC)
        assert entry.endpoint is not None
        reply = await self.transport.post(entry.endpoint, sign(ENGINE, new_delivery_id(), now, body), body, 5)
        return receive(reply.headers, reply.body, entry.keys, datetime.now(UTC)).body

    async def control(self, method: str, path: str, **order: object) -> Any:
        """Use the simulator's controls."""
        async with httpx.AsyncClient(trust_env=False) as client:
            reply = await client.request(method, self.url + path, json=order or None)
        assert reply.status_code == 200
        return reply.json()

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the platforms' own database."""
        with contextlib.closing(sqlite3.connect(self.directory / "simulator.db")) as db:
            return db.execute(sql, values).fetchall()

    def bound(self, platform: str = PAYMENT) -> set[str]:
        """Return the numbers that accounts hang on."""
        return {row[0] for row in self.query("SELECT number FROM bindings WHERE platform = ? AND unbound_at IS NULL", platform)}

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of its log."""
        return [json.loads(line) for line in (self.directory / "simulator.log").read_text().splitlines()]


@contextlib.asynccontextmanager
async def playing(directory: Path, behaviours: str, scenario: str = "", platforms: int = 2, *more: str) -> AsyncIterator[Play]:
    """Start a simulator that plays so, and the engine's callback URL; stop both."""
    rows = [f"{number},GB,carrier-a,carrier-a,mobile,{DISCONNECTED.isoformat()},cancelled,1,,s" for number in NUMBERS]
    (directory / "numbers.csv").write_text("\n".join([HEADER, *rows]))
    (directory / "scenario.csv").write_text("line,plays\n" + scenario)
    play = Play(directory)
    engine, port = await listen(0, play.take)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fallow.local.platform_simulator", "--platforms", str(platforms), "--behaviours", behaviours),
        *("--numbers", directory / "numbers.csv", "--scenario", directory / "scenario.csv", "--directory", directory),
        *("--callback-url", f"http://127.0.0.1:{port}/v1/platforms/{{platform_id}}/answers", "--engine-key", ENGINE.public.text),
        *("--timeout", "0.5", *more),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        ready = (await child.stdout.readline()).decode().split()
        play.url, play.pid, play.entries = ready[1], child.pid, load_platform_map(directory / "platforms.toml")
        yield play
    finally:
        await play.transport.aclose()
        child.send_signal(signal.SIGTERM)
        assert await child.wait() == 0
        engine.close()


def items(count: int = len(NUMBERS), *, reminder: bool = False) -> list[UnbindItem]:
    """Return items for the first numbers; each number has one reference."""
    alphabet = "234567abcdefghijklmnopqrstuvwxyz"
    references = [f"ref_{'a' * 24}{alphabet[i // 32]}{alphabet[i % 32]}" for i in range(count)]
    return [UnbindItem(ref, E164(number), DISCONNECTED, reminder) for ref, number in zip(references, NUMBERS, strict=False)]

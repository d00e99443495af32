"""A client that costs little: requests made beforehand, several connections that stay open, nothing read but status and length.

Imports the standard library only.
"""

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

_LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class Lap:
    """What came of a set of requests.

    Attributes:
        seconds: from the first sent to the last answered.
        latencies: milliseconds of each, from when it was to be sent.
        statuses: every HTTP status that came.
    """

    seconds: float
    latencies: Sequence[float]
    statuses: frozenset[int]

    def percentile(self, which: int) -> float:
        """Return a percentile of the latencies."""
        return quantiles(self.latencies, n=100)[which - 1] if len(self.latencies) > 1 else self.latencies[0]


class Caller:
    """Sends requests over several connections to 127.0.0.1."""

    def __init__(self, port: int, connections: int) -> None:
        """Open so many connections when called."""
        self._port = port
        self._connections = connections

    @staticmethod
    def request(port: int, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """Return a POST as it travels."""
        lines = [f"POST {path} HTTP/1.1", f"host: 127.0.0.1:{port}", f"content-length: {len(body)}", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body

    @staticmethod
    def answers(host: str, port: int) -> bool:
        """Tell whether somebody listens."""
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return False
        return True

    def all(self, requests: Sequence[bytes], rate: float | None = None) -> Lap:
        """Send the requests, each as soon as a connection is free, or ``rate`` a second whatever the answers take."""
        return asyncio.run(self._all(requests, rate))

    async def _all(self, requests: Sequence[bytes], rate: float | None) -> Lap:
        opened = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(self._connections)]
        left = iter(enumerate(requests))
        latencies, statuses = list[float](), set[int]()
        began = time.perf_counter()

        async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for place, request in left:
                due = time.perf_counter() if rate is None else began + place / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                writer.write(request)
                async with asyncio.timeout(_LONGEST_WAIT):
                    statuses.add(await _status(reader))
                latencies.append(1000 * (time.perf_counter() - due))

        await asyncio.gather(*(send(*each) for each in opened))
        seconds = time.perf_counter() - began
        for _, writer in opened:
            writer.close()
        return Lap(seconds, latencies, frozenset(statuses))


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            await reader.readexactly(int(line.partition(b":")[2]))
    return int(head[9:12])

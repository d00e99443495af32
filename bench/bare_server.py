"""The ceiling of the callbacks part: the API's own server with a handler that reads the body and answers.

Run as ``python -m bench.bare_server PORT``. Imports granian.
"""

import asyncio
import signal
import sys
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

_BODY = b'{"answers":{}}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]


async def answer(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Read the body and answer."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


async def main(port: int) -> None:
    """Serve until SIGTERM."""
    server = Server(
        answer,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.critical,
        log_access=False,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

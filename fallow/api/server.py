"""The API's process: granian in this very process, so that it dies with whoever started it and leaves no worker behind.

Any number of such processes may share one database. Imports granian.
"""

import asyncio
import os
import signal
import socket
import sys

import structlog
from fastapi import FastAPI
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from fallow.api.app import create_app
from fallow.bootstrap import wire
from fallow.domain.errors import SettingRefused
from fallow.settings import Settings

#: Requests in flight get this long to finish after SIGTERM.
DRAIN_FOR = 6.0
#: Seconds after which a thread that computes lets the others on. A transaction makes ten round trips, each followed by a wait for that.
_SWITCH_EVERY = 0.0005
_HEADERS_WITHIN_MS = 5_000
_LONGEST_HEADERS = 16 * 1024
_HIGHEST_PORT = 65_535

_log = structlog.get_logger()


def serve(settings: Settings) -> None:
    """Serve the API until SIGTERM or SIGINT.

    Raises:
        SettingRefused, PolicyRefused, MapRefused: the installation can't be put together, or the address can't be used.
    """
    demand_free(settings.api_host, settings.api_port)
    with wire(settings) as wired, wired.installation.registered.following():
        wired.warn_of_differences()
        app = create_app(wired)
        sys.setswitchinterval(_SWITCH_EVERY)
        asyncio.run(_serve(app, settings.api_host, settings.api_port))
        app.state.desk.close()
    _log.info("api stopped")


def demand_free(host: str, port: int) -> None:
    """Refuse an address that can't be bound. Granian would share a taken port with another process without a word.

    Raises:
        SettingRefused: naming the address and the remedy.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        what = f"The API can't listen on {host}:{port} ({getattr(error, 'strerror', None) or 'not an address'})."
        raise SettingRefused(what, remedy="end the program that holds it, or set FALLOW_API_HOST and FALLOW_API_PORT.") from None


async def _serve(app: FastAPI, host: str, port: int) -> None:
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADERS_WITHIN_MS, max_buffer_size=_LONGEST_HEADERS),
        log_level=LogLevels.critical,  # what it logs of an exception could hold what was sent
        log_access=False,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    _log.info("api started", url=f"http://{host}:{port}")
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        stopping.cancel()
        serving.result()
        what = "The API's server ended by itself."
        raise SettingRefused(what, remedy="see the lines above; is the address still free?")
    server.stop()  # type: ignore[no-untyped-call]
    done, _ = await asyncio.wait([serving], timeout=DRAIN_FOR)
    if not done:
        _log.warning("api stopped", unfinished=True)
        os._exit(0)  # a thread still waits for somebody else; the database rolls its transaction back

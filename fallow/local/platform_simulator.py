"""A simulator of many platforms, one process of its own, that misbehaves as real ones do.

``python -m fallow.local.platform_simulator --help`` lists its options. It prints ``ready http://127.0.0.1:PORT`` once it
listens and ``platforms.toml`` is written. It shares no code with the engine: its database and log are the platforms' own
truth, hold phone numbers, and are what a checker compares the engine's claims with.

Control: ``GET /state``, ``GET /requests``, ``POST /hold-responses {"after": n, "seconds": s}``, ``POST /release``.
"""

import argparse
import asyncio
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from fallow.local.simulator_callbacks import Callbacks
from fallow.local.simulator_desk import Desk
from fallow.local.simulator_http import Exchange, Response, json_response, listen
from fallow.local.simulator_plays import CAN_BE_ASKED, Behaviour, Line, Plays, category, platform_names, read_lines, read_scenario
from fallow.local.simulator_signing import keep_keys, public_half
from fallow.local.simulator_truth import Truth

_LOOK_FOR_PARENT_EVERY = 0.25
_TABLE = """[[platform]]
id = "{platform}"
category = "{category}"
url = "http://127.0.0.1:{port}/{platform}/unbind"
{status_url}allow_loopback = true
public_keys = ["{public_key}"]
batch = {batch}
rate_per_second = 100.0
remind_after = "{remind_after}"
reminders = 5
timeout = "{timeout:g}s"
contact = "the simulator's log, beside this file"
"""


class Simulator:
    """Routes requests to the platforms' desk and to the controls."""

    def __init__(self, desk: Desk, platforms: Sequence[str]) -> None:
        """Take the desk and the platforms that exist."""
        self._desk = desk
        self._platforms = platforms

    async def answer(self, exchange: Exchange) -> Response:
        """Answer one request."""
        match exchange.method, exchange.path.strip("/").split("/"):
            case "POST", [platform, "unbind" | "status" as asked] if platform in self._platforms:
                return await {"unbind": self._desk.unbind, "status": self._desk.status}[asked](platform, exchange)
            case "GET", ["state"]:
                return json_response(200, self._state())
            case "GET", ["requests"]:
                return json_response(200, self._desk.truth.requests())
            case "POST", ["hold-responses"]:
                return self._hold(exchange.body)
            case "POST", ["release"]:
                self._desk.release()
                return json_response(200, self._state())
        return json_response(404, {"error": "no such page"})

    def _hold(self, body: bytes) -> Response:
        try:
            order = json.loads(body)
            self._desk.withhold(int(order["after"]), float(order["seconds"]))
        except (ValueError, KeyError, TypeError):
            return json_response(400, {"error": 'send {"after": n, "seconds": s}'})
        return json_response(200, self._state())

    def _state(self) -> dict[str, object]:
        desk = self._desk
        return {
            "held": desk.held,
            "requests": desk.requests,
            "refused_signatures": desk.refused,
            "callbacks_waiting": desk.callbacks.waiting,
            "platforms": desk.truth.counts(),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM, SIGINT or the parent's end."""
    options = _options(arguments)
    options.directory.mkdir(parents=True, exist_ok=True)
    lines = read_lines(options.numbers)
    scenario = read_scenario(options.scenario, lines) if options.scenario else {}
    plays = Plays(str(options.seed), [Behaviour(name) for name in options.behaviours.split(",")], scenario)
    truth = Truth(options.directory)
    try:
        asyncio.run(_serve(options, plays, truth, list(lines.values())))
    finally:
        truth.close()


async def _serve(options: argparse.Namespace, plays: Plays, truth: Truth, lines: Sequence[Line]) -> None:
    parent = os.getppid()  # now: whoever reads "ready" may end in the next instant
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    platforms = platform_names(options.platforms)
    keys = keep_keys(options.directory / "simulator_keys.json", platforms)
    truth.bind(plays.binding(each, line) for each in platforms for line in lines if plays.bound(each, line.number))
    callbacks = Callbacks(options.callback_url, keys, truth)
    desk = Desk(plays, truth, callbacks, keys, options.engine_key, withhold_for=options.timeout + 1)
    server, port = await listen(options.port, Simulator(desk, platforms).answer)
    _write_map(options, keys, platforms, port)
    print(f"ready http://127.0.0.1:{port}", flush=True)  # noqa: T201 - what the parent waits for
    await _until_over(stopping, parent)
    server.close()
    await callbacks.aclose()


async def _until_over(stopping: asyncio.Event, parent: int) -> None:
    while os.getppid() == parent and not stopping.is_set():
        try:
            await asyncio.wait_for(stopping.wait(), _LOOK_FOR_PARENT_EVERY)
        except TimeoutError:
            continue


def _write_map(options: argparse.Namespace, keys: dict[str, str], platforms: Sequence[str], port: int) -> None:
    tables = [
        _TABLE.format(
            platform=platform,
            category=category(platform),
            port=port,
            status_url=f'status_url = "http://127.0.0.1:{port}/{platform}/status"\n' if category(platform) in CAN_BE_ASKED else "",
            public_key=public_half(keys[platform]),
            batch=options.batch,
            remind_after=options.remind_after,
            timeout=options.timeout,
        )
        for platform in platforms
    ]
    draft = options.directory / "platforms.toml.draft"
    draft.write_text("\n".join(tables))
    draft.replace(options.directory / "platforms.toml")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fallow.local.platform_simulator", description="Simulated platforms.")
    parser.add_argument("--platforms", type=int, required=True, help="how many")
    parser.add_argument("--numbers", type=Path, required=True, help="CSV of cancelled numbers; accounts are bound to about 60 %%")
    parser.add_argument("--scenario", type=Path, help="CSV `line,plays`: refused:CATEGORY, bound:CATEGORY or BEHAVIOUR:CATEGORY")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("--callback-url", required=True, help="where answers go; {platform_id} is filled in")
    parser.add_argument("--engine-key", required=True, help="the engine's public key, whpk_…")
    parser.add_argument("--directory", type=Path, required=True, help="where its map, keys, database and log go")
    parser.add_argument("--seed", default="fallow", help="what every decision is drawn from")
    parser.add_argument("--behaviours", default=",".join(Behaviour), help="the behaviours in play (default: all)")
    parser.add_argument("--batch", type=int, default=20, help="most items per request, for the map")
    parser.add_argument("--timeout", type=float, default=3.0, help="the engine's timeout in seconds, for the map")
    parser.add_argument("--remind-after", default="2s", help="when the engine reminds, for the map")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

"""Records the golden histories: real runs on a real server, with what names this machine taken out.

``python tests/histories/record.py`` writes ``tests/histories/golden/*.json`` anew. Do it when a main path is new, never to make a
failing replay pass: a history that no longer replays is an open workflow that a deployment would break.

Taken out: every ``identity`` (process and host), names of sticky task queues (host), stack traces (paths). The replayer reads none
of them. Ids stay as they are: they are random.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

import running
from builders import number
from running import Engine, fresh
from stoppable import LONG, ONE_SECOND, a_world
from temporalio.client import WorkflowHandle

from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome
from fallow.domain.ports import UnbindItem
from workers.connection import connect
from workflows.dispatch import workflow_id as dispatch_id

GOLDEN = Path(__file__).parent / "golden"
_TURNS = 3


async def happy(engine: Engine) -> str:
    """Every stage without an obstacle."""
    cycle_id = engine.enrol(fresh(), ONE_SECOND)
    await engine.ended(cycle_id)
    return f"recycling/{cycle_id}"


async def held_and_lifted(engine: Engine) -> str:
    """Held during quarantine, lifted, released."""
    cycle_id = engine.enrol(fresh(), ONE_SECOND)
    await engine.until(cycle_id, State.QUARANTINED)
    hold_id = engine.hold(cycle_id)
    await engine.quiet(cycle_id)
    engine.commands.lift(engine.staff.operator, cycle_id, hold_id, "case 1 closed")
    await engine.ended(cycle_id)
    return f"recycling/{cycle_id}"


async def reclaimed(engine: Engine) -> str:
    """Reclaimed by the former holder during quarantine."""
    cycle_id = engine.enrol(fresh(), LONG)
    await engine.until(cycle_id, State.QUARANTINED)
    await engine.quiet(cycle_id)
    engine.by_two(cycle_id, "reclaim")
    await engine.ended(cycle_id)
    return f"recycling/{cycle_id}"


async def refused_and_attested(engine: Engine) -> str:
    """Refused by a platform, attested by two people."""
    index = fresh()

    def says(item: UnbindItem) -> Outcome:
        return Outcome.REFUSED if item.number == number(index) else Outcome.UNBOUND

    engine.platform().says = says
    cycle_id = engine.enrol(index, ONE_SECOND)
    await engine.until(cycle_id, State.UNBINDING, attention="platform-refused")
    await engine.quiet(cycle_id)
    engine.by_two(cycle_id, "attest", target_id="alpha-pay", document_sha256="0" * 64)
    await engine.ended(cycle_id)
    return f"recycling/{cycle_id}"


async def returned(engine: Engine) -> str:
    """Wiped and handed back to the range holder."""
    cycle_id = engine.enrol(fresh(), ONE_SECOND, range_holder="another-carrier")
    await engine.ended(cycle_id)
    return f"recycling/{cycle_id}"


async def register_down(engine: Engine) -> str:
    """A step that failed locally and went on as a regular activity."""
    cycle_id = engine.enrol(fresh(), ONE_SECOND)
    await engine.until(cycle_id, State.QUARANTINED)
    engine.lines.down = True

    async def regular() -> bool:
        return "ACTIVITY_TASK_SCHEDULED" in running.named(await engine.history(cycle_id))

    await running.eventually(regular, lambda: "the regular activity")
    engine.lines.down = False
    await engine.ended(cycle_id)
    return f"recycling/{cycle_id}"


async def dispatched(engine: Engine) -> str:
    """A sender's first turns."""
    workflow_id = dispatch_id("billing")
    handle = engine.client.get_workflow_handle(workflow_id)

    async def turned() -> bool:
        events = (await handle.fetch_history()).events
        return running.named(list(events)).count("ACTIVITY_TASK_COMPLETED") >= _TURNS

    await running.eventually(turned, lambda: f"{_TURNS} turns")
    return workflow_id


PATHS = (happy, held_and_lifted, reclaimed, refused_and_attested, returned, register_down, dispatched)


def scrubbed(value: Any) -> Any:
    """Return a history's JSON without what names a machine."""
    if isinstance(value, list):
        return [scrubbed(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "TASK_QUEUE_KIND_STICKY":
        return {**value, "name": "sticky"}
    kept = {key: scrubbed(each) for key, each in value.items() if key != "stackTrace"}
    return {key: "worker" if key == "identity" else each for key, each in kept.items()}


async def record(folder: Path) -> None:
    """Run every path and write its history."""
    server = running.a_temporal(folder / "temporal")
    try:
        client = await connect(await running.a_namespace(server.address, folder / "state"))
        async with running.at_work(a_world(folder / "world"), client, turn_for=4.0) as engine:
            for path in PATHS:
                await keep(path.__name__, client.get_workflow_handle(await path(engine)))
    finally:
        server.stop()


async def keep(name: str, handle: WorkflowHandle[Any, Any]) -> None:
    """Write one history, with the workflow's id, which its own JSON does not hold."""
    history = await handle.fetch_history()
    written = {"workflow_id": handle.id, "history": scrubbed(json.loads(history.to_json()))}
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / f"{name}.json").write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(record(Path(scratch)))

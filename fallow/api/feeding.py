"""What a carrier's systems feed day by day: counters of residual traffic, inventory's statements, and inventory's file compared."""

from dataclasses import asdict
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from fallow.api.guard import Caller, Here
from fallow.api.uploads import read_csv
from fallow.operations.inventory_feed import note_inventory
from fallow.operations.reconcile import reconcile
from fallow.operations.traffic import note_traffic


async def feed_traffic(here: Here, person: Caller, request: Request) -> dict[str, Any]:
    """Keep a CSV file of daily counters; of a day stated twice the larger counters stand."""
    return asdict(await run_in_threadpool(note_traffic, here, person, await read_csv(request)))


async def feed_inventory(here: Here, person: Caller, request: Request) -> dict[str, Any]:
    """Keep a CSV file of inventory's statements; one that contradicts a cycle puts it into ATTENTION."""
    return asdict(await run_in_threadpool(note_inventory, here, person, await read_csv(request)))


async def reconcile_inventory(here: Here, person: Caller, request: Request) -> dict[str, Any]:
    """Name every number of inventory's CSV file that is on sale or with a new holder without a released cycle; changes nothing."""
    return asdict(await run_in_threadpool(reconcile, here, person, await read_csv(request)))

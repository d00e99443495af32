"""A worker that is stopped, replaced, and wakes up too late."""

import signal

import running
from premises import PAYMENT, SOCIAL, TAKEN_OVER_WITHIN, TARGETS, Premises, locked

from fallow.local.processes import Child


def paused(site: Premises, worker: Child) -> None:
    """Stop a worker at a moment when it does not hold our database's lock, as if its machine had frozen."""
    with locked(site.folder / "fallow.db", "IMMEDIATE"):
        worker.send(signal.SIGSTOP)


async def held_by(site: Premises, name: str, worker: Child) -> None:
    """Wait until a worker holds a lease."""
    await running.eventually(
        lambda: f":{worker.pid}:" in site.holder(name), lambda: f"{name} to go to another worker; {site.logs()}", TAKEN_OVER_WITHIN
    )


async def test_a_worker_that_wakes_up_too_late_is_fenced(site: Premises) -> None:
    """Leases and the relay go to another worker, the late answer of the first changes nothing, and it works on as a good neighbour."""
    first = site.worker()
    site.hold_responses()
    (cycle_id,) = site.enrol(0)
    await running.eventually(lambda: site.held_responses() >= 2, lambda: f"both responses to be withheld; {site.logs()}")
    paused(site, first)

    second = site.worker()
    for name in (*TARGETS, "~relay"):
        await held_by(site, name, second)
    await running.eventually(lambda: site.held_responses() >= 4, lambda: "the second worker to ask again", TAKEN_OVER_WITHIN)
    site.release_responses()
    await site.resellable(cycle_id)
    after = {target: site.attempts(cycle_id, target) for target in site.owed(cycle_id)}
    assert after[PAYMENT] == after[SOCIAL] == ["answered"]

    first.send(signal.SIGCONT)
    second.send(signal.SIGTERM)
    for name in (*TARGETS, "~relay"):
        await held_by(site, name, first)
    (later,) = site.enrol(1)
    await site.resellable(later)
    assert {target: site.attempts(cycle_id, target) for target in site.owed(cycle_id)} == after
    assert site.discharges(cycle_id) == TARGETS
    assert {row["times"] for row in site.requests() if row["reference"] in {owed.reference for owed in site.owed(cycle_id).values()}} == {2}

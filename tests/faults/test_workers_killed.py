"""Workers that die after an effect and before its report."""

import os
import signal

import running
from premises import PAYMENT, RECORDS, SOCIAL, TARGETS, Premises, locked

from fallow.domain.lifecycle import State
from fallow.local.temporal_server import RunningTemporal
from workflows.recycling import STEPS

#: What one lost worker may add to a number's history.
PER_LOST_WORKER = 4


async def claimed(site: Premises, cycle_id: str, target_id: str) -> None:
    """Wait until a sender has claimed an obligation."""

    def tried() -> bool:
        owed = site.owed(cycle_id)
        return target_id in owed and owed[target_id].attempts > 0

    await running.eventually(tried, lambda: f"{target_id} to be claimed; {site.logs()}")


async def killed_after_wiping(site: Premises, cycle_id: str, index: int) -> None:
    """Kill the only worker when the rows are gone and nothing is reported: the records are shut until our database is shut too."""
    with site.records_locked():
        await claimed(site, cycle_id, RECORDS)
        ours = locked(site.folder / "fallow.db", "IMMEDIATE")
        ours.__enter__()
    await running.eventually(lambda: site.rows_left(index) == 0, lambda: "the rows to go")
    site.workers[-1].kill()
    ours.__exit__(None, None, None)
    assert site.owed(cycle_id)[RECORDS].status == "OPEN"


async def killed_after_unbinding(site: Premises, cycle_id: str) -> None:
    """Kill the only worker when both platforms have acted and their responses are withheld."""
    await running.eventually(lambda: site.held_responses() >= 2, lambda: f"both responses to be withheld; {site.logs()}")
    site.workers[-1].kill()
    assert {site.owed(cycle_id)[platform].status for platform in (PAYMENT, SOCIAL)} == {"OPEN"}
    site.release_responses()


async def test_workers_killed_between_effect_and_report(site: Premises) -> None:
    """Two workers die between effect and report; the next repeats under the same keys, nothing is done twice, 4 events each at most."""
    site.worker()
    (undisturbed,) = site.enrol(0)
    await site.resellable(undisturbed)
    usual = len(await site.history(undisturbed))

    site.hold_responses()
    (cycle_id,) = site.enrol(1)
    await killed_after_wiping(site, cycle_id, 1)
    site.worker()
    await killed_after_unbinding(site, cycle_id)
    site.worker()
    await site.resellable(cycle_id)

    assert site.discharges(cycle_id) == TARGETS
    asked = {row["platform"]: row["times"] for row in site.requests() if row["reference"] in references(site, cycle_id)}
    assert asked == {PAYMENT: 2, SOCIAL: 2}
    assert len(await site.history(cycle_id)) <= usual + 2 * PER_LOST_WORKER
    assert "WorkflowReplaced" not in site.kinds(cycle_id)


async def test_a_worker_killed_after_the_release(temporal: RunningTemporal, site: Premises) -> None:
    """Released by a worker that died before it could say so, a number has every step in its history, also when it was returned since."""
    site.worker()
    site.hold_responses()
    kept, returned = site.enrol(0, 2)
    await running.eventually(lambda: site.held_responses() >= 2, lambda: f"both batches to be withheld; {site.logs()}")
    with site.lines_locked():
        site.release_responses()
        await running.eventually(lambda: all("TagIssued" in site.kinds(each) for each in (kept, returned)), site.logs)
        os.kill(temporal.pid, signal.SIGSTOP)
    try:
        await site.resellable(kept, returned)
        site.workers[-1].kill()
    finally:
        os.kill(temporal.pid, signal.SIGCONT)
    site.hand_back(returned)
    site.worker()

    for cycle_id, state in ((kept, State.RESELLABLE), (returned, State.RETURNED)):
        assert list(dict.fromkeys(running.steps_taken(await site.history(cycle_id)))) == [step.__name__ for step in STEPS]
        assert site.row(cycle_id).state == state
        assert site.kinds(cycle_id).count("NumberReleased") == 1


def references(site: Premises, cycle_id: str) -> set[str]:
    """Return the references of a cycle's obligations."""
    return {row.reference for row in site.owed(cycle_id).values()}


async def test_a_worker_told_to_end_under_load(site: Premises) -> None:
    """SIGTERM in the middle of a crowd: the worker ends by itself within 30 s, and nothing was lost or begun twice."""
    first = site.worker()
    crowd = site.enrol(0, 60)

    def in_the_middle() -> bool:
        states = [site.row(cycle_id).state for cycle_id in crowd[::6]]
        return State.UNBINDING in states or State.WIPING in states

    await running.eventually(in_the_middle, lambda: "the crowd to be at work")
    first.send(signal.SIGTERM)
    assert await running.eventually(lambda: (first.exit_code,) if first.exit_code is not None else None, lambda: "its end") == (0,)
    site.worker()
    await site.resellable(*crowd)
    for cycle_id in crowd:
        assert site.discharges(cycle_id) == TARGETS
        assert {row.attempts for row in site.owed(cycle_id).values()} == {1}

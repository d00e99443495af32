"""The Temporal server dies and comes back on its file and its port."""

from pathlib import Path

import premises
import running
from premises import TARGETS


async def test_temporal_killed_and_started_again(tmp_path: Path) -> None:
    """Answers and enrolments go on while Temporal is dead; once it is back on its file every number ends as if nothing had been."""
    folder = tmp_path / "temporal"
    server = running.a_temporal(folder)
    try:
        async with premises.premises(tmp_path / "site", server.address) as site:
            site.worker()
            site.hold_responses()
            (before,) = site.enrol(0)
            await running.eventually(lambda: site.held_responses() >= 2, lambda: f"both responses to be withheld; {site.logs()}")
            server.kill()
            site.release_responses()
            await running.eventually(lambda: site.discharges(before) == TARGETS, lambda: "the answers to be written")
            (during,) = site.enrol(1)
            server = running.a_temporal(folder, server.frontend_port)
            await site.resellable(before, during)
            assert len(await site.history(before)) <= 40
            assert site.discharges(before) == TARGETS
    finally:
        server.stop()

"""One object that configures client, worker and replayer alike, so that an audit replays what production ran."""

from temporalio.plugin import SimplePlugin

from workers.sandbox import runner
from workflows.dispatch import DispatchWorkflow
from workflows.recycling import NumberRecyclingWorkflow

WORKFLOWS = (NumberRecyclingWorkflow, DispatchWorkflow)


def plugin() -> SimplePlugin:
    """Return the plugin."""
    return SimplePlugin("fallow", workflow_runner=runner())

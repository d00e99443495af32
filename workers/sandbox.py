"""What workflow code may import without being loaded afresh for every workflow: a short list, a reason each.

A workflow file that reaches one SQLModel table costs 242 ms per instance instead of 1 ms (the sandbox re-imports it), so
nothing heavy is ever on this list; it is kept out of the workflow files instead, which import-linter enforces.
"""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

PASSED_THROUGH = (
    "activities",  # names and signatures only; their effects sit behind ports
    "fallow.domain",  # pure
    "workflows.options",  # constants
)


def runner() -> SandboxedWorkflowRunner:
    """Return the sandbox that worker and replayer share."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))

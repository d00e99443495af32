"""Which code this is: the build id that Temporal writes beside every decision."""

import hashlib
from functools import cache
from pathlib import Path

from temporalio.common import WorkerDeploymentVersion

import activities
import fallow
import workflows

DEPLOYMENT = "fallow"
#: What no worker runs.
_LEFT_OUT = ("cli", "local")


@cache
def version() -> WorkerDeploymentVersion:
    """Return the deployment version: a SHA-256 over the sources of what a worker decides by, shortened to 16 hex digits.

    The workflows only order the steps; what each step decides is written in ``fallow.operations`` and ``fallow.store``. A build
    that left them out would carry the same id before and after a change of the gate, and both would take each other's tasks.
    """
    digest = hashlib.sha256()
    for package in (workflows, activities, fallow):
        folder = Path(next(iter(package.__path__)))
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder)
            if package is fallow and name.parts[0] in _LEFT_OUT:
                continue
            digest.update(name.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return WorkerDeploymentVersion(DEPLOYMENT, digest.hexdigest()[:16])

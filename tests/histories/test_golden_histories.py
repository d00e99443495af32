"""Histories of the main paths still replay, without a server; workflows changed carelessly do not."""

import json
import re
from pathlib import Path

import pytest
from histories import mutants
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from workers.plugin import WORKFLOWS, plugin

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))
EXPECTED = {"happy", "held_and_lifted", "reclaimed", "refused_and_attested", "returned", "register_down", "dispatched"}
EVERY_PATH = (mutants.StepsReordered, mutants.AnExtraTimer)
DISPATCH = (mutants.APauseBetweenTurns, mutants.TurnsTakenLocally)
#: Mutants that only some paths can tell from the original.
SOME_PATHS = {"held_and_lifted": mutants.OverlaysUnseen, "refused_and_attested": mutants.OverlaysUnseen, "returned": mutants.AStepMore}


def read(path: Path) -> WorkflowHistory:
    """Return a golden history."""
    written = json.loads(path.read_text())
    return WorkflowHistory.from_json(written["workflow_id"], written["history"])


def mutants_of(name: str) -> list[type]:
    """Return the mutants that the history of this path must refuse."""
    if name == "dispatched":
        return list(DISPATCH)
    return [*EVERY_PATH, *([SOME_PATHS[name]] if name in SOME_PATHS else [])]


def test_every_main_path_is_recorded() -> None:
    """No golden history has gone missing, and none lies there unreplayed."""
    assert {path.stem for path in GOLDEN} == EXPECTED


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
async def test_a_golden_history_replays(path: Path) -> None:
    """Today's code takes the same decisions as the code that wrote the history."""
    await Replayer(workflows=WORKFLOWS, plugins=[plugin()]).replay_workflow(read(path))


@pytest.mark.parametrize(
    ("path", "mutant"),
    [(path, mutant) for path in GOLDEN for mutant in mutants_of(path.stem)],
    ids=lambda value: value.stem if isinstance(value, Path) else value.__name__,
)
async def test_a_careless_change_is_refused(path: Path, mutant: type) -> None:
    """A workflow that takes other decisions fails the replay as not deterministic."""
    with pytest.raises(NondeterminismError):
        await Replayer(workflows=[mutant], plugins=[plugin()]).replay_workflow(read(path))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_history_names_no_machine(path: Path) -> None:
    """The files hold no host, no path and no process id of whoever recorded them."""
    text = path.read_text()
    assert set(_values(json.loads(text), "identity")) <= {"worker"}
    assert re.search(r"/ho[m]e/", text) is None
    assert "site-packages" not in text
    assert "stackTrace" not in text


def _values(tree: object, key: str) -> list[str]:
    if isinstance(tree, list):
        return [found for each in tree for found in _values(each, key)]
    if not isinstance(tree, dict):
        return []
    mine = [str(tree[key])] if key in tree else []
    return [*mine, *(found for each in tree.values() for found in _values(each, key))]

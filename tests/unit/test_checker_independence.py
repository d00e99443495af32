"""The verdict is worth something only if the checker shares nothing with what it judges."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKER = Path(__file__).parents[2] / "fallow" / "local" / "checker"
MODULES = sorted(CHECKER.rglob("*.py"))
ALLOWED = {*sys.stdlib_module_names, "cryptography", "temporalio"}


def imported(module: Path) -> Iterator[str]:
    """Yield the top-level packages that a module imports; "." for its own."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield {0: (node.module or "").partition(".")[0], 1: "."}.get(node.level, "beyond its own package")


def test_there_is_something_to_look_at() -> None:
    """The modules are found, whatever the checker's folder is called one day."""
    assert len(MODULES) > 5


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_imports_nothing_of_the_engine(module: Path) -> None:
    """Every module imports the standard library, cryptography, the Temporal client and its neighbours, and nothing else."""
    assert set(imported(module)) <= {*ALLOWED, "."}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_loads_by_name_only_itself(module: Path) -> None:
    """What an import statement may not do, a call may not do either: only the entry point imports by name, and only its neighbour."""
    words = ("import_module", "__import__", "exec(", "eval(", "run_path", "run_module")
    text = module.read_text("utf-8").replace('importlib.import_module(f"{_NAME}.command")', "")

    assert not [word for word in words if word in text]


def test_loads_nothing_of_the_engine_when_it_runs() -> None:
    """Run by path and isolated, as the demo runs it, the program has none of the engine's packages in memory."""
    program = f"""
import runpy, sys
sys.argv = ["checker", "--help"]
try:
    runpy.run_path({str(CHECKER)!r}, run_name="__main__")
except SystemExit:
    pass
engine = {{"fallow", "workflows", "activities", "workers", "sqlmodel", "sqlalchemy"}}
print(sorted({{name.partition(".")[0] for name in sys.modules}} & engine))
print("independent_checker.gate" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, cwd="/")

    assert ran.stdout.splitlines()[-2:] == ["[]", "True"]

"""The rules of the house that no linter knows: budgets, names, docstrings, what may be imported and what a file may hold."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("fallow", "workflows", "activities", "workers")
LONGEST_MODULE, LONGEST_WORKFLOW, LONGEST_FUNCTION = 400, 300, 60
BANNED = {"util", "utils", "helper", "helpers", "manager", "managers", "handler", "handlers", "process", "data", "misc", "info"}
MIGRATIONS = "fallow/store/migrations/versions/"
#: Methods that a library calls by the name it gave them.
NAMED_BY_LIBRARIES = {"get_route_handler", "process_bind_param", "process_result_value"}

#: Who reads the environment besides the settings, and why it may.
READS_THE_ENVIRONMENT = {
    "fallow/settings.py": "the settings",
    "fallow/cli/ending.py": "an error in the settings themselves must be debuggable",
    "fallow/cli/running.py": "an option that is another way to say a setting",
    "fallow/local/processes.py": "children inherit it",
    "fallow/local/stack.py": "takes our own settings out of what children inherit",
    "workers/connection.py": "Temporal's own configuration, decision 0011",
}
#: Who commits besides ``Database.begin``, and why it may.
COMMITS = {
    "fallow/store/schema.py": "a migration runs on a connection of its own",
    "fallow/local/temporal_server.py": "Temporal's database, not ours",
}


@cache
def tracked() -> tuple[str, ...]:
    """Return the files of the repository, those not committed yet included."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return tuple(name for name in listed if (ROOT / name).is_file())


def modules(*folders: str) -> list[str]:
    """Return the Python files beneath these folders."""
    return [name for name in tracked() if name.endswith(".py") and name.startswith(tuple(f"{folder}/" for folder in folders))]


@cache
def tree(name: str) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse((ROOT / name).read_text("utf-8"))


def definitions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Yield every function and class of a file, however deep."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


def imports(name: str) -> set[str]:
    """Return the top-level names of the modules a file imports."""
    found = set[str]()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def calls(name: str) -> Iterator[str]:
    """Yield the dotted text of what a file calls."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


SOURCES = modules(*PACKAGES)
OURS = modules(*PACKAGES, "bench", "examples")
TESTS = modules("tests")


def test_modules_stay_short() -> None:
    """No module is longer than 400 lines, no workflow file longer than 300."""
    lengths = {name: len((ROOT / name).read_text("utf-8").splitlines()) for name in OURS + TESTS if not name.startswith(MIGRATIONS)}
    most = {name: LONGEST_WORKFLOW if name.startswith("workflows/") else LONGEST_MODULE for name in lengths}

    assert {name: length for name, length in lengths.items() if length > most[name]} == {}


def test_functions_stay_short() -> None:
    """No function is longer than 60 lines, its docstring included."""
    lengths = {
        f"{name}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name in OURS + TESTS
        if not name.startswith(MIGRATIONS)
        for node in definitions(name)
        if not isinstance(node, ast.ClassDef)
    }

    assert {where: length for where, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_everything_public_says_what_it_is_for() -> None:
    """Every module, and every public class, method and function in it, has a docstring."""
    silent = [name for name in OURS + TESTS if not ast.get_docstring(tree(name))]
    for name in OURS:
        silent += [f"{name}:{node.name}" for node in _public(tree(name)) if not ast.get_docstring(node)]

    assert silent == []


def _public(scope: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in scope.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from _public(node)


def test_every_test_promises_one_thing() -> None:
    """The docstring of each test function is one sentence."""
    wrong = []
    for name in TESTS:
        for node in definitions(name):
            if isinstance(node, ast.ClassDef) or not node.name.startswith("test_"):
                continue
            promise = " ".join((ast.get_docstring(node) or "").split())
            if not promise.endswith(".") or re.search(r"[a-z0-9)`][.!?] [A-Z]", promise):
                wrong.append(f"{name}:{node.name}")

    assert wrong == []


def test_names_say_what_a_thing_does() -> None:
    """No module, class or function is called by a word that could mean anything."""
    named = [(name, Path(name).stem) for name in OURS + TESTS]
    named += [(name, node.name) for name in OURS + TESTS for node in definitions(name) if node.name not in NAMED_BY_LIBRARIES]
    vague = [f"{where}:{name}" for where, name in named if BANNED & set(_words(name))]

    assert vague == []


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def test_tests_are_no_package() -> None:
    """There is no `__init__.py` under tests, and no two files there have the same name."""
    stems = Counter(Path(name).name for name in TESTS)

    assert stems["__init__.py"] == 0
    assert [name for name, count in stems.items() if count > 1 and name != "conftest.py"] == []


def test_tests_use_no_mocks_and_do_not_sleep() -> None:
    """Our code is tested as it is, and a test waits for a condition, never for a while."""
    assert [name for name in TESTS if any(module.startswith("unittest.mock") for module in imports(name))] == []
    sleepers = [name for name in TESTS if Path(name).stem.startswith("test_") and {"time.sleep", "asyncio.sleep"} & set(calls(name))]

    assert sleepers == []


def test_types_are_real() -> None:
    """Nobody postpones annotations: SQLModel, FastAPI and Temporal need the real types."""
    assert [name for name in OURS + TESTS if "__future__" in imports(name)] == []


def test_the_domain_needs_the_standard_library_only() -> None:
    """The rules can be read, tested and replayed without anything installed."""
    foreign = {
        f"{name}: {module}"
        for name in modules("fallow/domain")
        for module in imports(name)
        if module.partition(".")[0] not in sys.stdlib_module_names and not module.startswith("fallow.domain")
    }

    assert foreign == set()


def test_only_the_transport_speaks_http() -> None:
    """Within an installation, httpx and tenacity are imported by one module."""
    users = {name for name in SOURCES if {"httpx", "tenacity"} & {module.partition(".")[0] for module in imports(name)}}

    assert {name for name in users if not name.startswith("fallow/local/")} == {"fallow/platforms/transport.py"}


def test_only_the_settings_read_the_environment() -> None:
    """No other module does, but for exceptions that are named here with their reason."""
    reading = re.compile(r"\b(os\.environ|os\.getenv|environb|load_client_connect_config)\b")
    readers = {name for name in SOURCES if reading.search((ROOT / name).read_text("utf-8"))}

    assert readers == set(READS_THE_ENVIRONMENT)


def test_only_the_engine_commits() -> None:
    """Application code opens a transaction and never commits by itself."""
    committers = {name for name in SOURCES if any(call.endswith(".commit") for call in calls(name))}

    assert committers == set(COMMITS)


def test_only_telling_signals_workflows() -> None:
    """Every signal has a request id of ours, so that telling twice is one event."""
    signalling = {
        name
        for name in SOURCES
        if any(call.endswith((".signal", "signal_workflow_execution")) and call != "signal.signal" for call in calls(name))
    }
    declaring = {name for name in signalling if name.startswith("workflows/")}

    assert signalling - declaring == {"workers/telling.py"}


def test_only_the_deciding_clock_decides() -> None:
    """Domain, use cases, activities and workflows ask no clock but the transaction's or the workflow's."""
    inner = modules("fallow/domain", "fallow/operations", "activities", "workflows")
    asking = {name for name in inner for call in calls(name) if call in {"datetime.now", "datetime.utcnow", "time.time", "date.today"}}

    assert asking == set()


def test_no_asynchronous_database_driver() -> None:
    """Database access is synchronous (decision 0001), so no other kind of driver is installed."""
    locked = set(re.findall(r"(?m)^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text("utf-8")))

    assert {"psycopg", "sqlalchemy"} <= locked
    assert locked & {"aiosqlite", "asyncpg", "aiomysql", "asyncmy"} == set()


#: Hosts of package registries, options that name one, and paths of somebody's machine; written so that this file does not hold them.
_FOREIGN = re.compile(
    "|".join(
        (
            r"py" + r"pi\.(?:org|python\.org)|python" + r"hosted|registry\.np" + r"mjs|proxy\.go" + r"lang|crates\." + r"io",
            r"--(?:extra-)?index-" + r"url|index_" + r"url|GOPROXY" + r"=",
            r"(?<![\w.~])/(?:wo" + r"rk|tm" + r"p|ro" + r"ot|ho" + r"me|Us" + r"ers)/",
        )
    )
)


@pytest.mark.parametrize("suffixes", [(".py",), (".md",), (".toml", ".lock", ".yml", ".yaml", ".json", ".csv", ".mako", "")])
def test_no_file_tells_where_it_was_made(suffixes: tuple[str, ...]) -> None:
    """No file holds a package registry's address or a path of somebody's machine."""
    found = []
    for name in tracked():
        if Path(name).suffix in suffixes:
            lines = (ROOT / name).read_text("utf-8", errors="replace").splitlines()
            found += [f"{name}:{number}" for number, line in enumerate(lines, start=1) if _FOREIGN.search(line)]

    assert found == []


def test_the_lock_names_versions_and_hashes_only() -> None:
    """requirements.lock pins every package by hash and says nothing about where it came from."""
    text = (ROOT / "requirements.lock").read_text("utf-8")
    pins = re.findall(r"(?m)^[a-z0-9-]+(?:\[[a-z,]+\])?==.*$", text)

    assert pins
    assert all(line.endswith("\\") for line in pins)
    assert "://" not in text


def test_the_licence_is_there() -> None:
    """The licence is Apache-2.0, in the file and in the package's metadata."""
    assert (ROOT / "LICENSE").read_text("utf-8").lstrip().startswith("Apache License")
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text("utf-8")


@pytest.mark.parametrize("name", PACKAGES)
def test_nobody_else_claims_our_names(name: str) -> None:
    """No installed distribution but ours provides a package of that name."""
    assert set(metadata.packages_distributions().get(name, [])) <= {"fallow"}


def test_the_pipeline_runs_check_and_test() -> None:
    """`.ci/run` holds two commands, and both are what a developer types."""
    expected = ["#!/usr/bin/env bash", "set -euo pipefail", 'cd "$(dirname "$0")/.."', "make check", "make test"]

    assert (ROOT / ".ci/run").read_text("utf-8").splitlines() == expected

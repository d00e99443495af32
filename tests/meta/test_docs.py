"""Docs can't rot: whatever has a name in the code is explained, and whatever the docs tell people to type or to open exists."""

import ast
import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from pydantic.fields import FieldInfo
from typer.main import get_command

from fallow import cli
from fallow.api import problems
from fallow.api.routes import ROUTES, Route
from fallow.cli import words
from fallow.domain.attention import Reason
from fallow.domain.errors import FallowError
from fallow.domain.events import canonical
from fallow.domain.lifecycle import Command, State
from fallow.domain.number import E164
from fallow.domain.obligations import Category, Outcome, Status
from fallow.domain.people import Role
from fallow.domain.ports import CollectionReceipt, WipeReceipt
from fallow.intake.cancelled_file import DUPLICATE_IN_FILE, Row, read_rows
from fallow.operations import enrol
from fallow.records import map_columns, map_schema
from fallow.records.map_columns import MapTable
from fallow.settings import Settings
from fallow.store import keys
from fallow.store.signer import TagSigner

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))}
DECISIONS = sorted(name for name in PAGES if name.startswith("docs/decisions/"))
FOR_USERS = ("lifecycle", "platforms", "operations", "api", "audit", "demo")
#: Words that a reader meets in docs/architecture.md and in decisions only.
MACHINERY = ("nudge", "relay", "sweep", "bell", "lease", "fence")
#: The words that the README needs and explains.
SIX = ("number", "cycle", "stage", "obligation", "answer", "evidence")
#: Paths that pages may name although they are not in the repository.
ABSENT = {
    "bench/results/latest.json": "written by `make bench`",
    "workflows/messages.py": "decision 0007 says why it is not there",
    "workflows/upkeep.py": "decision 0002 says when it comes",
}
#: Headings of docs/records-map.md, and what they are the reference of.
MAP_TABLES: dict[str, type[MapTable]] = {
    "[line_register]": map_schema.LineRegisterTable,
    "[[system]]": map_schema.SystemTable,
    "[[system.collection]]": map_schema.CollectionTable,
    "number": map_columns.NumberColumn,
    "[system.collection.restrict]": map_columns.Restriction,
    "archive": map_columns.Archive,
    "[system.collection.seal]": map_columns.Sealing,
    "[system.collection.rewrite]": map_columns.Rewriting,
}
_FOLDERS = "fallow|workflows|activities|workers|tests|examples|docs|bench"


def page(name: str) -> str:
    """Return a page of docs."""
    return PAGES[f"docs/{name}.md"]


def code(text: str) -> set[str]:
    """Return what stands between single backticks."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"(?s)```.*?```", "", text)))


def fenced(text: str, language: str = "") -> list[str]:
    """Return the blocks of a language."""
    return [dedent(block) for block in re.findall(rf"(?ms)^ *```{language}\n(.*?)^ *```", text)]


def codes(kind: type[FallowError] = FallowError) -> Iterator[str]:
    """Yield the code of an error and of all that are derived from it."""
    if not kind.__name__.startswith("_"):
        yield kind.code
    for each in kind.__subclasses__():
        yield from codes(each)


def verbs(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield every command of the command line, groups left out."""
    command = command or get_command(cli.app)
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(("fallow", *path))
        return
    for name, each in inner.items():
        yield from verbs(each, (*path, name))


def test_every_setting_is_explained_with_its_default() -> None:
    """docs/settings.md lists each setting of the code, no other, and the default that it really has."""
    listed = dict(re.findall(r"(?m)^\| `(FALLOW_[A-Z_]+)` \| `?([^`|]+?)`? \|", page("settings")))
    real = {f"FALLOW_{name.upper()}": _default(field.default) for name, field in Settings.model_fields.items()}

    assert listed == real


def _default(value: object) -> str:
    plain = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return "none" if plain in (None, "", Path()) else str(plain)


@pytest.mark.parametrize(("section", "table"), MAP_TABLES.items(), ids=list(MAP_TABLES))
def test_every_key_of_a_map_is_explained_with_its_default(section: str, table: type[MapTable]) -> None:
    """docs/records-map.md lists each key of each table of records.toml, no other, and the default that it really has."""
    text = page("records-map").partition(f"\n## `{section}`\n")[2].partition("\n## ")[0]
    listed = dict(re.findall(r"(?m)^\| `([a-z_]+)` \| `?([^`|]+?)`? \|", text))
    real = {field.alias or name: "must" if field.is_required() else _mapped(field) for name, field in table.model_fields.items()}

    assert listed == real


def _mapped(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    return f"{default.seconds}s" if isinstance(default, timedelta) else str(default or "none")


def test_every_field_of_a_receipt_is_explained() -> None:
    """docs/records-map.md lists each field of a collection's receipt, and what the whole one says besides."""
    text = page("records-map").partition("\n## What a receipt says\n")[2].partition("\n## ")[0]

    assert code(text) == {field.name for field in fields(CollectionReceipt)} | {"place"}
    assert {field.name for field in fields(WipeReceipt)} == {"cycle_id", "system_id", "collections", "place"}


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_verb_is_explained(verb: str) -> None:
    """docs/operations.md names each command of the command line."""
    assert f"`{verb}`" in page("operations")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_explained(route: Route) -> None:
    """docs/api.md names each route of the API with its method."""
    above, _, last = route.path.rpartition("/")
    whole = f"`{route.method} {route.path}`" in page("api")
    grouped = any(f"`{last}`" in line and f"`{route.method} {above}/" in line for line in page("api").splitlines())

    assert whole or grouped


def test_every_state_and_command_is_explained() -> None:
    """docs/lifecycle.md names each state and each command."""
    named = code(page("lifecycle")) | {cell.strip() for line in page("lifecycle").splitlines() for cell in line.split("|")}

    assert {str(each) for each in (*State, *Command)} <= named
    assert all(each in PAGES["README.md"] for each in (*State, "HELD", "ATTENTION"))


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_for_attention_is_explained(reason: Reason) -> None:
    """Lifecycle and operations both have a row for each reason."""
    for name in ("lifecycle", "operations"):
        assert f"\n| `{reason}` |" in page(name)


def test_every_error_is_explained() -> None:
    """Each code that an error, a rejected line or the API can show is in docs/operations.md or docs/api.md."""
    shown = {*codes(), words.NumberAsArgument.code, DUPLICATE_IN_FILE, *(name for name, _ in enrol._CODES.values())}
    shown |= set(re.findall(r'Fault\(\s*"([a-z-]+)"', (ROOT / "fallow/cli/ending.py").read_text("utf-8")))
    over_http = {name for name, _ in problems._HTTP.values()} | {problems.Problem.unexpected().code}

    assert shown - code(page("operations")) == set()
    assert over_http - code(page("api")) == set()


def test_every_exit_code_is_explained() -> None:
    """docs/operations.md has a row for each exit code that --help names."""
    named = set(re.findall(r"(?:: |· )(\d+) ", cli.app.info.epilog or ""))

    assert named
    assert named <= set(re.findall(r"(?m)^\| (\d+) \|", page("operations")))


def test_every_log_field_is_explained() -> None:
    """docs/operations.md names each field that the engine's own events have."""
    fields = set[str]()
    for path in (*(ROOT / "fallow").rglob("*.py"), *(ROOT / "workers").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("_log.info", "_log.warning", "_log.error")):
                fields |= {keyword.arg for keyword in node.keywords if keyword.arg}

    assert fields
    assert fields - code(page("operations")) == set()


def test_the_glossary_holds_every_word_of_the_domain() -> None:
    """The README's six words and each outcome, category, role, status and overlay are in the glossary."""
    text = page("glossary")
    terms = {term.lower() for row in re.findall(r"(?m)^\| (\*\*.+?) \|", text) for term in re.split(r"[*, ]+", row)}
    of_the_domain = [*Outcome, *Category, *Role, *Status, "HELD", "ATTENTION", "DEMO"]

    assert set(SIX) <= terms
    assert [word for word in of_the_domain if not re.search(rf"\b{re.escape(word)}\b", text)] == []


def test_the_readme_explains_its_six_words() -> None:
    """The README's table of words holds those six and no more."""
    section = PAGES["README.md"].partition("## Six words")[2].partition("\n## ")[0]

    assert tuple(re.findall(r"(?m)^\| (\w+) \|(?! means)", section)) == SIX


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{each}.md" for each in FOR_USERS)])
def test_the_machinery_stays_in_the_engine_room(name: str) -> None:
    """Who uses fallow never needs a word of its inner machinery."""
    text = re.sub(r"`[^`\n]+`", "", re.sub(r"(?s)```.*?```", "", PAGES[name]))

    assert [word for word in MACHINERY if re.search(rf"(?i)\b{word}(?:s|d|ed|ing)?\b", text)] == []


@pytest.mark.parametrize("name", sorted(PAGES))
def test_what_pages_tell_to_type_exists(name: str) -> None:
    """Each `make` and `fallow` command of a page is a target, a verb and options that there are."""
    typed = [line.partition("#")[0] for block in fenced(PAGES[name], "(?:sh|bash|text)?") for line in block.splitlines()]
    lines = [text.strip() for text in (*typed, *code(PAGES[name]))]
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text("utf-8")))
    found = [part for line in lines for part in re.split(r"&&|;", line)]

    assert [part for part in found if re.match(r"\s*make [a-z]", part) and part.split()[1] not in targets] == []
    assert [part for part in found if re.match(r"\s*fallow [a-z]", part) and not _typeable(part)] == []


def _typeable(line: str) -> bool:
    command: Any = get_command(cli.app)
    spelled = shlex.split(re.sub(r"[\[\]…]", " ", line).partition("|")[0].partition(" < ")[0])[1:]
    while spelled and hasattr(command, "commands"):
        command = command.commands.get(spelled.pop(0))
    if command is None:
        return False
    known = {"--help", *(option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts))}
    return {word for word in spelled if word.startswith("-") and word != "-"} <= known


@pytest.mark.parametrize("name", sorted(PAGES))
def test_links_lead_somewhere(name: str) -> None:
    """Each link between pages has a target, down to the heading."""
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGES[name]):
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), target
        if anchor:
            assert anchor in _anchors(path.read_text("utf-8")), target


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_files_that_pages_name_exist(name: str) -> None:
    """Each path of the repository, and each test, that a page names is there."""
    paths = {each for each in code(PAGES[name]) if re.match(rf"(?:{_FOLDERS})/[\w./-]+$", each)}
    named = {each for each in code(PAGES[name]) if re.match(r"test_\w+$", each)}
    texts = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {found for text in texts for found in re.findall(r"def (test_\w+)", text)}

    assert {each for each in paths if not (ROOT / each).exists()} - set(ABSENT) == set()
    assert named - defined == set()


def test_every_page_can_be_found() -> None:
    """docs/index.md links each page; the README's tree names each folder of the engine."""
    links = set(re.findall(r"\]\(([a-z-]+)\.md\)", page("index")))
    folders = {path.name for path in (ROOT / "fallow").iterdir() if any(path.glob("*.py"))}

    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} <= links
    assert {folder for folder in folders if f"  {folder}/" not in PAGES["README.md"]} == set()


def test_decisions_have_one_form() -> None:
    """Each decision has a number in order, a context, one decision that can be quoted, consequences and what enforces it."""
    assert [int(Path(name).name[:4]) for name in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    for name in DECISIONS:
        parts = re.findall(r"(?m)^\*\*(Context|Decision|Consequences|Enforced by)\.\*\*", PAGES[name])
        assert parts == ["Context", "Decision", "Consequences", "Enforced by"], name
        assert PAGES[name].startswith(f"# {Path(name).name[:4]} "), name


def test_the_readmes_file_can_be_enrolled() -> None:
    """The line that the README tells to write is one that enrolment takes."""
    (block,) = [each for each in fenced(PAGES["README.md"]) if each.startswith("number,country")]
    (row,) = read_rows(BytesIO(block.encode()), datetime(2026, 6, 1, tzinfo=UTC))

    assert isinstance(row, Row)
    assert row.number == E164("+442079460123")


def test_the_auditors_code_verifies_a_tag(tmp_path: Path) -> None:
    """The code that docs/audit.md gives an auditor accepts a real tag and refuses an altered one."""
    (block,) = fenced(page("audit"), "python")
    given: dict[str, Any] = {}
    exec(block, given)  # noqa: S102 - our own page; running it is the test
    keys.create(tmp_path)
    body = canonical({"number_id": "n_1", "cycle_no": 1})
    digest = hashlib.sha256(body.encode()).hexdigest()
    signature, public_key = TagSigner(keys.Keys(tmp_path)).sign(digest)

    given["verify_tag"](body, digest, signature, public_key)
    with pytest.raises(ValueError, match="altered"):
        given["verify_tag"](json.dumps({"number_id": "n_2", "cycle_no": 1}), digest, signature, public_key)
    with pytest.raises(InvalidSignature):
        given["verify_tag"](body, digest, base64.b64encode(bytes(64)).decode(), public_key)

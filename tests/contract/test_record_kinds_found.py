"""Kinds of record systems: how a map finds them, and what is refused."""

import json
import traceback
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from carrier_database import order
from record_server import SYSTEM

from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.local.simulator_signing import public_half
from fallow.records.kinds import GROUP, OWN
from fallow.records.records_map import demand_order, load_records_map

ROOT = Path(__file__).parents[2]
SQL = (ROOT / "examples" / "records.toml").read_text("utf-8")
FILES = '\n[[system]]\nid = "letters"\nkind = "files"\nfolder = "letters"\ncollections = ["sent"]\n'


def test_our_own_kinds_are_declared() -> None:
    """What the code knows without installed metadata is what pyproject.toml tells everybody."""
    declared = (ROOT / "pyproject.toml").read_text("utf-8").partition(f'[project.entry-points."{GROUP}"]\n')[2].partition("\n\n")[0]

    assert declared.splitlines() == [f'{name} = "{value}"' for name, value in OWN.items()]


@dataclass
class Packages:
    """Where made-up packages are installed for one test."""

    folder: Path

    def add(self, package: str, kind: str, code: str) -> None:
        """Install a package that brings a kind: a module with a function ``opens``."""
        module = package.replace("-", "_")
        (self.folder / f"{module}.py").write_text(code)
        metadata = self.folder / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{kind} = {module}:opens\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    """Give a folder in which packages are found."""
    (tmp_path / "packages").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "packages")
    return Packages(tmp_path / "packages")


def refusal(tmp_path: Path, more: str, sql: str = SQL) -> MapRefused:
    """Return the error of loading a map with more in it."""
    (tmp_path / "records.toml").write_text(sql + more)
    with pytest.raises(MapRefused, match=r"records\.toml") as caught:
        load_records_map(tmp_path / "records.toml")
    return caught.value


def test_an_unknown_kind_is_named_with_the_known_ones(tmp_path: Path, packages: Packages) -> None:
    """The remedy is to correct it or to install who brings it."""
    packages.add("brings-tapes", "tapes", "")

    error = refusal(tmp_path, FILES)

    assert "record system letters: its kind is not known; known are http, sql, tapes" in str(error)
    assert "install the package" in error.remedy


def test_a_kind_that_two_packages_claim_is_refused(tmp_path: Path, packages: Packages) -> None:
    """Which one would wipe is no matter of chance."""
    packages.add("brings-tapes", "tapes", "")
    packages.add("brings-more", "tapes", "")

    error = refusal(tmp_path, FILES.replace('"files"', '"tapes"'))

    assert "its kind tapes is claimed by more than one package: brings-more, brings-tapes" in str(error)


@pytest.mark.parametrize("kind", OWN)
def test_our_own_kinds_cannot_be_taken_over(tmp_path: Path, packages: Packages, kind: str) -> None:
    """A package that claims one of them is named, and nothing is opened."""
    packages.add("brings-tapes", kind, "")

    error = refusal(tmp_path, http_system())

    assert f"its kind {kind} is claimed by more than one package: brings-tapes, fallow" in str(error)


SYSTEM_CODE = """
class System:
    def __init__(self, entry):
        self.system_id, self.collections, self.after, self.batch = entry["id"], ("sent",), frozenset(), 50
    def check(self): pass
    close = find = read_back = wipe = expire = check
def opens(entry, context):
    system = System(entry)
    {change}
    return system
"""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("raise ValueError('a secret')", "could not open it (ValueError)"),
        ("raise SystemError(entry['folder'])", "could not open it (SystemError)"),
        ("system = None", "has no check, close, find, read_back, wipe, expire"),
        ("system.wipe = None", "has no wipe"),
        ("system.system_id = 'crm'", "has another id"),
        ("system.collections = ()", "has no collections"),
        ("system.collections = ('sent', 'sent')", "has no collections, one twice"),
        ("system.collections = ('Sent!',)", "not of a-z"),
        ("system.after = None", "an `after` that is no frozenset"),
        ("system.batch = 0", "a `batch` below 1"),
        ("del system.batch", "could not open it (AttributeError)"),
        ("import nothing_of_that_name", "could not open it (ModuleNotFoundError)"),
    ],
)
def test_a_kind_that_opens_no_system_is_refused(tmp_path: Path, packages: Packages, change: str, says: str) -> None:
    """Whatever a package does wrong is said of the map, with the system named and no value quoted, chained errors included."""
    packages.add(f"brings-tapes-{sum(change.encode())}", "tapes", SYSTEM_CODE.format(change=change))

    error = refusal(tmp_path, FILES.replace('"files"', '"tapes"').replace('folder = "letters"', 'folder = "a secret"'))

    assert "record system letters" in str(error)
    assert says in str(error)
    assert "a secret" not in "".join(traceback.format_exception(error, chain=True))


def test_a_sound_system_of_another_package_is_opened(tmp_path: Path, packages: Packages) -> None:
    """What the cases above break is taken when it is whole, and the SQL systems beside it are as ever."""
    packages.add("brings-sound-tapes", "tapes", SYSTEM_CODE.format(change=""))
    (tmp_path / "records.toml").write_text(FILES.replace('"files"', '"tapes"') + SQL)

    records = load_records_map(tmp_path / "records.toml")

    records.close()
    assert list(records.systems) == ["letters", "crm", "billing", "network"]


def http_system(**changed: object) -> str:
    """Return an HTTP system of a map."""
    keys = {
        "id": "archive",
        "kind": "http",
        "url": "https://records.example/fallow",
        "public_keys": [public_half(SYSTEM)],
        "after": ["crm"],
        **changed,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
    return "\n".join(["", "[[system]]", *lines, "collections = [{ id = 'letters', strategy = 'delete' }]", ""])


def test_a_map_without_a_way_out_can_be_read(tmp_path: Path) -> None:
    """Who only wants to know what a map holds needs no keys; nothing can be asked then."""
    (tmp_path / "records.toml").write_text(SQL + http_system())
    records = load_records_map(tmp_path / "records.toml")
    records.close()

    assert records.collections["archive"] == ("letters",)
    assert records.systems["archive"].after == {"crm"}
    with pytest.raises(TargetUnavailable, match="without a way out"):
        records.systems["archive"].wipe([order()])


@pytest.mark.parametrize(
    ("system", "says"),
    [
        ({"id": "crm"}, "two systems have the same id: crm"),
        ({"id": "Archive"}, "system.3.id is missing or not of a-z"),
        ({"id": 7}, "system.3.id is missing or not of a-z"),
        ({"kind": 7}, "system.3.kind is no text"),
        ({"after": ["nowhere"]}, "system archive comes after nowhere, which is not a"),
        ({"after": ["archive"]}, "wait for each other: archive → archive"),
        ({"untill": 1}, "record system archive: key untill"),
    ],
)
def test_a_fault_between_systems_is_named(tmp_path: Path, system: dict[str, object], says: str) -> None:
    """Ids are one per map, whatever the kind, and nobody comes after a system that is not there."""
    assert says in str(refusal(tmp_path, http_system(**system)))


def test_systems_that_wait_for_each_other_are_refused_with_the_path(tmp_path: Path) -> None:
    """No number would ever leave a circle, so it is said which systems form it and in which order."""
    more = http_system(after=["annex"]) + http_system(id="annex", after=["cellar"]) + http_system(id="cellar", after=["archive", "crm"])

    told = str(refusal(tmp_path, more)).partition("wait for each other: ")[2].partition(".")[0].split(" → ")

    assert told[0] == told[-1]
    assert set(pairwise(told)) == {("archive", "cellar"), ("cellar", "annex"), ("annex", "archive")}
    demand_order(tmp_path, {"a": frozenset({"b", "c"}), "b": frozenset({"c"}), "c": frozenset()})


def test_the_line_register_must_be_an_sql_system(tmp_path: Path) -> None:
    """It is read by SQL, so a system of another kind can't hold it."""
    error = refusal(tmp_path, http_system(), SQL.replace('system = "network"', 'system = "archive"'))

    assert "line_register.system" in str(error)


def test_a_fault_of_an_sql_system_is_where_the_file_has_it(tmp_path: Path) -> None:
    """Systems of other kinds before it do not shift the place that is told."""
    error = refusal(tmp_path, http_system() + SQL[SQL.index("[line_register]") :].replace('until = "issued_at"', 'til = "x"'), "")

    assert "system billing, collection bills: key til: " in str(error)

"""What a records map may say of strategies, spellings, subjects and edges; each fault is named."""

from pathlib import Path

import pytest

from fallow.domain.errors import MapRefused
from fallow.records.records_map import load_records_map

HEAD = """
[line_register]
system = "crm"
table = "lines"
number = { column = "msisdn", spelling = "e164" }
status = "status"
off = ["off"]
in_service = ["on"]
"""
NUMBER = 'number = { column = "msisdn", spelling = "e164" }'
BEGAN = 'until = "since"\noffset = "+00:00"'
RESTRICT = 'basis_column = "basis", basis = "law", expiry_column = "until", keep_for = "730d"'


def system(name: str, *collections: str, more: str = "") -> str:
    """Return a system's entry."""
    return f'[[system]]\nid = "{name}"\nurl = "sqlite:///{name}.db"\n{more}\n' + "".join(collections)


def collection(name: str, *lines: str) -> str:
    """Return a collection's entry."""
    return "\n".join(["[[system.collection]]", f'id = "{name}"', f'table = "{name}"', *lines, ""])


def sound(name: str, *more: str) -> str:
    """Return an entry that is as it should be, but for ``more``."""
    return collection(name, NUMBER, BEGAN, 'strategy = "delete"', *more)


def load(tmp_path: Path, text: str) -> dict[str, tuple[str, ...]]:
    """Load a map and return what it clears, in order."""
    path = tmp_path / "records.toml"
    path.write_text(HEAD + text)
    records = load_records_map(path)
    records.close()
    return records.collections


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ((NUMBER, BEGAN), "needs a strategy"),
        ((NUMBER, 'strategy = "delete"'), "until or subscription"),
        (("number = []", BEGAN, 'strategy = "delete"'), "number"),
        (('number = { column = "a", spelling = "split" }', BEGAN, 'strategy = "delete"'), "prefix_column"),
        (('number = { column = "a", spelling = "e164", prefix_column = "b" }', BEGAN, 'strategy = "delete"'), "prefix_column"),
        (('number = { column = "a", spelling = "digits", prefix_lead = "+" }', BEGAN, 'strategy = "delete"'), "prefix_column"),
        (
            ('number = { column = "a", spelling = "split", prefix_column = "b", prefix_lead = "011" }', BEGAN, 'strategy = "delete"'),
            "prefix",
        ),
        ((NUMBER, BEGAN, 'strategy = "seal"'), "seal table"),
        ((NUMBER, BEGAN, 'strategy = "delete"', 'seal = { basis = "law", keep_for = "1d" }'), "seal table"),
        ((NUMBER, BEGAN, 'strategy = "seal"', 'seal = { basis = "", keep_for = "1d" }'), "basis"),
        ((NUMBER, BEGAN, 'strategy = "seal"', 'seal = { basis = "law" }'), "keep_for"),
        ((NUMBER, BEGAN, 'strategy = "rewrite"'), "rewrite table"),
        (
            (NUMBER, BEGAN, 'strategy = "rewrite"', 'rewrite = { basis = "x", columns = { name = "null" } }'),
            "each number column .*: msisdn",
        ),
        ((NUMBER, BEGAN, 'strategy = "rewrite"', 'rewrite = { basis = "x", columns = { msisdn = "hash" } }'), "columns"),
        ((NUMBER, BEGAN, 'strategy = "rewrite"', "rewrite = { columns = { msisdn = 'null' } }"), "basis"),
        ((NUMBER, BEGAN, 'strategy = "restrict"', f"restrict = {{ {RESTRICT} }}"), "either set"),
        (
            (NUMBER, BEGAN, 'strategy = "restrict"', f'restrict = {{ set = {{ s = "x" }}, archive = {{ table = "a" }}, {RESTRICT} }}'),
            "either set",
        ),
        ((NUMBER, BEGAN, 'strategy = "delete"', 'subject = "counterparty"'), "never touched"),
        ((NUMBER, BEGAN, 'subject = "counterparty"'), "never touched"),
        ((NUMBER, 'subject = "somebody"'), "subject"),
        ((NUMBER, BEGAN, 'strategy = "delete"', 'erase_after = ["calls"]'), "calls"),
        ((NUMBER, BEGAN, 'strategy = "delete"', 'erase_after = ["people"]'), "circle: people → people"),
        ((NUMBER, BEGAN, 'strategy = "delete"', 'erase_after = ["billing.bills"]'), "billing"),
        ((NUMBER, BEGAN, 'strategy = "delete"', 'erase_after = ["crm.people"]'), "crm → crm"),
        ((NUMBER, BEGAN, 'strategy = "delete"', 'erase_after = ["a.b.c"]'), "erase_after"),
    ],
)
def test_what_would_clear_wrongly_or_never_is_refused(tmp_path: Path, lines: tuple[str, ...], names: str) -> None:
    """The message names what is wrong, so that it can be mended without reading code."""
    with pytest.raises(MapRefused, match=names):
        load(tmp_path, system("crm", collection("people", *lines)))


def test_a_system_of_strangers_rows_only_is_refused(tmp_path: Path) -> None:
    """A receipt over nothing would be clean for everybody."""
    with pytest.raises(MapRefused, match="nothing to wipe"):
        load(tmp_path, system("crm", collection("others", NUMBER, 'subject = "counterparty"')))


@pytest.mark.parametrize("batch", ["0", "1001", '"many"'])
def test_a_batch_has_bounds(tmp_path: Path, batch: str) -> None:
    """No batch is empty, and none holds locks for ever."""
    with pytest.raises(MapRefused, match="batch"):
        load(tmp_path, system("crm", sound("people"), more=f"batch = {batch}"))


def test_children_come_before_parents_whatever_the_order_in_the_file(tmp_path: Path) -> None:
    """The order of clearing follows the edges; where these say nothing, the file."""
    edges = {"people": 'erase_after = ["orders", "notes"]', "orders": 'erase_after = ["lines"]', "notes": "", "lines": ""}
    text = system("crm", *(sound(name, edge) for name, edge in edges.items()))

    assert load(tmp_path, text) == {"crm": ("notes", "lines", "orders", "people")}


def test_edges_between_systems_order_the_systems(tmp_path: Path) -> None:
    """A system waits for the one that its collection names, and a circle of systems is refused with its path."""
    billing = system("billing", sound("bills", 'erase_after = ["crm.people"]'))
    path = tmp_path / "records.toml"
    path.write_text(HEAD + billing + system("crm", sound("people")))
    records = load_records_map(path)
    records.close()

    assert {name: each.after for name, each in records.systems.items()} == {"billing": frozenset({"crm"}), "crm": frozenset()}
    with pytest.raises(MapRefused, match=r"(billing|crm) → (crm|billing) → "):
        load(tmp_path, billing + system("crm", sound("people", 'erase_after = ["billing.bills"]')))


def test_an_edge_to_a_collection_that_another_system_lacks_is_refused(tmp_path: Path) -> None:
    """Nothing would be waited for, and nobody would notice."""
    with pytest.raises(MapRefused, match=r"erase_after names crm\.nobody"):
        load(tmp_path, system("billing", sound("bills", 'erase_after = ["crm.nobody"]')) + system("crm", sound("people")))


def test_a_counterpartys_collection_is_no_part_of_a_policy(tmp_path: Path) -> None:
    """What is never touched can't be demanded of a wipe."""
    assert load(tmp_path, system("crm", sound("people"), collection("others", NUMBER, 'subject = "counterparty"'))) == {"crm": ("people",)}

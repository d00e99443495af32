"""Reading a records map: every fault by file and key, never by value."""

from pathlib import Path

import pytest

from fallow.domain.errors import MapRefused
from fallow.records.records_map import load_records_map

EXAMPLES = Path(__file__).parents[2] / "examples"
SOUND = (EXAMPLES / "records.toml").read_text()


def load(tmp_path: Path, text: str) -> None:
    """Write and load a map."""
    path = tmp_path / "records.toml"
    path.write_text(text)
    load_records_map(path).close()


def test_the_sample_map_has_its_systems_and_collections() -> None:
    """Three systems, nine collections of holders in the order of their clearing, the line register in one of them."""
    records = load_records_map(EXAMPLES / "records.toml")

    records.close()
    assert records.collections == {
        "crm": ("identity", "register", "marketing"),
        "billing": ("bills", "value-added"),
        "network": ("calls", "messages", "voicemail", "statistics"),
    }
    assert records.line_register_id == "network"


def test_the_example_for_ones_own_database_loads(tmp_path: Path) -> None:
    """The map to start from is sound once its address is there."""
    _address(tmp_path, 0o600)

    load(tmp_path, (EXAMPLES / "own-systems" / "records.toml").read_text())


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_an_address_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """It holds a password: the remedy is the command that mends it, and the password is not told."""
    _address(tmp_path, mode)

    with pytest.raises(MapRefused, match="read by others") as caught:
        load(tmp_path, (EXAMPLES / "own-systems" / "records.toml").read_text())

    assert caught.value.remedy == f"chmod 600 {tmp_path / 'database-url'}"
    assert "password" not in caught.value.what


def _address(folder: Path, mode: int) -> None:
    """Write the file that the example's ``url_file`` names."""
    (folder / "database-url").write_text("postgresql+psycopg://fallow:password@db.example:5432/carrier\n")
    (folder / "database-url").chmod(mode)


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ('strategy = "delete"', 'strategy = "forget"', "strategy"),
        ('until = "issued_at"', 'untill = "issued_at"', "until"),
        ('spelling = "digits"', 'spelling = "roman"', "spelling"),
        ('spelling = "national", country_column = "country"', 'spelling = "national"', "country"),
        ('spelling = "digits"', 'spelling = "digits", country = "CN"', "country"),
        ('spelling = "national", country_column = "country"', 'spelling = "national", country = "UK"', "calling code"),
        ('offset = "+00:00"', 'offset = "Europe/Berlin"', "offset"),
        ('keep_for = "731d"', 'keep_for = "two years"', "keep_for"),
        ('id = "billing"', 'id = "crm"', "same id"),
        ('id = "messages"', 'id = "calls"', "same id"),
        ('system = "network"', 'system = "nowhere"', "line_register.system"),
        ("ported = [", 'gone = ["x"]\nported = [', "gone"),
        ('off = ["disconnected"]', "off = []", "off"),
        ('ported = ["ported_out"]', 'ported = ["active"]', "twice"),
        ('url = "sqlite:///carrier.db"', 'url_file = "absent"', "url_file"),
        ('url = "sqlite:///carrier.db"', 'url = "a"\nurl_file = "b"', "url"),
        ('url = "sqlite:///carrier.db"', 'url = "sqlite://"', "url"),
        ('url = "sqlite:///carrier.db"', 'url = "nonsense"', "url"),
        ('url = "sqlite:///carrier.db"', 'url = "oracle://me:secret@db/x"', "url"),
        ("[line_register]", "[line_registry]", "line_regist"),
        ("[[system]]", "[[system", "not TOML"),
    ],
)
def test_a_fault_is_named_and_no_secret_told(tmp_path: Path, old: str, new: str, names: str) -> None:
    """File, key and remedy; an address with its password is never repeated."""
    assert old in SOUND

    with pytest.raises(MapRefused, match=names) as caught:
        load(tmp_path, SOUND.replace(old, new))

    assert "records.toml" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_restriction_without_its_table_is_refused(tmp_path: Path) -> None:
    """Rows kept without basis and expiry would be kept for ever."""
    begin, end = SOUND.index("[system.collection.restrict]"), SOUND.index('[[system.collection]]\nid = "marketing"')

    with pytest.raises(MapRefused, match="restrict"):
        load(tmp_path, SOUND[:begin] + SOUND[end:])


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ('table = "bills"', 'table = "empty_bills"', True),
        ('table = "bills"', 'table = "bills"\nschema = "old"', True),
        ('column = "subscriber"', 'column = "payer"', True),
        ('{ column = "subscriber", spelling = "digits" }', '{ column = "subscriber", spelling = "e164" }', True),
        ('until = "issued_at"', 'until = "paid_at"', True),
        ('until = "issued_at"\noffset = "+00:00"', 'until = "issued_at"\noffset = "+08:00"', True),
        ('{ column = "subscriber", spelling = "digits" }', '{ spelling = "digits", trunk_prefix = "", column = "subscriber" }', False),
        ('url = "sqlite:///carrier.db"', 'url = "sqlite:///moved.db"', False),
    ],
)
def test_a_remapped_collection_has_another_meaning(tmp_path: Path, old: str, new: str, *, changes: bool) -> None:
    """Same id, another table or column: the digest tells; how it is written, or where the database stands, does not matter."""
    assert old in SOUND
    meanings = []
    for place, text in enumerate((SOUND, SOUND.replace(old, new))):
        path = tmp_path / f"{place}.toml"
        path.write_text(text)
        records = load_records_map(path)
        records.close()
        meanings.append(records.meanings)

    assert (meanings[0]["billing"]["bills"] != meanings[1]["billing"]["bills"]) == changes
    assert meanings[0]["crm"] == meanings[1]["crm"]


def test_a_restrictions_terms_are_part_of_its_meaning(tmp_path: Path) -> None:
    """Another retention is another meaning; the same one in other units is not."""
    found = []
    for keep_for in ("731d", "17544h", "10d"):
        path = tmp_path / f"{keep_for}.toml"
        path.write_text(SOUND.replace('"731d"', f'"{keep_for}"'))
        records = load_records_map(path)
        records.close()
        found.append(records.meanings["crm"]["register"])

    assert found[0] == found[1] != found[2]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """No map is no map, not an empty one."""
    with pytest.raises(MapRefused, match=r"absent\.toml"):
        load_records_map(tmp_path / "absent.toml")


def test_a_fault_is_placed_by_ids_and_an_unknown_kind_is_named_first(tmp_path: Path) -> None:
    """What a person looks for is an id, not a position; a misspelt kind is no empty list."""
    with pytest.raises(MapRefused) as caught:
        load(tmp_path, SOUND.replace('until = "issued_at"', 'untill = "issued_at"'))
    assert "system billing, collection bills: key untill: " in caught.value.what
    assert caught.value.remedy.endswith("docs/records-map.md has every key.")
    with pytest.raises(MapRefused, match=r"collection [a-z-]+: a holder's collection needs"):
        load(tmp_path, SOUND.replace('strategy = "delete"', "", 1))
    with pytest.raises(MapRefused, match="its kind is not known; known are"):
        load(tmp_path, SOUND.replace("[[system]]", '[[system]]\nkind = "sqll"'))

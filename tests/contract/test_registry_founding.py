"""``platforms.toml`` founds the registry once and is compared from then on, on both databases."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import a_file
from builders_registry import a_table, enter
from memory_ports import MemoryLines, SettableClock
from sqlalchemy import text

from fallow.bootstrap import Wired, open_registry, wire
from fallow.domain.errors import MapRefused, PolicyRefused
from fallow.domain.people import Person, Role
from fallow.operations.enrol import enrol_file
from fallow.operations.people import admit, authenticate
from fallow.operations.registered import Registered
from fallow.operations.registry_founding import found_or_compare
from fallow.operations.sale import DEMO_FACT
from fallow.platforms.signing import SigningKey
from fallow.settings import Settings
from fallow.store import keys, registry, schema
from fallow.store.engine import Database
from fallow.store.registry import Bodies
from fallow.store.tables import FactRow

EXAMPLES = Path(__file__).parents[2] / "examples"
POLICY = 'id = "test"\nversion = 1\n[[rule]]\nquarantine = "10d"\nobserved = "1d"\nsource = "a test"\n'
PAY, CHAT, OTHER = (SigningKey.generate() for _ in range(3))
PAYMENT, SOCIAL = {"category": "payment"}, {"category": "social"}
SECRET = "whsec_" + "QUJD" * 11
HERE = {"url": "http://127.0.0.1:8123/", "allow_loopback": True}


class Place:
    """A folder with an installation whose platforms map a test writes."""

    def __init__(self, folder: Path, url: str) -> None:
        """Write everything but the platforms map."""
        self.folder = folder
        self.clock = SettableClock()
        self.settings = Settings(_env_file=None, state=folder, database_url=url)  # type: ignore[arg-type]
        (folder / "policy.toml").write_text(POLICY)
        (folder / "records.toml").write_text((EXAMPLES / "records.toml").read_text())
        keys.create(folder / "keys")
        db = Database(url)
        schema.upgrade(db.engine)
        db.close()

    def write(self, *tables: dict[str, Any]) -> None:
        """Write the platforms map."""
        (self.folder / "platforms.toml").write_text("\n".join("[[platform]]\n" + _toml(table) for table in tables))

    def wire(self) -> Wired:
        """Start, as every process does."""
        return wire(self.settings, self.clock)

    def mark(self, *, demo: bool = False, used: bool = False) -> None:
        """Make it a demo database, or one in which numbers were enrolled."""
        with self.wire() as wired:
            here = wired.installation
            with here.db.begin() as tx:
                if demo:
                    tx.session.add(FactRow(name=DEMO_FACT, value="yes"))
                api_key = admit(tx, here.keys, "an operator", Role.OPERATOR)
            with here.db.read() as tx:
                person = authenticate(tx, here.keys, api_key)
            if used:
                _enrol(wired, person, self.clock)


@pytest.fixture
def place(tmp_path: Path, database_url: str) -> Place:
    """An installation that never started."""
    made = Place(tmp_path, database_url)
    made.write(a_table("pay", PAY, **PAYMENT), a_table("chat", CHAT, **SOCIAL))
    return made


def test_the_first_start_imports_the_map_whole_and_the_second_nothing(place: Place) -> None:
    """Each platform has one revision, by the founding, with its events."""
    with place.wire():
        pass
    with place.wire() as wired:
        with wired.installation.db.read() as tx:
            rows = registry.revisions(tx)
            kinds = [row.kind for row in registry.events(tx, "pay")]
        assert wired.differences == {}

    assert [(row.platform_id, row.revision, row.approved_by) for row in rows] == [("chat", 1, "founding"), ("pay", 1, "founding")]
    assert kinds == ["PlatformRegistered", "KeysChanged"]


def test_two_that_start_together_see_the_same_platforms(place: Place) -> None:
    """Who had looked before the other founded the registry looks again: no process ends because it was the second."""
    db = Database(place.settings.url(), place.clock)
    ring = keys.Keys(place.folder / "keys")
    second = Registered(db, Bodies(ring), open_registry(place.settings, db).way, seconds=lambda: 0.0)
    with place.wire():
        pass
    assert not second.present.entries

    assert found_or_compare(db, second, place.settings.file("platforms"), ()) == {}
    assert sorted(second.present.entries) == ["chat", "pay"]
    db.close()


def test_the_file_never_overrides_what_is_registered(place: Place) -> None:
    """Another url or key in it changes nothing: the start names the platforms, and the registry stands."""
    place.mark(used=True)
    place.write(a_table("pay", OTHER, url="https://elsewhere.example.com/", **PAYMENT), a_table("shop", SigningKey.generate()))

    with place.wire() as wired:
        entry = wired.entries["pay"]
        assert entry.public_keys == (PAY.public,)
        assert entry.endpoint is not None
        assert entry.endpoint.host == "pay.example.com"
        assert "shop" not in wired.installation.platforms
        assert wired.differences == {"chat": ["not in the file"], "pay": ["public_keys", "url"], "shop": ["not registered"]}


def test_without_a_file_what_is_registered_stands(place: Place) -> None:
    """Once it is imported nobody needs it."""
    place.mark(used=True)
    (place.folder / "platforms.toml").unlink()

    with place.wire() as wired:
        assert sorted(wired.installation.platforms) == ["chat", "pay"]


def test_until_the_first_number_the_file_is_still_being_written(place: Place) -> None:
    """What `fallow setup` imported too early follows it, with an event; a person's decision ends that."""
    with place.wire():
        pass
    place.write(a_table("pay", PAY, batch=7, **PAYMENT), a_table("chat", CHAT, **SOCIAL))
    with place.wire() as wired:
        assert wired.entries["pay"].batch == 7
        enter(wired.installation, a_table("chat", OTHER, **SOCIAL))
    with place.wire() as wired:
        assert wired.entries["chat"].public_keys == (OTHER.public,)
        assert wired.differences == {"chat": ["public_keys"]}


def test_test_endpoints_of_a_demo_database_follow_the_file(place: Place) -> None:
    """A trial can be laid out again on other ports; what leaves the file is decommissioned."""
    gone = a_table("gone", SigningKey.generate(), **HERE)
    place.write(a_table("pay", PAY, **PAYMENT, **HERE), a_table("chat", CHAT, **SOCIAL), gone)
    place.mark(demo=True, used=True)
    elsewhere = {**HERE, "url": "http://127.0.0.1:9999/"}
    place.write(a_table("pay", PAY, **PAYMENT, **elsewhere), a_table("chat", OTHER, **SOCIAL))

    with place.wire() as wired:
        pay = wired.entries["pay"].endpoint
        assert pay is not None
        assert pay.port == 9999
        assert wired.entries["chat"].public_keys == (CHAT.public,)
        assert wired.installation.registered.present.decommissioned == {"gone"}
        assert wired.differences == {"chat": ["public_keys"]}


def test_no_test_endpoint_enters_by_the_file_where_the_registration_is_none(place: Place) -> None:
    """Not even in a demo database can the file turn a public endpoint into one of this machine."""
    place.mark(demo=True, used=True)
    place.write(a_table("pay", OTHER, **PAYMENT, **HERE), a_table("chat", CHAT, **SOCIAL))

    with place.wire() as wired:
        assert wired.entries["pay"].public_keys == (PAY.public,)


def test_a_map_in_which_two_share_a_key_founds_nothing(place: Place) -> None:
    """An answer could be the one's or the other's."""
    place.write(a_table("pay", PAY, **PAYMENT), a_table("chat", PAY, **SOCIAL))

    with pytest.raises(MapRefused, match="in common"):
        place.wire()
    assert _count(place) == 0


def test_a_policy_that_names_a_decommissioned_platform_is_refused_at_load(place: Place) -> None:
    """New cycles must not wait for somebody who is asked no more."""
    place.mark(used=True)
    with place.wire() as wired:
        enter(wired.installation, a_table("shop", OTHER))
        enter(wired.installation, a_table("shop", OTHER), decommissioned=True)
    named = POLICY.replace("version = 1\n", 'version = 1\nplatforms = ["pay", "chat", "shop"]\n')
    (place.folder / "policy.toml").write_text(named)

    with pytest.raises(PolicyRefused, match="names shop, which was decommissioned"):
        place.wire()
    (place.folder / "policy.toml").write_text(POLICY)
    with place.wire() as wired:
        assert sorted(wired.installation.policy.platforms) == ["chat", "pay"]


def test_nothing_is_enrolled_for_a_platform_that_left_meanwhile(place: Place) -> None:
    """The policy that was read at the start names it still."""
    place.mark()
    with place.wire() as wired:
        with wired.installation.db.begin() as tx:
            api_key = admit(tx, wired.installation.keys, "an operator", Role.OPERATOR)
        with wired.installation.db.read() as tx:
            person = authenticate(tx, wired.installation.keys, api_key)
        enter(wired.installation, a_table("pay", PAY, **PAYMENT), decommissioned=True)

        with pytest.raises(PolicyRefused, match="decommissioned since"):
            _enrol(wired, person, place.clock)


def test_nothing_is_enrolled_past_a_platform_whose_registration_can_not_be_read(place: Place) -> None:
    """A policy that takes all platforms would leave it out, and its numbers would be sold without its word."""
    place.write(a_table("pay", PAY, **PAYMENT), a_table("chat", CHAT, **SOCIAL), a_table("shop", OTHER, shared_secret=SECRET))
    place.mark(used=True)
    with place.wire() as wired, wired.installation.db.begin() as tx:
        api_key = admit(tx, wired.installation.keys, "an operator", Role.OPERATOR)
    (place.folder / "keys" / "platforms.key").unlink()
    keys.create(place.folder / "keys")
    with place.wire() as wired:
        with wired.installation.db.read() as tx:
            person = authenticate(tx, wired.installation.keys, api_key)
        with pytest.raises(PolicyRefused, match="registration of shop can't be read"):
            _enrol(wired, person, place.clock, 2)
        enter(wired.installation, a_table("shop", OTHER, shared_secret=SECRET))
        with pytest.raises(PolicyRefused, match="restart"):  # it can be read again, but the policy is the one of the start
            _enrol(wired, person, place.clock, 2)

    with place.wire() as wired:
        _enrol(wired, person, place.clock, 2)


def test_live_mappings_follow_the_registry(place: Place) -> None:
    """Targets, their pace and entries change without a restart; a hub's members see the hub's change."""
    with place.wire() as wired:
        here = wired.installation
        before = here.platforms["pay"]
        assert here.platforms["pay"] is before
        enter(here, a_table("pay", PAY, batch=7, **PAYMENT))
        enter(here, a_table("shop", OTHER))
        enter(here, a_table("chat", CHAT, **SOCIAL), decommissioned=True)

        assert here.platforms["pay"] is not before
        assert here.paces["pay"].batch == 7
        assert sorted(here.platforms) == sorted(here.paces) == sorted(wired.entries) == ["pay", "shop"]
        assert "chat" not in here.platforms


def _enrol(wired: Wired, person: Person, clock: SettableClock, count: int = 1) -> None:
    here = wired.installation
    enrol_file(replace(here, line_register=MemoryLines()), person, a_file(count, now=clock.now()))


def _count(place: Place) -> int:
    db = Database(place.settings.url())
    with db.read() as tx:
        found = tx.session.connection().execute(text("SELECT count(*) FROM platforms")).scalar_one()
    db.close()
    return int(found)


def _toml(table: dict[str, Any]) -> str:
    def shown(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return "[" + ", ".join(f'"{each}"' for each in value) + "]" if isinstance(value, list) else repr(value).replace("'", '"')

    return "".join(f"{key} = {shown(value)}\n" for key, value in table.items())

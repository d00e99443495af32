"""Registering and controlling platforms as the real program: a file is proposed, its endpoint pinged, another person approves."""

import tomllib
from pathlib import Path
from typing import Any

import own_systems
import pytest
from builders_registry import a_table
from command_line import ROOT, CommandLine, Ran, assert_one_clear_line
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fallow.platforms.platform_map import load_proposed, read_registration
from fallow.platforms.signing import PublicKey

ROLES = {"operator": "operator", "approver": "approver", "auditor": "auditor"}
SHOP, NOBODY = "own-shop", "pp_" + "a" * 26
SECRETS = {"number_form": "keyed-hash", "number_key": "whnk_" + "MDEy" * 11, "shared_secret": "whsec_" + "QUJD" * 11}


class Desk:
    """An installation with staff and three platforms: own-pay, own-chat, own-mall."""

    def __init__(self, state: Path) -> None:
        """Set it up; nothing runs in it."""
        self.cli = CommandLine(state)
        assert self.cli.run("setup", "--no-temporal", "--demo").code == 0
        own_systems.make_database(state / "kunden.db")
        own_systems.write_maps(state, 9, own_systems.Endpoint().public_keys)
        mall = {**a_table("own-mall"), "public_keys": [own_systems.Endpoint().public_keys["own-pay"]]}
        platforms = state / "platforms.toml"
        platforms.write_text(platforms.read_text() + write(state / "mall.toml", mall).read_text())
        root = self.cli.run("keys", "admit", "--name", "root", "--role", "administrator").out.strip()
        self.keys = {"root": root} | {
            name: self.cli.run("keys", "admit", "--name", name, "--role", role, key=root).out.strip() for name, role in ROLES.items()
        }

    def run(self, who: str, *arguments: str | Path) -> Ran:
        """Run a command of the group as somebody."""
        return self.cli.run("platform", *arguments, key=self.keys[who])

    def show(self, platform: str) -> Any:
        """Return what an auditor is shown of a platform."""
        return self.run("auditor", "show", platform, "--json").json


@pytest.fixture(name="founded", scope="module")
def the_founded(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The desk that tests copy, or only look at."""
    return Desk(tmp_path_factory.mktemp("desk") / "state")


@pytest.fixture
def desk(founded: Desk, tmp_path: Path) -> Desk:
    """A copy of the desk, in which a test may act."""
    copied = object.__new__(Desk)
    copied.__dict__ |= founded.__dict__ | {"cli": founded.cli.copy(tmp_path / "state")}
    return copied


class Shop:
    """A platform to be registered, with an endpoint that answers pings."""

    def __init__(self, folder: Path) -> None:
        """Make its key."""
        self._folder = folder
        self.endpoint = own_systems.Endpoint(_keys={SHOP: Ed25519PrivateKey.generate()})
        self.key = self.endpoint.public_keys[SHOP]
        self.fingerprint = PublicKey.from_text(self.key).fingerprint

    def file(self, port: int = 9, **changed: Any) -> Path:
        """Write its table into a file of its own."""
        at = {"url": f"http://127.0.0.1:{port}/{SHOP}", "allow_loopback": True, "public_keys": [self.key]}
        return write(self._folder / "shop.toml", {**a_table(SHOP), **at, **changed})


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop that nobody has registered."""
    return Shop(tmp_path)


def write(path: Path, *tables: dict[str, Any]) -> Path:
    """Write tables as TOML; JSON's texts, lists, numbers and truths are TOML's too."""
    lines = [line for table in tables for line in ("[[platform]]", *(f"{key} = {_toml(value)}" for key, value in table.items()))]
    path.write_text("\n".join(lines) + "\n")
    return path


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str([*value]) if isinstance(value, list) else repr(value)


def test_a_platform_is_registered_by_two_people_and_a_ping(desk: Desk, shop: Shop) -> None:
    """Each step names the next; what is shown afterwards has the fingerprint that was proposed."""
    shop.endpoint.engine_key = desk.cli.run("keys", "engine").out.strip()
    with own_systems.listening(shop.endpoint) as port:
        proposed = desk.run("operator", "propose", shop.file(port))
        proposal = proposed.out.split()[1]
        early = desk.run("approver", "approve", proposal)
        pinged = desk.run("operator", "ping", proposal)
    waiting, alone = desk.run("auditor", "proposals"), desk.run("operator", "approve", proposal)
    approved, shown = desk.run("approver", "approve", proposal), desk.run("auditor", "show", SHOP)

    assert (proposed.code, pinged.code, approved.code, shown.code) == (0, 0, 0, 0), proposed.err + pinged.err + approved.err
    assert f"keys added (sha-256)  {shop.fingerprint}" in proposed.out
    assert f"fallow platform ping {proposal}" in proposed.out
    assert f"fallow platform approve {proposal}" in pinged.out
    assert f"{proposal}: key added (sha-256) {shop.fingerprint}" in waiting.out
    for refused in (early, alone):
        assert refused.code == 1
        assert_one_clear_line(refused)
    assert "has not proved its key" in early.err
    assert shop.fingerprint in shown.out
    assert "PlatformRegistered" in shown.out
    assert desk.run("auditor", "list", "--json").json[-1]["platform_id"] == SHOP


def test_a_change_says_what_it_changes(desk: Desk, shop: Shop) -> None:
    """Keys that come and go by fingerprint, the url before and after; until it is approved all stays."""
    before = desk.show("own-pay")["registration"]
    file = shop.file(id="own-pay", category="payment", contact="the test", remind_after="30s", url="https://pay.example.com/unbind")

    proposed = desk.run("operator", "propose", file, "--json").json

    assert proposed["keys"] == {"added": [shop.fingerprint], "removed": before["fingerprints"]}
    assert proposed["url"] == {"before": "http://127.0.0.1:9/own-pay", "after": "https://pay.example.com/unbind"}
    assert proposed["changes"] == ["public_keys", "url"]
    assert desk.show("own-pay")["registration"] == before


def test_nobody_approves_their_own(desk: Desk) -> None:
    """Not an administrator either; another person does, and the platform is asked no more."""
    proposed = desk.run("root", "decommission", "own-mall", "--reference", "contract ended", "--json").json
    own = desk.run("root", "approve", proposed["proposal_id"], "--json")
    by_whom_root_admitted = desk.run("approver", "approve", proposed["proposal_id"], "--json")
    desk.run("root", "deny", proposed["proposal_id"], "--reference", "again")
    again = desk.run("operator", "decommission", "own-mall", "--reference", "contract ended", "--json").json

    assert (own.code, own.fault["error"]) == (1, "second-person-needed")
    assert (by_whom_root_admitted.code, by_whom_root_admitted.fault["error"]) == (1, "second-person-needed")
    assert desk.run("approver", "approve", again["proposal_id"], "--json").json["platform_id"] == "own-mall"
    assert desk.show("own-mall")["state"] == "decommissioned"


def test_an_endpoint_that_is_not_there_says_try_again(desk: Desk, shop: Shop) -> None:
    """The trouble stays with the proposal; who made it may take it back."""
    proposal = desk.run("operator", "propose", shop.file(), "--json").json["proposal_id"]
    pinged = desk.run("operator", "ping", proposal)
    waiting = desk.run("auditor", "proposals", "--json").json
    denied = desk.run("operator", "deny", proposal, "--reference", "wrong port")

    assert pinged.code == 75
    assert_one_clear_line(pinged)
    assert waiting[0]["trouble"]
    assert (denied.code, denied.out.strip()) == (0, f"{proposal} is denied: {SHOP}")
    assert desk.run("auditor", "proposals", "--json").json == []


def test_no_command_shows_a_secret(desk: Desk, shop: Shop) -> None:
    """Neither where the file is taken, nor where it is refused, nor afterwards; that one is set is shown."""
    refused = desk.run("operator", "propose", shop.file(**SECRETS, batch=0))
    ran = [desk.run("operator", "propose", shop.file(**SECRETS)), desk.run("operator", "propose", shop.file(**SECRETS), "--json")]
    ran += [desk.run("auditor", *words) for words in (("proposals",), ("proposals", "--json"), ("show", SHOP, "--json"), ("show", SHOP))]

    said = "".join(each.out + each.err for each in (refused, *ran))
    assert (refused.code, [each.code for each in ran]) == (4, [0, 1, 0, 0, 0, 0]), said
    assert not [secret for secret in ("QUJDQUJD", "MDEyMDEy", "sealed:") if secret in said]
    assert ran[3].json[0]["table"]["shared_secret"] == ran[3].json[0]["table"]["number_key"]
    assert ran[4].json["state"] == "proposed"


def test_one_person_sets_terms(desk: Desk) -> None:
    """They become a revision; what is left out stays, what is out of range is refused."""
    done = desk.run("operator", "terms", "own-pay", "--rate", "5", "--batch", "7", "--remind-after", "2h", "--reminders", "1", "--json")
    more = desk.run("operator", "terms", "own-pay", "--timeout", "3s", "--contact", "night desk", "--lanes", "2", "--language", "de")
    refused = [desk.run("operator", "terms", "own-pay", *words) for words in ((), ("--batch", "0"), ("--remind-after", "soon"))]

    table = desk.show("own-pay")["registration"]["table"]
    assert (done.code, more.code) == (0, 0), done.err + more.err
    assert [table[name] for name in ("rate_per_second", "batch", "remind_after", "reminders")] == [5.0, 7, "2h", 1]
    assert [table[name] for name in ("timeout", "contact", "lanes", "language")] == ["3s", "night desk", 2, "de"]
    for each in refused:
        assert each.code == 1
        assert_one_clear_line(each)


def test_a_target_is_paused_paced_and_resumed(desk: Desk) -> None:
    """A platform or a record system; what an operator set shows, and is given back without options."""
    assert desk.run("operator", "pause", "own-pay").out == "own-pay is paused\n"
    assert desk.run("operator", "pace", "own-pay", "--rate", "2", "--lanes", "1").out == "own-pay: rate 2.0, lanes 1\n"
    assert desk.run("operator", "pause", "kundendb", "--json").json == {"target_id": "kundendb", "paused": True}
    shown = desk.run("auditor", "show", "own-pay")
    assert desk.run("operator", "pace", "own-pay").out == "own-pay: as its registration or map says\n"
    assert desk.run("operator", "resume", "own-pay").out == "own-pay is asked again\n"

    after = desk.show("own-pay")
    words = " ".join(shown.out.split())
    assert "platform own-pay state paused" in words
    assert "set by operator lanes, rate_per_second" in words
    assert (after["state"], after["target"]["set_by_operator"], after["target"]["breaker"]) == ("in-use", [], "closed")
    assert desk.run("operator", "pace", "kundendb", "--lanes", "2").code == 1


@pytest.mark.parametrize(
    ("who", "arguments", "code"),
    [
        ("auditor", ("show", "nobody-here"), 5),
        ("operator", ("decommission", "nobody-here", "--reference", "case 1"), 5),
        ("operator", ("terms", "nobody-here", "--batch", "7"), 5),
        ("operator", ("pause", "nobody-here"), 5),
        ("operator", ("ping", NOBODY), 5),
        ("approver", ("approve", NOBODY), 5),
        ("approver", ("deny", NOBODY, "--reference", "case 1"), 5),
        ("operator", ("approve", NOBODY), 1),
        ("auditor", ("pause", "own-pay"), 1),
        ("auditor", ("terms", "own-pay", "--batch", "7"), 1),
        ("operator", ("decommission", "own-pay", "--reference", "0171 3920001"), 2),
        ("operator", ("pace", "own-pay", "--rate", "0"), 1),
        ("operator", ("propose", "no-such-file.toml"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_can_t_be_done_is_one_clear_line(founded: Desk, who: str, arguments: tuple[str, ...], code: int) -> None:
    """Unknown platforms, proposals and files, and roles that may not, are refused with a remedy."""
    ran = founded.run(who, *arguments)

    assert ran.code == code, ran.out + ran.err
    assert_one_clear_line(ran)


def test_a_file_that_does_not_fit_is_refused(founded: Desk, shop: Shop, tmp_path: Path) -> None:
    """Two tables, another table, no TOML, an unknown key, a wrong key, another platform's key: each in one line, and nothing is kept."""
    taken = founded.show("own-pay")["registration"]["table"]["public_keys"]
    files = [
        write(tmp_path / "two.toml", a_table("one-shop"), a_table("two-shop")),
        shop.file(speed=3).rename(tmp_path / "unknown.toml"),
        shop.file(public_keys=["whpk_bm90IGEga2V5"]).rename(tmp_path / "wrong.toml"),
        shop.file(public_keys=taken).rename(tmp_path / "taken.toml"),
        shop.file(via="nobody-here").rename(tmp_path / "hub.toml"),
    ]
    (tmp_path / "other.toml").write_text('[line_register]\nsystem = "x"\n')
    (tmp_path / "broken.toml").write_text("[[platform]\n")

    for file in (*files, tmp_path / "other.toml", tmp_path / "broken.toml"):
        ran = founded.run("operator", "propose", file)
        assert ran.code == 4, f"{file}: {ran.out}{ran.err}"
        assert_one_clear_line(ran)
    assert founded.run("auditor", "proposals", "--json").json == []


def test_the_file_of_the_docs_can_be_proposed(tmp_path: Path) -> None:
    """The table that docs/operations.md shows is one that registering takes."""
    text = (ROOT / "docs" / "operations.md").read_text().partition("\n**A new platform.**")[2]
    file = tmp_path / "delta-shop.toml"
    file.write_text(text.partition("```toml\n")[2].partition("```")[0])

    assert read_registration("the docs", load_proposed(file)).platform_id == "delta-shop"
    assert len(tomllib.loads(file.read_text())["platform"]) == 1

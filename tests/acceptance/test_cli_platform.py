"""`platform log` and `platform replay` as the real program, on an installation that holds one kept callback."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from string import ascii_lowercase

import own_systems
import pytest
from command_line import CommandLine, Ran, assert_one_clear_line
from memory_ports import signed_delivery

from fallow.bootstrap import wire
from fallow.domain.obligations import Outcome
from fallow.operations.answers import accept_answer
from fallow.platforms.signing import SigningKey
from fallow.settings import load
from fallow.store import exchanges
from fallow.store.exchanges import Direction, Exchange

KEY = SigningKey(bytes(range(32)))
REFERENCE = "ref_" + "a" * 26
ROLES = {"operator": "operator", "auditor": "auditor"}


@dataclass
class Desk:
    """An installation with two people and one callback of own-pay.

    Attributes:
        cli: the program on it.
        keys: API key by name.
        delivery: the callback's id.
    """

    cli: CommandLine
    keys: dict[str, str]
    delivery: str

    def run(self, who: str, *arguments: str) -> Ran:
        """Run a command of the group as somebody."""
        return self.cli.run("platform", *arguments, key=self.keys[who])


@pytest.fixture(name="desk", scope="module")
def the_desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Set it up: the callback says `unbound` about a reference that nobody asked."""
    cli = CommandLine(tmp_path_factory.mktemp("desk") / "state")
    assert cli.run("setup", "--no-temporal").code == 0
    own_systems.make_database(cli.state / "kunden.db")
    own_systems.write_maps(
        cli.state, 9, {**{each: SigningKey.generate().public.text for each in own_systems.PLATFORMS}, "own-pay": KEY.public.text}
    )
    root = cli.run("keys", "admit", "--name", "root", "--role", "administrator").out.strip()
    keys = {name: cli.run("keys", "admit", "--name", name, "--role", role, key=root).out.strip() for name, role in ROLES.items()}
    delivery = signed_delivery(KEY, {REFERENCE: Outcome.UNBOUND}, datetime.now(UTC), delivery_id=new_id())
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("FALLOW_STATE", str(cli.state))
        with wire(load()) as wired:
            accept_answer(wired.installation, "own-pay", delivery, [(REFERENCE, Outcome.UNBOUND)])
            with wired.installation.db.begin() as tx:
                exchanges.note(tx, [Exchange("own-pay", Direction.IN, delivery.delivery_id, 1, 82, 200, "accepted", 4) for _ in range(3)])
    return Desk(cli, keys, delivery.delivery_id)


def new_id() -> str:
    """Return a delivery id of letters alone."""
    return "msg_" + "".join(secrets.choice(ascii_lowercase) for _ in range(24))


def test_the_log_is_shown_by_pages(desk: Desk) -> None:
    """A table for people that names where to go on, objects for programs."""
    shown = desk.run("auditor", "log", "own-pay", "--limit", "2")
    found = desk.run("auditor", "log", "own-pay", "--json").json
    rest = desk.run("auditor", "log", "own-pay", "--json", "--before", str(found[1]["exchange_id"])).json

    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[0].split() == ["id", "at", "direction", "delivery", "items", "octets", "status", "result", "took", "ms"]
    assert shown.out.splitlines()[-1] == f"more: --before {found[1]['exchange_id']}"
    assert [each["delivery_id"] for each in found] == [desk.delivery] * 3
    assert rest == found[2:]


def test_a_kept_callback_is_replayed_without_effect(desk: Desk) -> None:
    """What it said is shown in the words that may be shown, with the key that signed it, and nothing changes."""
    shown, found = (
        desk.run("operator", "replay", "own-pay", desk.delivery),
        desk.run("operator", "replay", "own-pay", desk.delivery, "--json"),
    )

    assert (shown.code, found.code) == (0, 0), shown.err
    assert "unbound" not in shown.out
    assert shown.out.splitlines()[-1] == "nothing changed"
    assert found.json["key_fingerprint"] == KEY.public.fingerprint
    assert found.json["answers"] == [{"reference": REFERENCE, "said": "clear", "status": None, "settled_by_it": False, "moved": False}]
    assert found.json["acknowledged"] == found.json["again"] == {"answers": {REFERENCE: "unknown"}}


@pytest.mark.parametrize(
    ("who", "arguments", "code"),
    [
        ("auditor", ("log", "nobody-here"), 5),
        ("auditor", ("replay", "own-pay", "msg_" + "a" * 24), 1),
        ("operator", ("replay", "own-pay", "msg_" + "a" * 24), 5),
        ("operator", ("replay", "own-chat", "{delivery}"), 5),
    ],
    ids=["unknown platform", "may not", "unknown delivery", "another's delivery"],
)
def test_what_is_not_there_is_one_clear_line(desk: Desk, who: str, arguments: tuple[str, ...], code: int) -> None:
    """An unknown platform or delivery, and a role that may not, are refused with a remedy."""
    ran = desk.run(who, *(each.format(delivery=desk.delivery) for each in arguments))

    assert ran.code == code, ran.out + ran.err
    assert_one_clear_line(ran)

"""`fallow up` against one's own test database and endpoint; nothing of the sample takes part."""

import csv
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import own_systems
from command_line import CommandLine, free_addresses, running_up
from own_systems import BYSTANDER, NUMBER, Endpoint

from fallow.local.processes import wait_until

WITHIN = timedelta(seconds=90)


def test_ones_own_systems_take_a_number_to_its_sale(tmp_path: Path) -> None:
    """With three files one's own database is wiped, one's own endpoint asked, and the number sold with its tag acknowledged."""
    state, endpoint = tmp_path / "state", Endpoint()
    state.mkdir()
    own_systems.make_database(state / "kunden.db")
    cli = CommandLine(state, free_addresses())
    file = tmp_path / "cancelled.csv"
    file.write_text(own_systems.a_file_of(own_systems.a_line()))

    with own_systems.listening(endpoint) as port:
        own_systems.write_maps(state, port, endpoint.public_keys)
        with running_up(cli, tmp_path / "up.log") as up:
            ready = up.ready
            endpoint.callback_url, endpoint.engine_key = ready["callbacks"], ready["engine_key"]
            cli.settings = {}  # what is in the state folder must be enough
            enrolled = cli.run("enrol", file, "--json")
            found = cli.run("numbers", "find", "--json", stdin=NUMBER)
            (cycle,) = found.json

            assert wait_until(lambda: cli.run("numbers", "show", cycle, "--json").json["state"] == "RESELLABLE", WITHIN)
            exported = cli.run("numbers", "export", "--state", "RESELLABLE", "--output", tmp_path / "stock.csv")
            tag = cli.run("numbers", "tag", "--json", stdin=NUMBER).json
            refused = cli.run("numbers", "sell", "--tag", "0" * 64, "--acknowledgement", "form 1", "--key-file", _key(state), stdin=NUMBER)
            sold = cli.run(
                "numbers", "sell", "--tag", tag["digest"], "--acknowledgement", "form 1", "--key-file", _key(state), stdin=NUMBER
            )
            shown = cli.run("numbers", "show", cycle, "--json").json

    assert ready["systems"] == "your own"
    assert enrolled.json["accepted"] == 1
    assert endpoint.asked == {"own-pay": [NUMBER], "own-chat": [NUMBER]}
    assert [list(each["answers"].values()) for each in endpoint.acknowledged] == [["accepted"]]
    assert_wiped(state / "kunden.db")
    assert exported.code == 0
    with (tmp_path / "stock.csv").open() as stock:
        assert [(row["number"], row["cycle_id"], row["tag"]) for row in csv.DictReader(stock)] == [(NUMBER[1:], cycle, tag["digest"])]
    assert (refused.code, sold.code, shown["state"]) == (1, 0, "REASSIGNED")
    assert not (state / "sample").exists()


def assert_wiped(database: Path) -> None:
    """The holder's calls are gone, the contract is restricted with its basis, and the bystander's call to the number is left."""
    with closing(sqlite3.connect(database)) as connection:
        calls = connection.execute("SELECT von, nach FROM gespraech").fetchall()
        contracts = connection.execute("SELECT aktiv, grund, bis FROM vertrag").fetchall()
    assert calls == [(BYSTANDER[1:], NUMBER[1:])]
    assert contracts == [(0, "the law of the test", "2027-02-01")]


def _key(state: Path) -> Path:
    return state / "api-keys" / "shop"

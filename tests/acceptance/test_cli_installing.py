"""`fallow setup`, `doctor`, `keys` and what every command does on a wrong installation: one clear line and an exit code."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import own_systems
import pytest
from command_line import NOWHERE, CommandLine, assert_one_clear_line, free_addresses

from fallow.local.processes import free_ports

SOME_CYCLE = "n_aaaaaaaaaaaaaaaaaaaaaaaaaa/1"


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """An installation that is set up, with maps of its own and an administrator; Temporal is nowhere."""
    state = tmp_path_factory.mktemp("installation") / "state"
    cli = CommandLine(state, {"FALLOW_TEMPORAL_ADDRESS": NOWHERE})
    assert cli.run("setup", "--no-temporal").code == 0
    own_systems.make_database(state / "kunden.db")
    own_systems.write_maps(state, 9, own_systems.Endpoint().public_keys)
    cli.settings["FALLOW_API_KEY"] = cli.run("keys", "admit", "--name", "root", "--role", "administrator").out.strip()
    return cli


@pytest.fixture
def cli(founded: CommandLine, tmp_path: Path) -> CommandLine:
    """A copy of the installation, to be damaged."""
    return founded.copy(tmp_path / "state")


def execute(state: Path, statement: str) -> None:
    """Damage the database."""
    with closing(sqlite3.connect(state / "fallow.db")) as connection, connection:
        connection.execute(statement)


def keys_of(cli: CommandLine) -> dict[str, bytes]:
    """Return every key by its file's name."""
    return {path.name: path.read_bytes() for path in (cli.state / "keys").rglob("*.key")}


def test_setup_may_be_repeated(cli: CommandLine) -> None:
    """The second run changes no key, and a demo mark is given to a database without cycles."""
    before = keys_of(cli)
    again = cli.run("setup", "--no-temporal", "--demo", "--json")

    assert again.code == 0
    assert again.json["demo"] == "yes"
    assert keys_of(cli) == before
    assert len(before) == 7
    assert {stat.S_IMODE(path.stat().st_mode) for path in (cli.state / "keys").rglob("*.key")} == {0o600}


def test_setup_makes_no_new_keys_beside_old_numbers(cli: CommandLine) -> None:
    """A lost key is restored from its backup; a new one could not open the numbers, so none is made."""
    execute(cli.state, "INSERT INTO numbers VALUES ('n_x', 'lookup', x'00', 'DE', 0)")
    (cli.state / "keys" / "vault.key").unlink()
    ran = cli.run("setup", "--no-temporal")

    assert ran.code == 4
    assert_one_clear_line(ran)
    assert not (cli.state / "keys" / "vault.key").exists()


def test_setup_marks_no_database_with_cycles_as_a_demo(cli: CommandLine, tmp_path: Path) -> None:
    """Real cycles can't be made demo cycles afterwards."""
    file = tmp_path / "cancelled.csv"
    file.write_text(own_systems.a_file_of(own_systems.a_line()))
    assert cli.run("enrol", file).code == 0
    ran = cli.run("setup", "--no-temporal", "--demo")

    assert ran.code == 4
    assert_one_clear_line(ran)


@pytest.mark.parametrize("command", ["setup", "worker"])
def test_an_unreachable_temporal_is_said(cli: CommandLine, command: str) -> None:
    """Address and remedy in one line, exit code 4."""
    ran = cli.run(command)

    assert ran.code == 4
    assert NOWHERE in ran.err
    assert_one_clear_line(ran)


@pytest.mark.parametrize("command", [["setup"], ["worker"], ["doctor"], ["numbers", "list"], ["up"], ["demo"]])
def test_a_misspelt_setting_is_named(cli: CommandLine, command: list[str]) -> None:
    """No command goes on with a setting that nobody reads."""
    ran = cli.run(*command, FALLOW_TEMPORAL_ADRESS="x")

    assert ran.code == 4
    assert "FALLOW_TEMPORAL_ADRESS" in ran.err + ran.out


def test_a_setting_of_a_wrong_kind_is_named_without_its_value(cli: CommandLine) -> None:
    """The line names the setting and not what it was set to."""
    ran = cli.run("api", FALLOW_API_PORT="letmein")

    assert ran.code == 4
    assert "FALLOW_API_PORT" in ran.err
    assert "letmein" not in ran.err
    assert_one_clear_line(ran)


@pytest.mark.parametrize("command", [["worker"], ["api"], ["keys", "engine"]])
def test_a_missing_key_file_is_named(cli: CommandLine, command: list[str]) -> None:
    """The line names the file and how to get it back."""
    (cli.state / "keys" / "signing.key").unlink()
    ran = cli.run(*command, **free_addresses())

    assert ran.code == 4
    assert "signing.key" in ran.err
    assert_one_clear_line(ran)


def test_a_key_that_others_can_read_is_refused(cli: CommandLine) -> None:
    """The remedy is the command that mends it."""
    (cli.state / "keys" / "vault.key").chmod(0o644)
    ran = cli.run("numbers", "list")

    assert ran.code == 4
    assert "chmod 600" in ran.err
    assert_one_clear_line(ran)


@pytest.mark.parametrize(
    ("version", "command"),
    [
        ("newer", ["worker"]),
        ("newer", ["setup", "--no-temporal"]),
        ("none", ["api"]),
        ("none", ["numbers", "list"]),
        ("newer", ["keys", "list"]),
    ],
)
def test_another_schema_version_is_refused(cli: CommandLine, version: str, command: list[str]) -> None:
    """Nothing works on a database of another version; only setup may bring an older one up, never a newer one down."""
    execute(cli.state, "UPDATE alembic_version SET version_num = '9999'" if version == "newer" else "DROP TABLE alembic_version")
    ran = cli.run(*command)

    assert ran.code == 4
    assert_one_clear_line(ran)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://fallow:opensesame@127.0.0.1:9/fallow",
        "mysql://fallow:opensesame@127.0.0.1/x",
        "opensesame",
        "sqlite:////no/such/folder/x.db",
    ],
)
def test_a_database_that_cannot_be_used_is_said_without_its_password(cli: CommandLine, url: str) -> None:
    """Unreachable, of an unknown kind, or no URL at all: one line, no secret."""
    ran = cli.run("numbers", "list", FALLOW_DATABASE_URL=url)

    assert ran.code == 4
    assert "opensesame" not in ran.err
    assert_one_clear_line(ran)


@pytest.mark.parametrize("name", ["policy", "records", "platforms"])
def test_a_missing_map_is_named(cli: CommandLine, name: str) -> None:
    """The line names the file that is missing."""
    (cli.state / f"{name}.toml").unlink()
    ran = cli.run("worker")

    assert ran.code == 4
    assert f"{name}.toml" in ran.err
    assert_one_clear_line(ran)


def test_a_taken_port_is_said(cli: CommandLine) -> None:
    """The API does not share a port in silence."""
    endpoint = own_systems.Endpoint()
    with own_systems.listening(endpoint) as port:
        ran = cli.run("api", FALLOW_API_PORT=str(port))

    assert ran.code == 4
    assert str(port) in ran.err
    assert_one_clear_line(ran)


def test_errors_come_as_json_where_asked(cli: CommandLine) -> None:
    """Standard error is one JSON object with code, what and remedy; standard output stays empty."""
    ran = cli.run("numbers", "show", SOME_CYCLE, "--json")

    assert (ran.code, ran.fault["error"], ran.out) == (5, "not-known", "")
    assert cli.run("numbers", "list", "--state", "SOLD", "--json").fault["error"] == "usage"
    assert cli.run("worker", "--json").fault["error"] == "setting-refused"


def test_the_first_administrator_needs_no_key_and_everybody_else_does(tmp_path: Path) -> None:
    """Bootstrapping is possible exactly once, and only for an administrator."""
    cli = CommandLine(tmp_path / "state")
    cli.run("setup", "--no-temporal")
    too_early = cli.run("keys", "admit", "--name", "op", "--role", "operator")
    root = cli.run("keys", "admit", "--name", "root", "--role", "administrator", "--json").json["api_key"]
    again = cli.run("keys", "admit", "--name", "root 2", "--role", "administrator")
    operator = cli.run("keys", "admit", "--name", "op", "--role", "operator", key=root)
    by_operator = cli.run("keys", "admit", "--name", "op 2", "--role", "operator", key=operator.out.strip())

    assert (too_early.code, again.code, operator.code, by_operator.code) == (1, 1, 0, 1)
    for refused in (too_early, again, by_operator):
        assert_one_clear_line(refused)


def test_a_revoked_key_opens_nothing(cli: CommandLine, tmp_path: Path) -> None:
    """Revoking works at once; the last administrator stays; a list never shows a key."""
    key = cli.run("keys", "admit", "--name", "hub", "--role", "platform", "--platform", "own-pay").out.strip()
    listed = cli.run("keys", "list", "--json").json
    ids = {each["name"]: each["id"] for each in listed}
    file = tmp_path / "key"
    file.write_text(key)

    assert key not in cli.run("keys", "list").out
    assert cli.run("keys", "revoke", ids["hub"]).code == 0
    assert "not valid" in cli.run("numbers", "list", "--key-file", file).err
    assert cli.run("keys", "revoke", ids["root"]).code == 1
    assert cli.run("keys", "revoke", "nobody").code == 5
    assert cli.run("keys", "admit", "--name", "x", "--role", "platform").code == 1


def test_without_a_key_nothing_is_shown(cli: CommandLine) -> None:
    """Where there is no terminal to ask at, the remedy says where a key may come from."""
    ran = cli.run("numbers", "list", FALLOW_API_KEY="")

    assert ran.code == 1
    assert "FALLOW_API_KEY" in ran.err
    assert_one_clear_line(ran)


def test_the_engines_public_key_is_for_platforms(cli: CommandLine) -> None:
    """It is the same at every call, and public."""
    first, second = cli.run("keys", "engine"), cli.run("keys", "engine", "--json")

    assert first.out.startswith("whpk_")
    assert second.json == {"public_key": first.out.strip()}


def test_doctor_finds_each_fault_and_the_rest(cli: CommandLine) -> None:
    """A fault in one part does not hide another, and each red line carries its remedy."""
    (cli.state / "keys" / "vault.key").chmod(0o644)
    (cli.state / "kunden.db").unlink()
    ran = cli.run("doctor", "--json")
    checks = ran.json["checks"]
    red = {each["subject"] for each in checks if each["colour"] == "red"}

    assert ran.code == 4
    assert red == {"keys", "records: kundendb", "records: line register", "temporal"}
    assert all(each["remedy"] for each in checks if each["colour"] == "red")
    assert {each["subject"] for each in checks if each["colour"] == "yellow"} >= {"policy", "anchor"}
    assert not (cli.state / "kunden.db").exists()


def test_doctor_names_a_target_that_left_the_maps(cli: CommandLine, tmp_path: Path) -> None:
    """Numbers that wait for a platform nobody can ask any more are stuck, and only this says why; an ended one waits for nobody."""
    file = tmp_path / "cancelled.csv"
    file.write_text(own_systems.a_file_of(own_systems.a_line()))
    assert cli.run("enrol", file).code == 0
    owed = "INSERT INTO obligations (cycle_id, target_id, kind, status, reference, attempts, failures, asked, alone, claimed) "
    execute(cli.state, f"{owed} SELECT cycle_id, 'gone-pay', 'platform', 'OPEN', 'ref_1', 0, 0, 0, 0, 0 FROM cycles")
    execute(cli.state, f"{owed} SELECT cycle_id, 'own-pay', 'platform', 'OPEN', 'ref_2', 0, 0, 0, 0, 0 FROM cycles")

    red = [each for each in cli.run("doctor", "--json").json["checks"] if (each["subject"], each["colour"]) == ("targets", "red")]
    execute(cli.state, "UPDATE obligations SET status = 'DISCHARGED'")
    after = [each for each in cli.run("doctor", "--json").json["checks"] if (each["subject"], each["colour"]) == ("targets", "red")]

    assert [("gone-pay" in each["what"], "put gone-pay back" in each["remedy"]) for each in red] == [(True, True)]
    assert after == []


def test_doctor_refuses_a_platforms_map_that_the_start_refuses(cli: CommandLine) -> None:
    """Two platforms with one key: red here, before anybody starts a process, and in the words of the start."""
    first, second = list(own_systems.PLATFORMS)[:2]
    platforms = cli.state / "platforms.toml"
    lines = platforms.read_text().splitlines()
    key = next(each for each in lines if each.startswith("public_keys"))
    platforms.write_text("\n".join(key if each.startswith("public_keys") else each for each in lines))

    checks = cli.run("doctor", "--json").json["checks"]
    red = [each["what"] for each in checks if each["colour"] == "red" and "platforms.toml" in each["what"]]
    started = cli.run("numbers", "list")

    assert len(red) == 1
    assert first in red[0]
    assert second in red[0]
    assert "have a key or secret in common" in red[0]
    assert started.code == 4
    assert "have a key or secret in common" in started.err


def test_doctor_says_where_file_and_registry_differ(cli: CommandLine, tmp_path: Path) -> None:
    """Once a number is enrolled the file changes nothing, and nobody is left to believe that it did."""
    file = tmp_path / "cancelled.csv"
    file.write_text(own_systems.a_file_of(own_systems.a_line()))
    assert cli.run("enrol", file).code == 0
    platforms = cli.state / "platforms.toml"
    platforms.write_text(platforms.read_text().replace("127.0.0.1", "localhost", 1))

    found = [each for each in cli.run("doctor", "--json").json["checks"] if each["subject"] == "platforms"]
    assert [each["colour"] for each in found] == ["green", "yellow"]
    assert f"the registration of {next(iter(own_systems.PLATFORMS))} differ: url" in found[1]["what"]


@pytest.mark.parametrize("command", [["worker"], ["numbers", "list"], ["doctor"]])
def test_a_record_system_and_a_platform_of_one_id_are_refused(cli: CommandLine, command: list[str]) -> None:
    """Before anything is started, naming the id."""
    platforms = cli.state / "platforms.toml"
    platforms.write_text(platforms.read_text().replace('id = "own-pay"', 'id = "kundendb"'))
    ran = cli.run(*command)

    assert ran.code == 4
    assert "kundendb both as a record system and as a platform" in ran.err + ran.out


def test_doctor_says_when_another_distribution_claims_our_names(cli: CommandLine, tmp_path: Path) -> None:
    """An installed package called `workers` would hide ours, or ours it."""
    alien = tmp_path / "site" / "alien-1.0.dist-info"
    alien.mkdir(parents=True)
    (alien / "METADATA").write_text("Metadata-Version: 2.1\nName: alien\nVersion: 1.0\n")
    (alien / "top_level.txt").write_text("workers\n")
    (alien / "RECORD").write_text("workers/__init__.py,,\n")
    path = os.pathsep.join((cli.environment()["PYTHONPATH"], str(tmp_path / "site")))
    checks = cli.run("doctor", "--json", PYTHONPATH=path).json["checks"]

    assert [(each["colour"], "alien" in each["what"]) for each in checks if each["subject"] == "packages"] == [("red", True)]


def test_up_refuses_half_of_ones_own_maps(cli: CommandLine) -> None:
    """Nobody's own records are mixed with sample platforms."""
    (cli.state / "platforms.toml").unlink()
    ran = cli.run("up", FALLOW_API_PORT=str(free_ports(1)[0]))

    assert ran.code == 4
    assert "platforms.toml" in ran.err
    assert_one_clear_line(ran)


def judged(cli: CommandLine, subject: str) -> dict[str, str]:
    """Return what the doctor finds of a subject: what by colour."""
    return {each["colour"]: each["what"] for each in cli.run("doctor", "--json").json["checks"] if each["subject"] == subject}


def test_an_administrator_rotates_the_wrapping_key(cli: CommandLine) -> None:
    """The old key's file is gone, the new one is there, and nobody else may."""
    auditor = cli.run("keys", "admit", "--name", "auditor", "--role", "auditor").out.strip()
    assert cli.run("keys", "rotate", key=auditor).code == 1
    assert "holder-1.key" in keys_of(cli)

    ran = cli.run("keys", "rotate", "--json")

    assert ran.json == {"epoch": 2, "rewrapped": 0, "destroyed": ["holder-1"], "unreadable": 0, "log_emptied": True}
    assert [name for name in keys_of(cli) if name.startswith("holder")] == ["holder-2.key"]
    assert "holder-2" in cli.run("keys", "rotate").out
    assert list(judged(cli, "wrapping key")) == ["green"]


def test_the_doctor_says_when_the_wrapping_key_is_old(cli: CommandLine) -> None:
    """Twice the setting is too old: no worker rotates it."""
    execute(cli.state, "UPDATE epochs SET began_at = datetime('now', '-47 hours')")
    assert list(judged(cli, "wrapping key")) == ["green"]
    execute(cli.state, "UPDATE epochs SET began_at = datetime('now', '-49 hours')")

    assert list(judged(cli, "wrapping key")) == ["yellow"]
    cli.settings["FALLOW_KEY_EPOCH_HOURS"] = "25"
    assert list(judged(cli, "wrapping key")) == ["green"]


def test_a_lost_wrapping_key_is_said_and_given_up_only_by_a_person(cli: CommandLine) -> None:
    """Without the present key nothing is rotated by mistake: the command and the doctor say what to do."""
    (cli.state / "keys" / "wrapping" / "holder-1.key").unlink()
    assert list(judged(cli, "wrapping key")) == ["red"]

    ran = cli.run("keys", "rotate")

    assert ran.code == 4
    assert_one_clear_line(ran)
    assert cli.run("keys", "rotate", "--lost").code == 0
    assert list(judged(cli, "wrapping key")) == ["green"]

"""`docker-compose.yml` and `Dockerfile` agree with the specification, the CLI and the repository."""

import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.main import get_command

from fallow import cli
from fallow.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
FALLOW_SERVICES = sorted(name for name, service in SERVICES.items() if str(service["image"]).startswith("fallow"))


def test_it_follows_the_compose_specification() -> None:
    """The file is valid by the schema of the compose specification, as check-jsonschema ships it."""
    package = metadata.distribution("check-jsonschema")
    schema = Path(str(package.locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")))
    jsonschema.validate(COMPOSE, json.loads(schema.read_text()))


@pytest.mark.parametrize("name", FALLOW_SERVICES)
def test_each_command_exists_in_the_cli(name: str) -> None:
    """What a container runs is a command that `fallow` really has, with options that it takes."""
    command: Any = get_command(cli.app)
    words = list(SERVICES[name]["command"])
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}

    assert not hasattr(command, "commands")
    assert {word for word in words if word.startswith("-")} <= options


def test_it_runs_set_up_api_and_two_workers() -> None:
    """The processes of a production installation are all there."""
    assert set(FALLOW_SERVICES) == {"api", "setup", "worker"}
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_image_is_pinned_to_a_version(name: str) -> None:
    """Nothing changes under an installation because a tag moved."""
    assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?", SERVICES[name]["image"])


def test_ports_are_published_on_loopback_only() -> None:
    """Nothing is open to the network until somebody decides so."""
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", FALLOW_SERVICES)
def test_each_variable_is_a_setting(name: str) -> None:
    """No container is given a variable that `fallow` would refuse."""
    names = {variable.removeprefix("FALLOW_").lower() for variable in SERVICES[name]["environment"]}

    assert names <= set(Settings.model_fields)


def test_it_contains_no_secret() -> None:
    """Every password comes from outside and its absence is an error."""
    values = re.findall(r"(?m)^ *\w*(?:PASSWORD|PWD)\w*: *(.*)$", COMPOSE_TEXT)

    assert values
    assert all(re.fullmatch(r"\$\{\w+:\?.*\}", value) for value in values)


def test_keys_have_a_volume_of_their_own() -> None:
    """Keys are not on the volume that backups of the database contain."""
    assert SERVICES["postgresql"]["volumes"] == ["database:/var/lib/postgresql/data"]
    assert all("keys:/var/lib/fallow/keys" in SERVICES[name]["volumes"] for name in FALLOW_SERVICES)


def test_the_image_copies_only_what_the_build_may_see() -> None:
    """Each file that the Dockerfile copies exists and is let through by `.dockerignore`."""
    copies = re.findall(r"(?m)^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text())
    sources = [word for line in copies for word in line.split()[:-1]]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert set(sources) == allowed
    assert all((ROOT / source).exists() for source in sources)

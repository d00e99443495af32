"""docs/adapters.md is true: its registrations load, its code makes answers that are accepted, its examples have the engine's form."""

import base64
import json
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fallow.domain.obligations import Outcome, RefusalReason
from fallow.platforms.adapters.catalogue import ADAPTERS
from fallow.platforms.adapters.file_drop import COLUMNS
from fallow.platforms.adapters.shared_signals import MOST_SETS, RECYCLED, audience_of, issuer_of
from fallow.platforms.csv_answers import csv_answers
from fallow.platforms.platform_map import demand_hubs, read_registration
from fallow.platforms.protocol import parse_answers
from fallow.platforms.rsa_form import RsaNotifyForm
from fallow.platforms.rsa_key import RsaKey
from fallow.platforms.set_form import ANSWERS, REQUESTED, SetForm
from fallow.platforms.signing import SigningKey

PAGE = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text("utf-8")
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_DER = RSA_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
RSA_TEXT = "rsapk_" + base64.b64encode(_DER).decode()
REFERENCE = "ref_abcdefghijklmnopqrstuvwxyz"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", PAGE)


def _tables() -> list[dict[str, Any]]:
    return [
        table
        for block in _blocks("toml")
        for table in tomllib.loads(block.replace("rsapk_MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA…", RSA_TEXT))["platform"]
    ]


def test_every_adapter_is_on_the_page() -> None:
    """Each has a row in the table, and each but the generic one a section with a registration."""
    assert set(re.findall(r"(?m)^\| `([a-z-]+)` \|", PAGE.partition("## hub")[0])) == {*ADAPTERS, "adapter"}
    assert {table.get("adapter") for table in _tables() if "via" not in table} == set(ADAPTERS) - {"generic"}
    assert set(ADAPTERS) - {"generic"} <= set(re.findall(r"(?m)^## ([a-z-]+)$", PAGE))


def test_its_registrations_load() -> None:
    """Every table is one that the engine takes, and the hub is its member's."""
    entries = [read_registration("page", table) for table in _tables()]

    demand_hubs({entry.platform_id: entry for entry in entries[:2]})


def test_its_token_is_accepted() -> None:
    """What the page's code signs is an answer to the page's request."""
    given: dict[str, Any] = {}
    exec(_blocks("python")[0], given)  # noqa: S102 - our own page; running it is the test
    request, key = json.loads(_blocks("json")[0]), SigningKey.generate()
    form = SetForm(request["aud"], request["iss"])

    token = given["answer"](key.text, request["aud"], request["iss"], request["txn"], "binding-cleared")
    delivery = form.receive({}, token, [key.public], datetime.now(UTC))

    assert [(each.reference, each.outcome) for each in form.read(delivery.body)] == [(REFERENCE, Outcome.CLEAR)]


def test_its_token_request_is_ours() -> None:
    """Issuer, audience and event types of the example are those that the engine writes."""
    (table,) = [each for each in _tables() if each.get("adapter") == "shared-signals"]
    entry, request = read_registration("page", table), json.loads(_blocks("json")[0])

    assert (request["iss"], request["aud"], list(request["events"])) == (audience_of(entry), issuer_of(entry), [REQUESTED])
    assert set(re.findall(r"(?m)^\| `(urn:[a-z:-]+)` \|", PAGE)) == set(ANSWERS)
    assert f'"maxEvents":{MOST_SETS},' in PAGE
    assert RECYCLED in PAGE


def test_its_notification_is_accepted() -> None:
    """What the page's code signs with an RSA key is taken, and says what the page's body says."""
    given: dict[str, Any] = {}
    exec(_blocks("python")[1], given)  # noqa: S102 - our own page; running it is the test
    body, form = _blocks("json")[1].encode(), RsaNotifyForm()

    delivery = form.receive(given["notify_headers"](RSA_KEY, body), body, [RsaKey.from_text(RSA_TEXT)], datetime.now(UTC))

    assert [(each.reference, each.outcome) for each in form.read(delivery.body)] == [(REFERENCE, Outcome.CLEAR)]


def test_its_files_have_the_form_of_files() -> None:
    """The request's head is the engine's, and the answers can be read."""
    request, answers = _blocks("csv")

    assert tuple(request.splitlines()[0].split(",")) == COLUMNS
    assert [each.outcome for each in parse_answers(csv_answers(answers.encode()))] == [Outcome.CLEAR, Outcome.REFUSED]


@pytest.mark.parametrize("reason", RefusalReason)
def test_every_reason_can_be_given_in_a_file(reason: RefusalReason) -> None:
    """A refusal's third column takes each word of the list."""
    assert parse_answers(csv_answers(f"reference,outcome,reason\n{REFERENCE},refused,{reason}\n".encode()))

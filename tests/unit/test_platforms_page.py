"""The page and the description that a platform's engineer builds from: their examples are what the engine sends and takes."""

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from fallow.api.routes import ROUTES
from fallow.domain.errors import AnswerMalformed
from fallow.domain.number import E164
from fallow.domain.obligations import Category, Outcome, RefusalReason
from fallow.domain.ports import UnbindItem
from fallow.platforms import platform_map, protocol, signing
from fallow.platforms.endpoints import UrlMalformed, read_endpoint
from fallow.platforms.platform_map import PlatformEntry, read_registration
from fallow.platforms.protocol import parse_answers, parse_pong
from fallow.platforms.request_bodies import LEGAL_BASES, hash_number, render_ping, render_status, render_unbind
from fallow.platforms.signing import HmacKey, PublicKey, SigningKey, sign

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "platforms.md").read_text("utf-8")
OPENAPI: dict[str, Any] = json.loads((DOCS / "openapi" / "platform.json").read_text("utf-8"))
SCHEMAS: dict[str, Any] = OPENAPI["components"]["schemas"]
REF = "ref_abcdefghijklmnopqrstuvwxyz"
NUMBER_KEY = "whnk_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="


def blocks(language: str) -> list[str]:
    """Return the page's blocks of a language."""
    return re.findall(rf"(?s)```{language}\n(.*?)```", PAGE)


def rows(section: str) -> list[list[str]]:
    """Return the rows of every table of a section, as cells."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]


def words(section: str) -> set[str]:
    """Return what stands in backticks in the first cell of a section's rows."""
    return {word for row in rows(section) for word in re.findall(r"`([^`]+)`", row[0])}


def an_entry(**terms: Any) -> PlatformEntry:
    """Return a registration like the page's."""
    table = {"id": "larkchat", "category": "social", "contact": "x", "shared_secret": "whsec_" + "A" * 32, "url": "https://a.example/"}
    return read_registration("a test", {**table, "contract": "C-2026/17", **terms})


def an_item(*, reminder: bool = False, deadline: datetime | None = None) -> UnbindItem:
    """Return the page's item."""
    return UnbindItem(REF, E164("+447700900123"), datetime(2026, 1, 31, 23, 59, tzinfo=UTC), reminder, deadline)


def valid(schema: str, body: object) -> bool:
    """Tell whether a body fits a schema of the description."""
    return bool(Draft202012Validator({**OPENAPI, "$ref": f"#/components/schemas/{schema}"}).is_valid(body))


def test_every_key_of_a_registration_is_explained_with_its_default() -> None:
    """The table lists each key of the code, no other, and the default that it really has."""
    listed = {row[0].strip("`"): row[1] for row in rows("Every key of a registration")[1:]}
    defaults = {key: "none" if value in ("", []) else str(value).lower() for key, value in platform_map._DEFAULTS.items()}

    assert listed == {**dict.fromkeys(platform_map._REQUIRED, "must"), **defaults}


def test_every_word_of_the_protocol_is_explained() -> None:
    """Outcomes, reasons, bases and categories are those of the code, no more and no fewer."""
    said = words("What to answer")

    assert {word for word in said if word in set(Outcome)} == set(map(str, protocol.SAYABLE))
    assert said - set(map(str, protocol.SAYABLE)) == set(RefusalReason) | {"reason"}
    assert words("What is asked, exactly") - {"legal_basis"} == set(LEGAL_BASES)
    assert all(f"`{each}`" in PAGE for each in Category)
    assert words("The request") == {
        *("type", "platform", "legal_basis", "contract", "language", "number_form"),
        *("reference", "number", "disconnected_at", "deadline", "reminder"),
    }


def test_the_meaning_is_written_down_once_and_verbatim() -> None:
    """The sentence that the two sides agree on stands on the page and in the description, to the letter."""
    meaning = "the number no longer logs in, recovers, pays or receives codes; account and money remain with their owner."

    assert PAGE.count(f"> For every account bound before that instant, {meaning}") == 1
    assert f"For every account bound before disconnected_at, {meaning}" in OPENAPI["info"]["description"]


def test_the_pages_request_is_what_is_sent() -> None:
    """The JSON that is printed to be read is the engine's own."""
    request, answers, status, ping, pong = map(json.loads, blocks("json"))
    deadline = datetime(2026, 3, 7, 9, tzinfo=UTC)

    assert request == json.loads(render_unbind(an_entry(), [an_item(deadline=deadline)]))
    assert [each.outcome for each in parse_answers(json.dumps(answers).encode())] == [Outcome.CLEAR, Outcome.REFUSED]
    assert status == json.loads(render_status(an_entry(), [REF]))
    assert ping == json.loads(render_ping(ping["challenge"]))
    parse_pong(json.dumps(pong).encode(), ping["challenge"])


def test_the_pages_vectors_are_true() -> None:
    """Fingerprint, both signatures and the hash, to the byte; the page's own line prints the fingerprint."""
    (block,) = blocks("text")
    vector = dict(line.split(maxsplit=1) for line in block.splitlines())
    key, shared = SigningKey.from_text(vector["secret"]), HmacKey.from_text(vector["shared"])
    at = datetime.fromtimestamp(int(vector["timestamp"]), UTC)

    signature = sign(key, vector["id"], at, vector["body"].encode(), shared)["webhook-signature"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(blocks("python")[-1], {})  # noqa: S102 - our own page; running it is the test

    assert signature == f"{vector['signature']} {vector['hmac']}"
    assert PublicKey.from_text(vector["public"]).fingerprint == vector["fingerprint"] == printed.getvalue().strip()
    assert hash_number(vector["number-key"], E164(vector["number"])) == vector["number-hash"]
    assert parse_answers(vector["body"].encode())


def the_pages_verifier() -> Callable[[dict[str, str], bytes, list[str]], None]:
    """Return the function that the page prints, run as printed."""
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)  # noqa: S102 - our own page
    verify: Callable[[dict[str, str], bytes, list[str]], None] = names["verify"]
    return verify


GARBAGE = "v1a," + "A" * 86 + "=="


@pytest.mark.parametrize(
    "signature",
    ["{}", "v1,AAAA {}", "v2 {}", "v1a,%% {}", GARBAGE + " {}", "{} " + GARBAGE, " {}", "{stranger} {}"],
)
def test_the_pages_verifier_takes_one_good_signature_among_others(signature: str) -> None:
    """First, second, behind garbage, by the second of two keys: what the engine sends while a key changes is taken."""
    key, other, body = SigningKey.generate(), SigningKey.generate(), b"{}"
    headers = sign(key, "msg_exampleExampleExample1", datetime.now(UTC), body)
    good = headers["webhook-signature"]
    stranger = sign(other, "msg_exampleExampleExample1", datetime.now(UTC), b"[]")["webhook-signature"]

    among = {**headers, "webhook-signature": signature.format(good, stranger=stranger)}
    the_pages_verifier()(among, body, [other.public.text, key.public.text])


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("webhook-timestamp", "{}.0"),
        ("webhook-timestamp", "{}\n"),
        ("webhook-timestamp", ""),
        ("webhook-timestamp", "1767225600"),
        ("webhook-id", "msg_a1234567aaaaaaaaaa"),
        ("webhook-id", "evt_exampleExampleExample1"),
        ("webhook-signature", GARBAGE),
        ("webhook-signature", "{}\n"),
        ("webhook-signature", ""),
        ("webhook-signature", " ".join(["{}"] * 9)),
    ],
)
def test_the_pages_verifier_refuses_without_falling_over(header: str, value: str) -> None:
    """Every refusal is a ValueError, so that one `except` answers 401; so is a header that is missing."""
    key, body = SigningKey.generate(), b"{}"
    headers = sign(key, "msg_exampleExampleExample1", datetime.now(UTC), body)
    verify, keys = the_pages_verifier(), [key.public.text]
    lacking = {name: text for name, text in headers.items() if name != header}

    with pytest.raises(ValueError, match=r"webhook-id|timestamp|too|no good"):
        verify({**headers, header: value.replace("{}", headers[header])}, body, keys)
    with pytest.raises(ValueError, match=r"webhook-id|timestamp|too|no good"):
        verify(lacking, body, keys)
    with pytest.raises(ValueError, match="no good"):
        verify(headers, body + b" ", keys)


def test_the_pages_limits_are_the_codes() -> None:
    """A limit that moves in the code moves on the page."""
    for text in (f"{protocol.MOST_ANSWERS:,} answers", f"{protocol.MOST_ANSWERS_IN_BATCH:,}\nanswers", f"at most {protocol.MOST_ITEMS:,}"):
        assert text in PAGE
    assert f"at most {protocol.LONGEST_BODY // 1024} KiB in a response" in PAGE
    assert f"deeper than {protocol.DEEPEST}" in PAGE
    assert f"{protocol.LONGEST_BATCH // 2**20} MiB" in PAGE


def examples(node: object) -> Iterator[tuple[str, object]]:
    """Yield each example of the description with the name of the schema that it is one of."""
    if isinstance(node, dict):
        if "examples" in node and "$ref" in node.get("schema", {}):
            for each in node["examples"].values():
                yield node["schema"]["$ref"].rpartition("/")[2], each["value"]
        for each in node.values():
            yield from examples(each)


def test_the_description_describes_both_directions() -> None:
    """OpenAPI 3.1: webhooks are what we send, paths are where answers go, and they are routes of ours."""
    assert OPENAPI["openapi"].startswith("3.1.")
    assert set(OPENAPI["webhooks"]) == {"unbind", "status", "ping"}
    assert set(OPENAPI["paths"]) - {route.path for route in ROUTES} <= {"/v1/platforms/{platform_id}/answers/batch"}
    for operation in (each["post"] for part in ("paths", "webhooks") for each in OPENAPI[part].values()):
        signed = {each["$ref"].rpartition("/")[2] for each in operation["parameters"]}
        assert signed >= {signing.ID_HEADER, signing.TIMESTAMP_HEADER, signing.SIGNATURE_HEADER}


def test_every_reference_of_the_description_leads_somewhere() -> None:
    """A generator that reads it stumbles nowhere, and every schema is sound."""
    for pointer in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(OPENAPI)):
        node: Any = OPENAPI
        for part in pointer.split("/"):
            node = node[part]
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_every_example_of_the_description_fits_its_schema_and_the_code() -> None:
    """Whoever copies one is understood."""
    found = list(examples(OPENAPI))

    assert {name for name, _ in found} >= {"Unbind", "Status", "Ping", "Pong", "Answers", "ManyAnswers", "Acknowledgement"}
    for name, body in found:
        assert valid(name, body), (name, body)
        if name in {"Answers", "ManyAnswers"}:
            parse_answers(json.dumps(body).encode())


def test_what_is_sent_fits_the_description() -> None:
    """Both forms of a number, with and without a deadline; and the two forms are not mixed."""
    plain = json.loads(render_unbind(an_entry(), [an_item(), an_item(reminder=True, deadline=datetime(2026, 3, 7, tzinfo=UTC))]))
    hashed = json.loads(render_unbind(an_entry(number_form="keyed-hash", number_key=NUMBER_KEY), [an_item()]))

    assert valid("Unbind", plain)
    assert valid("Unbind", hashed)
    assert not valid("Unbind", {**plain, "number_form": "keyed-hash"})
    assert not valid("Unbind", {**hashed, "number_form": "e164"})
    assert valid("Status", json.loads(render_status(an_entry(), [REF])))
    assert valid("Ping", json.loads(render_ping(protocol.new_challenge())))


SAID = [
    {"reference": REF, "outcome": outcome, **reason}
    for outcome in [*Outcome, "pending", "done", "CLEAR", "", None, 1]
    for reason in [{}, *({"reason": each} for each in [*RefusalReason, "", "because", None])]
]
ODD = [
    {"reference": "+447700900123", "outcome": "clear"},
    {"reference": REF + "a", "outcome": "clear"},
    {"reference": REF},
    {"outcome": "clear"},
    {"reference": REF, "outcome": "clear", "number": "+447700900123"},
    REF,
    [],
]


@pytest.mark.parametrize("answer", [*SAID, *ODD], ids=str)
def test_description_and_code_take_the_same_answers(answer: object) -> None:
    """Whatever the one takes the other takes: a generated client is never refused by us, and never too lenient."""
    body = {"answers": [answer]}
    try:
        parse_answers(json.dumps(body).encode())
        taken = True
    except AnswerMalformed:
        taken = False

    assert valid("Answers", body) is taken


def test_only_a_response_answers_a_status_query() -> None:
    """The description offers no way to answer one later, since a callback confirms nothing."""
    assert set(OPENAPI["webhooks"]["status"]["post"]["responses"]) == {"200", "204"}
    assert "a callback confirms nothing" in PAGE


def test_an_answer_with_a_key_too_many_is_told_so() -> None:
    """The words fit the mistake: nothing is missing."""
    with pytest.raises(AnswerMalformed, match="has keys other than `reference`, `outcome` and `reason`"):
        parse_answers(json.dumps({"answers": [{"reference": REF, "outcome": "clear", "note": "x"}]}).encode())


def test_a_url_of_another_scheme_is_told_which() -> None:
    """Also one of this machine, whose address is not what is wrong."""
    with pytest.raises(UrlMalformed, match="begins with ftp://, not with https://"):
        read_endpoint("ftp://127.0.0.1/x")


def test_description_and_code_want_the_same_ids() -> None:
    """The pattern of a webhook-id says what the code demands."""
    ids = ["msg_abcdefghijklmnop", "msg_" + "1" * 16, "msg_a1234567aaaaaaaaaa", "msg_short", "evt_abcdefghijklmnop", "msg_" + "a" * 65]

    taken = [bool(signing._ID.match(each)) and not signing._NUMBER_LIKE.search(each) for each in ids]
    assert [valid("WebhookId", each) for each in ids] == taken
    assert valid("WebhookId", signing.new_delivery_id())

"""The test vectors of examples/verify: made by a script anybody can read, and true of our own code."""

import importlib
import json
from base64 import b64decode
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from fallow.domain.errors import AnswerMalformed, SettingRefused, SignatureRefused
from fallow.platforms import signing
from fallow.platforms.signing import PublicKey, SigningKey, receive, sign

FOLDER = Path(__file__).parents[2] / "examples" / "verify"
VECTORS: dict[str, Any] = json.loads((FOLDER / "vectors.json").read_text("utf-8"))
VERIFY: list[dict[str, Any]] = VECTORS["verify"]
V1A, V1 = ([case for case in VERIFY if case["scheme"] == scheme] for scheme in ("v1a", "v1"))
#: What reads a shared secret, once the engine knows HMAC.
HMAC_KEY: Any = getattr(signing, "HmacKey", None)
HEADERS = {"webhook-id": "id", "webhook-timestamp": "timestamp", "webhook-signature": "signature"}
#: What must be among the refused, whichever the scheme (reliability.md sections 1.0.5 and D5).
HOSTILE = (
    *("timestamp-fraction", "timestamp-underscores", "base64-junk-inside", "base64-second-spelling", "signature-truncated"),
    *("signature-extended", "signature-scheme-swapped", "signature-empty", "signature-hundred", "body-made-longer", "clock+301"),
)


@pytest.fixture(name="script")
def the_script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module that makes the vectors."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("make_vectors")


def verdict(case: dict[str, Any]) -> str:
    """Return what our own code makes of a message."""
    headers = {name: case[field] for name, field in HEADERS.items() if case[field] is not None}
    keys = [(HMAC_KEY if text.startswith("whsec_") else PublicKey).from_text(text) for text in case["keys"]]
    try:
        receive(headers, b64decode(case["body_base64"]), keys, datetime.fromtimestamp(case["now"], UTC), VECTORS["window"])
    except (SignatureRefused, AnswerMalformed):
        return "refused"
    return "ok"


def test_the_vectors_are_what_the_script_makes(script: ModuleType) -> None:
    """Nobody edited either file by hand: both can be made again, byte for byte."""
    assert (FOLDER / "vectors.json").read_text("utf-8") == script.as_json()
    assert (FOLDER / "vectors.tsv").read_text("utf-8") == script.as_tsv()


def test_there_are_enough_of_each_kind() -> None:
    """Each scheme has at least 20 good and 40 bad messages under names of their own, every known hostile form among the bad."""
    counted = Counter((case["scheme"], case["expected"]) for case in VERIFY)
    refused = {case["name"] for case in VERIFY if case["expected"] == "refused"}

    assert len({case["name"] for case in VERIFY}) == len(VERIFY)
    assert f"There are {len(VERIFY)} messages to\nverify" in (FOLDER.parents[1] / "docs" / "partner-kit.md").read_text("utf-8")
    for scheme in ("v1a", "v1"):
        assert counted[scheme, "ok"] >= 20
        assert counted[scheme, "refused"] >= 40
        assert {f"{scheme}-{name}" for name in HOSTILE} <= refused


@pytest.mark.parametrize("case", V1A, ids=lambda case: case["name"])
def test_our_own_code_agrees(case: dict[str, Any]) -> None:
    """The engine takes and refuses exactly what the vectors tell platforms to take and refuse."""
    assert verdict(case) == case["expected"]


@pytest.mark.skipif(HMAC_KEY is None, reason="the engine has no HMAC key yet (fallow.platforms.signing.HmacKey)")
@pytest.mark.parametrize("case", V1, ids=lambda case: case["name"])
def test_our_own_code_agrees_on_v1_once_it_has_an_hmac_key(case: dict[str, Any]) -> None:
    """Under shared secrets too the engine takes and refuses exactly what the vectors say."""
    assert verdict(case) == case["expected"]


@pytest.mark.parametrize("case", VECTORS["sign"], ids=lambda case: case["name"])
def test_what_is_signed_is_what_we_or_the_reference_would_sign(case: dict[str, Any]) -> None:
    """Our own signer makes the v1a headers, and the package of Standard Webhooks makes the v1 ones."""
    at, body = datetime.fromtimestamp(case["timestamp"], UTC), b64decode(case["body_base64"])
    if case["secret"].startswith("whsec_"):
        made = Webhook(case["secret"]).sign(case["id"], at, body.decode())
    else:
        made = sign(SigningKey.from_text(case["secret"]), case["id"], at, body)["webhook-signature"]

    assert made == case["signature"]


def test_a_shared_secret_is_no_public_key() -> None:
    """Whoever registers a `whsec_` secret where a public key belongs is refused, so the v1 vectors are for HMAC verifiers only."""
    for text in {key for case in VERIFY if case["scheme"] == "v1" for key in case["keys"]}:
        with pytest.raises(SettingRefused):
            PublicKey.from_text(text)

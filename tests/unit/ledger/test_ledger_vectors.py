"""The 196 cases of transparency-dev/merkle, which lie beside the checkout where they lie at all."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from fallow.domain.errors import ProofRefused
from fallow.ledger.proofs import verify_consistency, verify_inclusion

FOLDER = Path(__file__).parents[4] / "shared" / "vectors" / "merkle"
WHY = "the vectors of transparency-dev/merkle are not at ../shared/vectors/merkle, beside the checkout"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=WHY)


def cases(kind: str) -> list[Any]:
    """Return every case of a kind, named by its path."""
    return [pytest.param(path, id=str(path.relative_to(FOLDER / kind).with_suffix(""))) for path in sorted((FOLDER / kind).rglob("*.json"))]


def octets(text: str | None) -> bytes:
    """Return what base64 stands for; the vectors write nothing as null."""
    return b64decode(text or "")


def holds(case: dict[str, Any]) -> bool:
    """Return our verdict."""
    proof = [octets(each) for each in case["proof"] or ()]
    try:
        if "leafIdx" in case:
            verify_inclusion(octets(case["leafHash"]), case["leafIdx"], case["treeSize"], proof, octets(case["root"]))
        else:
            verify_consistency(case["size1"], case["size2"], proof, octets(case["root1"]), octets(case["root2"]))
    except ProofRefused:
        return False
    return True


def test_all_of_them_are_there() -> None:
    """There are 98 cases of each kind, and some of each verdict."""
    for kind in ("inclusion", "consistency"):
        verdicts = [json.loads(path.read_text("utf-8"))["wantErr"] for path in (FOLDER / kind).rglob("*.json")]
        assert len(verdicts) == 98
        assert set(verdicts) == {True, False}


@pytest.mark.parametrize("path", cases("inclusion"))
def test_inclusion(path: Path) -> None:
    """The verdict on a proof of inclusion is that of the vectors."""
    case = json.loads(path.read_text("utf-8"))

    assert holds(case) is not case["wantErr"]


@pytest.mark.parametrize("path", cases("consistency"))
def test_consistency(path: Path) -> None:
    """The verdict on a proof of consistency is that of the vectors."""
    case = json.loads(path.read_text("utf-8"))

    assert holds(case) is not case["wantErr"]

"""The verification snippets of examples/verify, each run by its language's real toolchain against the test vectors."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "verify"
VECTORS = (FOLDER / "vectors.tsv").read_text("utf-8")
SNIPPETS = {
    "python": [sys.executable, "python/verify.py"],
    "node": ["node", "node/verify.mjs"],
    "go": ["go", "run", "go/verify.go"],
    "java": ["java", "java/Verify.java"],
}
#: A line of the vectors and the same with another verdict: (kind, name, expected) -> expected.
FALSE = {"ok": "refused", "refused": "ok"}


def run(language: str, vectors: str) -> subprocess.CompletedProcess[str]:
    """Run a snippet on vectors; skip where its language is not installed."""
    command = SNIPPETS[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed, so the {language} snippet can't be run")
    return subprocess.run(command, input=vectors, capture_output=True, text=True, timeout=120, check=False, cwd=FOLDER)


def cases() -> list[list[str]]:
    """Return the cells of every case: kind, name, expected, and the rest."""
    return [line.split("\t") for line in VECTORS.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("language", SNIPPETS)
def test_a_snippet_agrees_with_every_vector(language: str) -> None:
    """Each message gets the verdict that the vectors state, and each signature comes out as they have it."""
    ran = run(language, VECTORS)

    assert [line.split("\t")[:2] for line in ran.stdout.splitlines()] == [[name, expected] for _, name, expected, *_ in cases()], ran.stderr
    assert ran.returncode == 0


@pytest.mark.parametrize("language", SNIPPETS)
def test_a_snippet_says_where_it_differs(language: str) -> None:
    """Vectors with a false expectation are named and end the program with 1, so that agreement means something."""
    wrong = [[kind, name, FALSE.get(expected, "v1,AAAA"), *rest] for kind, name, expected, *rest in cases()]
    ran = run(language, "".join("\t".join(cells) + "\n" for cells in wrong))

    assert [line.split("\t")[0] for line in ran.stdout.splitlines() if "but expected: " in line] == [name for _, name, *_ in cases()]
    assert ran.returncode == 1


@pytest.mark.parametrize("language", SNIPPETS)
def test_a_snippet_needs_the_standard_library_only(language: str) -> None:
    """Whoever copies the file installs nothing; Python alone has no Ed25519 and needs the package cryptography."""
    text = (FOLDER / SNIPPETS[language][-1]).read_text("utf-8")
    imported = [line for line in text.splitlines() if line.startswith(("import ", "from ", '\t"'))]
    foreign = ("github.com", "cryptography", "npm", "org.", "com.")

    assert imported
    assert [line for line in imported if any(word in line for word in foreign) and "cryptography" not in line] == []
    assert any("cryptography" in line for line in imported) == (language == "python")

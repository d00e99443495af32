"""Write the test vectors beside this script, the same at every run: `python examples/verify/make_vectors.py`.

`vectors.json` is for people and for JSON readers, `vectors.tsv` holds the same for languages without one. Written from the words of
docs/platforms.md and Standard Webhooks 1.0.0 with `cryptography` alone; it shares no code with the engine.
"""

import json
from base64 import b64encode
from pathlib import Path

from vector_cases import Case, signing_cases, verifying_cases

HERE = Path(__file__).parent
_COLUMNS = "verify|sign, name, expected, keys, now, id, timestamp, signature header, body; the last four in base64, - for a missing header"


def as_json() -> str:
    """Return the text of `vectors.json`."""
    verifying = [_verifying(case) for case in verifying_cases()]
    signing = [
        {"name": name, "secret": secret, "id": message_id, "timestamp": at, "body_base64": _text(body), "signature": signature}
        for name, secret, message_id, at, body, signature in signing_cases()
    ]
    return json.dumps({"window": 300, "verify": verifying, "sign": signing}, indent=1, ensure_ascii=True) + "\n"


def as_tsv() -> str:
    """Return the text of `vectors.tsv`."""
    lines = [f"# {_COLUMNS}"]
    for case in verifying_cases():
        headers = [_cell(each) for each in (case.id, case.timestamp, case.signature)]
        fields = ("verify", case.name, "ok" if case.ok else "refused", " ".join(case.keys), str(case.now), *headers, _text(case.body))
        lines.append("\t".join(fields))
    for name, secret, message_id, at, body, signature in signing_cases():
        lines.append("\t".join(("sign", name, signature, secret, "0", _cell(message_id), _cell(str(at)), "-", _text(body))))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both files."""
    (HERE / "vectors.json").write_text(as_json(), "utf-8")
    (HERE / "vectors.tsv").write_text(as_tsv(), "utf-8")


def _verifying(case: Case) -> dict[str, object]:
    return {
        "name": case.name,
        "scheme": case.scheme,
        "expected": "ok" if case.ok else "refused",
        "why": case.why,
        "keys": list(case.keys),
        "now": case.now,
        "id": case.id,
        "timestamp": case.timestamp,
        "signature": case.signature,
        "body_base64": _text(case.body),
    }


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


def _cell(header: str | None) -> str:
    return "-" if header is None else _text(header.encode())


if __name__ == "__main__":
    main()

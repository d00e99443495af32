"""Texts that can be written in more than one way, read in one only."""

import base64
import binascii


def read_base64(text: str) -> bytes | None:
    """Decode base64 in its canonical spelling; None for any other: a second spelling of a signature would be a second evidence."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None

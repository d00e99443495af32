"""What binds a cycle to its number without naming it: a salted commitment in its first event, opened for an auditor by the salt.

Numbers are so few that a plain hash of one is the number; with 256 bits of salt, another for each cycle, a commitment tells
nothing, and two cycles of one number can't be told to be so.
"""

import hashlib
import hmac

from fallow.domain.number import E164

#: Length of a salt in bytes.
SALT = 32
_WHAT = b"fallow.number.v1\n"


def commit(number: E164, salt: bytes) -> str:
    """Return the commitment, SHA-256 in lower-case hex over a line that says what it is, the salt and the number with its ``+``.

    Raises:
        ValueError: the salt has another length, by which another number could be meant.
    """
    if len(salt) != SALT:
        what = f"a salt has {SALT} bytes"
        raise ValueError(what)
    return hashlib.sha256(_WHAT + salt + number.text.encode("ascii")).hexdigest()


def opens(commitment: str, number: E164, salt: bytes) -> bool:
    """Tell whether a commitment is one to ``number`` with ``salt``."""
    return len(salt) == SALT and hmac.compare_digest(commitment, commit(number, salt))

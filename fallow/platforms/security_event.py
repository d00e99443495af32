"""Security Event Tokens (RFC 8417) as signed JWTs (RFC 7515): written with Ed25519, verified with Ed25519 or RSA.

A token never chooses how it is verified: each registered key knows one algorithm, the signature is tried with every key over the
bytes as they came, and only a token that one of them has signed is read; its header must then name that very algorithm.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fallow.domain.errors import AnswerMalformed
from fallow.platforms.rsa_key import RsaKey
from fallow.platforms.signing import MOST_KEYS, PublicKey, SigningKey
from fallow.platforms.strict import could_be_a_number, read_base64url, read_object, unproved, write_base64url
from fallow.platforms.verifying import VerifyingKey

#: Longest token read, in bytes.
LONGEST_TOKEN = 16 * 1024
#: Media type of one token (RFC 8417 section 2.3), and the ``typ`` of its header.
MEDIA_TYPE = "application/secevent+jwt"
_TYP = "secevent+jwt"
_PARTS = 3
_LONGEST_KID = 200
# Ed25519 has two names: RFC 8037 calls it EdDSA, RFC 9864 by its own.
_ALGORITHMS: Mapping[type, frozenset[str]] = {PublicKey: frozenset({"EdDSA", "Ed25519"}), RsaKey: frozenset({"RS256"})}


class Verified(NamedTuple):
    """A token whose signature is good.

    Attributes:
        key: whose it is.
        signature: the third part, as it came.
        claims: the second part's bytes, not read yet.
    """

    key: VerifyingKey
    signature: str
    claims: bytes


def write(key: SigningKey, claims: Mapping[str, Any]) -> bytes:
    """Return the signed token that says ``claims``."""
    header = {"alg": "EdDSA", "typ": _TYP, "kid": key.public.fingerprint}
    signed = ".".join(write_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    signature = Ed25519PrivateKey.from_private_bytes(key.seed).sign(signed.encode())
    return f"{signed}.{write_base64url(signature)}".encode()


def verify(keys: Sequence[VerifyingKey], token: bytes, most: int = MOST_KEYS) -> Verified:
    """Verify a token, whenever that may be, under ``most`` keys at most: for what is kept, all that counted when it came.

    Raises:
        SignatureRefused: none of ``keys`` signed it, or its header is not one that a token of ours may have.
    """
    parts = token.split(b".") if len(token) <= LONGEST_TOKEN and token.isascii() else []
    decoded = [read_base64url(part.decode()) for part in parts]
    if len(parts) != _PARTS or None in decoded or not 0 < len(keys) <= most:
        raise unproved()
    header, claims, signature = (part or b"" for part in decoded)
    signed = token.rpartition(b".")[0]
    good = [key for key in keys if type(key) in _ALGORITHMS and key.verifies(signature, signed)]
    if not good or not _fits(header, good[0]):
        raise unproved()
    return Verified(good[0], parts[2].decode(), claims)


def _fits(header: bytes, key: VerifyingKey) -> bool:
    """Tell whether a signed header is plain: another ``typ`` is another kind of token, and what ``crit`` or ``jwk`` ask is not done."""
    try:
        read = read_object(header, LONGEST_TOKEN)
    except AnswerMalformed:
        return False
    kid = read.get("kid", "")
    named = isinstance(kid, str) and len(kid) <= _LONGEST_KID and (kid == key.fingerprint or not could_be_a_number(kid))
    plain = {"alg", "typ"} <= read.keys() <= {"alg", "typ", "kid"}
    alg = read.get("alg")  # whatever JSON can say: a list can't even be looked for in a set
    return plain and named and isinstance(alg, str) and alg in _ALGORITHMS[type(key)] and read["typ"] == _TYP

"""The messages behind the test vectors: good ones, and every way we know to get one wrong. Their keys are public: never use them."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NOW = 1767225600
ID = "msg_exampleExampleExample1"
BODY = b'{"answers":[{"reference":"ref_abcdefghijklmnopqrstuvwxyz","outcome":"clear"}]}'
_ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's group (RFC 8032, section 5.1)
_FLAT = str.maketrans({"+": "-", "/": "_"})


def _secret(name: str) -> bytes:
    return hashlib.sha256(f"fallow test vector {name}".encode()).digest()


_OURS, _OTHERS, _RETIRED, _SECOND, _THIRD = (
    Ed25519PrivateKey.from_private_bytes(_secret(each)) for each in ("ours", "another platform's", "retired", "second", "third")
)
_SHARED, _OTHER_SHARED = _secret("shared"), _secret("another shared")


def whpk(key: Ed25519PrivateKey) -> str:
    """Return a public key as it is exchanged."""
    return "whpk_" + b64encode(key.public_key().public_bytes_raw()).decode()


def whsk(key: Ed25519PrivateKey) -> str:
    """Return a secret key as it is kept."""
    return "whsk_" + b64encode(key.private_bytes_raw()).decode()


def whsec(secret: bytes) -> str:
    """Return a shared secret as it is exchanged."""
    return "whsec_" + b64encode(secret).decode()


@dataclass(frozen=True)
class Case:
    """One message, and what a verifier must make of it.

    Attributes:
        name: of the case.
        scheme: `v1a` (Ed25519) or `v1` (HMAC): which verifiers it is for.
        ok: whether it must be accepted.
        why: the reason, for people.
        keys: the active keys of its sender.
        now: the verifier's clock, unix seconds.
        id: the header `webhook-id`; None where it is missing.
        timestamp: the header `webhook-timestamp`, its text; None where it is missing.
        signature: the header `webhook-signature`; None where it is missing.
        body: the bytes.
    """

    name: str
    scheme: str
    ok: bool
    why: str
    keys: tuple[str, ...]
    now: int = NOW
    id: str | None = ID
    timestamp: str | None = str(NOW)
    signature: str | None = ""
    body: bytes = BODY


def ed25519(key: Ed25519PrivateKey = _OURS, message_id: str = ID, at: str = str(NOW), body: bytes = BODY) -> bytes:
    """Return the 64 bytes of a signature."""
    return key.sign(f"{message_id}.{at}.".encode() + body)


def sha256(secret: bytes = _SHARED, message_id: str = ID, at: str = str(NOW), body: bytes = BODY) -> bytes:
    """Return the 32 bytes of an HMAC."""
    return hmac.digest(secret, f"{message_id}.{at}.".encode() + body, "sha256")


def v1a(raw: bytes | None = None) -> str:
    """Return a token; a good one where nothing is given."""
    return "v1a," + b64encode(ed25519() if raw is None else raw).decode()


def v1(raw: bytes | None = None) -> str:
    """Return a token; a good one where nothing is given."""
    return "v1," + b64encode(sha256() if raw is None else raw).decode()


def signing_cases() -> Iterator[tuple[str, str, str, int, bytes, str]]:
    """Yield name, secret, id, timestamp, body and the header that must come out: both schemes are deterministic."""
    yield "sign-v1a", whsk(_OURS), ID, NOW, BODY, v1a()
    yield "sign-v1a-with-public-half", "whsk_" + b64encode(_secret("ours") + b64decode(whpk(_OURS)[5:])).decode(), ID, NOW, BODY, v1a()
    yield "sign-v1a-no-text", whsk(_OURS), ID, NOW, b"\xff\x00", v1a(ed25519(body=b"\xff\x00"))
    yield "sign-v1", whsec(_SHARED), ID, NOW, BODY, v1()
    yield "sign-v1-empty", whsec(_SHARED), ID, NOW, b"", v1(sha256(body=b""))


def verifying_cases() -> Iterator[Case]:
    """Yield every case."""
    for scheme, good, token in (("v1a", _good_v1a(), v1a), ("v1", _good_v1(), v1)):
        yield from _published(scheme)
        yield good
        yield from _clocks(good)
        yield from _timestamps(good)
        yield from _identifiers(good)
        yield from _bodies(good)
        yield from _tokens(good, token())
        yield from _encodings(good, token())
    yield from _keys_of_v1a(_good_v1a())
    yield from _keys_of_v1(_good_v1())


def _good_v1a() -> Case:
    return Case("v1a-good", "v1a", ok=True, why="signed by the sender just now", keys=(whpk(_OURS),), signature=v1a())


def _good_v1() -> Case:
    return Case("v1-good", "v1", ok=True, why="signed with the shared secret just now", keys=(whsec(_SHARED),), signature=v1())


def _resigned(good: Case, message_id: str = ID, at: str = str(NOW), body: bytes = BODY) -> str:
    if good.scheme == "v1a":
        return v1a(ed25519(message_id=message_id, at=at, body=body))
    return v1(sha256(message_id=message_id, at=at, body=body))


def _of(good: Case, name: str, why: str, *, ok: bool = False) -> Case:
    return replace(good, name=f"{good.scheme}-{name}", ok=ok, why=why)


def _published(scheme: str) -> Iterator[Case]:
    """Yield the messages that Svix and Standard Webhooks publish with their own implementations."""
    key = {"v1a": "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "v1": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}[scheme]
    signature = {
        "v1a": "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
        "v1": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }[scheme]
    case = Case(f"{scheme}-published", scheme, ok=True, why="published by another implementation", keys=(key,), now=1614265330)
    yield replace(case, id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp="1614265330", signature=signature, body=b'{"test": 2432232314}')


def _clocks(good: Case) -> Iterator[Case]:
    for skew in (-300, -299, 299, 300):
        yield replace(_of(good, f"clock{skew:+d}", "within 300 s of the verifier's clock", ok=True), now=NOW - skew)
    for skew in (-86400, -301, 301, 600):
        yield replace(_of(good, f"clock{skew:+d}", "further than 300 s from the verifier's clock"), now=NOW - skew)


def _timestamps(good: Case) -> Iterator[Case]:
    """Yield timestamps of another form, each signed as it is written, so that nothing else is wrong."""
    texts = {
        "fraction": f"{NOW}.7",
        "underscores": "1_767_225_600",
        "plus": f"+{NOW}",
        "minus": f"-{NOW}",
        "leading-zero": f"0{NOW}",
        "space-before": f" {NOW}",
        "space-after": f"{NOW} ",
        "newline-after": f"{NOW}\n",
        "exponent": "1.7672256e9",
        "zero": "0",
        "hexadecimal": "0x6955b900",
        "milliseconds": f"{NOW}000",
        "empty": "",
        "word": "now",
        "not-a-number": "NaN",
        "full-width": "".join(chr(0xFF10 + int(digit)) for digit in str(NOW)),
        "arabic-indic": "١٧٦٧٢٢٥٦٠٠",
        "endless": "1" * 400,
    }
    for name, text in texts.items():
        case = _of(good, f"timestamp-{name}", "the timestamp is not whole seconds in plain digits")
        yield replace(case, timestamp=text, signature=_resigned(good, at=text))
    yield replace(_of(good, "timestamp-missing", "there is no timestamp"), timestamp=None)
    yield replace(_of(good, "timestamp-another", "the signature is for another second"), timestamp=str(NOW + 1))


def _identifiers(good: Case) -> Iterator[Case]:
    """Yield ids of another form, each signed as it is written."""
    texts = {
        "short": "msg_abcdefghijklmno",
        "long": "msg_" + "a" * 65,
        "prefix-missing": "exampleExampleExample1",
        "empty": "",
        "dot": "msg_exampleExample.Example1",
        "digits-only": "msg_" + "12345x".replace("x", "67890") * 2,
        "hyphen": f"{ID}-",
        "seven-digits": "msg_exampleExample1234567",
        "newline": f"{ID}\n",
        "foreign-letter": "msg_exampleExampleExampleé",
        "splice": f"{ID}.{NOW}",
    }
    for name, text in texts.items():
        case = _of(good, f"id-{name}", "the id has another form, in which it could be a phone number or hide a dot")
        yield replace(case, id=text, signature=_resigned(good, message_id=text))
    longest = "msg_" + "a" * 64
    yield replace(_of(good, "id-longest", "64 letters are allowed", ok=True), id=longest, signature=_resigned(good, message_id=longest))
    yield replace(_of(good, "id-missing", "there is no id"), id=None)
    yield replace(_of(good, "id-another", "the signature is for another id"), id="msg_exampleExampleExample2")


def _bodies(good: Case) -> Iterator[Case]:
    for name, body in {"empty": b"", "no-text": b"\xff\x00\xfe", "chinese": "解绑".encode(), "newline": BODY + b"\n"}.items():
        yield replace(_of(good, f"body-{name}", "the body is bytes", ok=True), body=body, signature=_resigned(good, body=body))
    for name, body in {"longer": BODY + b" ", "shorter": BODY[:-1], "gone": b"", "another": BODY.replace(b"clear", b"refused")}.items():
        yield replace(_of(good, f"body-made-{name}", "the signature is for another body"), body=body)
    yield replace(_of(good, "body-spliced", "a byte went from the body to the timestamp"), timestamp=f"{NOW}.", body=BODY[1:])


def _tokens(good: Case, token: str) -> Iterator[Case]:
    scheme, _, text = token.partition(",")
    accepted = {
        "garbage-before": f"garbage {token}",
        "garbage-after": f"{token} v1,%%%",
        "comma-before": f", {token}",
        "wrong-before": f"{scheme},{b64encode(bytes(len(text) // 4 * 3 - text.count('='))).decode()} {token}",
        "unknown-scheme-before": f"v2,{text} {token}",
        "two-spaces": f" {token} ",
        "eighth": "x " * 7 + token,
        "bad-base64-before": f"{scheme},a {scheme},==== {token}",
        "foreign-letters-before": f"{scheme},é {token}",
    }
    for name, header in accepted.items():
        why = "one good signature suffices, whatever stands beside it"
        yield replace(_of(good, f"signature-{name}", why, ok=True), signature=header)
    refused = {
        "ninth": "x " * 8 + token,
        "first-of-nine": token + " x" * 8,
        "hundred": " ".join([token] * 100),
        "long-header": f"{token} {'x' * 2048}",
        "empty": "",
        "scheme-missing": text,
        "scheme-alone": f"{scheme},",
        "space": " ",
        "upper-case": f"{scheme.upper()},{text}",
        "equals-sign": f"{scheme}={text}",
        "unknown-scheme": f"v2,{text}",
        "semicolon": f"{token};{token}",
        "tab-between": f"x\t{token}",
        "two-commas": f"{scheme},,{text}",
        "quoted": f'"{token}"',
        "scheme-swapped": f"{'v1' if scheme == 'v1a' else 'v1a'},{text}",
    }
    for name, header in refused.items():
        why = "more than 8 signatures" if name in {"ninth", "first-of-nine", "hundred"} else "no token is a signature of the form asked"
        why = "a header over 2,048 characters" if name == "long-header" else why
        yield replace(_of(good, f"signature-{name}", why), signature=header)
    yield replace(_of(good, "signature-missing", "there is no signature"), signature=None)


def _encodings(good: Case, token: str) -> Iterator[Case]:
    """Yield the same signature written otherwise, and others nearly like it."""
    scheme, _, text = token.partition(",")
    raw = b64decode(text)
    last = len(text.rstrip("=")) - 1
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    second = text[:last] + alphabet[alphabet.index(text[last]) + 1] + text[last + 1 :]
    written = {
        "padding-missing": text.rstrip("="),
        "padding-doubled": f"{text}==",
        "junk-inside": f"{text[:8]}*{text[8:]}",
        "newline-inside": f"{text[:8]}\n{text[8:]}",
        "newline-after": f"{text}\n",
        "hexadecimal": raw.hex(),
        "second-spelling": second,
        "full-width": f"{text[:-1]}\uff1d",
    }
    for name, spelled in written.items():
        yield replace(_of(good, f"base64-{name}", "the base64 is not the one canonical spelling"), signature=f"{scheme},{spelled}")
    near = {
        "truncated": raw[:-1],
        "extended": raw + b"\0",
        "flipped": raw[:-1] + bytes([raw[-1] ^ 1]),
        "zeros": bytes(len(raw)),
        "half": raw[:16],
    }
    for name, other in near.items():
        signature = f"{scheme},{b64encode(other).decode()}"
        yield replace(_of(good, f"signature-{name}", "these bytes are no signature of the message"), signature=signature)
    body = next(
        each for each in (b"%d" % number for number in range(99)) if "/" in _resigned(good, body=each) and "+" in _resigned(good, body=each)
    )
    spelled = _resigned(good, body=body).translate(_FLAT)
    yield replace(_of(good, "base64-for-urls", "the base64 is not the one canonical spelling"), body=body, signature=spelled)


def _keys_of_v1a(good: Case) -> Iterator[Case]:
    ours, others, retired, second, third = map(whpk, (_OURS, _OTHERS, _RETIRED, _SECOND, _THIRD))
    yield replace(_of(good, "keys-second-of-two", "any active key will do", ok=True), keys=(second, ours))
    yield replace(_of(good, "keys-fourth-of-four", "any active key will do", ok=True), keys=(second, third, retired, ours))
    yield replace(_of(good, "keys-five", "more than 4 keys are a mistake of the verifier's"), keys=(second, third, retired, others, ours))
    yield replace(_of(good, "keys-none", "there is no key to verify with"), keys=())
    yield replace(_of(good, "key-of-another-platform", "signed by another platform"), signature=v1a(ed25519(_OTHERS)))
    by_retired = v1a(ed25519(_RETIRED))
    yield replace(_of(good, "key-retired", "signed with a key that is active no more"), signature=by_retired, keys=(ours, second))
    yield replace(_of(good, "key-old-and-new", "signed with both while keys change", ok=True), signature=f"{by_retired} {v1a()}")
    raw = ed25519()
    more = raw[:32] + (int.from_bytes(raw[32:], "little") + _ORDER).to_bytes(32, "little")
    yield replace(_of(good, "signature-not-reduced", "a second form of a signature must not count (RFC 8032, 5.1.7)"), signature=v1a(more))
    public = _OURS.public_key().public_bytes_raw()
    for name, token in {"hmac-with-public-key": v1(sha256(public)), "hmac-as-ed25519": v1a(sha256(public) * 2)}.items():
        yield replace(_of(good, f"swap-{name}", "a public key is no shared secret: anybody has it"), signature=token)
    yield replace(_of(good, "beside-v1", "a token of another scheme does not spoil it", ok=True), signature=f"{v1()} {v1a()}")


def _keys_of_v1(good: Case) -> Iterator[Case]:
    shared, other = whsec(_SHARED), whsec(_OTHER_SHARED)
    yield replace(_of(good, "keys-second-of-two", "any active secret will do", ok=True), keys=(other, shared))
    yield replace(_of(good, "keys-none", "there is no secret to verify with"), keys=())
    yield replace(_of(good, "secret-of-another", "signed with another secret"), signature=v1(sha256(_OTHER_SHARED)))
    text = whsec(_SHARED)
    for name, raw in {"not-decoded": text.removeprefix("whsec_").encode(), "with-prefix": text.encode()}.items():
        yield replace(_of(good, f"secret-{name}", "the secret is the bytes behind the base64"), signature=v1(sha256(raw)))
    digest = hmac.digest(_SHARED, f"{ID}.{NOW}.".encode() + BODY, "sha512")
    yield replace(_of(good, "sha512", "the hash is SHA-256"), signature=v1(digest))
    yield replace(_of(good, "sha512-cut", "the hash is SHA-256"), signature=v1(digest[:32]))
    yield replace(_of(good, "body-alone", "id and timestamp are signed too"), signature=v1(hmac.digest(_SHARED, BODY, "sha256")))
    yield replace(_of(good, "beside-v1a", "a token of another scheme does not spoil it", ok=True), signature=f"{v1a()} {v1()}")

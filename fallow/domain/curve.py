"""Public keys of Ed25519 under which anybody can sign."""

# Points of small order (sign bit cleared), RFC 7748 section 7 and RFC 8032 section 5.1.7.
_WEAK_KEYS = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
)


def is_weak(raw: bytes) -> bool:
    """Tell whether these 32 octets are a public key that has no one owner."""
    return raw[:-1] + bytes([raw[-1] & 0x7F]) in _WEAK_KEYS

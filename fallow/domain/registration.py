"""What happens to a platform's registration, as facts in past tense.

Bodies name keys of the table and fingerprints; of values only `contact`.

A "key" is a key of the registration's table; a "fingerprint" is the SHA-256 of a public key or a shared secret, which people compare out
of band.
"""

from enum import StrEnum


class RegistryKind(StrEnum):
    """Every kind of registry event and the keys of its body. ``by`` and ``second`` are opaque ids of people, or "founding" or "file"."""

    #: proposal_id, by, changes (keys), decommission (bool); for a decommission also reference
    PLATFORM_PROPOSED = "PlatformProposed"
    #: proposal_id, by, fingerprint (of the key that signed; "" where a folder was tried)
    PLATFORM_PINGED = "PlatformPinged"
    #: revision, by, second, changes (keys); where people decided also proposal_id
    PLATFORM_REGISTERED = "PlatformRegistered"
    #: revision, added, removed (fingerprints, sorted), kinds (by fingerprint: "ed25519", "rsa-sha256", "hmac-sha256")
    KEYS_CHANGED = "KeysChanged"
    #: revision, by, changes (keys); where whom to call changed also contact (before, after): one person could send callers astray
    TERMS_SET = "TermsSet"
    #: revision, by, second, reference; where people decided also proposal_id
    PLATFORM_DECOMMISSIONED = "PlatformDecommissioned"
    #: proposal_id, by, second, reference
    PROPOSAL_DENIED = "ProposalDenied"
    #: by, reference
    PLATFORM_PAUSED = "PlatformPaused"
    #: by, reference
    PLATFORM_RESUMED = "PlatformResumed"


#: What one operator may set: how fast and how often is asked, and whom to call. Everything else takes two people.
TERMS = frozenset({"batch", "rate_per_second", "lanes", "remind_after", "reminders", "timeout", "contact", "language"})
#: Values that are sealed wherever a registration is kept, and shown to nobody.
SECRETS = ("number_key", "shared_secret")
#: Who "proposed" and "approved" what was taken from ``platforms.toml``: when the registry was founded, and in a demo database.
FOUNDING, FILE = "founding", "file"

"""The plays of the sandbox by name, with what each is about. Light: the command line lists them. Standard library only."""

from enum import StrEnum


class Play(StrEnum):
    """One thing that the engine, or somebody who pretends to be it, does to a platform."""

    PING = "ping"
    ONE = "one"
    KEYED_HASH = "keyed-hash"
    REMINDER = "reminder"
    REPEAT = "repeat"
    LATE_REPEAT = "late-repeat"
    AT_ONCE = "at-once"
    UNKNOWN_REFERENCE = "unknown-reference"
    THOUSAND = "thousand"
    TWO_SIGNATURES = "two-signatures"
    NEW_FIELD = "new-field"
    CUT = "cut"
    SLOW_LINE = "slow-line"
    BUSY_CALLBACK = "busy-callback"
    STATUS = "status"
    STATUS_UNKNOWN = "status-unknown"
    WRONG_SIGNATURE = "wrong-signature"
    ALTERED_BODY = "altered-body"
    NO_SIGNATURE = "no-signature"
    OLD_TIMESTAMP = "old-timestamp"
    EARLY_TIMESTAMP = "early-timestamp"
    STATUS_FORGED = "status-forged"


#: The plays in which somebody pretends to be the engine: nothing may be answered.
FORGED = frozenset(
    {Play.WRONG_SIGNATURE, Play.ALTERED_BODY, Play.NO_SIGNATURE, Play.OLD_TIMESTAMP, Play.EARLY_TIMESTAMP, Play.STATUS_FORGED}
)
#: The option without which a play has nothing to play with.
NEEDS: dict[Play, str] = {
    **dict.fromkeys((Play.STATUS, Play.STATUS_UNKNOWN, Play.STATUS_FORGED), "--status-url"),
    Play.KEYED_HASH: "--number-key",
}
#: What each play does, in the words of --help and of the verdicts.
ABOUT: dict[Play, str] = {
    Play.PING: "a challenge that only the holder of the platform's key can sign",
    Play.ONE: "one number",
    Play.KEYED_HASH: "the hash of a number that a test account is bound to, and of one that none is",
    Play.REMINDER: "one number, then the same as a reminder",
    Play.REPEAT: "two numbers, then the same references again in another batch",
    Play.LATE_REPEAT: "a reference again that was answered before",
    Play.AT_ONCE: "the same reference in two requests at the same time",
    Play.UNKNOWN_REFERENCE: "a reminder of a reference that the platform never saw",
    Play.THOUSAND: "one batch of 1,000 numbers, or of --batch",
    Play.TWO_SIGNATURES: "garbage and a wrong signature before the good one",
    Play.NEW_FIELD: "a request with fields that no page mentions yet",
    Play.CUT: "a connection that ends at the first byte of the answer, then the same again",
    Play.SLOW_LINE: "a request that stops half-way, with another meanwhile; its answer is read a few bytes at a time",
    Play.BUSY_CALLBACK: "a callback that is answered 503 the first time",
    Play.STATUS: "a status query about three numbers that were answered",
    Play.STATUS_UNKNOWN: "status queries about a reference that the platform never saw",
    Play.WRONG_SIGNATURE: "a request signed with another key",
    Play.ALTERED_BODY: "a request altered after it was signed",
    Play.NO_SIGNATURE: "a request without the three headers",
    Play.OLD_TIMESTAMP: "a well-signed request from an hour ago",
    Play.EARLY_TIMESTAMP: "a well-signed request from an hour ahead",
    Play.STATUS_FORGED: "a status query signed with another key",
}

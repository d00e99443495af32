"""Every error the engine expects, in one tree. Imports nothing.

::

    FallowError
    ├── InputRefused            the caller's input is wrong; the same input will be refused again
    │   ├── NumberMalformed · InstantMalformed · RowMalformed
    │   ├── PolicyRefused · MapRefused
    │   └── AnswerMalformed
    ├── CommandRefused          the lifecycle does not allow it now
    ├── PersonRefused           who asks may not, or must be somebody else
    │   └── SecondPersonNeeded
    ├── NotKnown                no such number, cycle, proposal, target
    ├── SignatureRefused        a message whose sender could not be proved
    ├── GateRefused             the evidence for RESELLABLE is not complete
    ├── EvidenceRefused         what somebody was shown of the ledger does not hold
    │   └── ProofRefused · NoteRefused · EntryRefused
    ├── SettingRefused          a setting, key or file of the installation is wrong
    ├── RequestRejected         a platform says that our request itself is wrong
    ├── WipeRefused             a record system refuses the change itself
    └── TargetUnavailable       a record system or platform could not be reached; try again
        └── LeaseLost           another sender has taken the target over

A message says what happened, to what (by opaque identifier, never by phone number), and the remedy.
"""

from typing import ClassVar


class FallowError(Exception):
    """Something the engine expects to go wrong.

    Attributes:
        code: stable name for machines; also the Temporal failure type and the problem+json ``type``.
        retryable: whether the same call can succeed later without anybody changing anything.
    """

    code: ClassVar[str] = "fallow-error"
    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, remedy: str) -> None:
        """Say what happened and what to do next."""
        super().__init__(f"{what} Remedy: {remedy}")
        self.what = what
        self.remedy = remedy


class InputRefused(FallowError):
    """The input itself is wrong."""

    code = "input-refused"


class NumberMalformed(InputRefused):
    """The text is not one unambiguous E.164 number."""

    code = "number-malformed"


class InstantMalformed(InputRefused):
    """The text is not an instant with an offset, or lies in the future."""

    code = "instant-malformed"


class RowMalformed(InputRefused):
    """A row of a file lacks a column or holds a value outside its list."""

    code = "row-malformed"


class PolicyRefused(InputRefused):
    """A policy that would weaken the gate, or can't be read."""

    code = "policy-refused"


class MapRefused(InputRefused):
    """A records or platforms map that can't be used."""

    code = "map-refused"


class AnswerMalformed(InputRefused):
    """A platform's answer that does not follow the protocol."""

    code = "answer-malformed"


class CommandRefused(FallowError):
    """The lifecycle does not allow this command in this state."""

    code = "command-refused"


class PersonRefused(FallowError):
    """The caller is not who must do this."""

    code = "person-refused"


class SecondPersonNeeded(PersonRefused):
    """The command takes two different people."""

    code = "second-person-needed"


class NotKnown(FallowError):
    """Nothing is known under that identifier, or the caller may not know it."""

    code = "not-known"


class SignatureRefused(FallowError):
    """The sender of a message could not be proved."""

    code = "signature-refused"


class GateRefused(FallowError):
    """The evidence for RESELLABLE is not complete."""

    code = "gate-refused"


class EvidenceRefused(FallowError):
    """What somebody was shown of the ledger does not hold, whoever made it so."""

    code = "evidence-refused"


class ProofRefused(EvidenceRefused):
    """A proof of the ledger's tree does not prove what it should, or can't be made."""

    code = "proof-refused"


class NoteRefused(EvidenceRefused):
    """A signed text (a checkpoint, a change of keys) can't be read, says another thing than it must, or is not signed as it must be."""

    code = "note-refused"


class EntryRefused(EvidenceRefused):
    """An entry of the ledger is not written in the one way that entries are."""

    code = "entry-refused"


class SettingRefused(FallowError):
    """A setting, key or file of this installation is wrong or missing."""

    code = "setting-refused"


class RequestRejected(FallowError):
    """A platform answered 4xx: repeating the same request can't mend it."""

    code = "request-rejected"


class WipeRefused(FallowError):
    """A record system was reached and refused the change itself: a foreign key, a trigger, a value it does not take."""

    code = "wipe-refused"


class TargetUnavailable(FallowError):
    """A record system or platform could not be reached or did not answer properly.

    Attributes:
        retry_after: seconds the target asked us to wait, or None.
    """

    code = "target-unavailable"
    retryable = True

    def __init__(self, what: str, *, remedy: str, retry_after: float | None = None) -> None:
        """Say what happened, what to do, and how long the target asked us to wait."""
        super().__init__(what, remedy=remedy)
        self.retry_after = retry_after


class LeaseLost(TargetUnavailable):
    """Another sender has taken over this target; its work goes on there."""

    code = "lease-lost"

"""Bodies and parameters of requests: every form is closed, every identifier has the form in which the engine made it.

Imports pydantic, FastAPI and the domain.
"""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from fallow.domain.claims import Channel, Ground
from fallow.domain.lifecycle import Command
from fallow.domain.number import E164
from fallow.intake.numbering import read_number

_OPAQUE = "[a-z2-7]{26}"
_CYCLE_ID = rf"^n_{_OPAQUE}/[1-9][0-9]{{0,4}}$"
#: No instant of a command lies outside; it also keeps offsets from overflowing the calendar.
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

NumberId = Annotated[str, Path(pattern=rf"^n_{_OPAQUE}$")]
CycleNo = Annotated[int, Path(ge=1, le=99_999)]
BatchId = Annotated[str, Path(pattern=rf"^b_{_OPAQUE}$")]
ProposalId = Annotated[str, Path(pattern=rf"^pr_{_OPAQUE}$")]
PlatformProposalId = Annotated[str, Path(pattern=rf"^pp_{_OPAQUE}$")]
PlatformId = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,40}$")]
AfterCycle = Annotated[str | None, Query(pattern=_CYCLE_ID, description="the last cycle_id of the page before")]
AfterReference = Annotated[str | None, Query(pattern=rf"^ref_{_OPAQUE}$", description="the last reference of the page before")]
Limit = Annotated[int, Query(ge=1, le=500)]

_HoldId = Annotated[str, Field(pattern=rf"^h_{_OPAQUE}$")]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Reference = Annotated[str, Field(min_length=1, max_length=200, description="a case, document or ticket; never a phone number")]
_Instant = Annotated[AwareDatetime, Field(ge=_EARLIEST, le=_LATEST)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Referenced(_Closed):
    """A command that needs no more than a reference."""

    reference: _Reference


class Hold(Referenced):
    """Stop a number; somebody is to review it on that day."""

    review_on: Annotated[date, Field(ge=_EARLIEST.date(), le=_LATEST.date())] | None = None


class Remind(Referenced):
    """Record a reminder to the former holder."""

    reminded_at: _Instant
    channel: Channel


class Lift(Referenced):
    """Lift one hold."""

    hold_id: _HoldId


class Extend(Referenced):
    """Move the end of quarantine later."""

    release_at: _Instant


class Arguments(_Closed):
    """What a two-person command needs besides its reference: lift, attest (two), recall and reclaim in this order."""

    hold_id: _HoldId | None = None
    target_id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,40}$")] | None = None
    document_sha256: _Digest | None = None
    line_cancelled_at: _Instant | None = None
    ground: Ground | None = None


class Proposal(Referenced):
    """Propose a two-person command."""

    command: Command
    arguments: Arguments = Arguments()

    def given(self) -> dict[str, str]:
        """Return the arguments that were given, as text."""
        return {name: str(value) for name, value in self.arguments.model_dump(mode="json", exclude_none=True).items()}


class Number(_Closed):
    """A phone number: only ever in a body."""

    number: Annotated[str, Field(max_length=40, description="+ and country code; national spelling where `country` is given")]
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = None

    def read(self) -> E164:
        """Return the number.

        Raises:
            NumberMalformed: it is not one.
        """
        return E164(self.number) if self.country is None else read_number(self.number, self.country)


class Sale(Number):
    """Sell a number to a buyer who acknowledged its tag."""

    tag: _Digest
    acknowledgement: _Reference

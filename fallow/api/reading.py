"""What readers may ask: where numbers, batches and targets stand. Each endpoint is one read model of ``fallow.operations.status``."""

from typing import Annotated, Any

from fastapi import Query

from fallow.api.guard import Caller, Here
from fallow.api.messages import AfterCycle, AfterReference, BatchId, CycleNo, Limit, Number, NumberId, PlatformId
from fallow.domain.cycle import CycleRef
from fallow.domain.errors import NotKnown
from fallow.domain.lifecycle import State
from fallow.operations import exchanges, outlook, status

_Days = Annotated[int, Query(ge=1, le=outlook.LONGEST_FORECAST)]
_BeforeExchange = Annotated[int | None, Query(ge=1, description="the last exchange_id of the page before")]
_AfterHold = Annotated[str | None, Query(pattern="^h_[a-z2-7]{26}$", description="the last hold_id of the page before")]


def show_cycle(here: Here, person: Caller, number_id: NumberId, cycle_no: CycleNo) -> dict[str, Any]:
    """Show one cycle: facts, obligations, holds, what waits for whom, and its timeline."""
    return status.show(here, person, CycleRef(number_id, cycle_no).cycle_id)


def list_cycles(
    here: Here,
    person: Caller,
    state: State | None = None,
    held: bool | None = None,  # noqa: FBT001 - a query parameter
    attention: bool | None = None,  # noqa: FBT001 - a query parameter
    after: AfterCycle = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """List cycles, page by page: pass `next` as `after`."""
    page = status.list_cycles(here, person, state=state, held=held, attention=attention, after=after, limit=limit)
    return {"cycles": page, "next": page[-1]["cycle_id"] if len(page) == limit else None}


def count_cycles(here: Here, person: Caller) -> dict[str, int]:
    """Count cycles by state, and those HELD or waiting for a person (ATTENTION)."""
    return status.counts(here, person)


def forecast(here: Here, person: Caller, days: _Days = outlook.FORECAST_DAYS) -> dict[str, Any]:
    """Count the ends of quarantine by UTC day, and those that a hold or a person stops."""
    return outlook.forecast(here, person, days)


def list_overdue(
    here: Here, person: Caller, after: AfterCycle = None, reviews_after: _AfterHold = None, limit: Limit = 100
) -> dict[str, Any]:
    """List cycles past their rule's maximum and holds to be reviewed: pass `next` as `after`, `next_review` as `reviews_after`."""
    found = outlook.overdue(here, person, outlook.Cursors(after, reviews_after), limit=limit)
    late, due = found["overdue"], found["reviews_due"]
    return {
        **found,
        "next": late[-1]["cycle_id"] if len(late) == limit else None,
        "next_review": due[-1]["hold_id"] if len(due) == limit else None,
    }


def find_number(here: Here, person: Caller, wanted: Number) -> dict[str, list[str]]:
    """Find a number's cycles, latest first."""
    return {"cycles": status.find_number(here, person, wanted.read())}


def show_batch(here: Here, person: Caller, batch_id: BatchId) -> dict[str, Any]:
    """Show what became of a file, each rejected line with its reason."""
    return status.batch(here, person, batch_id)


def list_targets(here: Here, person: Caller) -> dict[str, Any]:
    """List record systems and platforms: what is open there, and their last trouble."""
    return {"targets": status.targets(here, person)}


def list_own_requests(
    here: Here, person: Caller, platform_id: PlatformId, after: AfterReference = None, limit: Limit = 500
) -> dict[str, Any]:
    """List the caller's own open requests, references only, page by page: pass `next` as `after`."""
    if platform_id != person.platform_id:
        # The same answer for a platform that exists and one that does not.
        what = "No such platform is yours."
        raise NotKnown(what, remedy="ask with the platform id that the key was made for.")
    page = status.own_requests(here, person, after=after, limit=limit)
    return {"requests": page, "next": page[-1]["reference"] if len(page) == limit else None}


def list_exchanges(
    here: Here, person: Caller, platform_id: PlatformId, before: _BeforeExchange = None, limit: Limit = 100
) -> dict[str, Any]:
    """List what was exchanged with a platform, latest first, never a body; a platform sees its own: pass `next` as `before`."""
    page = exchanges.delivery_log(here, person, platform_id, before=before, limit=limit)
    return {"exchanges": page, "next": page[-1]["exchange_id"] if len(page) == limit else None}

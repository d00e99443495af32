"""Every route of the API with who may use it: the whole surface in one table. Default deny: a route without a policy is refused.

No phone number is part of any path or query string; look-ups are bodies.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fallow.api import answers, feeding, health, ordering, reading, registering
from fallow.api.bounds import BATCH, SMALL, UPLOAD, Bounds
from fallow.api.guard import Open, Policy
from fallow.domain.people import Action


@dataclass(frozen=True)
class Route:
    """One route.

    Attributes:
        method: GET or POST.
        path: as FastAPI writes it.
        endpoint: answers it.
        policy: who may use it; None is refused when the app is created.
        bounds: how long a body may be and take.
    """

    method: str
    path: str
    endpoint: Callable[..., Any]
    policy: Policy | None = None
    bounds: Bounds = SMALL


_PROPOSAL = "/v1/platforms/proposals/{proposal_id}"
_CYCLE = "/v1/cycles/{number_id}/{cycle_no}"

ROUTES = (
    Route("POST", "/v1/platforms/{platform_id}/answers", answers.take_answers, Open.SIGNED),
    Route("POST", "/v1/platforms/{platform_id}/answers/batch", answers.take_batch, Open.SIGNED, BATCH),
    Route("GET", "/v1/platforms/{platform_id}/requests", reading.list_own_requests, Action.READ_OWN_REQUESTS),
    Route("GET", "/v1/platforms/{platform_id}/exchanges", reading.list_exchanges, Action.READ_EXCHANGES),
    Route("GET", "/v1/platforms", registering.list_platforms, Action.READ),
    # Before the platform's own path, which would take `proposals` for an id.
    Route("GET", "/v1/platforms/proposals", registering.list_platform_proposals, Action.READ),
    Route("POST", "/v1/platforms/proposals", registering.propose_platform, Action.PROPOSE),
    Route("POST", f"{_PROPOSAL}/ping", registering.ping_platform, Action.PROPOSE),
    Route("POST", f"{_PROPOSAL}/approve", registering.approve_platform, Action.APPROVE),
    # Who made it may take it back; for others the operation demands an approver.
    Route("POST", f"{_PROPOSAL}/deny", registering.deny_platform, Action.PROPOSE),
    Route("GET", "/v1/platforms/{platform_id}", registering.show_platform, Action.READ),
    Route("POST", "/v1/platforms/{platform_id}/decommission", registering.decommission_platform, Action.PROPOSE),
    Route("POST", "/v1/platforms/{platform_id}/terms", registering.set_terms, Action.COMMAND),
    Route("POST", "/v1/batches", ordering.enrol, Action.ENROL, UPLOAD),
    Route("GET", "/v1/batches/{batch_id}", reading.show_batch, Action.READ),
    Route("POST", "/v1/traffic", feeding.feed_traffic, Action.ENROL, UPLOAD),
    Route("POST", "/v1/inventory", feeding.feed_inventory, Action.ENROL, UPLOAD),
    Route("POST", "/v1/inventory/reconcile", feeding.reconcile_inventory, Action.READ, UPLOAD),
    Route("GET", "/v1/cycles", reading.list_cycles, Action.READ),
    Route("GET", "/v1/counts", reading.count_cycles, Action.READ),
    Route("GET", "/v1/forecast", reading.forecast, Action.READ),
    Route("GET", "/v1/overdue", reading.list_overdue, Action.READ),
    Route("GET", _CYCLE, reading.show_cycle, Action.READ),
    Route("POST", "/v1/numbers/lookup", reading.find_number, Action.READ),
    Route("POST", f"{_CYCLE}/hold", ordering.hold, Action.COMMAND),
    Route("POST", f"{_CYCLE}/lift", ordering.lift, Action.COMMAND),
    Route("POST", f"{_CYCLE}/extend", ordering.extend, Action.COMMAND),
    Route("POST", f"{_CYCLE}/withdraw", ordering.withdraw, Action.COMMAND),
    Route("POST", f"{_CYCLE}/return", ordering.hand_back, Action.COMMAND),
    Route("POST", f"{_CYCLE}/remind", ordering.remind, Action.COMMAND),
    Route("POST", f"{_CYCLE}/retry", ordering.retry, Action.COMMAND),
    Route("POST", f"{_CYCLE}/proposals", ordering.propose, Action.PROPOSE),
    Route("POST", "/v1/proposals/{proposal_id}/approve", ordering.approve, Action.APPROVE),
    Route("POST", "/v1/proposals/{proposal_id}/deny", ordering.deny, Action.APPROVE),
    Route("POST", "/v1/tags", ordering.show_tag, Action.READ_TAG),
    Route("POST", "/v1/sales", ordering.record_sale, Action.SELL),
    Route("GET", "/v1/targets", reading.list_targets, Action.READ),
    Route("POST", "/v1/targets/{target_id}/pause", registering.pause_target, Action.COMMAND),
    Route("POST", "/v1/targets/{target_id}/resume", registering.resume_target, Action.COMMAND),
    Route("POST", "/v1/targets/{target_id}/pace", registering.pace_target, Action.COMMAND),
    Route("GET", "/openapi.json", health.describe, Action.READ),
    Route("GET", "/healthz", health.tell_alive, Open.PUBLIC),
    Route("GET", "/readyz", health.tell_ready, Open.PUBLIC),
)

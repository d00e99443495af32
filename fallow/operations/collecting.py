"""Fetching answers from platforms that do not call back: each is kept and applied as a callback is, then settled there."""

import asyncio

from fallow.domain.collecting import Announcing, Collecting
from fallow.domain.errors import AnswerMalformed, FallowError, MapRefused, SignatureRefused
from fallow.domain.ports import SignedDelivery
from fallow.operations.answers import accept_answer
from fallow.operations.installation import Installation
from fallow.platforms.forms import FORMS
from fallow.store import targets

#: How often one visit fetches at most; the rest waits for the next.
_MOST_FETCHES = 20


def visited(installation: Installation) -> list[Collecting | Announcing]:
    """Return the platforms that answers are fetched from or that are told of sales, as registered now; none that is paused."""
    found: list[Collecting | Announcing] = []
    with installation.db.read() as tx:
        paused = targets.paused(tx)
    for platform_id in [each for each in installation.platforms if each not in paused]:
        try:
            platform = installation.platforms[platform_id]
        except (KeyError, MapRefused):  # gone meanwhile, or not to be reached as registered: its sender says so
            continue
        if isinstance(platform, Collecting | Announcing):
            found.append(platform)
    return found


async def collect(installation: Installation, platform: Collecting) -> int:
    """Fetch what waits at a platform; return how many answers were kept.

    What breaks off in the middle is fetched again: a kept answer has no second effect.

    Raises:
        TargetUnavailable, AnswerMalformed, SignatureRefused, RequestRejected: the platform can't be asked.
    """
    kept = 0
    for _ in range(_MOST_FETCHES):
        found = await platform.collect()
        if not found:
            break
        for delivery in found:
            error = await asyncio.to_thread(_keep, installation, platform.platform_id, delivery)
            await platform.settle(delivery, error)
            kept += error is None
    return kept


def _keep(installation: Installation, platform_id: str, delivery: SignedDelivery) -> FallowError | None:
    try:
        said = [(answer.reference, answer.outcome) for answer in FORMS[delivery.scheme].read(delivery.body)]
        accept_answer(installation, delivery.speaker_id or platform_id, delivery, said)
    except (AnswerMalformed, SignatureRefused) as error:
        return error
    return None

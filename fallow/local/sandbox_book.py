"""What a platform has said to the sandbox, by reference, and the callback endpoint where it says it."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fallow.domain.errors import AnswerMalformed, SignatureRefused
from fallow.domain.obligations import Outcome
from fallow.domain.ports import UnbindItem
from fallow.local.sandbox_diagnosis import why_refused
from fallow.local.simulator_http import Exchange, Response, json_response
from fallow.platforms.forms import FORMS
from fallow.platforms.protocol import Answer
from fallow.platforms.signing import ID_HEADER, SigningKey
from fallow.platforms.verifying import VerifyingKey

_FORM = FORMS["webhook"]
#: Longest callback by the end of its path.
_LONGEST = {"/answers": 64 * 1024, "/answers/batch": 4 * 1024 * 1024}
_REFERENCE = re.compile(rb"ref_[a-z2-7]{26}")


@dataclass(frozen=True)
class Fault:
    """Something that a platform did wrong.

    Attributes:
        what: what happened, as the end of a sentence about the service.
        remedy: what to do.
    """

    what: str
    remedy: str


@dataclass
class Book:
    """Everything that was answered.

    Attributes:
        keys: the platform's, a shared secret among them.
        own: the sandbox's.
        say: takes a readable line.
        asked: every reference that was sent.
        earlier: those of earlier pages.
        expecting: whether answers are due on this page.
        outcomes: every outcome by reference, in the order they came; ``accepted`` is no answer yet and is left out.
        accepted: references of which only ``accepted`` was said.
        faults: what was wrong with callbacks since :meth:`turn`.
        busy: references whose first callback is answered 503.
        ids: of every message that was verified.
        turned_away: (id, body) of callbacks that were answered 503.
    """

    keys: Sequence[VerifyingKey]
    own: SigningKey
    say: Callable[[str], None]
    asked: set[str] = field(default_factory=set)
    earlier: set[str] = field(default_factory=set)
    expecting: bool = True
    outcomes: dict[str, list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    accepted: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    turned_away: dict[str, bytes] = field(default_factory=dict)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    _kept: dict[str, tuple[bytes, Response]] = field(default_factory=dict)

    def turn(self, *, expecting: bool) -> None:
        """Begin a new page: what is wrong with callbacks about earlier references is no longer counted.

        Args:
            expecting: whether answers are due on it; else a callback about nothing that was asked is an earlier page's.
        """
        self.expecting = expecting
        self.earlier |= self.asked
        self.faults.clear()
        self.busy.clear()
        self.turned_away.clear()

    def open(self, items: Sequence[UnbindItem]) -> None:
        """Write down what is asked."""
        self.asked |= {each.reference for each in items}

    async def note(self, answers: Sequence[Answer]) -> None:
        """Write down answers whose signature was verified."""
        async with self.came:
            for each in answers:
                if each.outcome is Outcome.ACCEPTED:
                    self.accepted.add(each.reference)
                else:
                    self.outcomes[each.reference].append(each.outcome)
            self.came.notify_all()

    async def wait_for(self, references: Collection[str], times: int, seconds: float) -> None:
        """Wait until each reference was answered that many times or something went wrong, but no longer than ``seconds``."""
        try:
            async with asyncio.timeout(seconds), self.came:
                await self.came.wait_for(lambda: bool(self.faults) or all(len(self.outcomes[each]) >= times for each in references))
        except TimeoutError:
            return

    async def take(self, exchange: Exchange) -> Response:
        """Answer one callback as the engine would."""
        longest = next((most for end, most in _LONGEST.items() if exchange.path.endswith(end)), 0)
        if exchange.method != "POST" or not longest:
            self.say(f"← {exchange.method} {exchange.path}: 404; callbacks go to …/answers by POST")
            return json_response(404, {"error": "path-not-known"})
        if len(exchange.body) > longest:
            return await self._refuse(413, exchange.body, f"is longer than {longest} bytes", "send fewer answers in one body")
        now = datetime.now(UTC)
        try:
            delivery = _FORM.receive(exchange.headers, exchange.body, self.keys, now)
            answers = _FORM.read(delivery.body)
        except SignatureRefused:
            return await self._refuse(401, exchange.body, *why_refused(exchange.headers, exchange.body, self.keys, self.own, now))
        except AnswerMalformed as error:
            return await self._refuse(400, exchange.body, f"is outside the protocol ({error.what.rstrip('.')})", error.remedy.rstrip("."))
        return await self._acknowledge(delivery.delivery_id, delivery.body, answers)

    async def _acknowledge(self, delivery_id: str, body: bytes, answers: Sequence[Answer]) -> Response:
        if delivery_id in self._kept:
            before, acknowledged = self._kept[delivery_id]
            if before != body:
                return await self._refuse(400, body, f"uses the {ID_HEADER} of another message", "give each message an id of its own")
            self.say("← callback, the same again: 200, the same acknowledgement")
            return acknowledged
        if self.busy & {each.reference for each in answers} and delivery_id not in self.turned_away:
            self.turned_away[delivery_id] = body
            self.say("← callback: 503, on purpose")
            return Response(503, headers={"retry-after": "1"})
        results = {each.reference: "accepted" if each.reference in self.asked else "unknown" for each in answers}
        said = ", ".join(sorted({str(each.outcome) for each in answers}))
        self.say(f"← callback, well signed, {len(answers)} answers ({said}): 200")
        if "unknown" in results.values():
            await self._blame(body, Fault("called back about a reference that it was never asked", "answer with the reference as it came"))
        response = json_response(200, {"answers": results})
        self._kept[delivery_id] = body, response
        self.ids.add(delivery_id)
        await self.note([each for each in answers if each.reference in self.asked])
        return response

    async def _refuse(self, status: int, body: bytes, what: str, remedy: str) -> Response:
        self.say(f"← callback: {status}: it {what}. Do: {remedy}")
        await self._blame(body, Fault(f"sent a callback that {what}", remedy))
        return json_response(status, {"type": "about:blank", "status": status}, {"content-type": "application/problem+json"})

    async def _blame(self, body: bytes, fault: Fault) -> None:
        """Count a fault, unless it repeats one of an earlier page: platforms repeat what was refused, as they should."""
        named = {found.decode() for found in _REFERENCE.findall(body)}
        if named & self.asked - self.earlier or (self.expecting and not named & self.earlier):
            async with self.came:
                self.faults.append(fault)
                self.came.notify_all()

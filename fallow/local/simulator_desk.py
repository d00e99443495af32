"""What a simulated platform does with one request, faults included. Uses the simulator's own modules only."""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fallow.local.simulator_callbacks import Callbacks
from fallow.local.simulator_http import Dropped, Exchange, Response
from fallow.local.simulator_plays import Behaviour, Plays, instant, read_instant
from fallow.local.simulator_signing import answers_body, is_signed, new_message_id, sign
from fallow.local.simulator_truth import Truth

_BUSY_TIMES = 2
_EARLY_WITHIN = 1.0


@dataclass(frozen=True)
class Asked:
    """One item of a request.

    Attributes:
        reference: the engine's name for it.
        number: which number.
        until: bindings made up to this instant are the former holder's.
        reminder: whether the engine says that it asked before.
        times: how often it was asked, this one included.
        before: what was decided for it at an earlier request, or None.
        behaviour: how this platform treats this number.
    """

    reference: str
    number: str
    until: str
    reminder: bool
    times: int
    before: str | None
    behaviour: Behaviour


@dataclass
class Hold:
    """The order to withhold responses.

    Attributes:
        skip: requests still to be answered as usual.
        seconds: how long, from the first withheld response on.
        released: set when withholding ends.
    """

    skip: int
    seconds: float
    released: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Desk:
    """Where every platform's requests come in.

    Attributes:
        plays: how each number is treated.
        truth: database and log.
        callbacks: the way back to the engine.
        keys: the platforms' secret keys.
        engine_key: whose requests are believed.
        withhold_for: seconds beyond the engine's timeout.
        hold: the order to withhold responses, or None.
        held: responses being withheld now, their effect applied.
        requests: requests received.
        refused: requests whose signature was bad.
    """

    plays: Plays
    truth: Truth
    callbacks: Callbacks
    keys: dict[str, str]
    engine_key: str
    withhold_for: float
    hold: Hold | None = None
    held: int = 0
    requests: int = 0
    refused: int = 0

    async def unbind(self, platform: str, exchange: Exchange) -> Response:
        """Do what the request asks, and answer as the numbers in it are played; answer a ping with a pong."""
        self.requests += 1
        if not self._is_engine(platform, exchange):
            return Response(401)
        try:
            order = json.loads(exchange.body)
            if order["type"] == "fallow.ping.v1":
                return self._pong(platform, str(order["challenge"]))
            asked = [self._asked(platform, item) for item in order["items"]]
        except (ValueError, KeyError, TypeError):
            self.truth.note("malformed", platform)
            return Response(400)
        fault = _fault(asked)
        self.truth.note("request", platform, references=[each.reference for each in asked], fault=fault)
        if fault is Behaviour.FAILING:
            return Response(500)
        if fault is Behaviour.BUSY:
            return Response(503, headers={"retry-after": "1"})
        return await self._effect(platform, exchange, asked, fault)

    async def status(self, platform: str, exchange: Exchange) -> Response:
        """Say what was decided for the references asked; what is not decided yet is left out."""
        if not self._is_engine(platform, exchange):
            return Response(401)
        try:
            references = [str(each) for each in json.loads(exchange.body)["references"]]
        except (ValueError, KeyError, TypeError):
            self.truth.note("malformed", platform)
            return Response(400)
        decided = self.truth.decided(platform, references)
        self.truth.note("looked", platform, references=references, decided=len(decided))
        return self._respond(platform, decided, "status") if decided else Response(204)

    def _is_engine(self, platform: str, exchange: Exchange) -> bool:
        signed = is_signed(self.engine_key, exchange.headers, exchange.body)
        if not signed:
            self.refused += 1
            self.truth.note("refused-signature", platform)
        return signed

    def _pong(self, platform: str, challenge: str) -> Response:
        self.truth.note("pinged", platform)
        return self._signed(platform, new_message_id(), json.dumps({"type": "fallow.pong.v1", "challenge": challenge}).encode())

    def withhold(self, after: int, seconds: float) -> None:
        """Withhold responses from the ``after``-th request from now on, until released or ``seconds`` have passed."""
        self.release()
        self.hold = Hold(max(0, after - 1), seconds)

    def release(self) -> None:
        """Let every withheld response go."""
        if self.hold is not None:
            self.hold.released.set()
            self.hold = None

    def _asked(self, platform: str, item: dict[str, Any]) -> Asked:
        reference, number = str(item["reference"]), str(item["number"])
        times, before = self.truth.asked(platform, reference, number)
        self.truth.note("asked", platform, reference=reference, number=number, times=times, reminder=bool(item["reminder"]))
        until, behaviour = instant(read_instant(item["disconnected_at"])), self.plays.behaviour(platform, number)
        return Asked(reference, number, until, bool(item["reminder"]), times, before, behaviour)

    async def _effect(self, platform: str, exchange: Exchange, asked: Sequence[Asked], fault: Behaviour | None) -> Response:
        due = [each for each in asked if each.before or each.reminder or each.behaviour is not Behaviour.REMINDED]
        outcomes = {each.reference: each.before or self._act(platform, each) for each in due}
        now = [each for each in due if each.before or each.behaviour not in _BY_CALLBACK]
        await self._call_back(platform, [each for each in due if each not in now], outcomes)
        if not await self._withheld(exchange):
            raise Dropped
        if fault is Behaviour.WITHHELD:
            await self._wait(exchange, self.withhold_for, asyncio.Event())
            raise Dropped
        if fault is Behaviour.DROPPED:
            self.truth.note("dropped", platform)
            raise Dropped
        return self._respond(platform, {each.reference: outcomes[each.reference] for each in now})

    def _act(self, platform: str, each: Asked) -> str:
        refused = self.plays.refuses(platform, each.number)
        accounts = [] if refused else self.truth.cut(platform, each.number, each.until)
        for account in accounts:
            self.truth.note("unbound", platform, reference=each.reference, number=each.number, account=account)
        outcome = self.plays.outcome(platform, each.number, len(accounts))
        self.truth.decide(platform, each.reference, outcome)
        return outcome

    async def _call_back(self, platform: str, asked: Sequence[Asked], outcomes: dict[str, str]) -> None:
        for behaviour in _BY_CALLBACK:
            answers = [(each.reference, outcomes[each.reference]) for each in asked if each.behaviour is behaviour]
            if answers:
                await self._play(platform, behaviour, answers)

    async def _play(self, platform: str, behaviour: Behaviour, answers: list[tuple[str, str]]) -> None:
        chance = random.Random(f"{self.plays.seed}/{platform}/{answers[0][0]}")  # noqa: S311 - a play, not a secret
        chance.shuffle(answers)
        after, call = chance.uniform(0.3, 2.0), self.callbacks
        if behaviour is Behaviour.EARLY:
            await asyncio.wait({call.soon(call.call(platform, answers))}, timeout=_EARLY_WITHIN)
        elif behaviour is Behaviour.TWICE:
            call.soon(call.call(platform, answers, after, times=2))
        elif behaviour is Behaviour.DISORDERED:
            call.soon(self._disorder(platform, answers, after))
        else:
            middle = (len(answers) + 1) // 2
            for part in filter(None, (answers[:middle], answers[middle:])):
                call.soon(call.call(platform, part, chance.uniform(0.3, 2.0)))

    async def _disorder(self, platform: str, answers: list[tuple[str, str]], after: float) -> None:
        await self.callbacks.call(platform, answers, after)
        await self.callbacks.call(platform, [(reference, "accepted") for reference, _ in reversed(answers)])

    async def _withheld(self, exchange: Exchange) -> bool:
        """Withhold this response if ordered to; tell whether the client is still there."""
        hold = self.hold
        if hold is None:
            return True
        if hold.skip > 0:
            hold.skip -= 1
            return True
        asyncio.get_running_loop().call_later(hold.seconds, self._expire, hold)
        return await self._wait(exchange, hold.seconds, hold.released)

    def _expire(self, hold: Hold) -> None:
        hold.released.set()
        if self.hold is hold:
            self.hold = None

    async def _wait(self, exchange: Exchange, seconds: float, released: asyncio.Event) -> bool:
        gone, let_go = asyncio.create_task(exchange.gone()), asyncio.create_task(released.wait())
        self.held += 1
        try:
            await asyncio.wait({gone, let_go}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.held -= 1
            still_there = gone.cancel()
            let_go.cancel()
            await asyncio.gather(gone, let_go, return_exceptions=True)
        return still_there

    def _respond(self, platform: str, answers: dict[str, str], by: str = "response") -> Response:
        if not answers:
            return Response(202)
        message_id = new_message_id()
        self.truth.said(platform, answers, by, message_id)
        return self._signed(platform, message_id, answers_body(list(answers.items())))

    def _signed(self, platform: str, message_id: str, body: bytes) -> Response:
        return Response(200, body, {"content-type": "application/json", **sign(self.keys[platform], message_id, body)})


# Whatever fails at first is answered by callback afterwards; whatever got lost is answered when it is asked again.
_BY_CALLBACK = (
    Behaviour.EARLY,
    Behaviour.LATER,
    Behaviour.TWICE,
    Behaviour.DISORDERED,
    Behaviour.FAILING,
    Behaviour.BUSY,
)


def _fault(asked: Sequence[Asked]) -> Behaviour | None:
    """Return what goes wrong with the request as a whole: the worst that one of its numbers plays."""
    played = {each.behaviour for each in asked if each.before is None and each.times <= _most_times(each.behaviour)}
    faults = (Behaviour.FAILING, Behaviour.BUSY, Behaviour.WITHHELD, Behaviour.DROPPED)
    return next((fault for fault in faults if fault in played), None)


def _most_times(behaviour: Behaviour) -> float:
    return {Behaviour.FAILING: 1, Behaviour.BUSY: _BUSY_TIMES}.get(behaviour, float("inf"))

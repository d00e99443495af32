"""Who may use a route: default deny. Every route declares its policy in ``fallow.api.routes``; one without can't be registered.

Imports FastAPI, the domain and ``fallow.operations.people``.
"""

import re
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from fallow.api.bounds import SMALL, Bounds, Room, bounded
from fallow.api.problems import KeyNotAccepted
from fallow.domain.errors import PersonRefused
from fallow.domain.people import Action, Person
from fallow.operations.installation import Installation
from fallow.operations.people import authenticate

_BEARER = re.compile(r"[Bb]earer (flw_[a-z0-9]{1,64}_[A-Za-z0-9_-]{1,128})\Z", re.ASCII)


class Open(StrEnum):
    """The two ways in without an API key.

    Attributes:
        PUBLIC: anybody; the answer speaks of no number and no platform.
        SIGNED: the endpoint itself verifies a platform's signature over the raw body.
    """

    PUBLIC = "public"
    SIGNED = "signed"


Policy = Action | Open


class Guard:
    """Turns a request's key into a person, before anything else of the request is read."""

    def __init__(self, installation: Installation) -> None:
        """Believe the keys of ``installation``."""
        self._installation = installation

    def admit(self, policy: Action, authorization: str) -> Person:
        """Return who asks.

        Raises:
            KeyNotAccepted: no key, or one that is malformed, unknown or revoked: the same answer for all.
            PersonRefused: the role may not.
        """
        person = self._person(authorization)
        person.demand(policy)
        return person

    def _person(self, authorization: str) -> Person:
        found = _BEARER.match(authorization)
        if found is not None:
            try:
                with self._installation.db.read() as tx:
                    return authenticate(tx, self._installation.keys, found[1])
            except PersonRefused:
                pass
        what = "The request carries no valid API key."
        raise KeyNotAccepted(what, remedy="send `Authorization: Bearer flw_…` with a key that is not revoked.")


def guarded(guard: Guard, policy: Policy, bounds: Bounds, room: Room) -> type[APIRoute]:
    """Return the class of a route that admits nobody but ``policy``'s, and reads the body only after that, within ``bounds``.

    Long bodies that anybody may send share ``room``; short ones don't, so that no batch keeps a single answer out.
    """
    shares = isinstance(policy, Open) and bounds.most_bytes > SMALL.most_bytes

    class GuardedRoute(APIRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            if not shares:
                await super().handle(scope, bounded(scope, receive, bounds), send)
                return
            with room.held() as take:
                await super().handle(scope, bounded(scope, receive, bounds, take), send)

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()

            async def admit_and_answer(request: Request) -> Response:
                if not isinstance(policy, Open):
                    request.state.person = await run_in_threadpool(guard.admit, policy, request.headers.get("authorization", ""))
                return await answer(request)

            return admit_and_answer

    return GuardedRoute


def _person(request: Request) -> Person:
    person: Person = request.state.person
    return person


def _installation(request: Request) -> Installation:
    installation: Installation = request.app.state.wired.installation
    return installation


Caller = Annotated[Person, Depends(_person)]
Here = Annotated[Installation, Depends(_installation)]

"""A sandbox engine for a platform's engineer: no database, no Temporal, no installation, and bad manners on demand.

It plays the engine towards their service with invented numbers, and judges with the engine's own code what comes back.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from fallow.domain.errors import InputRefused
from fallow.local.sandbox_book import Book
from fallow.local.sandbox_engine import SandboxEngine
from fallow.local.sandbox_names import ABOUT, FORGED, NEEDS, Play
from fallow.local.sandbox_plays import PLAYS
from fallow.local.sandbox_sockets import wait_until_listening
from fallow.local.sandbox_wire import registered
from fallow.local.simulator_http import listen
from fallow.platforms.endpoints import Endpoint
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.signing import PublicKey, SigningKey

_STARTS_WITHIN = timedelta(seconds=60)


@dataclass(frozen=True)
class Terms:
    """Whom to play with, and how.

    Attributes:
        endpoint: the platform's URL.
        keys: its public keys; none where it has a shared secret alone.
        key: the sandbox's own.
        entry: how it is asked, as a registration would have it.
        host: the address of this machine where callbacks are taken.
        port: the port there; 0 takes any free one.
        wait: seconds that a callback may take.
        timeout: seconds that a request may take altogether.
        batch: numbers in the largest request.
    """

    endpoint: Endpoint
    keys: tuple[PublicKey, ...]
    key: SigningKey
    entry: PlatformEntry = field(default_factory=registered)
    host: str = "127.0.0.1"
    port: int = 0
    wait: float = 10.0
    timeout: float = 10.0
    batch: int = 1000


@dataclass(frozen=True)
class Verdict:
    """What one play came to.

    Attributes:
        play: which.
        passed: whether the service did right.
        what: what it did.
        remedy: what to do; "" where nothing is.
    """

    play: Play
    passed: bool
    what: str
    remedy: str = ""


def fitting(entry: PlatformEntry, named: Sequence[Play] = ()) -> list[Play]:
    """Return the plays that were named, or else all that can be played with what the sandbox was given.

    Raises:
        InputRefused: one that was named needs an option that was not given.
    """
    given = {"--status-url": entry.status_url is not None, "--number-key": bool(entry.number_key)}
    for each in named:
        if not given.get(NEEDS.get(each, ""), True):
            what = f"The play {each} needs {NEEDS[each]}."
            raise InputRefused(what, remedy="give that option, or leave the play out.")
    return list(named) or [each for each in Play if given.get(NEEDS.get(each, ""), True)]


@asynccontextmanager
async def sandbox(terms: Terms, say: Callable[[str], None]) -> AsyncIterator[tuple[SandboxEngine, str]]:
    """Take callbacks until the end of the block; yield the engine and the callback URL. ``say`` takes a line for each exchange.

    Raises:
        InputRefused: nothing can listen there.
    """
    shared = terms.entry.shared_key
    book = Book(terms.keys if shared is None else (*terms.keys, shared), terms.key, say)
    try:
        server, port = await listen(terms.port, book.take, terms.host)
    except OSError as error:
        what = f"Callbacks can't be taken at {terms.host}:{terms.port} ({type(error).__name__})."
        raise InputRefused(what, remedy="give an address of this machine by --host, and a free port by --port.") from None
    engine = SandboxEngine(terms.endpoint, terms.key, book, terms.wait, terms.timeout, terms.batch, terms.entry)
    try:
        yield engine, f"http://{terms.host}:{port}/v1/platforms/sandbox/answers"
    finally:
        server.close()
        await engine.transport.aclose()


async def play_all(engine: SandboxEngine, plays: Sequence[Play]) -> AsyncIterator[Verdict]:
    """Play one after the other, once the service listens; yield each verdict.

    Raises:
        TargetUnavailable: nothing listens at the URL.
    """
    await wait_until_listening(engine.endpoint, _STARTS_WITHIN)
    for each in plays:
        engine.book.say(f"• {each}: {ABOUT[each]}")
        engine.book.turn(expecting=each not in FORGED)
        fault = await PLAYS[each](engine)
        fault = next(iter(engine.book.faults), fault)
        yield Verdict(each, passed=True, what="did right") if fault is None else Verdict(each, False, fault.what, fault.remedy)

"""``platform sandbox``, ``platform trigger``: the engine's side for a platform's engineer; neither needs an installation."""

import asyncio
import json as jsonlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fallow.cli.ending import REFUSED
from fallow.cli.sandbox_keys import secret, signing_key
from fallow.cli.showing import print_json, print_line
from fallow.cli.words import Json
from fallow.domain.errors import InputRefused
from fallow.local.sandbox_names import ABOUT, Play

if TYPE_CHECKING:
    from fallow.local.sandbox import Terms, Verdict
    from fallow.platforms.endpoints import Endpoint
    from fallow.platforms.platform_map import PlatformEntry

_Url = Annotated[str, typer.Option("--url", metavar="URL", help="Where your service takes requests.")]
_StatusUrl = Annotated[
    str | None, typer.Option("--status-url", metavar="URL", help="Where your service takes status queries; else they aren't played.")
]
_PublicKeys = Annotated[
    list[str] | None, typer.Option("--public-key", metavar="whpk_…", help="Your service's public key; up to four times, while keys change.")
]
_Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Where callbacks are taken; 0: any free port.")]
_Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="This machine's address for callbacks, where loopback won't do.")]
_Loopback = Annotated[bool, typer.Option("--allow-loopback", help="The URL may name this machine, on any port and over plain http.")]
_Key = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="FILE", dir_okay=False, help="The sandbox's secret key, made if the file is new. Else: one for this run."
    ),
]
_Secret = Annotated[
    Path | None,
    typer.Option(
        "--shared-secret",
        metavar="FILE",
        dir_okay=False,
        help="A whsec_… secret for HMAC instead of a public key or beside it; made if new.",
    ),
]
_NumberKey = Annotated[
    Path | None,
    typer.Option("--number-key", metavar="FILE", dir_okay=False, help="A whnk_… key: numbers go as keyed hashes; made if new."),
]
_Wait = Annotated[float, typer.Option("--wait", min=0.0, max=3600.0, help="Seconds in which callbacks count as answers.")]
_Timeout = Annotated[float, typer.Option("--timeout", min=0.1, max=60.0, help="Seconds that one request may take altogether.")]
_Batch = Annotated[int, typer.Option("--batch", min=1, max=1000, help="Numbers in the largest request.")]


def sandbox(
    *,
    url: _Url,
    public_key: _PublicKeys = None,
    shared_secret: _Secret = None,
    number_key: _NumberKey = None,
    status_url: _StatusUrl = None,
    play: Annotated[
        list[Play] | None, typer.Option("--play", help="Only this; may be given again. Default: all that can be played.")
    ] = None,
    port: _Port = 8099,
    host: _Host = "127.0.0.1",
    allow_loopback: _Loopback = False,
    key: _Key = None,
    wait: _Wait = 10.0,
    timeout: _Timeout = 10.0,
    batch: _Batch = 1000,
    json: Json = False,
) -> int:
    """Play the engine towards your service, with invented numbers and bad manners, and judge what it does.

    Needs no database and no installation. Prints the sandbox's public key and callback URL first, and waits a minute for the
    service to listen. Exit code 0 where every play passed, else 1.
    """
    bounds = {"host": host, "port": port, "wait": wait, "timeout": timeout, "batch": batch}
    entry = _entry(status_url, shared_secret, number_key, allow_loopback=allow_loopback)
    terms = _terms(url, entry, public_key or [], key, allow_loopback=allow_loopback, **bounds)
    verdicts = asyncio.run(_play(terms, play or [], _lines() if json else print_line, _ready_line if json else _ready))
    for each in verdicts:
        if json:
            _print_json_line({"verdict": _as_json(each)})
        else:
            print_line(_shown(each))
    passed = sum(each.passed for each in verdicts)
    if json:
        _print_json_line({"passed": passed, "failed": len(verdicts) - passed})
    else:
        print_line(f"{passed} of {len(verdicts)} plays passed")
    return 0 if passed == len(verdicts) else REFUSED


def trigger(
    play: Annotated[Play, typer.Argument(metavar="PLAY", help=f"One of {', '.join(Play)}.")],
    *,
    url: _Url,
    public_key: _PublicKeys = None,
    shared_secret: _Secret = None,
    number_key: _NumberKey = None,
    status_url: _StatusUrl = None,
    port: _Port = 8099,
    host: _Host = "127.0.0.1",
    allow_loopback: _Loopback = False,
    key: _Key = None,
    wait: _Wait = 10.0,
    timeout: _Timeout = 10.0,
    batch: _Batch = 1000,
    json: Json = False,
) -> int:
    """Play one of the sandbox's plays, for your own tests: --json prints one object. Exit code 0 where it passed, else 1."""
    bounds = {"host": host, "port": port, "wait": wait, "timeout": timeout, "batch": batch}
    entry = _entry(status_url, shared_secret, number_key, allow_loopback=allow_loopback)
    terms = _terms(url, entry, public_key or [], key, allow_loopback=allow_loopback, **bounds)
    exchanges: list[str] = []
    (verdict,) = asyncio.run(_play(terms, [play], exchanges.append if json else print_line, _silent if json else _ready))
    if json:
        print_json({**_as_json(verdict), "about": ABOUT[play], "sandbox_key": terms.key.public.text, "exchanges": exchanges})
    else:
        print_line(_shown(verdict))
    return 0 if verdict.passed else REFUSED


async def _play(terms: "Terms", plays: list[Play], say: Callable[[str], None], ready: Callable[["Terms", str], None]) -> "list[Verdict]":
    from fallow.local.sandbox import fitting, play_all, sandbox  # noqa: PLC0415 - heavy

    plays = fitting(terms.entry, plays)
    async with sandbox(terms, say) as (engine, callbacks):
        ready(terms, callbacks)
        return [verdict async for verdict in play_all(engine, plays)]


def _terms(url: str, entry: "PlatformEntry", public_keys: list[str], key: Path | None, *, allow_loopback: bool, **bounds: Any) -> "Terms":
    from fallow.cli import logs  # noqa: PLC0415 - heavy
    from fallow.local.sandbox import Terms  # noqa: PLC0415 - heavy
    from fallow.platforms.signing import MOST_KEYS, PublicKey  # noqa: PLC0415 - heavy

    logs.configure("error")
    endpoint = _endpoint("--url", url, allow_loopback=allow_loopback)
    if not public_keys and not entry.shared_secret:
        what = "There is nothing to verify answers with."
        raise InputRefused(what, remedy="give --public-key, or --shared-secret where your service signs with HMAC.")
    if len(public_keys) > MOST_KEYS:
        what = f"More than {MOST_KEYS} public keys were given."
        raise InputRefused(what, remedy="give those that are active.")
    return Terms(endpoint, tuple(map(PublicKey.from_text, public_keys)), signing_key(key), entry, **bounds)


def _entry(status_url: str | None, shared_secret: Path | None, number_key: Path | None, *, allow_loopback: bool) -> "PlatformEntry":
    from fallow.local.sandbox_wire import registered  # noqa: PLC0415 - heavy

    status = None if status_url is None else _endpoint("--status-url", status_url, allow_loopback=allow_loopback)
    return registered(status, secret(shared_secret, "whsec_"), secret(number_key, "whnk_"))


def _endpoint(option: str, url: str, *, allow_loopback: bool) -> "Endpoint":
    from fallow.platforms.endpoints import UrlMalformed, read_endpoint  # noqa: PLC0415 - heavy

    try:
        return read_endpoint(url, allow_loopback=allow_loopback)
    except UrlMalformed as error:
        what = f"{option} {error}."
        raise InputRefused(what, remedy="give https://host/path, or --allow-loopback for a service on this machine.") from None


def _ready(terms: "Terms", callbacks: str) -> None:
    print_line(f"sandbox key  {terms.key.public.text}")
    print_line(f"callbacks    {callbacks}")
    if terms.entry.number_key:
        print_line(f"number hash  {_number_hash(terms)}, of the number that needs a test account")
    sys.stdout.flush()
    if sys.stdin.isatty():
        typer.prompt("Give both to your service, then press Enter", default="", show_default=False, err=True)


def _ready_line(terms: "Terms", callbacks: str) -> None:
    hashed = {"number_hash": _number_hash(terms)} if terms.entry.number_key else {}
    _print_json_line({"ready": {"sandbox_key": terms.key.public.text, "callbacks": callbacks, **hashed}})


def _number_hash(terms: "Terms") -> str:
    from fallow.local.sandbox_hashes import hash_to_find  # noqa: PLC0415 - heavy

    return hash_to_find(terms.entry.number_key)


def _silent(_terms: "Terms", _callbacks: str) -> None:
    """Say nothing: the one JSON object says it."""


def _lines() -> Callable[[str], None]:
    return lambda line: _print_json_line({"exchange": line})


def _print_json_line(value: object) -> None:
    sys.stdout.write(jsonlib.dumps(value) + "\n")
    sys.stdout.flush()


def _as_json(verdict: "Verdict") -> dict[str, object]:
    return {"play": verdict.play, "passed": verdict.passed, "what": verdict.what, "remedy": verdict.remedy}


def _shown(verdict: "Verdict") -> str:
    said = f"{'passed' if verdict.passed else 'FAILED'}  {verdict.play:<18} {verdict.what}"
    return f"{said}. Do: {verdict.remedy}" if verdict.remedy else said

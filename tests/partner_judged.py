"""A partner's service before the sandbox in this process: what the tests of the partner kit share."""

from pathlib import Path

from partner_service import PartnerService

from fallow.local.processes import free_ports
from fallow.local.sandbox import Terms, Verdict, fitting, play_all, sandbox
from fallow.local.sandbox_names import FORGED, NEEDS, Play
from fallow.local.sandbox_wire import registered
from fallow.platforms.endpoints import read_endpoint
from fallow.platforms.signing import PublicKey, SigningKey

#: The plays that need no option; of those, the ones that are answered, that are forged, and that a service hears at all.
PLAIN = set(Play) - NEEDS.keys()
ANSWERED = PLAIN - FORGED - {Play.PING}
FALSE = PLAIN & FORGED
HEARD = ANSWERED | {Play.PING}
#: The sandbox's.
KEY = SigningKey(bytes(range(32)))


async def judged(
    service: PartnerService, *plays: Play, port: int = 0, wait: float = 5.0, status: bool = False
) -> tuple[list[Verdict], list[str]]:
    """Play with a service in this process; return verdicts and lines."""
    lines: list[str] = []
    endpoint = read_endpoint(service.url, allow_loopback=True)
    entry = registered(read_endpoint(service.status_url, allow_loopback=True) if status else None, service.secret, service.number_key)
    keys = () if service.secret else (PublicKey.from_text(service.public_key),)
    terms = Terms(endpoint, keys, KEY, entry, port=port, wait=wait, timeout=5.0)
    async with sandbox(terms, lines.append) as (engine, callbacks):
        assert service.callbacks == callbacks
        return [verdict async for verdict in play_all(engine, fitting(entry, plays))], lines


def one_service(vice: str = "", *, by_callback: bool = False) -> tuple[PartnerService, int]:
    """Return a service that believes the sandbox, and the port of the sandbox's callbacks."""
    (port,) = free_ports(1)
    callbacks = f"http://127.0.0.1:{port}/v1/platforms/sandbox/answers"
    return PartnerService(KEY.public.text, callbacks, by_callback, frozenset({vice} - {""})), port


def options(service: PartnerService, port: int, tmp_path: Path) -> list[str | Path]:
    """Return the options that both commands need."""
    (tmp_path / "sandbox.key").write_text(KEY.text)
    where = [
        "--url",
        service.url,
        "--status-url",
        service.status_url,
        "--public-key",
        service.public_key,
        "--allow-loopback",
        "--port",
        str(port),
    ]
    return [*where, "--key", tmp_path / "sandbox.key", "--wait", "5"]

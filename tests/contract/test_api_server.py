"""The API's real process on a real socket: slow senders are cut off, a taken port is one clear error, SIGTERM ends it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from builders import PLATFORMS, platform_keys

from fallow.cli.ending import INSTALLATION
from fallow.local.processes import Child, free_ports, start_child, wait_until, wait_until_ready
from fallow.store import keys, schema
from fallow.store.engine import Database

_TEN_SECONDS, _A_MINUTE = timedelta(seconds=10), timedelta(minutes=1)
# The command people use: how the process ends is its part too.
_API = [sys.executable, "-m", "fallow.cli", "api"]
_POLICY = """
id = "test"
version = 1
[[rule]]
quarantine = "90d"
observed = "30d"
source = "tests"
"""
_RECORDS = """
[line_register]
system = "crm"
table = "lines"
number = { column = "msisdn", spelling = "e164" }
status = "status"
off = ["off"]
in_service = ["on"]
[[system]]
id = "crm"
url = "sqlite:///carrier.db"
[[system.collection]]
id = "contacts"
table = "contacts"
number = { column = "msisdn", spelling = "e164" }
until = "made_at"
strategy = "delete"
"""


def _platforms() -> str:
    tables = []
    for platform_id, key in platform_keys(PLATFORMS).items():
        url = f"https://{platform_id}.example.com/unbind"
        tables.append(
            f'[[platform]]\nid = "{platform_id}"\ncategory = "{PLATFORMS[platform_id]}"\nurl = "{url}"\n'
            f'public_keys = ["{key.public.text}"]\ncontact = "ops@example.com"\n'
        )
    return "\n".join(tables)


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of an installation on disk, with a free port."""
    folder = tmp_path_factory.mktemp("installation")
    for name, text in (("policy", _POLICY), ("records", _RECORDS), ("platforms", _platforms())):
        (folder / f"{name}.toml").write_text(text)
    keys.create(folder / "keys")
    db = Database(f"sqlite:///{folder / 'fallow.db'}")
    schema.upgrade(db.engine)
    db.close()
    return {"FALLOW_STATE": str(folder), "FALLOW_API_PORT": str(free_ports(1)[0])}


def _started(variables: dict[str, str]) -> Child:
    child = start_child(
        "api",
        _API,
        log_path=Path(variables["FALLOW_STATE"]) / f"api-{variables['FALLOW_API_PORT']}.log",
        variables=variables,
    )
    wait_until_ready(child, lambda: _ready(variables), within=_A_MINUTE)
    return child


def _ready(variables: dict[str, str]) -> bool:
    try:
        return httpx.get(_url(variables) + "/readyz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _url(variables: dict[str, str]) -> str:
    return f"http://127.0.0.1:{variables['FALLOW_API_PORT']}"


@pytest.fixture(scope="module")
def api(variables: dict[str, str]) -> Iterator[Child]:
    """Return the running process."""
    child = _started(variables)
    yield child
    child.stop()


def _exchange(variables: dict[str, str], sent: bytes, drip: bytes = b"") -> tuple[bytes, float]:
    """Send bytes, then ``drip`` every half second, until the other side closes; return what came and the seconds it took."""
    began = time.monotonic()
    came = b""
    with closing(socket.create_connection(("127.0.0.1", int(variables["FALLOW_API_PORT"])))) as connection:
        connection.sendall(sent)
        connection.settimeout(0.5)
        while time.monotonic() - began < 25:
            try:
                chunk = connection.recv(65_536)
                if not chunk:
                    break
                came += chunk
            except TimeoutError:
                if drip:
                    connection.sendall(drip)
            except ConnectionError:
                break
    return came, time.monotonic() - began


_ANSWERS = b"POST /v1/platforms/alpha-pay/answers HTTP/1.1\r\nHost: fallow\r\n"


@pytest.mark.parametrize("drip", [b"", b"x"], ids=["silent", "dripping"])
def test_a_slow_body_is_cut_off(api: Child, variables: dict[str, str], drip: bytes) -> None:
    """Whoever stops or drips in the middle of a body is answered 408 and loses the connection."""
    came, seconds = _exchange(variables, _ANSWERS + b"Content-Length: 1000\r\n\r\nabc", drip)

    assert came.startswith(b"HTTP/1.1 408")
    assert b"urn:fallow:error:body-too-slow" in came
    assert seconds < 20


def test_slow_headers_are_cut_off(api: Child, variables: dict[str, str]) -> None:
    """Whoever never ends the headers loses the connection."""
    _, seconds = _exchange(variables, b"GET /healthz HTTP/1.1\r\nHost: fallow\r\n")

    assert seconds < 20


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 65537\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n" + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 5]
)
def test_a_long_body_is_cut_off(api: Child, variables: dict[str, str], rest: bytes) -> None:
    """A body over the cap is refused before its end, whether its length was declared or not."""
    came, _ = _exchange(variables, _ANSWERS + rest)

    assert came.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_ten_megabytes_are_not_waited_for(api: Child, variables: dict[str, str], declared: bool) -> None:
    """A body a hundred times too long is refused at the first 64 KiB, and the connection is given up."""
    head = b"Content-Length: 10485760\r\n\r\n" if declared else b"Transfer-Encoding: chunked\r\n\r\n"
    drip = b"x" * 0x20000 if declared else b"20000\r\n" + b"x" * 0x20000 + b"\r\n"

    came, _ = _exchange(variables, _ANSWERS + head, drip)

    assert came.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "half",
    [b"", b"POST /v1/platforms/alpha-pay/answers HTTP/1.1\r\nHost: fallow\r\n", _ANSWERS + b"Content-Length: 1000\r\n\r\nabc"],
    ids=["silent", "half a head", "half a body"],
)
def test_many_idle_connections_keep_nobody_out(api: Child, variables: dict[str, str], half: bytes) -> None:
    """While 300 connections say nothing, or stop half-way, honest requests are answered; in the end the process has let go of them all."""
    address = ("127.0.0.1", int(variables["FALLOW_API_PORT"]))
    with ExitStack() as opened:
        idle = [opened.enter_context(closing(socket.create_connection(address, timeout=30))) for _ in range(300)]
        for each in idle:
            each.sendall(half)
        statuses = [
            httpx.post(_url(variables) + "/v1/platforms/alpha-pay/answers", content=b"{}", timeout=30).status_code for _ in range(20)
        ]
        ready = httpx.get(_url(variables) + "/readyz", timeout=30).status_code
        assert wait_until(lambda: all(_let_go(each) for each in idle), _A_MINUTE)

    assert (statuses, ready) == ([401] * 20, 200)


def _let_go(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_long_headers_are_refused(api: Child, variables: dict[str, str]) -> None:
    """Headers beyond 16 KiB are refused."""
    came, _ = _exchange(variables, b"GET /healthz HTTP/1.1\r\nHost: fallow\r\nX: " + b"x" * 40_000 + b"\r\n\r\n")

    assert came.startswith(b"HTTP/1.1 431")


def test_a_taken_port_is_one_clear_error(api: Child, variables: dict[str, str]) -> None:
    """A second process on the same port says what is wrong and what to do, in one line, and ends."""
    second = subprocess.run(_API, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=60)

    assert second.returncode == INSTALLATION
    (line,) = second.stderr.splitlines()
    assert variables["FALLOW_API_PORT"] in line
    assert "Remedy: " in line


def test_the_description_names_no_other_host(api: Child, variables: dict[str, str]) -> None:
    """Neither the description nor any page of it is open, so nothing is loaded from elsewhere."""
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert httpx.get(_url(variables) + path).status_code in (401, 404)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_good_order(variables: dict[str, str], end: signal.Signals) -> None:
    """A signal ends the process although a client still holds its connection; the log holds no request."""
    mine = {**variables, "FALLOW_API_PORT": str(free_ports(1)[0])}
    child = _started(mine)
    with httpx.Client() as client:
        assert client.post(_url(mine) + "/v1/numbers/lookup", json={"number": "+33199000000"}).status_code == 401
        child.send(end)
        assert child.wait(_TEN_SECONDS) == 0

    log = child.log_path.read_text()
    assert "api stopped" in log
    assert "33199000000" not in log
    assert "lookup" not in log


def test_it_dies_with_its_parent(variables: dict[str, str], tmp_path: Path) -> None:
    """Killed with no chance to clean up, the starting process leaves no API behind."""
    mine = {**variables, "FALLOW_API_PORT": str(free_ports(1)[0])}
    parent_source = (
        "import json, sys, time; from pathlib import Path; from fallow.local.processes import start_child\n"
        "command, log, variables = json.loads(sys.argv[1])\n"
        "child = start_child('api', command, log_path=Path(log), variables=variables); print(child.pid, flush=True); child.wait()\n"
    )
    told = json.dumps([_API, str(tmp_path / "api.log"), mine])
    parent = subprocess.Popen([sys.executable, "-c", parent_source, told], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    try:
        assert wait_until(lambda: _ready(mine), _A_MINUTE)

        parent.kill()

        assert wait_until(lambda: not _lives(pid), _TEN_SECONDS)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

"""The partner kit: the sandbox judges a good service well and names each mistake of a bad one; the command line as a real process."""

import json
import re
import stat
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from command_line import NOWHERE, ROOT, CommandLine, Ran, assert_one_clear_line
from partner_service import PartnerService, serving

from fallow.domain.errors import InputRefused, TargetUnavailable
from fallow.local.processes import free_ports
from fallow.local.sandbox import Terms, Verdict, fitting, play_all, sandbox
from fallow.local.sandbox_book import Fault
from fallow.local.sandbox_names import ABOUT, FORGED, NEEDS, Play
from fallow.local.sandbox_plays import PLAYS
from fallow.local.sandbox_sockets import wait_until_listening
from fallow.local.sandbox_wire import registered
from fallow.platforms.endpoints import read_endpoint
from fallow.platforms.signing import HmacKey, PublicKey, SigningKey
from fallow.platforms.transport import Reply

PLAIN = set(Play) - NEEDS.keys()
ANSWERED = PLAIN - FORGED - {Play.PING}
FALSE = PLAIN & FORGED
HEARD = ANSWERED | {Play.PING}
LOOKS = {Play.STATUS, Play.STATUS_UNKNOWN}
KEY = SigningKey(bytes(range(32)))
#: A vice, whether the service answers by callback, the plays in which it must show, and words that name it.
VICES = [
    ("trusting", False, FALSE, "verify"),
    ("timeless", False, {Play.OLD_TIMESTAMP, Play.EARLY_TIMESTAMP}, "300 s"),
    ("fragile", False, {Play.NO_SIGNATURE}, "fell over"),
    ("first-token", False, {Play.TWO_SIGNATURES}, "one good one suffices"),
    ("unsigned", False, ANSWERED | {Play.PING}, "has no header webhook-id"),
    ("late-clock", False, ANSWERED | {Play.PING}, "was signed 1000 s ago"),
    ("body-alone", False, ANSWERED | {Play.PING}, "signed over the body alone"),
    ("forgetful", False, {Play.REPEAT, Play.LATE_REPEAT, Play.AT_ONCE, Play.REMINDER}, "two different things"),
    ("conflict", False, {Play.REMINDER, Play.REPEAT, Play.LATE_REPEAT, Play.AT_ONCE, Play.CUT}, "with 409"),
    ("foreign", False, ANSWERED, "did not ask"),
    ("closed-schema", False, {Play.NEW_FIELD}, "with 400"),
    ("wordy", True, ANSWERED, "longer than 65536 bytes"),
    ("small", False, {Play.THOUSAND}, "--batch"),
    ("silent", True, ANSWERED, "without an answer"),
    ("giving-up", True, {Play.BUSY_CALLBACK}, "same webhook-id"),
    ("new-id", True, {Play.BUSY_CALLBACK}, "under another webhook-id. keep webhook-id and body"),
    ("body-alone", True, ANSWERED | {Play.PING}, "signed over the body alone"),
    ("foreign", True, ANSWERED, "never asked"),
]
#: A mistake at the status URL, the plays in which it must show, and words that name it and the remedy.
STATUS_VICES = [
    ("status-missing", LOOKS, "a status query with 404. serve POST"),
    ("status-silent", LOOKS, "said by 204 that it knows nothing of 3 references that it had answered. answer 200"),
    ("status-elsewhere", LOOKS, "with 202 and no body. put the answers into the response"),
    ("status-choosy", LOOKS, "a status query with 400. read `references`"),
    ("status-partial", LOOKS, "left out 1 of 3 references"),
    ("status-foreign", LOOKS, "for a reference that it did not name. answer for the references of `references`"),
    ("status-guessing", {Play.STATUS_UNKNOWN}, "for a reference that it never saw. leave out what you don't know; 204"),
    ("status-empty", {Play.STATUS_UNKNOWN}, "does not list 1 to 1000 answers. answer as docs/platforms.md says; 204"),
    ("status-vague", LOOKS, "said accepted to a status query of what it had cleared, which takes its answer back. say clear"),
    ("status-stale", LOOKS, "with the webhook-id of an earlier message. sign every answer anew"),
    (
        "status-trusting",
        {Play.STATUS_FORGED},
        "took a status query signed with another key (200). verify webhook-signature at the status",
    ),
]
SECRET = "whsec_" + b64encode(bytes(range(100, 132))).decode()
#: A mistake with HMAC, the plays in which it must show, and words that name it and the remedy.
HMAC_VICES = [
    ("signs-text-key", HEARD, "is signed under the secret's text, whsec_ and all, instead of its bytes. decode the base64"),
    ("signs-base64-key", HEARD, "is signed under the secret's base64 as text instead of its bytes. decode the base64"),
    ("signs-hmac-of-body", HEARD, "is signed over the body alone. sign the bytes"),
    ("signs-no-id", HEARD, "is signed over timestamp and body, without the id. sign the bytes"),
    ("signs-hex", HEARD, "has its HMAC in hex. write v1, a comma, then the base64"),
    ("signs-sha512", HEARD, "has an HMAC of another length than 32 bytes, or another spelling of base64. use HMAC-SHA-256"),
    ("signs-as-v1a", HEARD, "calls its HMAC 'v1a'. write v1, a comma"),
    ("signs-bare", HEARD, "has its HMAC without a name. write v1, a comma"),
    ("signs-other-secret", HEARD, "by the key that the sandbox was given. compare --shared-secret's file"),
    ("reads-text-key", HEARD, "believes only an HMAC under the secret's text, whsec_ and all, instead of its bytes. decode the base64"),
    ("reads-base64-key", HEARD, "believes only an HMAC under the secret's base64 as text instead of its bytes. decode the base64"),
    ("reads-hmac-of-body", HEARD, "believes only an HMAC over the body alone. verify over the bytes"),
    ("reads-no-id", HEARD, "believes only an HMAC over timestamp and body, without the id. verify over the bytes"),
    ("reads-hex", HEARD, "believes only an HMAC in hex. compare with the base64"),
    ("first-token", HEARD, "believes only an HMAC that stands first in webhook-signature. look at each signature"),
    ("trusting", FALSE, "verify webhook-signature with the sandbox's public key, or with the shared secret"),
    ("timeless", {Play.OLD_TIMESTAMP, Play.EARLY_TIMESTAMP}, "300 s"),
]


async def judged(
    service: PartnerService, *plays: Play, port: int = 0, wait: float = 5.0, status: bool = False
) -> tuple[list[Verdict], list[str]]:
    """Play with a service in this process; return verdicts and lines."""
    lines: list[str] = []
    endpoint = read_endpoint(service.url, allow_loopback=True)
    entry = registered(read_endpoint(service.status_url, allow_loopback=True) if status else None, service.secret)
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


@pytest.mark.parametrize("by_callback", [False, True], ids=["in the response", "by callback"])
async def test_a_good_service_passes_every_play(*, by_callback: bool) -> None:
    """A service written after one page passes, whichever way it answers."""
    service, port = one_service(by_callback=by_callback)
    with serving(service):
        verdicts, lines = await judged(service, port=port, wait=10.0, status=True)

    assert [(each.play, each.what) for each in verdicts if not each.passed] == [], "\n".join(lines)
    assert [each.play for each in verdicts] == list(Play)
    assert (max(service.ids.values()) > 1) == by_callback  # the callback that was turned away came again under its id


@pytest.mark.parametrize(("vice", "by_callback", "plays", "words"), VICES, ids=[f"{each[0]}{' by callback' * each[1]}" for each in VICES])
async def test_each_mistake_is_found_and_named(vice: str, *, by_callback: bool, plays: set[Play], words: str) -> None:
    """A service with one mistake fails in exactly the plays that the mistake shows in, and is told what to do."""
    service, port = one_service(vice, by_callback=by_callback)
    with serving(service):
        verdicts, lines = await judged(service, port=port, wait=0.3 if vice == "silent" else 5.0)

    failed = {each.play: f"{each.what}. {each.remedy}" for each in verdicts if not each.passed}
    assert failed.keys() == plays, "\n".join(lines)
    assert all(each.remedy for each in verdicts if not each.passed)
    assert not [each for each in verdicts if each.what.endswith(".") or each.remedy.endswith(".")]
    assert any(words in said for said in failed.values()), failed


@pytest.mark.parametrize(("vice", "plays", "words"), STATUS_VICES, ids=[each[0] for each in STATUS_VICES])
async def test_each_mistake_at_the_status_url_is_found_and_named(vice: str, plays: set[Play], words: str) -> None:
    """A service that answers requests well and status queries badly fails in exactly the plays that the mistake shows in."""
    service, port = one_service(vice, by_callback=vice == "status-elsewhere")
    with serving(service):
        verdicts, lines = await judged(service, *sorted(LOOKS | {Play.STATUS_FORGED}), port=port, status=True)

    failed = {each.play: f"{each.what}. {each.remedy}" for each in verdicts if not each.passed}
    assert failed.keys() == plays, "\n".join(lines)
    assert any(words in said for said in failed.values()), failed


@pytest.mark.parametrize("by_callback", [False, True], ids=["in the response", "by callback"])
async def test_a_service_that_knows_hmac_only_passes_every_play(*, by_callback: bool) -> None:
    """It verifies with the shared secret alone, and its answers are signed with nothing else."""
    service, port = one_service(by_callback=by_callback)
    service.engine_key, service.secret = "", SECRET
    with serving(service):
        verdicts, lines = await judged(service, port=port, wait=10.0, status=True)

    assert [(each.play, each.what) for each in verdicts if not each.passed] == [], "\n".join(lines)
    assert SECRET not in "\n".join(lines)


@pytest.mark.parametrize(("vice", "plays", "words"), HMAC_VICES, ids=[each[0] for each in HMAC_VICES])
async def test_each_mistake_with_hmac_is_found_and_named(vice: str, plays: set[Play], words: str) -> None:
    """What it signs with is named wherever it shows; what it believes only, by the ping, which is harmless to send again."""
    service, port = one_service(vice)
    service.secret = SECRET
    with serving(service):
        verdicts, lines = await judged(service, port=port)

    failed = {each.play: f"{each.what}. {each.remedy}" for each in verdicts if not each.passed}
    assert failed.keys() == plays, "\n".join(lines)
    assert any(words in said for said in failed.values()), failed


async def test_a_scheme_that_the_sandbox_has_no_key_of_is_named() -> None:
    """Where only the other kind of key was given, that is said, not that the signature is wrong."""
    service, port = one_service()
    service.secret = SECRET
    only_keys = Terms(read_endpoint("http://127.0.0.1:1/", allow_loopback=True), (PublicKey.from_text(service.public_key),), KEY)
    with serving(service):
        endpoint = read_endpoint(service.url, allow_loopback=True)
        async with sandbox(replace(only_keys, endpoint=endpoint, port=port), str) as (engine, _):
            reply_by_hmac = service.signed("msg_" + "a" * 20, b"{}")
            named = engine.verified(Reply(200, reply_by_hmac, b"{}"))
        service.secret = ""
        reply_by_key = service.signed("msg_" + "a" * 20, b"{}")
        with_secret = replace(only_keys, keys=(), entry=registered(None, SECRET), endpoint=endpoint, port=port)
        async with sandbox(with_secret, str) as (engine, _):
            other = engine.verified(Reply(200, reply_by_key, b"{}"))

    assert isinstance(named, Fault)
    assert isinstance(other, Fault)
    assert "HMAC (v1) alone, and the sandbox was given no shared secret" in named.what
    assert "--shared-secret" in named.remedy
    assert "Ed25519 (v1a) alone, and the sandbox was given no public key" in other.what
    assert "--public-key" in other.remedy


@pytest.mark.parametrize("play", sorted(LOOKS | {Play.STATUS_FORGED}))
async def test_a_play_that_lacks_its_option_is_refused(play: Play) -> None:
    """What was not told where status queries go is not asked for them; the refusal names the option."""
    with pytest.raises(InputRefused, match="needs --status-url"):
        fitting(registered(), [play])


@pytest.mark.parametrize("play", [Play.PING, Play.ONE])
async def test_a_service_with_another_key_is_told_which_to_take(play: Play) -> None:
    """It refuses everything; what is wrong is its key, also where it was only pinged."""
    service, port = one_service()
    service.engine_key = SigningKey.generate().public.text
    with serving(service):
        (verdict,), _ = await judged(service, play, port=port)

    assert not verdict.passed
    assert verdict.remedy == "give your service the sandbox's public key as it was printed"


async def test_a_service_that_writes_to_one_at_a_time_is_found() -> None:
    """While one request comes in slowly, another must be answered."""
    service, port = one_service("one-at-a-time")
    with serving(service):
        verdicts, _ = await judged(service, Play.SLOW_LINE, port=port)

    assert [each.passed for each in verdicts] == [False]
    assert "nobody else" in verdicts[0].what


async def test_only_numbers_that_nobody_has_are_sent() -> None:
    """Every number is of the range that the regulator keeps for fiction."""
    service, port = one_service()
    with serving(service):
        await judged(service, Play.ONE, Play.THOUSAND, port=port)

    assert len(service.numbers) == 1000
    assert all(re.fullmatch(r"\+447700900[0-9]{3}", number) for number in service.numbers)


async def test_a_service_that_does_not_listen_is_said_so() -> None:
    """Nothing is played against nobody."""
    with pytest.raises(TargetUnavailable, match="Nothing listens"):
        await wait_until_listening(read_endpoint("http://127.0.0.1:9/", allow_loopback=True), timedelta(seconds=0.3))


def test_every_play_is_played_and_explained() -> None:
    """The list of plays, their code, their explanations and docs/partner-kit.md name the same."""
    page = (ROOT / "docs" / "partner-kit.md").read_text("utf-8")
    listed = re.findall(r"`([a-z-]+)`", "".join(re.findall(r"(?m)^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|", page)))

    assert set(Play) == PLAYS.keys() == ABOUT.keys()
    assert listed == list(Play)


@pytest.fixture(name="cli")
def the_command_line(tmp_path: Path) -> CommandLine:
    """Return the program without any installation."""
    return CommandLine(tmp_path / "nothing")


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


def test_the_sandbox_needs_nothing_installed(cli: CommandLine, tmp_path: Path) -> None:
    """The real program plays, says a line for each exchange, gives its verdict and exit code, and leaves nothing behind."""
    service, port = one_service()
    with serving(service):
        good = cli.run("platform", "sandbox", *options(service, port, tmp_path))
    service.vices = frozenset({"timeless"})
    with serving(service):
        bad = cli.run("platform", "sandbox", "--play", "old-timestamp", "--play", "one", *options(service, port, tmp_path))

    assert good.code == 0, good.out + good.err
    assert good.out.startswith(f"sandbox key  {KEY.public.text}\ncallbacks    http://127.0.0.1:{port}/")
    assert f"{len(Play)} of {len(Play)} plays passed\n" in good.out
    assert "→ 1 number: 200, well signed, 1 answered\n" in good.out
    assert bad.code == 1
    assert "\nFAILED  old-timestamp " in bad.out
    assert " Do: refuse a webhook-timestamp" in bad.out
    assert "1 of 2 plays passed" in bad.out
    assert not cli.state.exists()
    assert "+44" not in good.out + bad.out


def test_the_sandbox_speaks_to_programs(cli: CommandLine, tmp_path: Path) -> None:
    """With --json each line is an object: ready, exchanges, verdicts, and the sum."""
    service, port = one_service()
    with serving(service):
        ran = cli.run("platform", "sandbox", "--json", "--play", "one", *options(service, port, tmp_path))
    found = [json.loads(line) for line in ran.out.splitlines()]

    assert [next(iter(each)) for each in found] == ["ready", "exchange", "exchange", "verdict", "passed"]
    assert found[0]["ready"]["sandbox_key"] == KEY.public.text
    assert found[-1] == {"passed": 1, "failed": 0}


def test_one_play_for_a_platforms_own_tests(cli: CommandLine, tmp_path: Path) -> None:
    """`trigger` prints one object that says whether the play passed, and its exit code says it too."""
    service, port = one_service("first-token")
    with serving(service):
        bad = cli.run("platform", "trigger", "two-signatures", "--json", *options(service, port, tmp_path))
        good = cli.run("platform", "trigger", "one", *options(service, port, tmp_path))

    assert (bad.code, good.code) == (1, 0)
    assert bad.json.keys() == {"play", "passed", "what", "remedy", "about", "sandbox_key", "exchanges"}
    assert (bad.json["play"], bad.json["passed"]) == ("two-signatures", False)
    assert "passed  one " in good.out


def test_the_sandboxs_key_is_made_once(cli: CommandLine, tmp_path: Path) -> None:
    """A key file that is not there yet is made for its owner alone, and used again."""
    service, port = one_service()
    with serving(service):
        given = [*options(service, port, tmp_path), "--key", tmp_path / "new.key"]
        first, second = (cli.run("platform", "trigger", "one", "--json", *given) for _ in range(2))
    made = SigningKey.from_text((tmp_path / "new.key").read_text().strip())

    assert stat.S_IMODE((tmp_path / "new.key").stat().st_mode) == 0o600
    assert first.json["sandbox_key"] == second.json["sandbox_key"] == made.public.text
    assert first.code == 1  # the service knows another key
    assert "give your service the sandbox's public key" in first.json["remedy"]


def test_a_shared_secret_comes_from_a_file(cli: CommandLine, tmp_path: Path) -> None:
    """With --shared-secret alone an HMAC service passes; a new file is made for its owner alone; the secret is never printed."""
    service, port = one_service()
    service.secret = SECRET
    (tmp_path / "shared.secret").write_text(SECRET + "\n")
    with serving(service):
        given = ["--url", service.url, "--allow-loopback", "--port", str(port), "--key", tmp_path / "sandbox.key"]
        good = cli.run("platform", "trigger", "ping", *given, "--shared-secret", tmp_path / "shared.secret")
        made = cli.run("platform", "trigger", "ping", *given, "--shared-secret", tmp_path / "new.secret")

    assert good.code == 0, good.out + good.err
    assert made.code == 1
    assert HmacKey.from_text((tmp_path / "new.secret").read_text().strip())
    assert stat.S_IMODE((tmp_path / "new.secret").stat().st_mode) == 0o600
    assert "whsec_" not in good.out + good.err + made.out + made.err


def test_nothing_is_played_without_a_key_or_with_a_broken_secret(cli: CommandLine, tmp_path: Path) -> None:
    """One clear line with its remedy, that does not quote the secret."""
    (tmp_path / "short.secret").write_text("whsec_QUJD")
    none = cli.run("platform", "trigger", "one", "--url", "https://example.com/x")
    broken = cli.run("platform", "trigger", "one", "--url", "https://example.com/x", "--shared-secret", tmp_path / "short.secret")

    assert (none.code, broken.code) == (1, 4), none.err + broken.err
    for ran in (none, broken):
        assert_one_clear_line(ran)
    assert "--shared-secret where your service signs with HMAC" in none.err
    assert "QUJD" not in broken.err


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (["--url", "http://127.0.0.1:1/x"], 1),
        (["--url", "https://10.0.0.1/x", "--allow-loopback"], 1),
        (["--url", "https://example.com/x", "--public-key", "whpk_AAAA"], 4),
        (["--url", "https://example.com/x", "--key", "."], 2),
        (["--url", "https://example.com/x", "--key", "no/such/folder/key"], 1),
        (["--url", "https://example.com/x", "--host", "192.0.2.1"], 1),
        (["--url", "https://example.com/x", "--status-url", "http://127.0.0.1:1/x"], 1),
        (["--url", f"http://{NOWHERE}/x"], 1),
        (["--url", "ftp://127.0.0.1/x"], 1),
    ],
    ids=["loopback", "private", "no key", "a folder", "no folder", "not our address", "status", "nowhere", "ftp"],
)
def test_what_can_not_be_played_is_refused(cli: CommandLine, changed: list[str], code: int) -> None:
    """A wrong URL or key is one clear line with its remedy, before anything is sent."""
    public = [] if "--public-key" in changed else ["--public-key", KEY.public.text]
    ran: Ran = cli.run("platform", "trigger", "one", *public, *changed)

    assert ran.code == code, ran.err
    assert_one_clear_line(ran)

"""The partner kit: the sandbox judges a good service well and names each mistake of a bad one; the command line as a real process."""

import json
import re
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from command_line import NOWHERE, ROOT, CommandLine, Ran, assert_one_clear_line
from partner_judged import ANSWERED, FALSE, KEY, judged, one_service, options
from partner_service import serving

from fallow.domain.errors import TargetUnavailable
from fallow.local.sandbox_names import ABOUT, Play
from fallow.local.sandbox_plays import PLAYS
from fallow.local.sandbox_sockets import wait_until_listening
from fallow.platforms.endpoints import read_endpoint
from fallow.platforms.signing import SigningKey

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


@pytest.mark.parametrize("by_callback", [False, True], ids=["in the response", "by callback"])
async def test_a_good_service_passes_every_play(*, by_callback: bool) -> None:
    """A service written after one page passes, whichever way it answers."""
    service, port = one_service(by_callback=by_callback)
    with serving(service):
        verdicts, lines = await judged(service, port=port, wait=10.0, status=True)

    assert [(each.play, each.what) for each in verdicts if not each.passed] == [], "\n".join(lines)
    assert [each.play for each in verdicts] == [each for each in Play if each is not Play.KEYED_HASH]
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
    assert f"{len(Play) - 1} of {len(Play) - 1} plays passed\n" in good.out  # all but those about keyed hashes
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

"""The partner kit where a platform chose HMAC, keyed hashes or a status query: a good service passes, each mistake is named."""

import re
import stat
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import CommandLine, assert_one_clear_line
from partner_judged import ANSWERED, FALSE, HEARD, KEY, PLAIN, judged, one_service, options
from partner_service import HASHES, serving

from fallow.domain.errors import InputRefused
from fallow.local.sandbox import Terms, fitting, sandbox
from fallow.local.sandbox_book import Fault
from fallow.local.sandbox_names import NEEDS, Play
from fallow.local.sandbox_wire import registered
from fallow.platforms.endpoints import read_endpoint
from fallow.platforms.signing import HmacKey, PublicKey
from fallow.platforms.transport import Reply

LOOKS = {Play.STATUS, Play.STATUS_UNKNOWN}
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
NUMBER_KEY = "whnk_" + b64encode(bytes(range(200, 232))).decode()
TEST_ACCOUNT = "+447700900999"
#: A mistake with keyed hashes, the plays in which it must show, and words that name it and the remedy.
HASH_VICES = [
    ("hash-text-key", {Play.KEYED_HASH}, "only by a hash under the key's text, whnk_ and all, instead of its bytes. hash as"),
    ("hash-base64-key", {Play.KEYED_HASH}, "only by a hash under the key's base64 as text instead of its bytes. hash as"),
    ("hash-no-plus", {Play.KEYED_HASH}, "only by a hash of the digits without their +. hash as"),
    ("hash-upper", {Play.KEYED_HASH}, "only by a hash in upper-case hex. hash as"),
    ("hash-base64", {Play.KEYED_HASH}, "only by a hash in base64. hash as"),
    ("hash-no-key", {Play.KEYED_HASH}, "only by a hash without the key. hash as"),
    ("hash-national", {Play.KEYED_HASH}, "found no account under the hash of the number that a test account must be bound to. bind one"),
    ("finds-all", {Play.KEYED_HASH}, "found an account under the hash of a number that has none. compare the whole"),
    ("wants-number", ANSWERED | {Play.KEYED_HASH}, "keyed hashes with 500. read `number_hash`"),
]


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


@pytest.mark.parametrize("vice", ["", "discreet"])
@pytest.mark.parametrize("by_callback", [False, True], ids=["in the response", "by callback"])
async def test_a_service_that_knows_keyed_hashes_only_passes_every_play(vice: str, *, by_callback: bool) -> None:
    """It never sees a number, finds its test account by the hash, and cuts it; one that says `clear` is told to look itself."""
    service, port = one_service(vice, by_callback=by_callback)
    service.number_key, service.bound = NUMBER_KEY, {TEST_ACCOUNT}
    with serving(service):
        verdicts, lines = await judged(service, port=port, wait=10.0)

    assert [(each.play, each.what) for each in verdicts if not each.passed] == [], "\n".join(lines)
    assert {each.play for each in verdicts} == PLAIN | {Play.KEYED_HASH}
    assert service.bound == set()
    assert all(re.fullmatch(r"[0-9a-f]{64}", number) for number in service.numbers)
    assert any("look whether it was unbound" in line for line in lines) == (vice == "discreet")


@pytest.mark.parametrize(("vice", "plays", "words"), HASH_VICES, ids=[each[0] for each in HASH_VICES])
async def test_each_mistake_with_keyed_hashes_is_found_and_named(vice: str, plays: set[Play], words: str) -> None:
    """A service that hashes otherwise finds nobody and says so in good faith: the sandbox finds out how it hashes."""
    service, port = one_service(vice)
    service.number_key, service.bound = NUMBER_KEY, {TEST_ACCOUNT}
    with serving(service):
        verdicts, lines = await judged(service, port=port)

    failed = {each.play: f"{each.what}. {each.remedy}" for each in verdicts if not each.passed}
    assert failed.keys() == plays, "\n".join(lines)
    assert words in failed[Play.KEYED_HASH]


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


@pytest.mark.parametrize("play", sorted(NEEDS))
async def test_a_play_that_lacks_its_option_is_refused(play: Play) -> None:
    """What has nothing to play with is not played; the refusal names the option."""
    with pytest.raises(InputRefused, match=f"needs {NEEDS[play]}"):
        fitting(registered(), [play])


@pytest.fixture(name="cli")
def the_command_line(tmp_path: Path) -> CommandLine:
    """Return the program without any installation."""
    return CommandLine(tmp_path / "nothing")


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


def test_the_key_of_hashes_comes_from_a_file(cli: CommandLine, tmp_path: Path) -> None:
    """With --number-key the hash that the service must find is printed first, the key and the number never."""
    service, port = one_service()
    service.number_key, service.bound = NUMBER_KEY, {TEST_ACCOUNT}
    (tmp_path / "number.key").write_text(NUMBER_KEY + "\n")
    with serving(service):
        ran = cli.run("platform", "trigger", "keyed-hash", *options(service, port, tmp_path), "--number-key", tmp_path / "number.key")

    assert ran.code == 0, ran.out + ran.err
    assert f"\nnumber hash  {HASHES['hash'](NUMBER_KEY, TEST_ACCOUNT)}, " in ran.out
    assert NUMBER_KEY not in ran.out + ran.err
    assert "+44" not in ran.out + ran.err


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

"""The platform simulator as the engine meets it: a process of its own, asked through the engine's own adapter."""

import asyncio
import contextlib
import itertools
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from simulator_play import ENGINE, HEADER, NUMBERS, PAYMENT, SOCIAL, Play, items, playing

from fallow.domain.errors import TargetUnavailable
from fallow.domain.obligations import Category, Outcome, RefusalReason
from fallow.local.simulator_plays import Behaviour
from fallow.platforms.protocol import parse_answers, parse_pong
from fallow.platforms.request_bodies import render_ping
from fallow.platforms.signing import SigningKey


async def test_its_map_is_one_the_engine_loads(tmp_path: Path) -> None:
    """Platforms of every category, payment and social first; the secret keys are for its owner's eyes."""
    async with playing(tmp_path, "at-once", "", 8) as play:
        categories = [entry.category for entry in play.entries.values()]
        mode = (tmp_path / "simulator_keys.json").stat().st_mode & 0o777

    assert categories[:2] == [Category.PAYMENT, Category.SOCIAL]
    assert set(categories) == set(Category)
    assert len(set(play.entries)) == 8
    assert mode == 0o600


async def test_answers_at_once_say_what_is_true(tmp_path: Path) -> None:
    """`clear`, or at the one category that tells it `unbound` where an account hung on the number; afterwards nothing is bound."""
    async with playing(tmp_path, "at-once") as play:
        before = play.bound(SOCIAL)
        answers, told = await play.ask(*items()), await play.ask(*items(), platform=SOCIAL)
        after = play.bound() | play.bound(SOCIAL)

    said = {item.number.text: answer.outcome for item, answer in zip(items(), told, strict=True)}
    assert {answer.outcome for answer in answers} == {Outcome.CLEAR}
    assert said == {number: Outcome.UNBOUND if number in before else Outcome.NOT_BOUND for number in NUMBERS}
    assert 0.3 * len(NUMBERS) < len(before) < 0.9 * len(NUMBERS)
    assert after == set()


async def test_a_status_query_tells_what_was_decided(tmp_path: Path) -> None:
    """Nothing before it was asked, then the word of the request, also where the answer itself is still on its way."""
    async with playing(tmp_path, "later") as play:
        early = await play.look(*items(3))
        await play.ask(*items(2))
        found = await play.look(*items(3))

    assert early == []
    assert [(each.reference, each.outcome) for each in found] == [(item.reference, Outcome.CLEAR) for item in items(2)]
    assert play.entries[SOCIAL].status_url is None


async def test_a_ping_is_answered_with_a_signed_pong(tmp_path: Path) -> None:
    """The platform proves that it holds its key; nothing is remembered of it."""
    async with playing(tmp_path, "later") as play:
        parse_pong(await play.post(render_ping("abcdefghijklmnop")), "abcdefghijklmnop")

        assert await play.control("GET", "/requests") == []


async def test_asking_again_changes_nothing_and_says_the_same(tmp_path: Path) -> None:
    """Unbinding is idempotent by reference."""
    async with playing(tmp_path, "at-once") as play:
        first, again = await play.ask(*items()), await play.ask(*reversed(items()))
        rows = play.query("SELECT DISTINCT times, answered IS NOT NULL FROM requests")

    assert sorted(first) == sorted(again)
    assert rows == [(2, 1)]


async def test_a_binding_made_after_the_disconnect_stays(tmp_path: Path) -> None:
    """What a newer holder bound is left alone."""
    async with playing(tmp_path, "at-once") as play:
        with contextlib.closing(sqlite3.connect(tmp_path / "simulator.db")) as db, db:
            db.execute("INSERT INTO bindings VALUES (?, ?, 'newer', '2026-02-01T00:00:00Z', NULL)", (PAYMENT, NUMBERS[0]))
        await play.ask(*items())

        assert play.bound() == {NUMBERS[0]}


@pytest.mark.parametrize("behaviour", ["later", "early"])
async def test_a_callback_says_what_the_response_did_not(tmp_path: Path, behaviour: str) -> None:
    """202 first, then signed callbacks that answer every reference once."""
    async with playing(tmp_path, behaviour) as play:
        assert await play.ask(*items()) == []
        early = len(play.received)
        said = [answer for message in await play.callbacks({"later": 2, "early": 1}[behaviour]) for answer in message]

    assert sorted(answer.reference for answer in said) == [item.reference for item in items()]
    assert early == {"later": 0, "early": 1}[behaviour]


async def test_a_callback_comes_twice_byte_for_byte(tmp_path: Path) -> None:
    """The same message, id, time and signature again."""
    async with playing(tmp_path, "twice") as play:
        await play.ask(*items(3))
        await play.callbacks(2)

    assert play.received[0] == play.received[1]


async def test_callbacks_come_out_of_order(tmp_path: Path) -> None:
    """Answers are permuted, and `pending` follows the final word."""
    async with playing(tmp_path, "disordered") as play:
        await play.ask(*items())
        final, late = await play.callbacks(2)

    assert [answer.reference for answer in final] != [item.reference for item in items()]
    assert {answer.outcome for answer in late} == {Outcome.ACCEPTED}
    assert Outcome.ACCEPTED not in {answer.outcome for answer in final}


async def test_a_callback_is_repeated_until_it_is_taken(tmp_path: Path) -> None:
    """The id and the body stay, and each attempt is signed with its own time."""
    async with playing(tmp_path, "twice") as play:
        play.refusals = 2
        await play.ask(*items(1))
        await play.callbacks(4)
        ids = {delivery.delivery_id for _, delivery in play.received}
        bodies = {delivery.body for _, delivery in play.received}

    assert (len(ids), len(bodies)) == (1, 1)


async def test_some_platforms_wait_for_a_reminder(tmp_path: Path) -> None:
    """Nothing happens until the item says that it is a reminder."""
    async with playing(tmp_path, "reminded") as play:
        before = play.bound()
        assert await play.ask(*items()) == []
        untouched = play.bound()
        answers = await play.ask(*items(reminder=True))

    assert untouched == before != set()
    assert len(answers) == len(NUMBERS)


@pytest.mark.parametrize(("behaviour", "times", "wait"), [("failing", 1, None), ("busy", 2, 1.0)])
async def test_some_platforms_fail_at_first(tmp_path: Path, behaviour: str, times: int, wait: float | None) -> None:
    """5xx without effect, with the wait they ask for; then they work."""
    async with playing(tmp_path, behaviour) as play:
        before = play.bound()
        for _ in range(times):
            with pytest.raises(TargetUnavailable) as caught:
                await play.ask(*items())
            assert caught.value.retry_after == wait
        assert play.bound() == before
        await play.ask(*items())
        await play.callbacks(2)

        assert play.bound() == set()


@pytest.mark.parametrize("behaviour", ["withheld", "dropped"])
async def test_an_effect_may_be_applied_although_the_response_is_lost(tmp_path: Path, behaviour: str) -> None:
    """The first request fails after its effect; the second, with the same references, tells what was done."""
    async with playing(tmp_path, behaviour) as play:
        before = play.bound()
        with pytest.raises(TargetUnavailable):
            await play.ask(*items())
        after = play.bound()
        answers = await play.ask(*items())

    assert (after, before) == (set(), before)
    assert [answer.outcome for answer in answers] == [Outcome.CLEAR] * len(NUMBERS)
    assert before


async def test_the_scenario_makes_a_category_refuse_one_number(tmp_path: Path) -> None:
    """`refused:social` at line 2 is refused by the social platform only, and its account stays."""
    async with playing(tmp_path, "at-once", "2,refused:social\n3,line:ported\n") as play:
        at_social = await play.ask(*items(), platform="larkchat")
        at_payment = await play.ask(*items())

        assert play.bound("larkchat") == {NUMBERS[0]}
    assert [answer.outcome is Outcome.REFUSED for answer in at_social] == [True] + [False] * (len(NUMBERS) - 1)
    assert at_social[0].reason is RefusalReason.DISPUTE
    assert Outcome.REFUSED not in {answer.outcome for answer in at_payment}


async def test_a_request_that_the_engine_did_not_sign_does_nothing(tmp_path: Path) -> None:
    """401, and not even the reference is remembered."""
    async with playing(tmp_path, "at-once") as play:
        before = play.bound()
        with pytest.raises(TargetUnavailable, match="401"):
            await play.ask(*items(), key=SigningKey.generate())
        state = await play.control("GET", "/state")

        assert await play.control("GET", "/requests") == []
        assert play.bound() == before
    assert state["refused_signatures"] == 1


async def test_responses_can_be_held_and_released(tmp_path: Path) -> None:
    """From the ordered request on the effect is applied and the response waits, visibly, until it is released."""
    async with playing(tmp_path, "at-once", "", 2, "--timeout", "30") as play:
        await play.control("POST", "/hold-responses", after=2, seconds=60)
        await play.ask(*items(1))
        second = asyncio.create_task(play.ask(*items()))
        while (await play.control("GET", "/state"))["held"] == 0:
            assert not second.done()
        applied = play.bound()
        await play.control("POST", "/release")

        assert applied == set()
        assert len(await second) == len(NUMBERS)
        assert (await play.control("GET", "/state"))["held"] == 0


async def test_a_held_response_ends_by_itself(tmp_path: Path) -> None:
    """When the time is over the response goes out and later requests are not held."""
    async with playing(tmp_path, "at-once", "", 2, "--timeout", "30") as play:
        await play.control("POST", "/hold-responses", after=1, seconds=0.2)

        assert len(await play.ask(*items())) == len(NUMBERS)
        assert len(await play.ask(*items())) == len(NUMBERS)


async def test_a_held_request_whose_client_is_gone_is_no_longer_held(tmp_path: Path) -> None:
    """A killed engine leaves nothing in flight."""
    async with playing(tmp_path, "at-once", "", 2, "--timeout", "30") as play:
        await play.control("POST", "/hold-responses", after=1, seconds=60)
        asking = asyncio.create_task(play.ask(*items()))
        while (await play.control("GET", "/state"))["held"] == 0:
            assert not asking.done()
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        while (await play.control("GET", "/state"))["held"]:
            pass

        assert play.bound() == set()


async def test_the_log_tells_everything_that_happened(tmp_path: Path) -> None:
    """Asked, unbound, answered and called back: a checker can follow each number."""
    async with playing(tmp_path, "later") as play:
        await play.ask(*items(4))
        await play.callbacks(2)
        while (await play.control("GET", "/state"))["callbacks_waiting"]:
            pass
        lines = play.log()

    events = {line["event"] for line in lines}
    assert {"request", "asked", "answered", "called-back"} <= events
    assert {line["number"] for line in lines if line["event"] == "answered"} == set(NUMBERS[:4])


async def test_the_same_seed_makes_the_same_world(tmp_path: Path) -> None:
    """Bindings depend on the seed alone; another seed makes others."""
    worlds: list[Sequence[tuple[Any, ...]]] = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        async with playing(tmp_path / name, "at-once", "", 2, "--seed", seed) as play:
            worlds.append(play.query("SELECT platform, number, account, bound_at FROM bindings ORDER BY 1, 2"))

    assert worlds[0] == worlds[1] != worlds[2]


async def test_it_goes_on_where_an_earlier_run_ended(tmp_path: Path) -> None:
    """Keys, bindings and answers survive a restart in the same directory."""
    async with playing(tmp_path, "at-once") as play:
        first, keys = await play.ask(*items()), play.entries[PAYMENT].public_keys
    async with playing(tmp_path, "at-once") as play:
        assert play.entries[PAYMENT].public_keys == keys
        assert play.bound() == set()
        assert await play.ask(*items()) == first


async def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """A killed parent leaves no simulator behind."""
    (tmp_path / "numbers.csv").write_text(HEADER + "\n")
    command = [
        *(
            sys.executable,
            "-m",
            "fallow.local.platform_simulator",
            "--platforms",
            "2",
            "--numbers",
            str(tmp_path / "numbers.csv"),
        ),
        *("--callback-url", "http://127.0.0.1:1/{platform_id}", "--engine-key", ENGINE.public.text, "--directory", str(tmp_path)),
    ]
    starter = f"import subprocess; subprocess.Popen({command!r}); input()"
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", starter, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    assert (await parent.stdout.readline()).startswith(b"ready")
    parent.kill()

    # The simulator holds the other end of this pipe: it closes when the simulator has ended.
    await asyncio.wait_for(parent.stdout.read(), 60)
    parent.stdin.close()
    await parent.wait()


async def test_a_patient_engine_gets_every_answer_in_the_end(tmp_path: Path) -> None:
    """All behaviours at once, eight platforms: asking again under the same references always ends well, and nothing stays bound."""
    async with playing(tmp_path, ",".join(Behaviour), "", 8) as play:
        final = await asyncio.gather(*(until_answered(play, platform) for platform in play.entries))
        bound = [play.bound(platform) for platform in play.entries]
        requests = await play.control("GET", "/requests")

    assert [len(answers) for answers in final] == [len(NUMBERS)] * 8
    assert bound == [set()] * 8
    for platform, answers in zip(play.entries, final, strict=True):
        assert answers == {row["reference"]: row["outcome"] for row in requests if row["platform"] == platform}


async def until_answered(play: Play, platform: str) -> dict[str, str]:
    """Ask in batches, again and again, until every reference has its final answer."""
    said: dict[str, str] = {}
    for turn in itertools.count():
        mine = [answer for name, delivery in play.received if name == platform for answer in parse_answers(delivery.body)]
        said |= {answer.reference: answer.outcome for answer in mine if answer.outcome is not Outcome.ACCEPTED}
        open_items = [item for item in items(reminder=turn > 0) if item.reference not in said]
        if not open_items:
            return said
        with contextlib.suppress(TargetUnavailable):
            said |= {each.reference: each.outcome for each in await play.ask(*open_items[:10], platform=platform)}
    raise AssertionError

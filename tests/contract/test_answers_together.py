"""Many answers at once come to the same as one after the other: repeats, orders, groups, storms; on both databases."""

import random
import threading
from collections.abc import Iterator
from itertools import permutations

import pytest
from answering import Sent, about, heard, logged, moves, saying, send, send_each, standing
from builders import World, references
from builders_cycles import all_at, assert_folds, at_once, facts_of, owed_by, row_of
from fastapi import FastAPI
from memory_ports import signed_delivery
from sqlalchemy import event

from fallow.api.app import create_app
from fallow.bootstrap import Wired
from fallow.domain.errors import AnswerMalformed, SignatureRefused, TargetUnavailable
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome, Status
from fallow.operations import answer_desk
from fallow.operations.answer_desk import AnswerDesk
from fallow.operations.answers import accept_answer, apply_all
from fallow.platforms import signing
from fallow.platforms.signing import SigningKey
from fallow.store import cycles
from fallow.store.engine import Database

ALPHA = "alpha-pay"
FIVE = (Outcome.ACCEPTED, Outcome.NEEDS_HUMAN, Outcome.CLEAR, Outcome.UNBOUND, Outcome.NOT_BOUND)


@pytest.fixture
def app(world: World) -> FastAPI:
    """Return the application over a world whose platforms call back."""
    return create_app(world.wired)


@pytest.fixture
def other_app(world: World, database_url: str) -> Iterator[FastAPI]:
    """Return a second application over the same database, with connections of its own, as another API process has."""
    database = Database(database_url, world.clock)
    installation = world.installation
    mine = {name: getattr(installation, name) for name in installation.__dataclass_fields__} | {"db": database}
    yield create_app(Wired(type(installation)(**mine), world.wired.transport, world.wired.records, world.wired.entries))
    database.close()


def test_repeats_across_two_api_processes(world: World, app: FastAPI, other_app: FastAPI) -> None:
    """Sixty-four deliveries of one message, half of them to another process: one effect, one acknowledgement, byte for byte."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    sent = about(world, ALPHA, cycle_id, Outcome.CLEAR)

    together = send_each([(app, sent), (other_app, sent)] * 32, together=True)
    after = send_each([(app, sent), (other_app, sent)])

    assert {(reply.status_code, reply.content) for reply in [*together, *after]} == {(200, together[0].content)}
    assert moves(world, cycle_id, ALPHA) == 1


def test_every_order_of_five_answers(world: World) -> None:
    """All 120 orders of five answers that do not contradict each other end alike: discharged, nothing open for a person."""
    orders = list(permutations(FIVE))
    ids = all_at(world, len(orders), State.UNBINDING)
    named = [references(world, cycle_id)[ALPHA] for cycle_id in ids]

    for turn in range(len(FIVE)):
        said = {reference: order[turn] for reference, order in zip(named, orders, strict=True)}
        sent = saying(world, ALPHA, said)
        accept_answer(world.installation, *sent, heard(sent).said)

    assert {(owed_by(world, each)[ALPHA].status, facts_of(world, each).attention) for each in ids} == {(Status.DISCHARGED, frozenset())}
    assert {moves(world, each, ALPHA) for each in ids} == {1}


@pytest.mark.parametrize("seed", range(3))
def test_a_group_is_as_if_one_after_the_other(world: World, seed: int) -> None:
    """Random messages, contradictions and repeats among them, in one transaction and one by one: same rows, same events."""
    chance = random.Random(seed)  # noqa: S311 - a test's dice
    ids = all_at(world, 8, State.UNBINDING)
    grouped, single = ids[:4], ids[4:]
    script = [(place, platform_id, outcome) for place in range(4) for platform_id in world.platforms for outcome in _some(chance)]
    chance.shuffle(script)
    in_group = [about(world, platform_id, grouped[place], outcome) for place, platform_id, outcome in script]
    by_itself = [about(world, platform_id, single[place], outcome) for place, platform_id, outcome in script]

    with world.installation.db.begin() as tx:
        apply_all(tx, world.installation, [heard(sent) for sent in [*in_group, *in_group[:3]]])
    for sent in by_itself:
        accept_answer(world.installation, *sent, heard(sent).said)

    assert standing(world, *grouped) == standing(world, *single)
    assert [_kinds(world, each) for each in grouped] == [_kinds(world, each) for each in single]


def _some(chance: random.Random) -> list[Outcome]:
    return chance.choices([*FIVE, Outcome.REFUSED, Outcome.REFUSED], k=3)


def _kinds(world: World, cycle_id: str) -> list[tuple[str, object]]:
    with world.installation.db.read() as tx:
        return [(each.kind, each.body.get("attention", each.body.get("status"))) for each in cycles.events(tx, cycle_id)]


def test_a_storm_costs_few_nudges(world: World, app: FastAPI) -> None:
    """Fifty messages about one number, from every platform, at once: at most four wakes, since those not yet delivered are one."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    before = row_of(world, cycle_id).wake_no
    outcomes = [Outcome.NEEDS_HUMAN, Outcome.REFUSED, Outcome.CLEAR, Outcome.NOT_BOUND]
    sent = [about(world, platform_id, cycle_id, outcome) for outcome in outcomes for platform_id in world.platforms]

    replies = send(app, *(sent * 5)[:50], together=True)

    assert {reply.status_code for reply in replies} == {200}
    assert 1 <= row_of(world, cycle_id).wake_no - before <= 4


def test_saying_it_again_nudges_nobody(world: World) -> None:
    """Messages that say again what is known wake no workflow, also where it has looked after each of them."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    before = row_of(world, cycle_id).wake_no

    for outcome in [Outcome.NEEDS_HUMAN] * 5 + [Outcome.REFUSED] * 5:
        sent = about(world, ALPHA, cycle_id, outcome)
        accept_answer(world.installation, *sent, heard(sent).said)
        with world.installation.db.begin() as tx:
            cycles.awake(tx, cycles.lock_one(tx, cycle_id))

    assert row_of(world, cycle_id).wake_no - before <= 3


def test_the_last_answer_wakes_the_number_once(world: World) -> None:
    """One message that settles a stage wakes its workflow; one that leaves something open does not."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    with world.installation.db.begin() as tx:
        cycles.awake(tx, cycles.lock_one(tx, cycle_id))
    before = row_of(world, cycle_id).wake_no
    seen = []
    for platform_id in world.platforms:
        sent = about(world, platform_id, cycle_id, Outcome.CLEAR)
        accept_answer(world.installation, *sent, heard(sent).said)
        seen.append(row_of(world, cycle_id).wake_no - before)

    assert seen == [0, 0, 1]


def test_a_batch(world: World, app: FastAPI) -> None:
    """Hundreds of answers in one body are applied and acknowledged in the form of a single one; a repeat gets the same bytes."""
    ids = all_at(world, 40, State.UNBINDING)
    said = {references(world, each)[ALPHA]: Outcome.CLEAR for each in ids}
    said |= {f"ref_{'b' * 23}{tail}": Outcome.CLEAR for tail in _tails(1000)}
    sent = saying(world, ALPHA, said)

    first, again = send(app, sent, sent, last="answers/batch")
    (too_many,) = send(app, saying(world, ALPHA, said))

    assert (first.status_code, first.content) == (200, again.content)
    assert list(first.json()["answers"].values()).count("accepted") == 40
    assert {owed_by(world, each)[ALPHA].status for each in ids} == {Status.DISCHARGED}
    assert too_many.status_code == 413


def _tails(count: int) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [first + second + third for first in letters for second in letters for third in letters][:count]


def test_a_batch_costs_no_more_statements_than_one(world: World) -> None:
    """Thirty answers take as many statements as two do."""
    ids = all_at(world, 32, State.UNBINDING)
    counts = []
    for some in (ids[:2], ids[2:]):
        sent = saying(world, ALPHA, {references(world, each)[ALPHA]: Outcome.CLEAR for each in some})
        made = list[str]()

        def note(_connection: object, _cursor: object, statement: str, *_: object, made: list[str] = made) -> None:
            made.append(statement)

        event.listen(world.installation.db.engine, "before_cursor_execute", note)
        accept_answer(world.installation, *sent, heard(sent).said)
        event.remove(world.installation.db.engine, "before_cursor_execute", note)
        counts.append(len(made))

    assert counts[0] == counts[1] < 12


def test_one_bad_message_costs_nobody_else(world: World) -> None:
    """In one group: a forged one, an id used twice, a repeat; each gets its own answer, the others count."""
    ids = all_at(world, 3, State.UNBINDING)
    good = [about(world, ALPHA, each, Outcome.CLEAR) for each in ids[:2]]
    twice: Sent = saying(world, ALPHA, {references(world, ids[2])[ALPHA]: Outcome.CLEAR}, delivery_id=good[0][1].delivery_id)
    forged = ALPHA, signed_delivery(SigningKey.generate(), {references(world, ids[2])[ALPHA]: Outcome.CLEAR}, world.clock.now())

    results = _through_the_desk(AnswerDesk(world.installation), [good[0], forged, twice, good[1], good[0]])

    assert [type(each) for each in results] == [str, SignatureRefused, AnswerMalformed, str, str]
    assert results[0] == results[4]
    assert [owed_by(world, each)[ALPHA].status for each in ids] == [Status.DISCHARGED, Status.DISCHARGED, Status.OPEN]


def test_nobody_speaks_for_another_in_the_same_group(world: World) -> None:
    """In one transaction: a platform that uses another's reference while that one speaks too, and a second body under a used id."""
    ids = all_at(world, 3, State.UNBINDING)
    theirs = references(world, ids[0])["beta-chat"]
    foreign, own = saying(world, ALPHA, {theirs: Outcome.CLEAR}), about(world, "beta-chat", ids[1], Outcome.CLEAR)
    twice = saying(world, "beta-chat", {theirs: Outcome.CLEAR}, delivery_id=own[1].delivery_id)

    results = _results(world, [heard(each) for each in (foreign, own, own, twice)])

    assert [type(each) for each in results] == [str, str, str, AnswerMalformed]
    assert (results[0], results[1]) == (f'{{"answers":{{"{theirs}":"unknown"}}}}', results[2])
    assert [owed_by(world, each)["beta-chat"].status for each in ids] == [Status.OPEN, Status.DISCHARGED, Status.OPEN]


def _through_the_desk(desk: AnswerDesk, sent: list[Sent]) -> list[object]:
    """Hand messages to a desk whose thread is kept busy until all of them wait, so that they are one group."""
    futures = [desk.submit(heard(each)) for each in sent]
    return [future.exception(60) or future.result() for future in futures]


def test_a_group_that_fails_is_tried_one_by_one(world: World) -> None:
    """A message that the database refuses takes only itself down: here one whose event can't be written."""
    ids = all_at(world, 4, State.UNBINDING)
    sent = [about(world, ALPHA, each, Outcome.CLEAR) for each in ids]
    desk, release = AnswerDesk(world.installation), threading.Event()
    broken = sent[1][1].delivery_id

    def refuse(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        release.wait(60)
        if statement.startswith("INSERT INTO deliveries") and broken in str(parameters):
            raise RuntimeError

    event.listen(world.installation.db.engine, "before_cursor_execute", refuse)
    futures = [desk.submit(heard(each)) for each in sent]
    release.set()
    results = [type(future.exception(60)) for future in futures]
    event.remove(world.installation.db.engine, "before_cursor_execute", refuse)

    assert results == [type(None), RuntimeError, type(None), type(None)]
    assert [owed_by(world, each)[ALPHA].status for each in ids].count(Status.OPEN) == 1


def test_the_desk_settles_what_it_took(world: World) -> None:
    """Closing the desk waits for everything that was handed in before."""
    ids = all_at(world, 12, State.UNBINDING)
    desk = AnswerDesk(world.installation)
    futures = [desk.submit(heard(about(world, ALPHA, each, Outcome.CLEAR))) for each in ids]

    desk.close()

    assert all(future.done() and future.exception() is None for future in futures)
    assert {owed_by(world, each)[ALPHA].status for each in ids} == {Status.DISCHARGED}


@pytest.mark.parametrize(("bound", "most"), [("MOST_WAITING", 3), ("MOST_OCTETS_WAITING", 200)])
def test_a_full_desk_sends_messages_away(world: World, monkeypatch: pytest.MonkeyPatch, bound: str, most: int) -> None:
    """More than may wait, or longer, is refused with a time to come back; nobody's message is lost or half done."""
    monkeypatch.setattr(answer_desk, bound, most)
    ids = all_at(world, 8, State.UNBINDING)
    desk, release = AnswerDesk(world.installation), threading.Event()
    event.listen(world.installation.db.engine, "before_cursor_execute", lambda *_: release.wait(60) and None)

    taken, refused = [], list[TargetUnavailable]()
    for each in ids:
        try:
            taken.append(desk.submit(heard(about_now(world, each))))
        except TargetUnavailable as full:
            refused.append(full)
    release.set()
    done = [future.exception(60) for future in taken]
    assert desk.submit(heard(about_now(world, ids[0]))).exception(60) is None  # what was settled makes room
    desk.close()

    assert len(taken) + len(refused) == len(ids)
    assert refused
    assert refused[0].retry_after is not None
    assert done == [None] * len(taken)


def about_now(world: World, cycle_id: str) -> Sent:
    """Return a message that needs no look at the database: what it speaks of is unknown."""
    tail = "".join(chr(ord("a") + int(digit)) for digit in str(abs(hash(cycle_id)))[:10])
    return saying(world, ALPHA, {f"ref_{tail:a<26}": Outcome.CLEAR})


def test_simultaneous_messages_about_one_number(world: World) -> None:
    """Whoever comes first, the platforms' last answers at once leave nothing open and somebody woken."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    desks = [AnswerDesk(world.installation) for _ in world.platforms]
    sent = [about(world, platform_id, cycle_id, Outcome.CLEAR) for platform_id in world.platforms]

    at_once([lambda desk=desk, each=each: desk.submit(heard(each)).result(60) for desk, each in zip(desks, sent, strict=True)])

    assert {owed.status for owed in owed_by(world, cycle_id).values()} == {Status.DISCHARGED}
    assert row_of(world, cycle_id).wake_at is not None
    assert_folds(world.installation.db)


def test_the_delivery_log(world: World, app: FastAPI) -> None:
    """Each callback is one row: what was taken, and what was refused of a platform we know; of one we do not, nothing."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    good = about(world, ALPHA, cycle_id, Outcome.CLEAR)
    forged = ALPHA, signed_delivery(SigningKey.generate(), {f"ref_{'a' * 26}": Outcome.CLEAR}, world.clock.now())

    send(app, good, good, forged, ("no-such-platform", forged[1]))
    app.state.desk.close()

    taken = (ALPHA, good[1].delivery_id, 1, 200, "accepted")
    assert logged(world) == [taken, taken, (ALPHA, "", 0, 401, "signature-refused")]


def test_an_attacker_does_not_fill_the_delivery_log(world: World, app: FastAPI) -> None:
    """Of two hundred forged messages at once about ten are logged."""
    forged = [(ALPHA, signed_delivery(SigningKey.generate(), {f"ref_{'a' * 26}": Outcome.CLEAR}, world.clock.now())) for _ in range(200)]

    send(app, *forged)
    app.state.desk.close()

    assert 1 <= len(logged(world)) <= 40


def test_a_key_that_was_changed_in_between(world: World) -> None:
    """A message verified under a key that is no longer the platform's when it is applied does not count."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    sent = about(world, ALPHA, cycle_id, Outcome.CLEAR)
    old = world.installation.speakers.now(ALPHA)
    assert old is not None
    message = heard(sent)
    message = type(message)(message.speaker_id, message.delivery, message.said, old.keys)
    entries = world.wired.entries
    entries[ALPHA] = type(entries[ALPHA])(**{**_fields(entries[ALPHA]), "public_keys": (SigningKey.generate().public,)})

    (result,) = _results(world, [message])

    assert isinstance(result, SignatureRefused)
    assert owed_by(world, cycle_id)[ALPHA].status is Status.OPEN


def _fields(entry: object) -> dict[str, object]:
    return {name: getattr(entry, name) for name in entry.__dataclass_fields__}  # type: ignore[attr-defined]


def _results(world: World, messages: list[object]) -> list[object]:
    with world.installation.db.begin() as tx:
        return list(apply_all(tx, world.installation, messages))  # type: ignore[arg-type]


def test_a_signature_is_verified_once(world: World, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its arrival and its acknowledgement a message's signature is checked a single time."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    checked, verifies = list[bytes](), signing.PublicKey.verifies

    def count(key: signing.PublicKey, signature: bytes, content: bytes) -> bool:
        checked.append(content)
        return verifies(key, signature, content)

    monkeypatch.setattr(signing.PublicKey, "verifies", count)
    send(app, about(world, ALPHA, cycle_id, Outcome.CLEAR))

    assert len(checked) == 1

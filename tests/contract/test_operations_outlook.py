"""What lies ahead and what has lain too long: forecast, overdue numbers with their reasons, reviews of holds; on both databases."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from builders import RULE, World, advance, an_installation, enrolled, number
from builders_cycles import Staff, assert_folds, engine, row_of, staff
from memory_ports import START

from fallow.domain.cycle import ref
from fallow.domain.errors import InputRefused, NotKnown, PersonRefused
from fallow.domain.lifecycle import Command, State
from fallow.domain.obligations import TargetKind
from fallow.domain.traffic import QuietRule
from fallow.operations import outlook, status
from fallow.operations.outlook import Cursors

DAY = timedelta(days=1)
LIMITED = replace(RULE, maximum_for=12 * DAY, rule_set="test 1")
QUIET = QuietRule(window_days=14, attempts_below=3, otp_like_below=1, lag_days=2, patience_for=30 * DAY)
NOTHING = {"expected": 0, "stopped": 0}


@pytest.fixture
def made(database_url: str, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Give a way to make a world under a rule with a maximum, or another."""
    worlds = list[World]()

    def make(**policy: object) -> World:
        worlds.append(an_installation(tmp_path, url=database_url, **{"rule": LIMITED, **policy}))
        return worlds[-1]

    yield make
    for world in worlds:
        assert_folds(world.installation.db)
        world.installation.db.close()


@pytest.fixture
def limited(made: Callable[..., World]) -> World:
    """A world whose rule has a maximum of twelve days."""
    return made()


@pytest.fixture
def people(limited: World) -> Staff:
    """Return its staff."""
    return staff(limited)


def quarantined(world: World, count: int = 1, **cells: str) -> list[str]:
    """Return cycles in quarantine."""
    ids = enrolled(world, count, **cells)
    for cycle_id in ids:
        engine(world).stages.begin_quarantine(ref(cycle_id))
    return ids


def late(world: World, people: Staff, **pages: object) -> list[dict[str, object]]:
    """Return the overdue ones."""
    return outlook.overdue(world.installation, people.auditor, **pages)["overdue"]  # type: ignore[arg-type]


def reasons(world: World, people: Staff) -> list[str]:
    """Return why the only overdue number waits, once its maximum is over."""
    world.clock.pass_to(START + 30 * DAY)
    (only,) = outlook.overdue(world.installation, people.auditor)["overdue"]
    why: list[str] = only["why"]
    return why


class TestForecast:
    def test_a_day_is_a_day_of_utc(self, made: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
        """Releases a second apart fall on two days at midnight UTC, whatever offset file and session have."""
        monkeypatch.setenv("PGTZ", "Asia/Shanghai")
        world = made()
        instants = ("2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z", "2026-03-02T07:30:00+08:00", "2026-03-01T13:00:00-11:00")
        for index, disconnected_at in enumerate(instants):
            quarantined(world, first=index, disconnected_at=disconnected_at)

        found = outlook.forecast(world.installation, staff(world).auditor)

        assert len(found["days"]) == 90
        assert found["days"][0]["on"] == "2026-03-02"
        assert {each["on"]: each["expected"] for each in found["days"] if each["expected"]} == {"2026-03-11": 2, "2026-03-12": 2}

    def test_the_stopped_are_told_apart(self, limited: World, people: Staff) -> None:
        """Of three on a day, the held one and the one that waits for a person are stopped; one that is both counts once."""
        held, _, _ = enrolled(limited, 3)
        enrolled(limited, first=3, reason="crime")
        engine(limited).commands.hold(people.operator, held, "court 1")

        found = outlook.forecast(limited.installation, people.auditor, days=30)

        assert [each for each in found["days"] if each["expected"]] == [{"on": "2026-03-11", "expected": 4, "stopped": 2}]
        assert (found["due_already"], found["later"], found["total"]) == (NOTHING, NOTHING, {"expected": 4, "stopped": 2})

    def test_nothing_falls_between_past_and_horizon(self, limited: World, people: Staff) -> None:
        """Every waiting number is due already, on one of the days, or later; at the instant it is due, at the last midnight later."""
        first, *_ = quarantined(limited, 1)
        quarantined(limited, first=1, disconnected_at="2026-03-01T09:00:00Z")
        quarantined(limited, first=2, disconnected_at="2026-03-01T23:59:59Z")
        quarantined(limited, first=3, disconnected_at="2026-03-02T00:00:00Z")
        limited.clock.pass_to(row_of(limited, first).release_at)

        found = outlook.forecast(limited.installation, people.auditor, days=1)

        one = {"expected": 1, "stopped": 0}
        assert found == {
            "days": [{"on": "2026-03-11", "expected": 2, "stopped": 0}],
            "due_already": one,
            "later": one,
            "total": {"expected": 4, "stopped": 0},
        }

    def test_only_who_still_waits_is_counted(self, limited: World, people: Staff) -> None:
        """A withdrawn number and one that is being wiped are in no forecast; an extension moves a number to its new day."""
        wiped, withdrawn, extended = quarantined(limited, 3)
        commands = engine(limited).commands
        commands.withdraw(people.operator, withdrawn, "port 1")
        commands.extend(people.operator, extended, START + 40 * DAY, "ticket 1")
        advance(limited, wiped, State.WIPING)

        found = outlook.forecast(limited.installation, people.auditor)

        assert [each["on"] for each in found["days"] if each["expected"]] == ["2026-04-11"]
        assert found["total"] == {"expected": 1, "stopped": 0}

    @pytest.mark.parametrize("days", [0, -1, 367])
    def test_it_speaks_of_at_most_a_year(self, limited: World, people: Staff, days: int) -> None:
        """No day and more than 366 are refused."""
        with pytest.raises(InputRefused, match="1 to 366 days"):
            outlook.forecast(limited.installation, people.auditor, days)

    def test_who_may_not_read_learns_nothing(self, limited: World, people: Staff) -> None:
        """Neither list is for the shop."""
        for ask in (outlook.forecast, outlook.overdue):
            with pytest.raises(PersonRefused):
                ask(limited.installation, people.shop)


class TestOverdue:
    def test_longest_first_a_page_at_a_time(self, limited: World, people: Staff) -> None:
        """The oldest come first, equals in the order of their ids, and pages of one leave out none and repeat none."""
        younger = quarantined(limited, 2)
        older = quarantined(limited, first=2, disconnected_at="2026-02-20T00:00:00Z")
        limited.clock.pass_to(START + 12 * DAY)

        found = late(limited, people)
        paged, after = list[object](), None
        while page := late(limited, people, cursors=Cursors(after=after), limit=1):
            after = str(page[-1]["cycle_id"])
            paged.append(after)

        assert [each["cycle_id"] for each in found] == [*older, *sorted(younger)] == paged
        assert [each["days_over"] for each in found] == [10, 1, 1]

    def test_the_maximum_itself_is_not_over(self, limited: World, people: Staff) -> None:
        """At the instant at which the maximum ends a number is not overdue; a moment later it is."""
        (cycle_id,) = quarantined(limited)
        overdue_at = row_of(limited, cycle_id).overdue_at
        assert overdue_at is not None
        limited.clock.pass_to(overdue_at)
        before = late(limited, people)
        limited.clock.pass_by(timedelta(microseconds=1))

        assert before == []
        assert [each["days_over"] for each in late(limited, people)] == [0]

    def test_an_ended_number_is_not_overdue(self, limited: World, people: Staff) -> None:
        """Withdrawn and released numbers are in no list, however long ago their maximum was."""
        released, withdrawn = quarantined(limited, 2)
        engine(limited).commands.withdraw(people.operator, withdrawn, "port 1")
        advance(limited, released, State.RESELLABLE)
        limited.clock.pass_by(100 * DAY)

        assert late(limited, people) == []

    def test_without_a_maximum_nothing_is_overdue(self, made: Callable[..., World]) -> None:
        """A rule without a maximum makes nothing overdue, and its cycles are no page's last."""
        world = made(rule=RULE)
        people, (cycle_id,) = staff(world), quarantined(world)
        world.clock.pass_by(1000 * DAY)

        assert late(world, people) == []
        for after in (cycle_id, "n_none/1"):
            with pytest.raises(NotKnown):
                late(world, people, cursors=Cursors(after=after))

    def test_holds_are_named(self, limited: World, people: Staff) -> None:
        """Each open hold is named by its reference and review day; a lifted one is not."""
        (cycle_id,) = quarantined(limited)
        commands = engine(limited).commands
        lifted = commands.hold(people.operator, cycle_id, "court 0")
        commands.hold(people.operator, cycle_id, "court 1")
        limited.clock.pass_by(DAY)
        commands.hold(people.operator, cycle_id, "court 2", START.date() + 9 * DAY)
        commands.lift(people.operator, cycle_id, lifted, "court 0")

        assert reasons(limited, people) == ["held under court 1", "held under court 2, to be reviewed on 2026-03-11"]

    def test_what_a_person_must_do_is_named(self, limited: World, people: Staff) -> None:
        """A reason for ATTENTION comes with what to do next."""
        quarantined(limited, reason="crime")

        held, attention = reasons(limited, people)

        assert held == "held under reason crime"
        assert attention.startswith("ATTENTION crime: tied to a crime: two people `retire` it")

    def test_an_extension_is_named(self, limited: World, people: Staff) -> None:
        """Quarantine moved beyond the maximum by a person is called that."""
        (cycle_id,) = quarantined(limited)
        engine(limited).commands.extend(people.operator, cycle_id, START + 40 * DAY, "ticket 1")

        assert reasons(limited, people) == ["its quarantine was extended to 2026-04-11 08:00 UTC, beyond its rule's maximum"]

    def test_late_enrolment_is_named(self, limited: World, people: Staff) -> None:
        """A number enrolled so late that its observed days end after the maximum is not said to be extended."""
        quarantined(limited, disconnected_at="2026-02-20T00:00:00Z")
        limited.clock.pass_to(START + 3 * DAY)

        (only,) = late(limited, people)

        assert only["why"] == [
            "its quarantine is not over before 2026-03-07 08:00 UTC, past its rule's maximum: it was enrolled only on 2026-03-02"
        ]

    def test_missing_counters_are_named_once(self, made: Callable[..., World]) -> None:
        """A number without counters is said to lack them; once that is in ATTENTION, only there."""
        world = made(quiet=QUIET)
        people, (cycle_id,) = staff(world), quarantined(world)
        world.clock.pass_to(row_of(world, cycle_id).release_at)
        engine(world).stages.end_quarantine(ref(cycle_id), world.clock.now())

        before = reasons(world, people)
        engine(world).stages.end_quarantine(ref(cycle_id), world.clock.now())
        after = reasons(world, people)

        assert before == ["its traffic counters are missing: feed them with `fallow numbers traffic`"]
        assert [each.partition(": its")[0] for each in after] == ["ATTENTION traffic-unknown"]

    def test_targets_are_named(self, limited: World, people: Staff) -> None:
        """At each stage those it waits for are named, by kind, and nobody who has answered."""
        (cycle_id,) = quarantined(limited)
        advance(limited, cycle_id, State.WIPING)
        engine(limited).stages.clear(ref(cycle_id), TargetKind.RECORDS)
        wiping = reasons(limited, people)
        limited.platforms["beta-chat"].says = lambda _: None
        advance(limited, cycle_id, State.RESELLABLE)

        assert wiping == ["waits for record systems billing, crm"]
        assert reasons(limited, people) == ["waits for platforms beta-chat"]

    def test_a_number_that_nothing_stops_is_not_left_without_a_word(self, limited: World, people: Staff) -> None:
        """Where no reason is left, that is what is said."""
        quarantined(limited)

        assert reasons(limited, people) == ["nothing stops it any more: its workflow takes it on; if it stays here, see `fallow doctor`"]

    def test_no_number_is_shown(self, limited: World, people: Staff) -> None:
        """Both answers hold ids only."""
        quarantined(limited, 3)
        limited.clock.pass_to(START + 30 * DAY)
        shown = json.dumps([outlook.forecast(limited.installation, people.auditor), outlook.overdue(limited.installation, people.auditor)])

        assert not [index for index in range(3) if number(index).text[3:] in shown]


class TestReviews:
    def due(self, world: World, people: Staff, after: str | None = None, limit: int = 500) -> list[str]:
        """Return the references of the holds to be reviewed, page after page."""
        found = outlook.overdue(world.installation, people.auditor, Cursors(reviews_after=after), limit=limit)["reviews_due"]
        rest = self.due(world, people, found[-1]["hold_id"], limit) if len(found) == limit else []
        return [each["reference"] for each in found] + rest

    @pytest.mark.parametrize("limit", [1, 2, 500])
    def test_a_hold_is_listed_from_its_day_on(self, limited: World, people: Staff, limit: int) -> None:
        """Holds whose day has come are listed, the earliest first, though their numbers are not overdue; others and lifted ones are not."""
        one, other = enrolled(limited, 2)
        commands, today = engine(limited).commands, START.date()
        commands.hold(people.operator, one, "today 2", today + 2 * DAY)
        commands.hold(people.operator, other, "yesterday", today + DAY)
        commands.hold(people.operator, other, "tomorrow", today + 3 * DAY)
        commands.hold(people.operator, other, "never")
        done = commands.hold(people.operator, one, "lifted", today + DAY)
        commands.lift(people.operator, one, done, "done")
        limited.clock.pass_by(2 * DAY)

        assert self.due(limited, people, limit=limit) == ["yesterday", "today 2"]

    def test_a_hold_that_stops_nothing_is_not_asked_about(self, limited: World, people: Staff) -> None:
        """The hold of a retired number is over with it."""
        (cycle_id,) = enrolled(limited)
        engine(limited).commands.hold(people.operator, cycle_id, "court 1", START.date())
        two = engine(limited).two_person
        before = self.due(limited, people)
        two.approve(people.approver, two.propose(people.operator, cycle_id, Command.RETIRE, "crime 1", {}))

        assert (before, self.due(limited, people)) == (["court 1"], [])

    @pytest.mark.parametrize("after", ["h_none", ""])
    def test_a_page_goes_on_after_a_hold(self, limited: World, people: Staff, after: str) -> None:
        """What is no hold is no page's last."""
        with pytest.raises(NotKnown):
            outlook.overdue(limited.installation, people.auditor, Cursors(reviews_after=after))


class TestShow:
    def test_a_cycle_says_by_which_rule_it_waits(self, limited: World, people: Staff) -> None:
        """Policy, version and rule sets, the sentence in both languages, the maximum, and the review day of a hold."""
        (cycle_id,) = enrolled(limited)
        engine(limited).commands.hold(people.operator, cycle_id, "court 1", START.date() + DAY)

        shown = status.show(limited.installation, people.auditor, cycle_id)

        assert {**shown["policy"], "digest": ""} == {"policy_id": "test", "version": 1, "rule_sets": ["test 1"], "digest": ""}
        assert "2026-03-11 08:00 UTC" in shown["explanation"]
        assert "2026-03-11 08:00 UTC" in shown["explanation_zh"]
        assert shown["overdue_at"] == "2026-03-13T08:00:00+00:00"
        assert [each["review_on"] for each in shown["holds"]] == ["2026-03-03"]

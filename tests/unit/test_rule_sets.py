"""The rule sets that ship: what each gives, day by day, and that docs/quarantine.md tells the same."""

import calendar
import tomllib
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from fallow.domain.obligations import Category
from fallow.domain.policy import Policy
from fallow.domain.rules import Certainty, Choice, Traits, choose
from fallow.intake.policy_file import load_policy
from fallow.intake.words import NUMBER_CLASSES, RULE_REASONS

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "examples" / "policies"
PAGE = (ROOT / "docs" / "quarantine.md").read_text("utf-8")
COUNTRIES = {"cn": "CN", "us": "US", "in": "IN", "kr": "KR", "au": "AU", "ch": "CH"}
SOURCED = (*COUNTRIES, "half-year")
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
PLATFORMS = {"pay": Category.PAYMENT, "chat": Category.SOCIAL}
COLUMNS = ("set", "country", "class", "pool", "reason", "quarantine", "observed", "maximum", "reminder", "certainty", "source")


def policy(name: str) -> Policy:
    """Load a policy that ships."""
    path = POLICIES / f"{name}.toml"
    return load_policy(path, record_systems={"crm": ("register",)}, line_register="crm", platforms=PLATFORMS)


def chosen(name: str, country: str, number_class: str, pool: str, reason: str) -> Choice:
    """Return what a policy gives such a number."""
    return choose(policy(name).rules, Traits(country, number_class, "any-carrier", pool, reason))


#: Disconnected at this instant, half an hour before midnight in UTC; 2028 is a leap year.
ENDED_AT = datetime(2027, 12, 1, 7, 30, tzinfo=timezone(timedelta(hours=8)))
IN_45, IN_60, IN_90, IN_120 = date(2028, 1, 15), date(2028, 1, 30), date(2028, 2, 29), date(2028, 3, 30)
IN_180, IN_184, IN_365, IN_366, IN_730 = date(2028, 5, 29), date(2028, 6, 2), date(2028, 11, 30), date(2028, 12, 1), date(2029, 11, 30)


@pytest.mark.parametrize(
    ("name", "number_class", "pool", "reason", "released_on", "observed", "overdue_on", "reminder"),
    [
        ("cn", "mobile", "", "ordinary", IN_90, 30, None, True),
        ("cn", "mobile", "", "deceased", IN_90, 30, None, False),
        ("cn", "fixed", "", "ordinary", IN_90, 30, None, False),
        ("cn", "mobile", "", "real-name-termination", IN_90, 30, None, False),
        ("cn", "mobile", "", "crime", IN_730, 180, None, False),
        ("cn", "mobile", "", "recall", IN_180, 180, None, False),
        ("us", "mobile", "residential", "ordinary", IN_45, 15, IN_90, False),
        ("us", "fixed", "residential", "non-payment", IN_45, 15, IN_90, False),
        ("us", "mobile", "business", "ordinary", IN_45, 15, IN_365, False),
        ("us", "mobile", "", "ordinary", IN_45, 15, IN_365, False),
        ("us", "mobile", "prepaid", "ordinary", IN_45, 15, IN_365, False),
        ("us", "toll-free", "", "ordinary", IN_45, 15, IN_120, False),
        ("us", "toll-free", "business", "ordinary", IN_45, 15, IN_120, False),
        ("us", "mobile", "residential", "crime", IN_60, 30, IN_90, False),
        ("us", "mobile", "residential", "recall", IN_60, 60, IN_90, False),
        ("in", "mobile", "", "ordinary", IN_90, 30, None, False),
        ("in", "data-only", "", "data-only", IN_90, 30, None, False),
        ("in", "mobile", "", "crime", IN_730, 180, None, False),
        ("in", "mobile", "", "recall", IN_180, 180, None, False),
        ("kr", "mobile", "", "ordinary", IN_90, 30, None, False),
        ("kr", "fixed", "", "ordinary", IN_90, 30, None, False),
        ("kr", "mobile", "", "crime", IN_730, 180, None, False),
        ("kr", "mobile", "", "recall", IN_180, 180, None, False),
        ("au", "mobile", "", "ordinary", IN_184, 30, None, False),
        ("au", "mobile", "", "nuisance", IN_366, 30, None, False),
        ("au", "fixed", "", "threat", IN_366, 30, None, False),
        ("au", "mobile", "", "crime", IN_730, 180, None, False),
        ("au", "mobile", "", "recall", IN_184, 184, None, False),
        ("ch", "toll-free", "", "ordinary", IN_184, 30, None, False),
        ("ch", "mobile", "", "ordinary", IN_184, 30, None, False),
        ("ch", "mobile", "", "crime", IN_730, 180, None, False),
        ("ch", "mobile", "", "recall", IN_184, 184, None, False),
    ],
)
@pytest.mark.parametrize("together", [False, True], ids=["alone", "in world"])
def test_each_set_gives_what_its_source_says(
    name: str,
    number_class: str,
    pool: str,
    reason: str,
    released_on: date,
    observed: int,
    overdue_on: date | None,
    reminder: bool,
    together: bool,
) -> None:
    """On the very second of its day, counted from the disconnect; and no country's set touches another's."""
    rule = chosen("world" if together else name, COUNTRIES[name], number_class, pool, reason).rule
    due_at = datetime.combine(released_on, ENDED_AT.timetz())
    on_time, late = ENDED_AT, due_at - observed * DAY + SECOND

    assert rule.release_at(ENDED_AT, on_time) == due_at
    assert rule.release_at(ENDED_AT, late - SECOND) == due_at
    assert rule.release_at(ENDED_AT, late) == due_at + SECOND
    assert rule.overdue_at(ENDED_AT) == (overdue_on and datetime.combine(overdue_on, ENDED_AT.timetz()))
    assert rule.reminder is reminder
    assert not rule.demo


@pytest.mark.parametrize(
    ("country", "reason", "days"),
    [
        ("FR", "ordinary", 180),
        ("CN", "ordinary", 180),
        ("AU", "ordinary", 184),
        ("AU", "threat", 366),
        ("JP", "crime", 730),
        ("GB", "recall", 180),
    ],
)
def test_the_half_year_is_no_shorter_than_a_countrys_own(country: str, reason: str, days: int) -> None:
    """It holds in every country, and where a country's figure is longer, that one does."""
    choice = chosen("half-year", country, "mobile", "", reason)

    assert choice.rule.quarantine_for == days * DAY
    assert choice.matching


def test_the_half_year_is_enough_wherever_a_figure_was_found() -> None:
    """Whatever the class and reason, it keeps a number no shorter than any sourced rule of a country's set."""
    for name, country in COUNTRIES.items():
        for number_class in NUMBER_CLASSES:
            for reason in RULE_REASONS:
                traits = Traits(country, number_class, "x", "", reason)
                sourced = [each for each in policy(name).rules if each.matches(traits) and each.certainty is not Certainty.OWN]
                ours = choose(policy("half-year").rules, traits).rule
                assert all(each.quarantine_for <= ours.quarantine_for for each in sourced), traits


def test_a_country_without_a_set_gets_the_strictest_of_all() -> None:
    """In the world's policy nothing matches it, so it lies fallow for two years and its former holder must have been reminded."""
    choice = chosen("world", "FR", "mobile", "", "ordinary")

    assert (choice.matching, choice.rule.quarantine_for, choice.rule.reminder) == (0, 730 * DAY, True)


def test_the_world_takes_in_every_countrys_set_as_it_stands() -> None:
    """Rule by rule, with the set's id and version, and with a quiet rule of its own."""
    world = policy("world")

    assert list(world.rules) == [rule for name in COUNTRIES for rule in policy(name).rules]
    assert {rule.rule_set for rule in world.rules} == {f"{name} 1" for name in COUNTRIES}
    assert world.quiet is not None


@pytest.mark.parametrize("name", SOURCED)
def test_every_set_is_cautious_by_itself(name: str) -> None:
    """Its own caution covers crime and recall, a part of each quarantine is observed, and a month's delay keeps within its own maxima."""
    rules = policy(name).rules

    assert {"crime", "recall"} <= {rule.reason for rule in rules if rule.certainty is Certainty.OWN}
    assert all(DAY <= rule.observed_for <= rule.quarantine_for for rule in rules)
    for traits in (
        Traits(COUNTRIES.get(name, "FR"), "mobile", "x", pool, reason) for pool in ("", "residential") for reason in RULE_REASONS
    ):
        rule = choose(rules, traits).rule
        assert rule.maximum_for is None or max(rule.quarantine_for, 30 * DAY + rule.observed_for) <= rule.maximum_for, traits


@pytest.mark.parametrize(("months", "longest"), [(6, 184), (12, 366)])
def test_months_of_a_minimum_are_as_long_as_they_can_be(months: int, longest: int) -> None:
    """On no day of the calendar do so many months run longer than the days that the sets take for them, and on some they run as long."""
    assert max(runs(months)) == longest


def test_months_of_a_maximum_are_as_short_as_they_can_be() -> None:
    """A toll-free number is overdue no later than its four months."""
    assert min(runs(4)) == 120


def runs(months: int) -> Iterator[int]:
    """Yield how many days so many months have, from each day of eight years."""
    for day in (date(2024, 1, 1) + offset * DAY for offset in range(8 * 366)):
        years, month = divmod(day.month - 1 + months, 12)
        year = day.year + years
        yield (date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1])) - day).days


def test_the_page_tells_every_figure_of_every_set() -> None:
    """Row for row the same, in the same order: nothing on the page that no file says, nothing in a file that the page leaves out."""
    assert list(on_the_page()) == list(in_the_files())


def on_the_page() -> Iterator[tuple[str, ...]]:
    """Yield the rows of the page's table of figures."""
    table = PAGE.partition(f"| {' | '.join(COLUMNS)} |\n")[2].partition("\n\n")[0]
    for line in table.splitlines()[1:]:
        yield tuple(cell.strip() for cell in line.strip("|").split(" | "))


def in_the_files() -> Iterator[tuple[str, ...]]:
    """Yield the rules of the files, as written there."""
    for name in SOURCED:
        written = tomllib.loads((POLICIES / f"{name}.toml").read_text("utf-8"))
        for rule in written["rule"]:
            matched = (rule.get(key, "*") for key in ("country", "class", "pool", "reason"))
            lengths = (rule["quarantine"], rule["observed"], rule.get("maximum", "none"))
            said = ("yes" if rule.get("reminder") else "no", rule["certainty"], rule["source"])
            yield (f"{written['id']} {written['version']}", *matched, *lengths, *said)


@pytest.mark.parametrize("name", sorted(path.stem for path in POLICIES.glob("*.toml")))
def test_every_policy_that_ships_is_told(name: str) -> None:
    """Each is on the page by id and version, in the table or beside it."""
    shipped = policy(name)
    cited = f"{shipped.policy_id} {shipped.version}"

    assert f"| {cited} |" in PAGE or f"`{cited}`" in PAGE

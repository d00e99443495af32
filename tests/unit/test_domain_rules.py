"""Quarantine rules and policies: the strictest wins, and nothing hollow is taken."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.domain.errors import PolicyRefused
from fallow.domain.obligations import Category
from fallow.domain.policy import Policy, from_json
from fallow.domain.rules import Certainty, Rule, Traits, choose
from fallow.domain.traffic import QuietRule

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
ANYWHERE = Rule("*", "*", "*", "*", 90 * DAY, 30 * DAY, source="test")
POLICY = Policy(
    "test",
    1,
    (ANYWHERE,),
    {"crm": ("register",)},
    {"pay": Category.PAYMENT, "chat": Category.SOCIAL},
    "crm",
    timedelta(seconds=6),
    ("bank",),
    QuietRule(14, attempts_below=3, otp_like_below=1, lag_days=2, patience_for=90 * DAY),
)
US = Traits("US", "mobile", "x", "", "ordinary")


def rule(country: str = "*", quarantine: int = 90, observed: int = 30, **others: object) -> Rule:
    """Return a rule of so many days."""
    return replace(ANYWHERE, country=country, quarantine_for=quarantine * DAY, observed_for=observed * DAY, **others)


@pytest.mark.parametrize("column", ["country", "number_class", "carrier", "pool", "reason"])
def test_a_rule_matches_by_every_column(column: str) -> None:
    """A rule speaks of a number only where each of its five words is the number's or *."""
    stated = {"country": "CN", "number_class": "mobile", "carrier": "china-mobile", "pool": "residential", "reason": "ordinary"}
    traits = Traits(**stated)

    assert replace(ANYWHERE, **stated).matches(traits)
    assert ANYWHERE.matches(traits)
    assert not replace(ANYWHERE, **{**stated, column: "other"}).matches(traits)


def test_a_number_of_no_pool_matches_no_rule_of_a_pool() -> None:
    """What the file did not state is not guessed."""
    assert ANYWHERE.matches(US)
    assert not replace(ANYWHERE, pool="residential").matches(US)


def test_traits_are_named_without_what_was_not_stated() -> None:
    """A number without a pool reads without a gap."""
    assert str(US) == "US, mobile, x, ordinary"
    assert str(replace(US, pool="residential")) == "US, mobile, x, residential, ordinary"


def test_one_match_is_taken_as_it_stands() -> None:
    """The only matching rule applies, and it is told that it was the only one."""
    choice = choose([rule("CN", 90), rule("US", 45)], US)

    assert choice.rule == rule("US", 45)
    assert (choice.matching, choice.among) == (1, (rule("US", 45),))


def test_of_several_matches_the_strictest_applies() -> None:
    """The longest of each duration is taken, even where no single rule holds both, and a reminder if any asks for one."""
    choice = choose([rule("*", 45, 40, reminder=True), rule("US", 90, 20), rule("CN", 400)], US)

    assert (choice.rule.quarantine_for, choice.rule.observed_for, choice.rule.reminder) == (90 * DAY, 40 * DAY, True)
    assert choice.matching == 2


def test_where_none_matches_the_strictest_of_all_applies() -> None:
    """A country that nobody thought of does not slip through."""
    choice = choose([rule("CN", 90, 10, reminder=True), rule("US", 45, 20)], replace(US, country="FR"))

    assert (choice.rule.quarantine_for, choice.rule.observed_for, choice.rule.reminder) == (90 * DAY, 20 * DAY, True)
    assert (choice.matching, len(choice.among)) == (0, 2)


def test_a_choice_cites_the_sets_that_were_weighed() -> None:
    """Each versioned set once, in order, and none whose rules don't match."""
    rules = [
        rule("US", rule_set="us 2"),
        rule("*", rule_set="ours 1"),
        rule("US", 60, rule_set="us 2"),
        rule("CN", rule_set="cn 1"),
        rule(),
    ]

    assert choose(rules, US).rule_sets == ("ours 1", "us 2")
    assert choose(rules[3:4], US).rule_sets == ("cn 1",)


def test_among_several_matches_one_demo_rule_marks_the_cycle() -> None:
    """A cycle that a demo rule had a part in carries DEMO."""
    demo = replace(rule("US"), quarantine_for=SECOND, observed_for=SECOND, demo=True)

    assert choose([rule("*", 90), demo], US).rule.demo


def test_the_maximum_never_falls_below_the_quarantine() -> None:
    """Where a matching rule's maximum is shorter than another's quarantine, the longer of both stands."""
    choice = choose([rule("*", 10, 5, maximum_for=20 * DAY), rule("US", 90)], US)

    assert choice.rule.maximum_for == 90 * DAY


def test_of_several_maxima_the_shortest_applies() -> None:
    """A number is overdue as soon as one rule says so; a rule without a maximum takes none away."""
    choice = choose([rule("US", 45, 15, maximum_for=365 * DAY), rule("US", 45, 15, maximum_for=90 * DAY), rule("US", 60, 15)], US)
    ended_at = datetime(2028, 1, 31, tzinfo=UTC)

    assert choice.rule.overdue_at(ended_at) == ended_at + 90 * DAY
    assert rule().overdue_at(ended_at) is None


@given(
    st.lists(
        st.builds(
            rule, st.sampled_from(["*", "CN", "US"]), st.integers(1, 400), st.integers(1, 400), demo=st.booleans(), reminder=st.booleans()
        ),
        min_size=1,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_no_order_of_rules_makes_the_choice_milder(rules: list[Rule], random: object) -> None:
    """The chosen durations are the longest of what matches, in whatever order the rules stand."""
    matching = [each for each in rules if each.country in ("*", "CN")] or rules
    shuffled = list(rules)
    random.shuffle(shuffled)

    for order in (rules, shuffled):
        chosen = choose(order, replace(US, country="CN")).rule
        assert chosen.quarantine_for == max(each.quarantine_for for each in matching)
        assert chosen.observed_for == max(each.observed_for for each in matching)
        assert (chosen.demo, chosen.reminder) == (any(each.demo for each in matching), any(each.reminder for each in matching))


@pytest.mark.parametrize(
    ("quarantine", "observed", "demo", "taken"),
    [
        (DAY, DAY, False, True),
        (DAY - SECOND, DAY, False, False),
        (DAY, DAY - SECOND, False, False),
        (SECOND, SECOND, True, True),
        (timedelta(0), timedelta(0), True, True),
        (timedelta(0), timedelta(0), False, False),
        (-SECOND, SECOND, True, False),
        (SECOND, -SECOND, True, False),
    ],
)
def test_under_one_day_a_rule_must_say_demo(quarantine: timedelta, observed: timedelta, demo: bool, taken: bool) -> None:
    """A short rule is refused unless it admits to being a demo; a negative one always."""
    if taken:
        assert Rule("*", "*", "*", "*", quarantine, observed, demo=demo).demo is demo
        return
    with pytest.raises(PolicyRefused):
        Rule("*", "*", "*", "*", quarantine, observed, demo=demo)


def test_a_maximum_below_the_quarantine_is_refused() -> None:
    """A number could never be released in time under such a rule."""
    with pytest.raises(PolicyRefused, match="maximum"):
        rule(quarantine=90, maximum_for=89 * DAY)
    assert rule(quarantine=90, maximum_for=90 * DAY).maximum_for == 90 * DAY


@pytest.mark.parametrize(
    ("disconnected_days_ago", "released_in_days"),
    [(0, 90), (59, 31), (60, 30), (61, 30), (4000, 30)],
)
def test_a_backdated_file_cannot_skip_the_observed_part(disconnected_days_ago: int, released_in_days: int) -> None:
    """However long ago the line is said to have ended, the observed minimum passes after enrolment."""
    enrolled_at = datetime(2026, 3, 1, tzinfo=UTC)

    release_at = ANYWHERE.release_at(enrolled_at - disconnected_days_ago * DAY, enrolled_at)

    assert release_at == enrolled_at + released_in_days * DAY


@pytest.mark.parametrize(
    ("altered", "names"),
    [
        ({"rules": ()}, "no quarantine rule"),
        ({"record_systems": {}}, "no record system"),
        ({"record_systems": {"crm": ("register",), "billing": ()}}, "without collections"),
        ({"platforms": {}}, "no payment platform"),
        ({"platforms": {"chat": Category.SOCIAL}}, "no payment platform"),
        ({"platforms": {"pay": Category.PAYMENT}}, "no social platform"),
        ({"line_register": ""}, "no line register"),
    ],
)
def test_a_hollow_policy_is_refused(altered: dict[str, object], names: str) -> None:
    """An empty list is not a completed one: the refusal names what is missing, and the remedy."""
    with pytest.raises(PolicyRefused, match=names) as refused:
        replace(POLICY, **altered)
    assert refused.value.remedy


@pytest.mark.parametrize(
    "policy",
    [
        POLICY,
        replace(POLICY, quiet=None),
        replace(POLICY, rules=(rule("US", 45, 15, maximum_for=90 * DAY, pool="residential", reminder=True, rule_set="us 1"), ANYWHERE)),
        replace(POLICY, rules=(replace(ANYWHERE, certainty=Certainty.REGULATOR),)),
    ],
)
def test_a_frozen_policy_reads_back_as_itself(policy: Policy) -> None:
    """What is frozen is what was in force, and the digest names it, after JSON as text too."""
    again = from_json(json.loads(json.dumps(policy.to_json())))

    assert again == policy
    assert again.digest() == policy.digest()


def test_a_policy_frozen_before_these_words_still_reads() -> None:
    """A cycle that was enrolled long ago keeps its rule: any pool, no reminder, no set, our own figures, traffic not looked at."""
    frozen = POLICY.to_json()
    del frozen["quiet"]
    for each in frozen["rules"]:
        for word in ("pool", "reminder", "rule_set", "certainty"):
            del each[word]

    assert from_json(frozen) == replace(POLICY, quiet=None)


@pytest.mark.parametrize(
    "altered",
    [
        {"version": 2},
        {"rules": (rule("CN", 91),)},
        {"rules": (replace(ANYWHERE, pool="residential"),)},
        {"rules": (replace(ANYWHERE, reminder=True),)},
        {"rules": (replace(ANYWHERE, maximum_for=91 * DAY),)},
        {"rules": (replace(ANYWHERE, rule_set="cn 2"),)},
        {"rules": (replace(ANYWHERE, certainty=Certainty.LAW),)},
        {"quiet": None},
        {"quiet": replace(POLICY.quiet, window_days=13)},
        {"quiet": replace(POLICY.quiet, attempts_below=4)},
        {"quiet": replace(POLICY.quiet, otp_like_below=2)},
        {"quiet": replace(POLICY.quiet, lag_days=3)},
        {"quiet": replace(POLICY.quiet, patience_for=91 * DAY)},
        {"record_systems": {"crm": ("register", "more")}},
        {"platforms": {"pay": Category.PAYMENT, "chat": Category.SOCIAL, "mart": Category.SHOP}},
        {"platforms": {"pay": Category.PAYMENT, "chat": Category.SOCIAL, "alias": Category.SOCIAL}},
        {"line_register": "other"},
        {"not_asked": ()},
        {"release_jitter_for": timedelta(0)},
    ],
)
def test_every_change_of_a_policy_changes_its_digest(altered: dict[str, object]) -> None:
    """A cycle can't cite one policy and be judged by another."""
    assert replace(POLICY, **altered).digest() != POLICY.digest()


def test_order_in_the_files_does_not_change_the_digest() -> None:
    """The same policy written in another order is the same policy."""
    turned = replace(POLICY, platforms=dict(reversed(POLICY.platforms.items())))

    assert turned.digest() == POLICY.digest()

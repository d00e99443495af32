"""Numbers that never print, references that hold no number, tags, people, errors and what a person should do next."""

import inspect
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.domain import errors
from fallow.domain.attention import NEXT, Attention, Reason, parse
from fallow.domain.cycle import Cycle, CycleRef, ref
from fallow.domain.disclosure import Past, Tag, tag
from fallow.domain.errors import FallowError, InputRefused, NumberMalformed, PersonRefused, TargetUnavailable
from fallow.domain.lifecycle import State
from fallow.domain.number import E164
from fallow.domain.obligations import Category, Obligation, Outcome, Status, TargetKind
from fallow.domain.people import MATRIX, Action, Person, Role
from fallow.domain.policy import Policy
from fallow.domain.reference import read_reference
from fallow.domain.rules import Rule

NUMBER = E164("+8613800138000")
DIGITS = "3800138000"
DISCONNECTED = datetime(2025, 11, 30, 23, 0, tzinfo=UTC)
ENROLLED = DISCONNECTED + timedelta(days=10)


def every_error() -> list[type[FallowError]]:
    """Return every class of the tree."""
    return [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, FallowError)]


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{:>20}".format, "%s".__mod__, lambda it: f"{[it]}", lambda it: f"{it!r:40}"])
def test_a_number_never_prints(show: object) -> None:
    """No way of formatting a number shows its digits."""
    assert DIGITS not in show(NUMBER)


def test_a_number_does_not_print_in_a_traceback() -> None:
    """A traceback through code that holds a number does not hold it, locals included."""
    try:
        _ = 1 / (0 * len(NUMBER.text))
    except ZeroDivisionError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert DIGITS not in shown


def test_a_masked_number_shows_country_and_two_digits() -> None:
    """Lists show enough to recognise a number by, and no more."""
    assert NUMBER.masked() == "+86*********00"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "8613800138000",
        "+0613800138000",
        "+123456",
        "+1234567890123456",
        "+86138001380 0",
        "+8613800138000\n",
        "+\uff18\uff1613800138000",
    ],
)
def test_only_e164_is_a_number(text: str) -> None:
    """Anything but + and 7 to 15 ASCII digits is refused, without being repeated."""
    with pytest.raises(NumberMalformed) as refused:
        E164(text)
    assert len(text) < 3 or text not in str(refused.value)


@pytest.mark.parametrize("text", ["+1234567", "+123456789012345"])
def test_the_shortest_and_the_longest_are_numbers(text: str) -> None:
    """7 and 15 digits are both E.164."""
    assert E164(text).text == text


@pytest.mark.parametrize("text", ["case 12/345", "TICKET-123456", "a", "x" * 64, "  trimmed  ", "case 2026/1234", "2026-03 case 7"])
def test_a_plain_reference_is_taken(text: str) -> None:
    """What people call their cases passes, trimmed."""
    assert read_reference(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    ["", "   ", "x" * 65, "1234567", "+8613800138000", "138 0013 8000", "138-0013-8000", "1.3.8.0.0.1.3", "naïve", "a\nb", "a'b", "a;b"],
)
def test_a_reference_holds_no_number(text: str) -> None:
    """Seven digits in a row, however separated, are refused, and the refusal does not repeat them."""
    with pytest.raises(InputRefused) as refused:
        read_reference(text)
    assert len(text.strip()) < 2 or text not in str(refused.value)


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True), st.text(" .-", max_size=1))
def test_no_number_passes_for_a_reference(number: str, separator: str) -> None:
    """No E.164 number can be written as a reference, spaced or not."""
    with pytest.raises(InputRefused):
        read_reference(separator.join(number[1:]))


def test_every_error_has_a_code_of_its_own_and_a_docstring() -> None:
    """Machines tell errors apart by code, people by docstring."""
    codes = [each.code for each in every_error()]

    assert len(set(codes)) == len(codes)
    assert all(each.__doc__ and "code" in vars(each) for each in every_error())


def test_the_drawn_tree_names_every_error() -> None:
    """The picture at the top of the module is complete."""
    assert all(each.__name__ in errors.__doc__ for each in every_error())


def test_only_an_unreachable_target_is_worth_a_repeat() -> None:
    """No refusal is retried by machines; what could not be reached is."""
    assert {each.__name__ for each in every_error() if each.retryable} == {"TargetUnavailable", "LeaseLost"}


def test_an_error_says_what_happened_and_the_remedy() -> None:
    """Both parts are in the message and readable apart."""
    error = TargetUnavailable("It is away.", remedy="wait.", retry_after=3.0)

    assert str(error) == "It is away. Remedy: wait."
    assert (error.what, error.remedy, error.retry_after) == ("It is away.", "wait.", 3.0)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_for_attention_says_what_to_do_next(reason: Reason) -> None:
    """Whoever looks at the queue reads a remedy."""
    assert Attention(reason, "pay").next == NEXT[reason]
    assert NEXT[reason].endswith(".")


@pytest.mark.parametrize("target_id", ["", "alpha-pay"])
def test_attention_reads_back_as_written(target_id: str) -> None:
    """What is stored is what was raised."""
    attention = Attention(Reason.PLATFORM_REFUSED, target_id)

    assert parse(str(attention)) == attention


def test_a_cycle_is_named_alike_everywhere() -> None:
    """Row, workflow and events speak of the same cycle."""
    cycle = CycleRef("n_abc", 3)

    assert (cycle.cycle_id, cycle.workflow_id) == ("n_abc/3", "recycling/n_abc/3")
    assert ref(cycle.cycle_id) == cycle


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", Role)
def test_what_the_matrix_does_not_name_is_refused(role: Role, action: Action) -> None:
    """Default deny, for every role and action."""
    person = Person("p_1", role)
    if role in MATRIX[action]:
        person.demand(action)
        return
    with pytest.raises(PersonRefused, match=str(action)):
        person.demand(action)


def a_policy() -> Policy:
    """Return a policy with four platforms, two of them social."""
    platforms = {"pay": Category.PAYMENT, "chat": Category.SOCIAL, "forum": Category.SOCIAL, "bank": Category.BANK}
    rule = Rule("*", "*", "*", "*", timedelta(days=90), timedelta(days=30))
    return Policy("cn", 7, (rule,), {"crm": ("register",)}, platforms, "crm", not_asked=("shop", "game"))


def a_tag(*, attested: tuple[str, ...] = (), past: Past | None = None, cycle_no: int = 1, **altered: object) -> Tag:
    """Return the tag of a cycle that has gone through everything."""
    policy = a_policy()
    cycle = Cycle(
        State.TAGGING, DISCONNECTED, ENROLLED, ENROLLED, policy.digest(), quarantine_ended_at=ENROLLED + timedelta(days=80, hours=23)
    )
    owed = [
        Obligation(each, TargetKind.PLATFORM, Status.DISCHARGED, Outcome.ATTESTED if each in attested else Outcome.UNBOUND, "e")
        for each in policy.platforms
    ]
    return tag(CycleRef("n_1", cycle_no), replace(cycle, **altered), past or Past(2, stated=True, recalled=False), policy, owed)


def test_a_tag_tells_what_is_known() -> None:
    """Holders, month, both parts of the quarantine, categories asked and not asked, and the policy."""
    assert a_tag() == Tag(
        number_id="n_1",
        cycle_no=1,
        former_holders_at_least=2,
        prior_holders_known=True,
        last_disconnect_month="2025-11",
        quarantine_declared_days=10,
        quarantine_observed_days=80,
        categories_clear=("bank", "payment", "social"),
        attested=(),
        not_asked=("game", "shop"),
        policy="cn v7",
        demo=False,
        recalled=False,
    )


def test_an_attested_platform_stands_apart() -> None:
    """Its category is not clear, although another platform of it answered for itself."""
    issued = a_tag(attested=("chat",))

    assert issued.attested == ("chat",)
    assert issued.categories_clear == ("bank", "payment")


@pytest.mark.parametrize("stated", [True, False])
def test_a_tag_counts_holders_as_a_lower_bound(stated: bool) -> None:
    """It says how many there were at least, and whether the carrier stated them."""
    issued = a_tag(past=Past(4, stated=stated, recalled=False), cycle_no=2)

    assert issued.former_holders_at_least == 4
    assert issued.prior_holders_known is stated


@pytest.mark.parametrize(("altered", "field"), [({"demo": True}, "demo")])
def test_a_tag_says_demo(altered: dict[str, object], field: str) -> None:
    """A demo quarantine is told to the buyer."""
    assert getattr(a_tag(**altered), field)


def test_a_tag_says_recalled() -> None:
    """A number that was taken back from a buyer says so."""
    assert a_tag(past=Past(1, stated=False, recalled=True)).recalled


def test_no_tag_before_the_end_of_quarantine() -> None:
    """Without an end there is nothing to tell."""
    with pytest.raises(ValueError, match="end of quarantine"):
        a_tag(quarantine_ended_at=None)


@pytest.mark.parametrize("altered", [{"number_id": "n_2"}, {"cycle_no": 2}, {"attested": ("pay",)}, {"demo": True}, {"not_asked": ()}])
def test_every_change_of_a_tag_changes_its_digest(altered: dict[str, object]) -> None:
    """A signature covers every field."""
    assert replace(a_tag(), **altered).digest() != a_tag().digest()

"""The gate: from a view that passes, whatever is taken away or altered closes it, and is named."""

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import Cycle
from fallow.domain.errors import PolicyRefused
from fallow.domain.gate import CLOCKS_APART, LINE_CHECK_FRESH_FOR, STAGES, Confirmation, KeyProof, LineStatus, Proof, View, shortfalls
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Category, Obligation, Outcome, Status, TargetKind
from fallow.domain.policy import Policy
from fallow.domain.rules import Rule
from fallow.domain.traffic import QuietRule, Verdict

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ENDED_AT = NOW - timedelta(days=5)
RULE = Rule("*", "*", "*", "*", timedelta(days=90), timedelta(days=30))
SYSTEMS = {"crm": ("contacts", "register"), "billing": ("calls",)}
PLATFORMS = {"pay": Category.PAYMENT, "chat": Category.SOCIAL, "bank": Category.BANK}
QUIET = QuietRule(14, attempts_below=3, otp_like_below=1, lag_days=2, patience_for=timedelta(days=90))
POLICY = Policy("test", 1, (RULE,), SYSTEMS, PLATFORMS, "crm", quiet=QUIET)
SAID = {"crm": Outcome.WIPED, "billing": Outcome.WIPED, "pay": Outcome.UNBOUND, "chat": Outcome.NOT_BOUND, "bank": Outcome.ATTESTED}
RECORDS, PLATFORM = TargetKind.RECORDS, TargetKind.PLATFORM


def kind_of(target_id: str) -> TargetKind:
    """Return what kind of target it is."""
    return RECORDS if target_id in SYSTEMS else PLATFORM


def owed(target_id: str, **altered: object) -> Obligation:
    """Return a discharged obligation."""
    whole = Obligation(target_id, kind_of(target_id), Status.DISCHARGED, SAID.get(target_id, Outcome.UNBOUND), f"e-{target_id}")
    return replace(whole, **altered)


def confirmation(target_id: str, **altered: object) -> Confirmation:
    """Return a genuine confirmation."""
    return replace(Confirmation(target_id, f"c-{target_id}", genuine=True), **altered)


def proof(target_id: str, **altered: object) -> Proof:
    """Return genuine evidence for it."""
    collections = frozenset(SYSTEMS.get(target_id, ()))
    whole = Proof(target_id, kind_of(target_id), f"e-{target_id}", True, SAID.get(target_id, Outcome.UNBOUND), collections)
    return replace(whole, **({"read_back_at": ENDED_AT} if target_id in SYSTEMS else {}) | altered)


CYCLE = Cycle(
    State.TAGGING,
    NOW - timedelta(days=100),
    NOW - timedelta(days=95),
    NOW - timedelta(days=5),
    POLICY.digest(),
    settled=STAGES,
    quarantine_ended_at=ENDED_AT,
    tag="tag",
    reminded_at=NOW - timedelta(days=200),
)
GOOD = View(
    now=NOW,
    cycle=CYCLE,
    policy=POLICY,
    earliest_release_at=NOW - timedelta(days=6),
    obligations=tuple(owed(each, confirmed="c-pay") if each == "pay" else owed(each) for each in SAID),
    proofs=tuple(proof(each) for each in SAID),
    confirmations=(confirmation("pay"),),
    looking=frozenset({"pay", "bank"}),  # two people attested for the bank: nobody asks after that
    holder_key=KeyProof("e-key", genuine=True),
    holder_key_kept=False,
    reminder_due=True,
    traffic=Verdict.QUIET,
    line_status=LineStatus.OFF,
    line_checked_at=NOW,
    expected_tag="tag",
    tag_signed=True,
)
Damage = Callable[[View], View]


def on_cycle(**altered: object) -> Damage:
    """Alter the cycle's row."""
    return lambda view: replace(view, cycle=replace(view.cycle, **altered))


def on_view(**altered: object) -> Damage:
    """Alter something else of the view."""
    return lambda view: replace(view, **altered)


def on_obligation(target_id: str, **altered: object) -> Damage:
    """Alter one obligation."""
    return lambda view: replace(
        view, obligations=tuple(replace(each, **altered) if each.target_id == target_id else each for each in view.obligations)
    )


def on_proof(target_id: str, **altered: object) -> Damage:
    """Alter one proof."""
    return lambda view: replace(
        view, proofs=tuple(replace(each, **altered) if each.target_id == target_id else each for each in view.proofs)
    )


def without_obligation(target_id: str) -> Damage:
    """Take one obligation and its evidence away, as if it had never been opened."""
    return lambda view: replace(
        view,
        obligations=tuple(each for each in view.obligations if each.target_id != target_id),
        proofs=tuple(each for each in view.proofs if each.target_id != target_id),
    )


def without_proof(target_id: str) -> Damage:
    """Take one piece of evidence away."""
    return lambda view: replace(view, proofs=tuple(each for each in view.proofs if each.target_id != target_id))


def with_more(*, obligations: tuple[Obligation, ...] = (), proofs: tuple[Proof, ...] = ()) -> Damage:
    """Add obligations or evidence."""
    return lambda view: replace(view, obligations=view.obligations + obligations, proofs=view.proofs + proofs)


def policy_without(**altered: object) -> Damage:
    """Replace parts of the policy after its own checks, as a row altered in the database would."""

    def damage(view: View) -> View:
        policy = copy(view.policy)
        for name, value in altered.items():
            object.__setattr__(policy, name, value)
        return replace(view, policy=policy)

    return damage


REFUSED_ATTENTION = Attention(Reason.PLATFORM_REFUSED, "pay")

#: Each defect closes the gate by exactly the shortfall that names it.
ONE_SHORTFALL: dict[str, tuple[Damage, str]] = {
    **{f"state {state}": (on_cycle(state=state), f"the cycle is {state}") for state in State if state is not State.TAGGING},
    "hold": (on_cycle(holds=frozenset({"h_1"})), "a hold is open"),
    "handback": (on_cycle(handback=True), "returned to its range holder"),
    "attention": (on_cycle(attention=frozenset({REFUSED_ATTENTION})), "waits for a person: platform-refused:pay"),
    "no stage settled": (on_cycle(settled=()), "stages settled are none"),
    **{
        f"{stage} not settled": (on_cycle(settled=tuple(each for each in STAGES if each != stage)), "stages settled are")
        for stage in STAGES
    },
    "stages in another order": (on_cycle(settled=("WIPING", "QUARANTINE", "UNBINDING")), "stages settled are WIPING"),
    "a stage settled twice": (on_cycle(settled=(*STAGES, "WIPING")), "stages settled are"),
    "release not reached": (on_cycle(release_at=NOW + SECOND), "quarantine is not over"),
    "rule not reached": (on_view(earliest_release_at=NOW + SECOND), "quarantine is not over"),
    "holder not reminded": (on_cycle(reminded_at=None), "no reminder to the former holder"),
    **{f"traffic {verdict}": (on_view(traffic=verdict), f"residual traffic is {verdict}") for verdict in (Verdict.NOISY, Verdict.UNKNOWN)},
    "traffic never judged": (on_view(traffic=None), "residual traffic is not judged"),
    "line never asked": (on_view(line_status=None), "the line register says nothing yet"),
    **{f"line {status}": (on_view(line_status=status), f"says {status}") for status in LineStatus if status is not LineStatus.OFF},
    "line not asked for the gate": (on_view(line_checked_at=None), "too old"),
    "line asked long ago": (on_view(line_checked_at=NOW - LINE_CHECK_FRESH_FOR - SECOND), "too old"),
    "a collection not read back": (on_proof("crm", collections=frozenset({"contacts"})), "receipt of crm does not cover"),
    "a collection too many": (on_proof("crm", collections=frozenset({"contacts", "register", "x"})), "receipt of crm does not cover"),
    "no collection": (on_proof("billing", collections=frozenset()), "receipt of billing does not cover"),
    "rows remained": (on_proof("billing", remaining=1), "rows in scope remained at billing"),
    "rows kept by law vanished": (on_proof("billing", unkept=1), "rows that the law wants kept are not there any more at billing"),
    "read back too early": (
        on_proof("crm", read_back_at=ENDED_AT - CLOCKS_APART - SECOND),
        "receipt of crm does not say that it was read back after quarantine ended",
    ),
    "read back nobody knows when": (on_proof("crm", read_back_at=None), "receipt of crm does not say that it was read back"),
    "no receipt for the holder key": (on_view(holder_key=None), "no receipt for the destruction of the holder key"),
    "another receipt for the holder key": (
        on_view(holder_key=KeyProof("e-key", genuine=False)),
        "destruction of the holder key is missing, altered or another cycle's",
    ),
    "a holder key still there": (on_view(holder_key_kept=True), "a holder key is still there"),
    "no tag": (on_cycle(tag=None), "no disclosure tag"),
    "another tag": (on_cycle(tag="other"), "does not match the facts"),
    "facts changed since the tag": (on_view(expected_tag="changed"), "does not match the facts"),
    "tag not signed": (on_view(tag_signed=False), "not signed"),
    **{f"{each} has no evidence": (without_proof(each), f"without genuine evidence: {each}") for each in SAID},
    **{f"{each} not genuine": (on_proof(each, genuine=False), f"without genuine evidence: {each}") for each in SAID},
    **{f"{each} other digest": (on_proof(each, digest="other"), f"without genuine evidence: {each}") for each in SAID},
    "a platform that looks not looked at": (on_view(looking=frozenset({"pay", "bank", "chat"})), "not looked at again: chat"),
    "a confirmation nobody finds": (on_view(confirmations=()), "confirmations that are not genuine: pay"),
    "a confirmation not genuine": (on_view(confirmations=(confirmation("pay", genuine=False),)), "not genuine: pay"),
    "another confirmation": (on_view(confirmations=(confirmation("pay", digest="other"),)), "not genuine: pay"),
    "one platform's confirmation for another": (on_view(confirmations=(confirmation("chat", digest="c-pay"),)), "not genuine: chat, pay"),
    "a confirmation too many": (on_view(confirmations=(confirmation("pay"), confirmation("chat"))), "not genuine: chat"),
    "the first answer for a confirmation": (
        lambda view: on_view(confirmations=(confirmation("pay", digest="e-pay"),))(on_obligation("pay", confirmed="e-pay")(view)),
        "confirmed by the first answer once more: pay",
    ),
    "evidence says something else": (on_proof("pay", outcome=Outcome.CLEAR), "without genuine evidence: pay"),
    "evidence of nobody's": (
        with_more(proofs=(proof("stranger"),)),
        "without genuine evidence: stranger",
    ),
    "evidence twice": (with_more(proofs=(proof("pay"),)), "evidence of pay is counted twice"),
}

#: Each defect is named by at least this shortfall; others may follow from it.
SHORTFALLS: dict[str, tuple[Damage, str]] = {
    **{f"{each} never opened": (without_obligation(each), f"opened differ from the policy: {each}") for each in SAID},
    **{f"{each} open": (on_obligation(each, status=Status.OPEN), f"not discharged: {each}") for each in SAID},
    **{
        f"{each} refused": (on_obligation(each, status=Status.REFUSED, outcome=Outcome.REFUSED), f"not discharged: {each}") for each in SAID
    },
    **{f"{each} without outcome": (on_obligation(each, outcome=None), f"not discharged: {each}") for each in SAID},
    "a wipe said by a platform": (on_obligation("pay", outcome=Outcome.WIPED), "not discharged: pay"),
    "a platform's word for a wipe": (on_obligation("crm", outcome=Outcome.CLEAR), "not discharged: crm"),
    "an attested wipe": (on_obligation("crm", outcome=Outcome.ATTESTED), "not discharged: crm"),
    "a pending platform": (on_obligation("pay", outcome=Outcome.ACCEPTED), "not discharged: pay"),
    "a platform beyond the policy": (
        with_more(obligations=(owed("stranger"),), proofs=(proof("stranger"),)),
        "platforms opened differ from the policy: stranger",
    ),
    "a system beyond the policy": (
        with_more(
            obligations=(owed("stranger", kind=RECORDS, outcome=Outcome.WIPED),),
            proofs=(proof("stranger", kind=RECORDS, outcome=Outcome.WIPED),),
        ),
        "record systems opened differ from the policy: stranger",
    ),
    "a platform as a record system": (on_obligation("pay", kind=RECORDS), "platforms opened differ from the policy: pay"),
    "a confirmation that nothing cites": (on_obligation("pay", confirmed=None), "confirmations that are not genuine: pay"),
    "a platform that looks and nobody looked at": (
        lambda view: on_view(confirmations=())(on_obligation("pay", confirmed=None)(view)),
        "platforms not looked at again: pay",
    ),
    "one platform for two": (
        lambda view: with_more(obligations=(owed("pay", evidence="e-2"),), proofs=(proof("pay", digest="e-2"),))(
            without_obligation("chat")(view)
        ),
        "platforms not discharged: chat",
    ),
    "a demanded platform nobody asked": (policy_without(platforms={**PLATFORMS, "shop": Category.SHOP}), "platforms opened differ"),
    "a demanded system nobody wiped": (policy_without(record_systems={**SYSTEMS, "sms": ("texts",)}), "record systems opened differ"),
    "a policy without record systems": (policy_without(record_systems={}), "demands no record systems"),
    "a policy without platforms": (policy_without(platforms={}), "demands no platforms"),
    "a collection added to the policy": (
        policy_without(record_systems={**SYSTEMS, "billing": ("calls", "voicemail")}),
        "receipt of billing does not cover",
    ),
}


def test_the_gate_opens_for_a_whole_view() -> None:
    """With evidence of everything nothing is short, attested platforms included."""
    assert shortfalls(GOOD) == ()


@pytest.mark.parametrize("defect", ONE_SHORTFALL)
def test_each_defect_is_named_once(defect: str) -> None:
    """Whatever is taken away or altered closes the gate, by one shortfall that names it."""
    damage, names = ONE_SHORTFALL[defect]

    short = shortfalls(damage(GOOD))

    assert len(short) == 1
    assert names in short[0]


@pytest.mark.parametrize("defect", SHORTFALLS)
def test_each_wider_defect_is_named_among_what_follows_from_it(defect: str) -> None:
    """A target that is missing, foreign or open is named, whatever else it leaves short."""
    damage, names = SHORTFALLS[defect]

    assert any(names in short for short in shortfalls(damage(GOOD)))


@pytest.mark.parametrize(
    "harmless",
    [
        on_view(line_checked_at=NOW - LINE_CHECK_FRESH_FOR),
        lambda view: policy_without(quiet=None)(on_view(traffic=None)(view)),
        lambda view: on_view(reminder_due=False)(on_cycle(reminded_at=None)(view)),
        on_cycle(release_at=NOW),
        on_view(looking=frozenset()),
        on_view(looking=frozenset({"stranger"})),
        on_proof("crm", read_back_at=ENDED_AT - CLOCKS_APART),
        on_view(earliest_release_at=NOW),
        on_cycle(demo=True),
        lambda view: replace(view, obligations=tuple(reversed(view.obligations)), proofs=tuple(reversed(view.proofs))),
    ],
)
def test_boundaries_and_order_do_not_close_the_gate(harmless: Damage) -> None:
    """The last good instant is good, and no order of rows matters."""
    assert shortfalls(harmless(GOOD)) == ()


@pytest.mark.parametrize("empty", [{"record_systems": {}}, {"platforms": {}}, {"record_systems": {"crm": ()}}])
def test_a_policy_with_an_empty_set_cannot_be_made(empty: dict[str, object]) -> None:
    """An empty list is not a completed one: it is refused before any gate is asked."""
    with pytest.raises(PolicyRefused):
        replace(POLICY, **empty)


@given(st.sets(st.sampled_from(sorted(ONE_SHORTFALL | SHORTFALLS)), max_size=6))
def test_no_combination_of_defects_hides_one(defects: set[str]) -> None:
    """The gate opens if and only if there is no defect: none makes up for another."""
    # Where defects replace one another (two states, say) the last one stands; the result is a defect all the same.
    view = GOOD
    for defect in sorted(defects):
        damage, _ = (ONE_SHORTFALL | SHORTFALLS)[defect]
        view = damage(view)

    assert bool(shortfalls(view)) is bool(defects)

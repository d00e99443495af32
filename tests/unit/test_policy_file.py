"""Reading a policy: everything known, nothing hollow."""

from datetime import timedelta
from pathlib import Path

import pytest

from fallow.domain.errors import MapRefused, PolicyRefused
from fallow.domain.obligations import Category
from fallow.domain.policy import Policy
from fallow.domain.rules import Certainty, Rule
from fallow.domain.traffic import QuietRule
from fallow.intake.policy_file import load_policy
from fallow.operations.registration_rules import demand_apart
from fallow.records.records_map import load_records_map

EXAMPLES = Path(__file__).parents[2] / "examples"
SYSTEMS = {"crm": ("register", "marketing"), "billing": ("bills",)}
PLATFORMS = {"pay": Category.PAYMENT, "chat": Category.SOCIAL, "mart": Category.SHOP}
RULE = """
[[rule]]
quarantine = "90d"
observed = "30d"
source = "somewhere"
"""
HEAD = 'id = "test"\nversion = 3\n'
QUIET = """
[quiet]
window = "14d"
attempts_below = 3
otp_like_below = 1
lag = "2d"
patience = "90d"
"""


def load(tmp_path: Path, text: str) -> Policy:
    """Write and load a policy."""
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return load_policy(path, record_systems=SYSTEMS, line_register="crm", platforms=PLATFORMS)


def test_what_is_left_out_means_all(tmp_path: Path) -> None:
    """Without lists, every system and platform of the maps must be cleared, and nobody else was asked."""
    policy = load(tmp_path, HEAD + RULE)

    assert (policy.policy_id, policy.version, policy.line_register) == ("test", 3, "crm")
    assert policy.record_systems == SYSTEMS
    assert policy.platforms == PLATFORMS
    assert policy.not_asked == ("bank", "call-label", "game", "government")
    assert policy.rules[0].quarantine_for == timedelta(days=90)


def test_named_targets_are_taken_and_the_rest_is_told(tmp_path: Path) -> None:
    """A narrower policy says which categories nobody asked."""
    text = HEAD + 'record_systems = ["billing"]\nplatforms = ["pay", "chat"]\nnot_asked = ["shop"]\nrelease_jitter = "6s"\n' + RULE

    policy = load(tmp_path, text)

    assert policy.record_systems == {"billing": ("bills",)}
    assert list(policy.platforms) == ["pay", "chat"]
    assert "shop" in policy.not_asked
    assert policy.release_jitter_for == timedelta(seconds=6)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (HEAD, "no quarantine rule"),
        (RULE, "key id"),
        (HEAD + 'colour = "red"\n' + RULE, "key colour"),
        (HEAD + RULE + 'grace = "1d"\n', "key rule.0.grace"),
        (HEAD + "record_systems = []\n" + RULE, "record_systems"),
        (HEAD + 'record_systems = ["crm", "cmr"]\n' + RULE, "cmr"),
        (HEAD + 'record_systems = ["crm", "crm"]\n' + RULE, "twice"),
        (HEAD + "platforms = []\n" + RULE, "platforms"),
        (HEAD + 'platforms = ["pay"]\n' + RULE, "no social platform"),
        (HEAD + 'platforms = ["chat", "mart"]\n' + RULE, "no payment platform"),
        (HEAD + 'platforms = ["pay", "chatt"]\n' + RULE, "chatt"),
        (HEAD + 'not_asked = ["shop"]\n' + RULE, "not_asked"),
        (HEAD + 'not_asked = ["zoo"]\n' + RULE, "not_asked"),
        (HEAD + RULE.replace("90d", "4s"), "rule 1"),
        (HEAD + RULE.replace("90d", "ninety"), "rule.0.quarantine"),
        (HEAD + RULE.replace('"90d"', "90"), "rule.0.quarantine"),
        (HEAD + RULE + 'class = "pigeon"\n', "rule 1.class"),
        (HEAD + RULE + 'reason = "bored"\n', "rule 1.reason"),
        (HEAD + RULE + 'country = "China"\n', "rule.0.country"),
        (HEAD + RULE + 'maximum = "1d"\n', "maximum"),
        (HEAD + RULE + "demo = 1\n", "rule.0.demo"),
        (HEAD + RULE + RULE.replace('source = "somewhere"\n', ""), "rule.1.source"),
        (HEAD + RULE + 'pool = "Residential homes"\n', "rule.0.pool"),
        (HEAD + RULE + 'pool = ""\n', "rule.0.pool"),
        (HEAD + RULE + "pool = 1\n", "rule.0.pool"),
        (HEAD + RULE + 'reminder = "yes"\n', "rule.0.reminder"),
        (HEAD + RULE + 'certainty = "rumour"\n', "rule.0.certainty"),
        (HEAD + RULE + 'rule_set = "cn 1"\n', "rule.0.rule_set"),
        (HEAD + RULE + QUIET.replace("14d", "0d"), "quiet rule"),
        (HEAD + RULE + QUIET.replace("14d", "36h"), "quiet.window"),
        (HEAD + RULE + QUIET.replace("14d", "a fortnight"), "quiet.window"),
        (HEAD + RULE + QUIET.replace('"14d"', "14"), "quiet.window"),
        (HEAD + RULE + QUIET.replace("14d", "999999d"), "quiet rule"),
        (HEAD + RULE + QUIET.replace("2d", "12h"), "quiet.lag"),
        (HEAD + RULE + QUIET.replace("90d", "12h"), "quiet rule"),
        (HEAD + RULE + QUIET.replace("attempts_below = 3", "attempts_below = 0"), "quiet rule"),
        (HEAD + RULE + QUIET.replace("attempts_below = 3", "attempts_below = true"), "quiet.attempts_below"),
        (HEAD + RULE + QUIET.replace("otp_like_below = 1", "otp_like_below = 0"), "quiet rule"),
        (HEAD + RULE + QUIET.replace("otp_like_below = 1\n", ""), "quiet.otp_like_below"),
        (HEAD + RULE + QUIET + "messages_below = 3\n", "quiet.messages_below"),
        ("id = \n", "not TOML"),
    ],
)
def test_a_doubtful_policy_is_refused_by_name(tmp_path: Path, text: str, names: str) -> None:
    """The message names the file, the key and the remedy."""
    with pytest.raises(PolicyRefused, match=names) as caught:
        load(tmp_path, text)

    assert "policy.toml" in str(caught.value)
    assert caught.value.remedy


def test_a_rule_says_all_it_can_say(tmp_path: Path) -> None:
    """Pool, reminder and certainty are read; the set a rule belongs to is its file's id and version."""
    text = 'country = "US"\nclass = "mobile"\npool = "residential"\nmaximum = "120d"\nreminder = true\ncertainty = "law"\n'

    plain, full = load(tmp_path, HEAD + RULE + RULE + text).rules

    assert (plain.pool, plain.reminder, plain.certainty, plain.rule_set) == ("*", False, Certainty.OWN, "test 3")
    assert (full.pool, full.reminder, full.certainty, full.rule_set) == ("residential", True, Certainty.LAW, "test 3")
    assert full.maximum_for == timedelta(days=120)


def test_a_quiet_rule_is_read_whole(tmp_path: Path) -> None:
    """Its five figures are the file's; without the table traffic is not looked at."""
    assert load(tmp_path, HEAD + RULE + QUIET).quiet == QuietRule(14, 3, 1, 2, timedelta(days=90))
    assert load(tmp_path, HEAD + RULE).quiet is None


OTHER = 'id = "{}"\nversion = 7\nrelease_jitter = "9h"\nplatforms = ["elsewhere"]\n' + RULE + QUIET


def test_rules_are_taken_from_other_policies(tmp_path: Path) -> None:
    """Only their rules come, each with the set it stands in; whom they ask, their jitter and quiet rule stay where they are."""
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "cn.toml").write_text(OTHER.format("cn"))
    (tmp_path / "us.toml").write_text(OTHER.format("us").replace("90d", "45d", 1))

    own = load(tmp_path, HEAD + 'rules_from = ["sets/cn.toml", "us.toml"]\n' + RULE)
    none_of_its_own = load(tmp_path, HEAD + 'rules_from = ["sets/cn.toml"]\n')

    assert [each.rule_set for each in own.rules] == ["test 3", "cn 7", "us 7"]
    assert [each.quarantine_for.days for each in own.rules] == [90, 90, 45]
    assert (own.policy_id, own.version, own.release_jitter_for, own.quiet) == ("test", 3, timedelta(0), None)
    assert own.platforms == PLATFORMS
    assert [each.rule_set for each in none_of_its_own.rules] == ["cn 7"]


@pytest.mark.parametrize(
    ("rules_from", "files", "names"),
    [
        ('["absent.toml"]', {}, "absent.toml: can't be read"),
        ('["policy.toml"]', {}, "policy.toml, which takes in others"),
        ('["a.toml"]', {"a.toml": 'rules_from = ["policy.toml"]\n'}, "a.toml, which takes in others"),
        ('["a.toml"]', {"a.toml": 'rules_from = ["b.toml"]\n' + RULE, "b.toml": RULE}, "a.toml, which takes in others"),
        ('["a.toml"]', {"a.toml": ""}, "a.toml, which .* has no rule"),
        ('["a.toml", "a.toml"]', {"a.toml": RULE}, "id a is taken"),
        ('["a.toml"]', {"a.toml": RULE.replace("90d", "4s")}, "a.toml, rule 1"),
        ('["a.toml"]', {"a.toml": RULE + 'colour = "red"\n'}, "a.toml: key rule.0.colour"),
        ('["a.toml"]', {"a.toml": "]"}, "a.toml: is not TOML"),
        ('["/etc/passwd"]', {}, "rules_from"),
        ('["a.csv"]', {"a.csv": RULE}, "rules_from"),
        ('"a.toml"', {"a.toml": RULE}, "rules_from"),
        ("[1]", {}, "rules_from"),
    ],
)
def test_doubtful_rules_of_others_are_refused(tmp_path: Path, rules_from: str, files: dict[str, str], names: str) -> None:
    """Missing, circular, nested, empty, named twice or faulty: refused by the name of the file, with the remedy."""
    for name, text in files.items():
        (tmp_path / name).write_text(f'id = "{name[0]}"\nversion = 1\n{text}')

    with pytest.raises(PolicyRefused, match=names) as refused:
        load(tmp_path, HEAD + f"rules_from = {rules_from}\n" + RULE)
    assert refused.value.remedy


def test_two_sets_of_one_id_are_refused(tmp_path: Path) -> None:
    """A cycle cites its rule set by id and version: two sets must not share them, nor one with the policy itself."""
    (tmp_path / "a.toml").write_text(OTHER.format("test"))

    with pytest.raises(PolicyRefused, match="id test is taken"):
        load(tmp_path, HEAD + 'rules_from = ["a.toml"]\n')


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    """No policy is no policy, not an empty one."""
    with pytest.raises(PolicyRefused, match=r"absent\.toml"):
        load_policy(tmp_path / "absent.toml", record_systems=SYSTEMS, line_register="crm", platforms=PLATFORMS)


DEMOS = ("policies/demo.toml", "own-systems/policy.toml")
SHIPPED = sorted(
    path.relative_to(EXAMPLES).as_posix() for path in (*EXAMPLES.glob("policies/*.toml"), EXAMPLES / "own-systems/policy.toml")
)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_sample_policies_load(name: str) -> None:
    """Every policy that ships is sound with the sample's map."""
    records = load_records_map(EXAMPLES / "records.toml")

    policy = load_policy(EXAMPLES / name, record_systems=records.collections, line_register=records.line_register_id, platforms=PLATFORMS)

    records.close()
    assert sum(map(len, policy.record_systems.values())) >= 6
    assert all(rule.demo is (name in DEMOS) for rule in policy.rules)


def test_a_record_system_and_a_platform_share_no_id() -> None:
    """What is owed and sent is kept under the id of its target: one id for two would mix them."""
    rule = Rule("*", "*", "*", "*", timedelta(days=90), timedelta(days=30), source="somewhere")

    with pytest.raises(PolicyRefused, match="pay both as a record system and as a platform"):
        Policy("test", 1, (rule,), {"crm": ("register",), "pay": ("bills",)}, PLATFORMS, "crm")


def test_maps_that_share_an_id_are_refused_whatever_the_policy_names() -> None:
    """Senders are started for the whole maps."""
    with pytest.raises(MapRefused, match="pay both"):
        demand_apart({"crm": 1, "pay": 2}, PLATFORMS)

    demand_apart(SYSTEMS, PLATFORMS)

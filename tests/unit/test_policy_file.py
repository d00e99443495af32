"""Reading a policy: everything known, nothing hollow."""

from datetime import timedelta
from pathlib import Path

import pytest

from fallow.bootstrap import demand_apart
from fallow.domain.errors import MapRefused, PolicyRefused
from fallow.domain.obligations import Category
from fallow.domain.policy import Policy
from fallow.domain.rules import Rule
from fallow.intake.policy_file import load_policy
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
    assert policy.not_asked == ("bank", "call-label", "game")
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
        ("id = \n", "not TOML"),
    ],
)
def test_a_doubtful_policy_is_refused_by_name(tmp_path: Path, text: str, names: str) -> None:
    """The message names the file, the key and the remedy."""
    with pytest.raises(PolicyRefused, match=names) as caught:
        load(tmp_path, text)

    assert "policy.toml" in str(caught.value)
    assert caught.value.remedy


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    """No policy is no policy, not an empty one."""
    with pytest.raises(PolicyRefused, match=r"absent\.toml"):
        load_policy(tmp_path / "absent.toml", record_systems=SYSTEMS, line_register="crm", platforms=PLATFORMS)


@pytest.mark.parametrize("name", ["policies/demo.toml", "policies/half-year.toml", "own-systems/policy.toml"])
def test_the_sample_policies_load(name: str) -> None:
    """Every policy that ships is sound with the sample's map."""
    records = load_records_map(EXAMPLES / "records.toml")

    policy = load_policy(EXAMPLES / name, record_systems=records.collections, line_register=records.line_register_id, platforms=PLATFORMS)

    records.close()
    assert sum(map(len, policy.record_systems.values())) >= 6
    assert all(rule.demo is (name != "policies/half-year.toml") for rule in policy.rules)


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

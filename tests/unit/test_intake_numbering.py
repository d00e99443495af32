"""Reading a number: what is taken, and what the library alone would have let through."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.domain.errors import NumberMalformed
from fallow.intake.numbering import read_number


@pytest.mark.parametrize(
    ("text", "country", "e164"),
    [
        ("+8613800000001", "CN", "+8613800000001"),
        ("+86 138-0000-0001", "CN", "+8613800000001"),
        ("138 0000 0001", "CN", "+8613800000001"),
        ("(202) 555-0100", "US", "+12025550100"),
        ("+1 800 555 0123", "US", "+18005550123"),
        ("+1.416.555.0101", "CA", "+14165550101"),
        ("020 7946 0001", "GB", "+442079460001"),
        ("070-174 06 05", "SE", "+46701740605"),
        ("070 1740605", "SE", "+46701740605"),
    ],
)
def test_a_clear_number_is_read(text: str, country: str, e164: str) -> None:
    """International or national, with the usual separators."""
    assert read_number(text, country).text == e164


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("=+8613800000001", "CN"),
        ("+\uff18\uff16\uff11\uff13\uff18\uff10\uff10\uff10\uff10\uff10\uff10\uff10\uff11", "CN"),
        ("\u0661\u0663\u0668\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0661", "CN"),
        ("+8613800000001;ext=1", "CN"),
        ("+8613800000001 ext 1", "CN"),
        ("tel:+8613800000001", "CN"),
        ("\u200f+8613800000001", "CN"),
        ("+8613800000001\u202e", "CN"),
        ("+8613800000001\n", "CN"),
        ("+8613800000001\x00", "CN"),
        ("++8613800000001", "CN"),
        ("8.61E+12", "CN"),
        ("0013 8001 3800 0", "CN"),
        ("00 86 138 0000 0001", "CN"),
        ("8613800000001", "CN"),
        ("+86138000O0001", "CN"),
        ("+861380000", "CN"),
        ("+86138000000011", "CN"),
        ("+12025550100", "CA"),
        ("+12025550100", "GB"),
        ("+447700900123", "GB"),
        ("+8613800000001", "XX"),
        ("138 0000 0001", "XX"),
        ("", "CN"),
        ("9" * 1_000_000, "CN"),
    ],
)
def test_a_doubtful_number_is_refused_without_repeating_it(text: str, country: str) -> None:
    """What could be read in two ways, or only by mending it, is refused; the message does not hold the text."""
    with pytest.raises(NumberMalformed) as caught:
        read_number(text, country)

    assert not any(character.isdigit() for character in str(caught.value))


@given(st.text(alphabet="0123456789+-(). =;e\u202e\uff11", max_size=24), st.sampled_from(["CN", "US", "GB", "SE", "IN"]))
def test_what_is_read_is_valid_and_of_that_country(text: str, country: str) -> None:
    """Whatever comes, the result is a valid number of the named country, or a refusal."""
    try:
        number = read_number(text, country)
    except NumberMalformed:
        return
    parsed = phonenumbers.parse(number.text, None)
    assert phonenumbers.is_valid_number(parsed)
    assert phonenumbers.region_code_for_number(parsed) == country
    assert "".join(filter(str.isdigit, text)).endswith(phonenumbers.national_significant_number(parsed))

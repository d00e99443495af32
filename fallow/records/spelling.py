"""The ways in which databases write a number. Imports the domain, phonenumbers and SQLAlchemy."""

from dataclasses import dataclass

import phonenumbers
from sqlalchemy import Integer, Table

from fallow.domain.number import E164
from fallow.records.map_columns import NumberColumn


@dataclass(frozen=True, slots=True, repr=False)
class Spelled:
    """A number as one table writes it.

    Attributes:
        text: the value of the holder's column.
        places: values of the place column under which a table may keep it: ISO 3166 codes, or the calling code as the map writes
            it; empty where the spelling says the country itself.
    """

    text: str
    places: tuple[str, ...] = ()


def spell(number: E164, column: NumberColumn) -> Spelled | None:
    """Return the number as the column writes it; None where the table holds numbers of another calling code only.

    Within one calling code the national digits are one number, whichever of its regions a table names: a Jersey number is
    dialled like a British one (ITU-T E.164 assigns by country code, not by region).
    """
    if column.spelling == "e164":
        return Spelled(number.text)
    if column.spelling == "digits":
        return Spelled(number.text.removeprefix("+"))
    parsed = phonenumbers.parse(number.text, None)
    code = parsed.country_code or 0
    if column.country is not None and phonenumbers.country_code_for_region(column.country) != code:
        return None
    places = (f"{column.prefix_lead}{code}",) if column.spelling == "split" else phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    return Spelled(column.trunk_prefix + phonenumbers.national_significant_number(parsed), tuple(places))


@dataclass(frozen=True, slots=True, repr=False)
class Spellings:
    """Every way in which a column may hold a number, the mapped one among them.

    Attributes:
        anywhere: the number, whatever else the row says.
        in_country: the number where the row belongs to one of ``places``; where the place isn't known it may be.
        places: values of the place column that mean the number's calling code.
    """

    anywhere: list[str]
    in_country: list[str]
    places: tuple[str, ...]


def spellings(number: E164, column: NumberColumn, *, is_integer: bool) -> Spellings:
    """Return the mapped spelling and the others, leaving out what could be somebody else's number.

    Args:
        number: whose rows are looked for.
        column: how the map says numbers are spelt.
        is_integer: whether the column keeps neither ``+`` nor zeros in front.

    A row found under another one shows that the map is wrong. With ``+`` or ``00`` the number is whole. Bare digits are so unless
    the column holds national numbers, and national digits mean nothing unless it does: then a text counts that is read as this
    number where it is dialled.
    """
    digits = number.text.removeprefix("+")
    anywhere, in_country = set[str]() if is_integer else {number.text, f"00{digits}"}, set[str]()
    mapped = spell(number, column)
    is_national = column.spelling in ("national", "split")
    if not is_national or (mapped is None and not _could_be_national(digits, column.country or "")):
        anywhere.add(digits)
    elif mapped is not None:
        in_country = {mapped.text, *_dialled(number, digits)}
    if column.country is not None:  # it says whose all rows are
        anywhere, in_country = anywhere | in_country, set()
    return Spellings(sorted(anywhere), sorted(in_country), _places(mapped, column))


def is_spelt_so(value: object, column: NumberColumn, country: str | None, *, is_integer: bool) -> bool:
    """Tell whether a value is a valid number in the column's spelling.

    Args:
        value: what the table holds.
        column: how the map says numbers are spelt.
        country: what the row's place column says; None where the spelling needs none.
        is_integer: whether the column keeps neither ``+`` nor zeros in front, and is not blamed for it.
    """
    text = _lead(column) + str(value) if is_integer else str(value)
    try:
        number = phonenumbers.parse(_whole(text, column, country), None)
    except phonenumbers.NumberParseException:
        return False
    if not phonenumbers.is_valid_number(number):
        return False
    # Written back: phonenumbers overlooks separators, and drops a trunk prefix that the spelling does not have.
    written = spell(E164(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)), column)
    return written is not None and written.text == text


def _places(mapped: Spelled | None, column: NumberColumn) -> tuple[str, ...]:
    if mapped is None:
        return ()
    if column.spelling != "split":
        return mapped.places
    code = mapped.places[0].removeprefix(column.prefix_lead)
    return (code, f"+{code}", f"00{code}")


def _dialled(number: E164, digits: str) -> set[str]:
    """Return the digits, with and without the country's code and trunk prefix, that are read as the number at home."""
    parsed = phonenumbers.parse(number.text, None)
    home = phonenumbers.region_code_for_country_code(parsed.country_code or 0)
    national = phonenumbers.national_significant_number(parsed)
    trunk = phonenumbers.ndd_prefix_for_region(home, strip_non_digits=True) or ""
    return {text for text in (digits, national, trunk + national) if _is_read_as(number, text, home)}


def _is_read_as(number: E164, text: str, home: str) -> bool:
    try:
        parsed = phonenumbers.parse(text, home)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == number.text


def _could_be_national(digits: str, country: str) -> bool:
    code = phonenumbers.country_code_for_region(country)
    return phonenumbers.is_possible_number(phonenumbers.PhoneNumber(country_code=code, national_number=int(digits)))


def _lead(column: NumberColumn) -> str:
    """Return what an integer column can't keep of the spelling."""
    if column.spelling == "e164":
        return "+"
    return column.trunk_prefix if not column.trunk_prefix.strip("0") else ""


def _whole(text: str, column: NumberColumn, country: str | None) -> str:
    if column.spelling == "e164":
        return text
    if column.spelling == "digits":
        return f"+{text}"
    if column.spelling == "split":
        return f"+{(country or '').removeprefix(column.prefix_lead)}{text.removeprefix(column.trunk_prefix)}"
    return f"+{phonenumbers.country_code_for_region(country or '')}{text.removeprefix(column.trunk_prefix)}"


def is_kept_as_integer(table: Table, column: NumberColumn) -> bool:
    """Tell whether the table keeps its holder's number as an integer."""
    return isinstance(table.c[column.column].type, Integer)


def known_regions() -> list[str]:
    """Return every ISO 3166 code that has a calling code, sorted."""
    return sorted(phonenumbers.SUPPORTED_REGIONS)


def known_places(column: NumberColumn) -> list[str]:
    """Return every value of the place column that says whose national digits a row has, sorted."""
    if column.spelling != "split":
        return known_regions()
    codes = (str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
    return sorted(lead + code for code in codes for lead in ("", "+", "00"))

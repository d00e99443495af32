"""The ways in which databases write a number. Imports the domain and phonenumbers."""

from dataclasses import dataclass

import phonenumbers

from fallow.domain.number import E164
from fallow.records.map_schema import NumberColumn


@dataclass(frozen=True, slots=True, repr=False)
class Spelled:
    """A number as one table writes it.

    Attributes:
        text: the value of the holder's column.
        regions: ISO 3166 codes under which a table may keep it; empty where the spelling says the country itself.
    """

    text: str
    regions: tuple[str, ...] = ()


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
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    return Spelled(column.trunk_prefix + phonenumbers.national_significant_number(parsed), tuple(regions))


def misspellings(number: E164, column: NumberColumn) -> list[str]:
    """Return the ways of writing the whole number that the column, by its map, does not use.

    A row found under one of them shows that the map is wrong: such a row would be neither wiped nor missed. Bare digits are left
    out where they could be somebody else's national number.
    """
    digits = number.text.removeprefix("+")
    whole = {number.text, f"00{digits}"}
    if column.spelling != "national" or (column.country is not None and not _could_be_national(digits, column.country)):
        whole.add(digits)
    mapped = spell(number, column)
    return sorted(whole - {mapped.text if mapped else ""})


def _could_be_national(digits: str, country: str) -> bool:
    code = phonenumbers.country_code_for_region(country)
    return phonenumbers.is_possible_number(phonenumbers.PhoneNumber(country_code=code, national_number=int(digits)))


def known_regions() -> list[str]:
    """Return every ISO 3166 code that has a calling code, sorted."""
    return sorted(phonenumbers.SUPPORTED_REGIONS)

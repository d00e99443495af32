"""Text into :class:`E164`, or a refusal. Imports the domain and phonenumbers.

phonenumbers alone is no gate: ``=+86…``, full-width digits, ``;ext=`` and right-to-left marks all parse to a *valid* number
there, and ``0013 8001 3800 0`` silently becomes an American one. So the characters are checked before, and what was read is
written back and compared after.
"""

import re
from typing import NoReturn

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat

from fallow.domain.errors import NumberMalformed
from fallow.domain.number import E164

_ALLOWED = re.compile(r"\+?[0-9 ()\-.]{6,20}", re.ASCII)
_NOT_DIGITS = re.compile(r"[^0-9]", re.ASCII)


def read_number(text: str, country: str) -> E164:
    """Read one number of one country, international or national.

    Args:
        text: the cell, as it stands.
        country: ISO 3166 alpha-2 of the country the row names.

    Raises:
        NumberMalformed: other characters than digits and separators, an extension, not valid in the national plan,
            another country's, or not the same number when written back.
    """
    if not _ALLOWED.fullmatch(text):
        _refuse("holds characters outside digits, space, ( ) - . and one leading +, or has the wrong length")
    parsed = _parse(text, country)
    if parsed is None or not phonenumbers.is_valid_number(parsed):
        _refuse("is not valid in the national numbering plan")
    if phonenumbers.region_code_for_number(parsed) != country:
        _refuse("belongs to another country than the row says")
    if _digits(text) not in _spellings(parsed, international=text.startswith("+")):
        _refuse("is not the same number when written back")
    return E164(phonenumbers.format_number(parsed, PhoneNumberFormat.E164))


def _parse(text: str, country: str) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text, None if text.startswith("+") else country)
    except phonenumbers.NumberParseException:
        return None


def _spellings(parsed: PhoneNumber, *, international: bool) -> set[str]:
    if international:
        return {_digits(phonenumbers.format_number(parsed, PhoneNumberFormat.E164))}
    national = phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL)
    return {_digits(national), phonenumbers.national_significant_number(parsed)}


def _digits(text: str) -> str:
    return _NOT_DIGITS.sub("", text)


def _refuse(what: str) -> NoReturn:
    raise NumberMalformed(f"The number {what}.", remedy="write it as + and country code, digits only, and check the country.")

"""Which values say that a column holds phone numbers. Imports phonenumbers.

A number with its plus sign says so itself. Bare digits do where nearly all of them are valid numbers as they are dialled in a
country in use: with its code, with its trunk prefix, or a mobile number without it. What is known to look alike is told apart by
the column as a whole: days, Unix times, addresses of machines, and card, device and account numbers with a check digit.

Missed without the name's help: national landlines that are kept without their trunk prefix, and ten-digit numbers that all begin with 1.
"""

import re
from collections.abc import Callable, Collection, Sequence
from datetime import date
from decimal import Decimal

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

#: Digits and what people write between them; a lone point is a decimal one.
_WRITTEN = re.compile(r"(?!\d+\.\d+\Z)\+?\(?[0-9][0-9 ()\-./]*", re.ASCII)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}", re.ASCII)
_FEWEST, _MOST = 7, 15
#: Longer than a written number; so long a value may be one that is encrypted.
_OPAQUE = 16
#: Bare digits are believed from so many different values on.
_ENOUGH = 3
_NEARLY_ALL, _MOST_OF = 0.8, 0.5
_ALIKE = 0.9
_MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
#: Kinds of numbers that somebody holds; bare digits of service numbers, such as 400…, are rather somebody's order numbers.
_HELD = _MOBILE | {PhoneNumberType.FIXED_LINE, PhoneNumberType.VOIP, PhoneNumberType.PERSONAL_NUMBER}
_EPOCHS = ((10**9, 2 * 10**9), (10**12, 2 * 10**12), (10**15, 2 * 10**15))


def hold_numbers(values: Sequence[object], countries: Collection[str]) -> bool:
    """Tell whether most of a column's values are phone numbers.

    Args:
        values: a sample of the column, without NULL.
        countries: ISO 3166 codes of the countries whose numbers are in use.
    """
    texts = _texts(values)
    written = [text for text in texts if _is_written(text)]
    if len(written) < _MOST_OF * len(texts) or not written or _look_alike(written):
        return False
    whole = sum(text.startswith("+") and _valid(text) is not None for text in written)
    if whole > _MOST_OF * len(texts):
        return True
    bare = {text for text in written if not text.startswith("+")}
    if len(bare) < _ENOUGH or len(written) < _NEARLY_ALL * len(texts):
        return False
    return whole + sum(_is_dialled(text, countries) for text in written if text in bare) >= _NEARLY_ALL * len(texts)


def can_be_no_numbers(values: Sequence[object]) -> bool:
    """Tell whether a column's values refute a name that says it holds numbers: words, flags, small counts, days."""
    texts = _texts(values)
    written = [text for text in texts if _is_written(text)]
    if not texts or any(len(text) >= _OPAQUE and " " not in text for text in texts):
        return False
    return not written or _share(written, _is_day) >= _ALIKE


def country_of(text: str) -> str | None:
    """Return the ISO 3166 code of a number with its country's code, the main one where several share it; None where it is none."""
    digits = text.strip().removeprefix("+").removeprefix("00")
    number = _valid(f"+{digits}") if digits.isascii() and digits.isdigit() else None
    return None if number is None else phonenumbers.region_code_for_country_code(number.country_code or 0)


def _texts(values: Sequence[object]) -> list[str]:
    return [text for text in (_text(value).strip() for value in values) if text]


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, Decimal | float) and not isinstance(value, bool) and value == value // 1:
        return str(int(value))
    return str(value)


def _digits(text: str) -> str:
    return "".join(each for each in text if each.isdigit())


def _is_written(text: str) -> bool:
    return _FEWEST <= len(_digits(text)) <= _MOST and _WRITTEN.fullmatch(text) is not None


def _look_alike(written: Sequence[str]) -> bool:
    """Tell whether the values are, as a whole, something else that is written in digits."""
    return any(_share(written, is_such) >= _ALIKE for is_such in (_is_day, _is_epoch, _is_checked, _is_address))


def _share(texts: Sequence[str], is_such: Callable[[str], bool]) -> float:
    return sum(map(is_such, texts)) / len(texts)


def _is_day(text: str) -> bool:
    """Tell whether it is a calendar day, year first or last, with or without a time of day."""
    digits = _digits(text)
    if len(digits) not in {8, 12, 14} or int(digits[8:10] or 0) > 23 or int(digits[10:12] or 0) > 59:  # noqa: PLR2004 - a clock's
        return False
    orders = ((digits[:4], digits[4:6], digits[6:8]), (digits[4:8], digits[2:4], digits[:2]), (digits[4:8], digits[:2], digits[2:4]))
    return any(_is_date(*map(int, each)) for each in orders)


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        return 1900 <= date(year, month, day).year < 2100  # noqa: PLR2004 - the years that records speak of
    except ValueError:
        return False


def _is_epoch(text: str) -> bool:
    """Tell whether it is a Unix time between 2001 and 2033 in seconds, milliseconds or microseconds."""
    return text.isdigit() and text[0] != "0" and any(first <= int(text) < last for first, last in _EPOCHS)


def _is_checked(text: str) -> bool:
    """Tell whether it ends in the check digit of cards and devices (Luhn, ISO/IEC 7812-1): an IMEI, for one, has 15 digits."""
    digits = [int(each) for each in _digits(text)]
    doubled = [each if place % 2 == 0 else each * 2 - 9 * (each > 4) for place, each in enumerate(reversed(digits))]  # noqa: PLR2004
    return len(digits) >= 14 and sum(doubled) % 10 == 0  # noqa: PLR2004 - cards and devices


def _is_address(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None


def _is_dialled(text: str, countries: Collection[str]) -> bool:
    """Tell whether bare digits are a number as it is dialled: from anywhere, or in one of the countries."""
    digits = _digits(text)
    if digits.startswith("00"):
        return _valid(f"+{digits[2:]}") is not None
    return any(_is_from(digits, country) or _is_national(digits, country) for country in countries)


def _is_from(digits: str, country: str) -> bool:
    code = str(phonenumbers.country_code_for_region(country))
    return digits.startswith(code) and _valid(f"+{digits}") is not None


def _is_national(digits: str, country: str) -> bool:
    number = _valid(digits, country)
    kind = None if number is None else phonenumbers.number_type(number)
    if number is None or kind not in _HELD:
        return False
    if digits == phonenumbers.national_significant_number(number) and kind in _MOBILE:
        return True
    return digits == _digits(phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL))


def _valid(text: str, country: str | None = None) -> PhoneNumber | None:
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) else None

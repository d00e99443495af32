"""Which names of columns say that a column holds phone numbers. Imports the standard library only."""

import re
import unicodedata
from itertools import pairwise

#: A segment of a name that says so by itself, in the words of carriers, of their switches and of some languages.
_WORDS = frozenset(
    {
        *("msisdn", "msisdns", "phone", "phones", "phoneno", "phonenr", "phonenumber", "telephone", "tel", "telno", "telnr", "telnumber"),
        *("mobile", "mobileno", "mobilenr", "mobilenumber", "cellphone", "landline", "fax", "faxno", "e164", "mdn", "ctn"),
        *("caller", "callee", "callerid", "callingnumber", "callednumber", "callingparty", "calledparty", "anumber", "bnumber", "cnumber"),
        *("cli", "clid", "ani", "dnis", "subscriberno", "subscribernr", "subscribernumber"),
        *("rufnummer", "rufnr", "telefon", "telefonnummer", "telefonnr", "handy", "handynummer", "handynr", "mobil", "mobilnummer"),
        *("telefono", "telefone", "celular", "shouji", "shoujihao", "dianhua", "telefoon", "puhelin"),
    }
)
#: Two segments that say so together: who, and then what.
_OF_WHOM = frozenset(
    {"a", "b", "c", "calling", "called", "subscriber", "gsm", "cell", "contact", "sms", "recipient", "sim", "orig", "dest"}
)
_THE_NUMBER = frozenset({"number", "no", "nr", "num", "party"})
#: Written without gaps, so looked for anywhere: mobile, telephone, landline, calling, called, fax (Chinese), Japanese, Korean, Russian.
_ANYWHERE = ("手机", "手機", "电话", "電話", "固话", "座机", "主叫", "被叫", "来电", "传真", "携帯", "전화", "휴대폰", "телефон")
#: A last segment that says what else of a telephone the column holds.
_ABOUT = frozenset(
    {
        *("id", "ids", "type", "kind", "model", "brand", "make", "maker", "os", "name", "status", "state", "class", "category", "label"),
        *("verified", "confirmed", "verification", "at", "on", "since", "until", "date", "time", "day", "count", "total", "flag", "hash"),
        *("digest", "plan", "tariff", "version", "country", "region", "city", "note", "comment", "url", "duration", "seconds", "minutes"),
        *("amount", "fee", "price", "cost", "bytes", "app", "operator", "carrier", "network", "reason", "code", "rate", "volume", "usage"),
        *("类型", "状态", "型号", "时间", "名称"),
    }
)
_ASKS = frozenset({"is", "has", "can", "may", "allow", "allows", "use", "uses"})


def names_numbers(column: str) -> bool:
    """Tell whether a column's name says that it holds phone numbers: by whole segments, so that ``telemetry`` is none."""
    segments = _segments(column)
    if not segments or segments[-1] in _ABOUT or segments[0] in _ASKS:
        return False
    if any(_plain(word) in segment for word in _ANYWHERE for segment in segments):
        return not segments[-1].endswith(tuple(word for word in _ABOUT if not word.isascii()))
    return any(each in _WORDS for each in segments) or any(who in _OF_WHOM and what in _THE_NUMBER for who, what in pairwise(segments))


def _segments(name: str) -> list[str]:
    """Return the parts of ``callerNumber_2``: ``caller``, ``number``."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    parts = [_plain(part) for part in re.split(r"[\W_]+", apart)]
    return [part if part in _WORDS else part.rstrip("0123456789") for part in parts if part.strip("0123456789")]


def _plain(text: str) -> str:
    """Return the text in one case and width, without accents."""
    return "".join(each for each in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(each))

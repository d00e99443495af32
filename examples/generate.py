"""Write the three sample files beside this script, the same at every run: `python examples/generate.py`.

Numbers come from ranges reserved for fiction where a country has one that its published plan also calls valid: North America
555-0100 to 0199, London 020 7946 0000 to 0999 (Ofcom), Paris 01 99 00 (ARCEP), Berlin 030 23125 and mobile 0171 39200
(Bundesnetzagentur), Sydney 02 5550 and single mobile numbers (ACMA), Sweden 070-174 06 05 to 99 (PTS). China, India and Korea
reserve none; there the numbers are plainly synthetic, nearly all zeros.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import count, cycle, islice, zip_longest
from pathlib import Path

from fallow.local.crowd import Crowd, Line

HEADER = "number,country,carrier,range_holder,class,disconnected_at,reason,prior_holders,hold_reference,source_ref,subscription"
ENROLLABLE = 200
REJECTED_EVERY = 7

_AREAS = ("202", "303", "404", "617", "206")
_ACMA = ("570006", "570156", "570157", "570158", "570159", "570110", "571266", "571491", "571804", "572549")
# numbers, country, carrier, class, hours east of UTC
_BLOCKS = (
    ([f"+861380000{n:04d}" for n in range(20, 50)], "CN", "china-mobile", "mobile", 8),
    ([f"+861330000{n:04d}" for n in range(1, 25)], "CN", "china-telecom", "mobile", 8),
    ([f"+861860000{n:04d}" for n in range(1, 25)], "CN", "china-unicom", "mobile", 8),
    ([f"+861700000{n:04d}" for n in range(1, 19)], "CN", "yunqiao-virtual", "mobile", 8),
    ([f"+1{area}55501{n:02d}" for n in range(4) for area in _AREAS], "US", "columbia-wireless", "mobile", -5),
    ([f"+180055501{n:02d}" for n in range(4)], "US", "columbia-wireless", "toll-free", -5),
    ([f"+1{area}55501{n:02d}" for n in range(5) for area in ("416", "604")], "CA", "maple-mobile", "mobile", -4),
    ([f"+442079460{n:03d}" for n in range(14)], "GB", "albion-telecom", "fixed", 1),
    ([f"+331990000{n:02d}" for n in range(10, 20)], "FR", "lutece-telecom", "fixed", 2),
    ([f"+493023125{n:03d}" for n in range(6)], "DE", "rheinfunk", "fixed", 2),
    ([f"+4917139200{n:02d}" for n in range(6)], "DE", "rheinfunk", "mobile", 2),
    ([f"+61491{tail}" for tail in _ACMA], "AU", "southern-cross-mobile", "mobile", 10),
    ([f"+467017406{n:02d}" for n in range(5, 13)], "SE", "nordlys-mobil", "mobile", 2),
    ([f"+91900000{n:04d}" for n in range(1, 9)], "IN", "deccan-mobile", "mobile", 5.5),
    ([f"+82100000{n:04d}" for n in range(1, 7)], "KR", "hangang-mobile", "mobile", 9),
)
_REASONS = ("ordinary", "ordinary", "non-payment", "ordinary", "deceased", "ordinary", "real-name-termination", "nuisance")
_PRIOR_HOLDERS = ("0", "1", "2", "1", "")
_SOLD = "every stage is proved"


def main() -> None:
    """Write the files."""
    Crowd(HEADER, tuple(_lines())).save(Path(__file__).parent)


def _lines() -> Iterator[Line]:
    ordinary, rejected = _ordinary(), iter(_rejected())
    yield from _special()
    for place, line in enumerate(islice(ordinary, ENROLLABLE - len(_special())), start=1):
        yield line
        if place % REJECTED_EVERY == 0:
            yield from islice(rejected, 1)
    yield from rejected


def _text(number: str, **cells: str) -> str:
    """Return one line: the number, what is usual, and the cells that differ from it."""
    usual = {
        "country": "CN",
        "carrier": "china-mobile",
        "holder": cells.get("carrier", "china-mobile"),
        "kind": "mobile",
        "left_at": "2026-04-30T18:00:00+08:00",
        "reason": "ordinary",
        "prior": "1",
        "hold": "",
        "ref": "sample",
    }
    said = usual | cells
    # The carrier's own id of the subscription: this carrier builds it from its reference.
    subscription = f"SUB-{said['ref']}" if re.fullmatch(r"[A-Z]{2}-[0-9]{4}", said["ref"]) else ""
    return ",".join((number, *said.values(), subscription))


def _special() -> list[Line]:
    """Return the lines with a story, first in the file; before all, that of the case the project started from."""
    attention = "a person must look: "
    return [
        Line(_text("+8613800000001", prior="2", ref="CM-0001"), "RESELLABLE", "the number the project started from", "seed"),
        Line(_text("+8613800000002", ref="CM-0002"), "QUARANTINED+ATTENTION", attention + "ported out", "ported"),
        Line(
            _text("+8613800000003", carrier="yunqiao-virtual", holder="china-mobile", ref="YQ-0003"),
            "RETURNED",
            "another carrier holds the range: wiped and handed back",
            "foreign-range",
        ),
        Line(_text("+8613800000004", ref="CM-0004"), "QUARANTINED+ATTENTION", attention + "still in service", "in-service"),
        Line(_text("+8613800000005", ref="CM-0005"), "TAGGING+ATTENTION", attention + "in service again", "reactivated"),
        Line(_text("+8613800000006", hold="court order 12/2026", ref="CM-0006"), "QUARANTINED+HELD", "under legal hold", "held"),
        Line(
            _text("+8613800000007", reason="crime", ref="CM-0007"),
            "QUARANTINED+HELD+ATTENTION",
            "tied to a crime: two people decide",
            "crime",
        ),
        Line(_text("+8613800000008", ref="CM-0008"), "WIPING+ATTENTION", attention + "rows of a newer holder", "newer-holder"),
        Line(_text("+8613800000009", prior="", ref="CM-0009"), "RESELLABLE", "earlier holders unknown", "unknown-prior"),
        Line(_text("+8613800000010", ref="CM-0010"), "UNBINDING+ATTENTION", attention + "a platform refused", "refused:payment"),
        Line(_text("+8613800000011", reason="wrongful", ref="CM-0011"), "RECLAIMED", "the former holder came back", "reclaim"),
        Line(_text("+8613800000012", reason="nuisance", ref="CM-0012"), "RETIRED", "two people retired it", "retire"),
        Line(_text("+8613800000013", kind="data-only", reason="data-only", ref="CM-0013"), "RESELLABLE", _SOLD, "data-only"),
        Line(_text("+8613800000014", ref="CM-0014"), "RESELLABLE", "somebody's claim was denied: the identity check failed", "denied"),
        Line(
            _text("+8613800000015", ref="no subscription"),
            "RESELLABLE",
            "no subscription stated: rows are told apart by time alone",
            "by-time",
        ),
    ]


def _ordinary() -> Iterator[Line]:
    """Return the rest of the crowd, countries and carriers mixed."""
    began_at = datetime(2026, 4, 2, 9, 30, tzinfo=UTC)
    reasons, priors = cycle(_REASONS), cycle(_PRIOR_HOLDERS)
    for place, (number, country, carrier, kind, hours) in zip(count(16), _mixed(), strict=False):
        left_at = (began_at + timedelta(hours=5 * place, minutes=13 * place)).astimezone(timezone(timedelta(hours=hours)))
        text = _text(
            number,
            country=country,
            carrier=carrier,
            kind=kind,
            left_at=left_at.isoformat(),
            reason=next(reasons),
            prior=next(priors),
            ref=f"{country}-{place:04d}",
        )
        yield Line(text, "RESELLABLE", _SOLD)


def _mixed() -> Iterator[tuple[str, str, str, str, float]]:
    """Take one number of each block in turn."""
    blocks = [[(number, country, carrier, kind, hours) for number in numbers] for numbers, country, carrier, kind, hours in _BLOCKS]
    return (each for turn in zip_longest(*blocks) for each in turn if each is not None)


def _rejected() -> list[Line]:
    """Return the lines no good system may swallow; ``rejected`` plays where the number itself is a real subscriber's."""
    number, instant, row = "REJECTED:number-malformed", "REJECTED:instant-malformed", "REJECTED:row-malformed"
    twice = "REJECTED:duplicate-in-file"
    return [
        Line(_text("+86138000O0901"), number, "a letter among the digits"),
        Line(_text("=+8613800000902"), number, "a formula"),
        Line(_text("+\uff18\uff16\uff11\uff13\uff18\uff10\uff10\uff10\uff10\uff10\uff19\uff10\uff13"), number, "full-width digits"),
        Line(_text("+8613800000904;ext=1"), number, "an extension"),
        Line(_text("\u200f+8613800000905"), number, "a right-to-left mark before it"),
        Line(_text("+8613800000906\u202e"), number, "a right-to-left override after it"),
        Line(_text("+8613800000009"), twice, "the same number is on line 10"),
        Line(_text("+86 138-0000-0009", ref="again"), twice, "the same number, spelled otherwise, is on line 10"),
        Line(_text("+8613800000907", left_at="2099-01-01T00:00:00+08:00"), instant, "disconnected in the future", "rejected"),
        Line(_text("+8613800000908", left_at="2026-04-30T18:00:00"), instant, "no offset from UTC", "rejected"),
        Line(_text("+8613800000909", left_at="2026-02-30T18:00:00+08:00"), instant, "no such day", "rejected"),
        Line(_text("+8613800000910", left_at="30/04/2026"), instant, "not ISO 8601", "rejected"),
        Line(_text("+861380000"), number, "too short"),
        Line(_text("+861380000091100"), number, "too long"),
        Line(_text("8.61E+12"), number, "a spreadsheet's scientific notation"),
        Line(_text("0013 8001 3800 0"), number, "would silently become another country's number"),
        Line(_text("+12025550190", country="CA", carrier="maple-mobile"), number, "another country's number", "rejected"),
        Line(_text("+447700900912", country="GB", carrier="albion-telecom"), number, "not valid in the national plan"),
        Line(_text(""), number, "no number"),
        Line(_text("+8613800000913", reason="bored"), row, "no such reason", "rejected"),
        Line(_text("+8613800000914", kind="pigeon"), row, "no such class", "rejected"),
        Line(_text("+8613800000915", country="China"), row, "not an ISO country code", "rejected"),
        Line(_text("+8613800000916", prior="many"), row, "prior holders not a count", "rejected"),
        Line(_text("+8613800000917", ref="8613800000917"), row, "a number in the reference", "rejected"),
        Line(_text("+8613800000918", ref="138-0000-0918"), row, "the number split up in the reference", "rejected"),
        Line(_text("+8613800000919", hold='"=HYPERLINK(""x"")"'), row, "a formula in the reference", "rejected"),
        Line(_text("+8613800000920", ref="one,too many"), row, "twelve cells"),
        Line("+8613800000921,CN,china-mobile", row, "three cells"),
    ]


if __name__ == "__main__":
    main()

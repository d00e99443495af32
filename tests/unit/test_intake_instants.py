"""Reading instants and durations."""

from datetime import UTC, datetime, timedelta

import pytest

from fallow.domain.errors import InstantMalformed
from fallow.intake.instants import read_duration, read_instant

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-04-30T18:00:00+08:00", datetime(2026, 4, 30, 10, tzinfo=UTC)),
        ("2026-04-30T18:00Z", datetime(2026, 4, 30, 18, tzinfo=UTC)),
        ("2026-04-30T18:00:00.250-05:30", datetime(2026, 4, 30, 23, 30, 0, 250_000, tzinfo=UTC)),
        ("2026-11-01T00:00:00Z", NOW),
    ],
)
def test_an_instant_with_an_offset_is_read_as_utc(text: str, instant: datetime) -> None:
    """Whatever the offset, the result is the same instant in UTC."""
    assert read_instant(text, NOW) == instant
    assert read_instant(text, NOW).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "2026-04-30T18:00:00",
        "2026-04-30",
        "2026-04-30 18:00:00+08:00",
        "20260430T180000Z",
        "2026-W18-4T18:00:00Z",
        "30/04/2026",
        "2026-02-30T18:00:00Z",
        "2026-04-30T25:00:00Z",
        "2026-04-30T18:00:00+24:01",
        "0001-01-01T00:00:00+14:00",
        "2026-11-01T00:00:01Z",
        "2026-11-01T08:00:01+08:00",
        "",
        "1777572000",
        "\uff12026-04-30T18:00:00Z",
        "2026-04-30T18:00:00Z\n",
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    """No offset, no such day, another notation, or the future."""
    with pytest.raises(InstantMalformed):
        read_instant(text, NOW)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90d", timedelta(days=90)),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("5s", timedelta(seconds=5)),
        ("0s", timedelta(0)),
    ],
)
def test_a_duration_is_a_count_and_a_unit(text: str, duration: timedelta) -> None:
    """Days, hours, minutes or seconds."""
    assert read_duration(text) == duration


@pytest.mark.parametrize("text", ["", "5", "d", "-5s", "1d12h", "1.5h", "90 d", "90D", "P90D", "9" * 30 + "d"])
def test_any_other_duration_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(InstantMalformed):
        read_duration(text)

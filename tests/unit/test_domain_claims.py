"""By when a claim of a line cut off wrongly must be decided."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from fallow.domain.claims import due_by

CST = timezone(timedelta(hours=8))


@pytest.mark.parametrize(
    ("claimed_at", "ends"),
    [
        (datetime(2026, 3, 2, 0, 0, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)),  # Monday: all of Tuesday
        (datetime(2026, 3, 5, 23, 59, tzinfo=UTC), datetime(2026, 3, 7, tzinfo=UTC)),  # Thursday: all of Friday
        (datetime(2026, 3, 6, 12, 0, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC)),  # Friday: all of Monday
        (datetime(2026, 3, 7, 12, 0, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC)),  # Saturday
        (datetime(2026, 3, 8, 23, 59, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC)),  # Sunday
        (datetime(2026, 3, 9, 4, 0, tzinfo=CST), datetime(2026, 3, 10, tzinfo=UTC)),  # Monday in Beijing, still Sunday in UTC
        (datetime(2027, 12, 31, 9, 0, tzinfo=UTC), datetime(2028, 1, 4, tzinfo=UTC)),  # Friday before a new year
    ],
)
def test_a_wrongful_disconnect_is_due_at_the_end_of_the_next_business_day(claimed_at: datetime, ends: datetime) -> None:
    """Monday to Friday, whole days in UTC."""
    assert due_by(claimed_at) == ends

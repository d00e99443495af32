"""Settings that have bounds."""

import pytest
from pydantic import ValidationError

from fallow.settings import Settings


@pytest.mark.parametrize("seconds", [0.0, -1.0, 600.1, float("inf"), float("nan")])
def test_a_turn_has_a_length_that_the_workflow_allows(seconds: float) -> None:
    """A turn of no length would never send, and one beyond ten minutes would be cut off as timed out."""
    with pytest.raises(ValidationError):
        Settings(turn_seconds=seconds)


def test_a_turn_may_be_short() -> None:
    """Anything up to ten minutes is a turn."""
    assert Settings(turn_seconds=0.5).turn_seconds == 0.5
    assert Settings(turn_seconds=600).turn_seconds == 600

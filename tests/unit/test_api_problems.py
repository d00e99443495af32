"""The API's problem documents: every expected error has its status, and nothing of the input comes back."""

import inspect
import json
import re

import pytest

from fallow.api.problems import PREFIX, STATUS, KeyNotAccepted, PingNotProved, Problem, of_error
from fallow.domain import errors
from fallow.domain.errors import FallowError, LeaseLost, NotKnown, SettingRefused, TargetUnavailable


def test_every_error_of_the_domain_has_a_status() -> None:
    """No error can be added to the tree without deciding its HTTP status."""
    known = {error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, FallowError)}

    assert set(STATUS) == known | {KeyNotAccepted, PingNotProved}


@pytest.mark.parametrize("kind", sorted(STATUS, key=lambda kind: kind.__name__))
def test_a_problem_has_all_members_of_the_standard(kind: type[FallowError]) -> None:
    """Each problem names its type, title, status and a detail with a remedy, whatever the error."""
    problem = of_error(kind("Something happened.", remedy="do something."))

    document = json.loads(bytes(problem.response().body))
    assert document["type"].startswith(PREFIX)
    assert re.fullmatch(r"[a-z-]+", document["type"].removeprefix(PREFIX))
    assert document["status"] == problem.status
    assert document["title"].endswith(".")
    assert "Remedy: " in document["detail"]


def test_the_installation_s_own_faults_are_not_shown() -> None:
    """A wrong setting is the operator's to mend: the caller sees neither path nor reason."""
    problem = of_error(SettingRefused("The file /srv/secret can't be read.", remedy="mount it."))

    assert problem == Problem.unexpected()


def test_a_target_s_wish_to_wait_is_passed_on() -> None:
    """Where a target named its own pause, the caller is told to wait as long."""
    assert of_error(TargetUnavailable("Down.", remedy="wait.", retry_after=7.4)).headers == {"retry-after": "7"}


def test_a_new_kind_of_a_known_error_takes_its_parent_s_status() -> None:
    """An error that only one module knows is answered like its nearest ancestor."""

    class BatchNotKnown(NotKnown):
        """No such batch."""

    assert of_error(BatchNotKnown("No.", remedy="none.")).status == STATUS[NotKnown]
    assert STATUS[LeaseLost] == STATUS[TargetUnavailable]

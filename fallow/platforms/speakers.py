"""Whose word counts for which platform: its own, or its hub's; under which keys, then and now."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fallow.platforms.adapters.catalogue import form_of
from fallow.platforms.forms import AnswerForm
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.verifying import VerifyingKey


@dataclass(frozen=True, slots=True)
class Speaker:
    """A sender of answers.

    Attributes:
        platform_id: a platform, or a hub.
        keys: any of which may sign.
        form: how its messages are signed and worded.
        speaks_for: the platforms whose obligations it may answer.
    """

    platform_id: str
    keys: tuple[VerifyingKey, ...]
    form: AnswerForm
    speaks_for: frozenset[str]


class Speakers(Protocol):
    """Every sender of answers, by id."""

    def now(self, platform_id: str) -> Speaker | None:
        """Return the speaker as registered now; None where nobody of that id may speak."""
        ...

    def at(self, platform_id: str, instant: datetime) -> Speaker | None:
        """Return the speaker as registered at ``instant``: what was received then is verified under the keys of then."""
        ...


def speaker_of(entry: PlatformEntry, entries: Mapping[str, PlatformEntry]) -> Speaker | None:
    """Return the speaker behind an entry, among the other entries of the same time; None where it has no key to speak with."""
    if not entry.keys:
        return None
    members = frozenset(each.platform_id for each in entries.values() if each.via == entry.platform_id)
    served_by = entries.get(entry.via, entry) if entry.via else entry
    speaks_for = members if entry.adapter == "hub" else frozenset({entry.platform_id})
    return Speaker(entry.platform_id, entry.keys, form_of(served_by), speaks_for)

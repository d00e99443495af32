"""What every use case works with, put together once by ``fallow.bootstrap``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fallow.domain.errors import PolicyRefused
from fallow.domain.policy import Policy
from fallow.domain.ports import LineRegister, Platform, RecordSystem
from fallow.operations.registered import Registered
from fallow.platforms.speakers import Speakers
from fallow.store.engine import Database
from fallow.store.inbox import Inbox
from fallow.store.keys import Keys
from fallow.store.vault import Vault
from fallow.store.wrapping import WrappingKeys


@dataclass(frozen=True)
class Pace:
    """How a platform wants to be asked.

    Attributes:
        batch: most items in one request.
        rate_per_second: items per second.
        remind_after: seconds without an answer after which it is asked again.
        reminders: how often, before a person is asked.
        answer_within: seconds from the first request to the deadline it names.
        lanes: most requests in flight at once.
        contact: whom to ask at the platform.
    """

    batch: int
    rate_per_second: float
    remind_after: float
    reminders: int
    answer_within: float = 5 * 86400.0
    lanes: int = 3
    contact: str = ""


@dataclass(frozen=True)
class Installation:
    """One installation: its database, keys, policy and the world around it.

    Attributes:
        db: the database that decides.
        keys: the secrets.
        vault: numbers by opaque id.
        wrapping: the keys that wrap holder and retention keys.
        policy: what new cycles freeze.
        record_systems: what can be wiped, by id.
        line_register: the carrier's word on lines.
        platforms: who can be asked, by id.
        paces: how each wants to be asked.
        speakers: whose answers are believed, under which keys.
        inbox: platforms' answers as kept.
        sign_tag: signs a tag's digest; returns (signature, public key).
        tag_signed: tells whether (digest, signature) is ours.
        registered: the registry of platforms, from which ``platforms``, ``paces`` and ``speakers`` follow.
        unread_at_start: those whose registration could not be read when ``policy`` was.
    """

    db: Database
    keys: Keys
    vault: Vault
    wrapping: WrappingKeys
    policy: Policy
    record_systems: Mapping[str, RecordSystem]
    line_register: LineRegister
    platforms: Mapping[str, Platform]
    paces: Mapping[str, Pace]
    speakers: Speakers
    inbox: Inbox
    sign_tag: Callable[[str], tuple[str, str]]
    tag_signed: Callable[[str, str], bool]
    registered: Registered
    unread_at_start: frozenset[str] = frozenset()

    def policy_to_freeze(self) -> Policy:
        """Return the policy for a new cycle.

        Raises:
            PolicyRefused: it names a platform that was decommissioned since this process started, or was read without one whose
                registration can't be read: that platform's word would be missing, and nobody would miss it.
        """
        gone = sorted(self.policy.platforms.keys() & self.registered.present.decommissioned)
        if gone:
            what = f"The policy {self.policy.policy_id} was read while {', '.join(gone)} was still asked, which was decommissioned since."
            raise PolicyRefused(what, remedy="take it out of the policy if that names it, and restart the API and the workers.")
        left_out = sorted((self.unread_at_start | self.registered.present.unread) - self.policy.platforms.keys())
        if left_out:
            what = f"The policy {self.policy.policy_id} was read while the registration of {', '.join(left_out)} can't be read."
            raise PolicyRefused(
                what, remedy="restore `platforms.key`, or register the platform again; then restart the API and the workers."
            )
        return self.policy

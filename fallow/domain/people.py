"""Who may do what: roles and the matrix of actions, default deny. API and command line ask the same table."""

from dataclasses import dataclass
from enum import StrEnum

from fallow.domain.errors import PersonRefused


class Role(StrEnum):
    """What an API key's owner is."""

    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    APPROVER = "approver"
    AUDITOR = "auditor"
    SHOP = "shop"
    PLATFORM = "platform"


class Action(StrEnum):
    """What can be asked of the engine."""

    ENROL = "enrol"
    READ = "read"
    COMMAND = "command"
    PROPOSE = "propose"
    APPROVE = "approve"
    EXPORT = "export"
    SELL = "sell"
    READ_TAG = "read-tag"
    READ_OWN_REQUESTS = "read-own-requests"
    READ_EXCHANGES = "read-exchanges"
    ADMIT = "admit"


_STAFF = {Role.ADMINISTRATOR, Role.OPERATOR}
MATRIX: dict[Action, frozenset[Role]] = {
    Action.ENROL: frozenset(_STAFF),
    Action.READ: frozenset(_STAFF | {Role.APPROVER, Role.AUDITOR}),
    Action.COMMAND: frozenset(_STAFF),
    Action.PROPOSE: frozenset(_STAFF | {Role.APPROVER}),
    Action.APPROVE: frozenset({Role.APPROVER, Role.ADMINISTRATOR}),
    Action.EXPORT: frozenset(_STAFF),
    Action.SELL: frozenset({Role.SHOP}),
    Action.READ_TAG: frozenset(_STAFF | {Role.APPROVER, Role.AUDITOR, Role.SHOP}),
    Action.READ_OWN_REQUESTS: frozenset({Role.PLATFORM}),
    Action.READ_EXCHANGES: frozenset(_STAFF | {Role.APPROVER, Role.AUDITOR, Role.PLATFORM}),
    Action.ADMIT: frozenset({Role.ADMINISTRATOR}),
}


@dataclass(frozen=True, slots=True)
class Person:
    """An authenticated caller.

    Attributes:
        person_id: opaque id, the only thing about a person that events hold.
        role: what they may do.
        platform_id: for a platform's key, which platform.
    """

    person_id: str
    role: Role
    platform_id: str | None = None

    def demand(self, action: Action) -> None:
        """Refuse what the role does not allow.

        Raises:
            PersonRefused: naming the roles that may.
        """
        if self.role not in MATRIX[action]:
            what = f"A key with the role {self.role} may not do this ({action})."
            raise PersonRefused(what, remedy=f"use a key with one of the roles {', '.join(sorted(MATRIX[action]))}.")

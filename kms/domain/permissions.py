"""The one table of who may do what, and whose approval it takes.

Rules: every way in (console, admin API, command line) asks here, in the service layer; an action without a row does
not exist. `approvals` counts persons other than the requester, so whatever needs one is done by two people at least; a
site may ask for more (`kms.domain.requests`), never for fewer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from kms.domain.people import Principal, Role
from kms.errors import Code, KmsError


class Action(StrEnum):
    """Everything that people do: `noun.verb`."""

    # reading
    RECORDS_READ = "records.read"
    REQUESTS_READ = "requests.read"
    PEOPLE_READ = "people.read"
    AUDIT_READ = "audit.read"
    AUDIT_EXPORT = "audit.export"
    # cards, terminals, alarms
    CARDS_IMPORT = "cards.import"
    CARDS_QUARANTINE = "cards.quarantine"
    CARDS_RELEASE = "cards.release"
    CARDS_PROTOCOLS = "cards.protocols"
    CARDS_REPAIR = "cards.repair"
    CARDS_REPAIR_CONFIRM = "cards.repair-confirm"
    CARDS_REPAIR_CANCEL = "cards.repair-cancel"
    TERMINALS_ENROL = "terminals.enrol"
    TERMINALS_LIMIT = "terminals.limit"
    TERMINALS_SUSPEND = "terminals.suspend"
    TERMINALS_RESUME = "terminals.resume"
    TERMINALS_REVOKE = "terminals.revoke"
    ALARMS_ACKNOWLEDGE = "alarms.acknowledge"
    # updates, campaigns, policies
    UPDATES_FORCE = "updates.force"
    UPDATES_CANCEL = "updates.cancel"
    UPDATES_ALLOW = "updates.allow"
    CAMPAIGNS_CREATE = "campaigns.create"
    CAMPAIGNS_PAUSE = "campaigns.pause"
    CAMPAIGNS_RESUME = "campaigns.resume"
    CAMPAIGNS_CANCEL = "campaigns.cancel"
    POLICIES_APPLY = "policies.apply"
    # keys
    KEYS_GENERATE = "keys.generate"
    KEYS_DEACTIVATE = "keys.deactivate"
    KEYS_COMPROMISE = "keys.compromise"
    EXCHANGE_OFFER = "exchange.offer"
    EXCHANGE_ANSWER = "exchange.answer"
    EXCHANGE_ACCEPT = "exchange.accept"
    AUDIT_KEY_REPLACE = "audit-key.replace"
    RECOVERY_CONFIRM = "recovery.confirm"
    # ceremonies
    CEREMONIES_START = "ceremonies.start"
    CEREMONIES_REHEARSE = "ceremonies.rehearse"
    CEREMONIES_STEP = "ceremonies.step"
    CEREMONIES_ABORT = "ceremonies.abort"
    # people
    PEOPLE_ADD = "people.add"
    PEOPLE_ADD_ACCOUNT = "people.add-account"
    PEOPLE_CHANGE = "people.change"
    PEOPLE_DISABLE = "people.disable"
    PEOPLE_ENABLE = "people.enable"
    PEOPLE_RESET = "people.reset"
    PEOPLE_INVITE = "people.invite"
    PEOPLE_CONFIRM = "people.confirm"
    QUORUM_SET = "quorum.set"


READING = frozenset(
    {Action.RECORDS_READ, Action.REQUESTS_READ, Action.PEOPLE_READ, Action.AUDIT_READ, Action.AUDIT_EXPORT}
)
"""What changes nothing: asked for by pages and queries, never submitted."""


@dataclass(frozen=True)
class Permission:
    """`roles`: who may ask for it. `approvals`: how many others must approve; 0: it is done at once.

    `approvers`: the roles of those who approve, by default those who may ask.
    """

    roles: frozenset[Role]
    approvals: int = 0
    approvers: frozenset[Role] = frozenset()

    @property
    def approving_roles(self) -> frozenset[Role]:
        """Who may approve or reject."""
        return self.approvers or self.roles


_EVERYBODY = frozenset(Role)
_ADMINISTRATOR = frozenset({Role.ADMINISTRATOR})
_OFFICER = frozenset({Role.SECURITY_OFFICER})
_DAILY = frozenset({Role.OPERATOR, Role.SECURITY_OFFICER})
_CEREMONIAL = frozenset({Role.SECURITY_OFFICER, Role.KEY_CUSTODIAN})
_LOOKING = frozenset({Role.AUDITOR, Role.SECURITY_OFFICER})
_PEOPLE = frozenset({Role.ADMINISTRATOR, Role.AUDITOR, Role.SECURITY_OFFICER})

PERMISSIONS: Mapping[Action, Permission] = {
    Action.RECORDS_READ: Permission(_EVERYBODY),
    Action.REQUESTS_READ: Permission(_EVERYBODY),
    Action.PEOPLE_READ: Permission(_PEOPLE),
    Action.AUDIT_READ: Permission(_LOOKING),
    Action.AUDIT_EXPORT: Permission(_LOOKING),
    Action.CARDS_IMPORT: Permission(_DAILY),
    Action.CARDS_QUARANTINE: Permission(_DAILY),
    Action.CARDS_RELEASE: Permission(_OFFICER),
    Action.CARDS_PROTOCOLS: Permission(_OFFICER),
    Action.CARDS_REPAIR: Permission(_DAILY),
    Action.CARDS_REPAIR_CONFIRM: Permission(_OFFICER),
    Action.CARDS_REPAIR_CANCEL: Permission(_OFFICER),
    Action.TERMINALS_ENROL: Permission(_ADMINISTRATOR, 1, _OFFICER),
    Action.TERMINALS_LIMIT: Permission(_ADMINISTRATOR, 1, _OFFICER),
    Action.TERMINALS_SUSPEND: Permission(_DAILY | _ADMINISTRATOR),
    Action.TERMINALS_RESUME: Permission(_OFFICER),
    Action.TERMINALS_REVOKE: Permission(_OFFICER | _ADMINISTRATOR),
    Action.ALARMS_ACKNOWLEDGE: Permission(_DAILY),
    Action.UPDATES_FORCE: Permission(_OFFICER),
    Action.UPDATES_CANCEL: Permission(_OFFICER),
    Action.UPDATES_ALLOW: Permission(_OFFICER, 1),
    Action.CAMPAIGNS_CREATE: Permission(_OFFICER, 1),
    Action.CAMPAIGNS_PAUSE: Permission(_DAILY),
    Action.CAMPAIGNS_RESUME: Permission(_OFFICER),
    Action.CAMPAIGNS_CANCEL: Permission(_OFFICER),
    Action.POLICIES_APPLY: Permission(_OFFICER, 1),
    Action.KEYS_GENERATE: Permission(_OFFICER, 1),
    Action.KEYS_DEACTIVATE: Permission(_OFFICER, 1),
    Action.KEYS_COMPROMISE: Permission(_OFFICER, 1),
    Action.EXCHANGE_OFFER: Permission(_OFFICER),  # public keys alone leave
    Action.EXCHANGE_ANSWER: Permission(_OFFICER, 1),
    Action.EXCHANGE_ACCEPT: Permission(_OFFICER, 1),
    Action.AUDIT_KEY_REPLACE: Permission(_OFFICER, 1),
    Action.RECOVERY_CONFIRM: Permission(_OFFICER, 1),
    Action.CEREMONIES_START: Permission(_OFFICER, 1),
    Action.CEREMONIES_REHEARSE: Permission(_OFFICER),
    Action.CEREMONIES_STEP: Permission(_CEREMONIAL),  # and the role that the script gives the step
    Action.CEREMONIES_ABORT: Permission(_CEREMONIAL),
    Action.PEOPLE_ADD: Permission(_ADMINISTRATOR, 1, _OFFICER),
    Action.PEOPLE_ADD_ACCOUNT: Permission(_ADMINISTRATOR, 1, _OFFICER),
    Action.PEOPLE_CHANGE: Permission(_ADMINISTRATOR, 1, _OFFICER),
    Action.PEOPLE_DISABLE: Permission(_ADMINISTRATOR | _OFFICER),
    Action.PEOPLE_ENABLE: Permission(_ADMINISTRATOR, 1, _OFFICER),
    Action.PEOPLE_RESET: Permission(_ADMINISTRATOR, 1, _OFFICER),
    # The invitation's secret is shown once, so no request may store it; the account opens by an officer's confirmation.
    Action.PEOPLE_INVITE: Permission(_ADMINISTRATOR),
    Action.PEOPLE_CONFIRM: Permission(_OFFICER),
    Action.QUORUM_SET: Permission(_OFFICER, 1),
}


def check_permitted(principal: Principal, action: Action) -> None:
    """Raise `person.not-permitted` unless one of the principal's roles may ask for the action."""
    if not principal.roles & PERMISSIONS[action].roles:
        raise KmsError(
            Code.PERSON_NOT_PERMITTED, f"{action} is not for your roles: {_list(PERMISSIONS[action].roles)} may do it."
        )


def check_may_decide(principal: Principal, action: Action) -> None:
    """Raise `person.not-permitted` unless one of the principal's roles may approve or reject the action."""
    roles = PERMISSIONS[action].approving_roles
    if not principal.roles & roles:
        raise KmsError(
            Code.PERSON_NOT_PERMITTED, f"{action} is not yours to approve or reject: {_list(roles)} may do it."
        )


def _list(roles: frozenset[Role]) -> str:
    return ", ".join(sorted(roles))

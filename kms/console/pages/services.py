"""What the pages are given."""

from collections.abc import Callable
from dataclasses import dataclass

from kms.config import Config
from kms.console.pages.ports import ConsoleStore, EntryStarter
from kms.service.actions import ActionService
from kms.service.campaigns import CampaignService
from kms.service.ceremonies.record import RecordService
from kms.service.ceremonies.service import CeremonyService
from kms.service.enrolment import EnrolmentService
from kms.service.login import LoginService
from kms.service.people import PeopleService
from kms.service.policies import PolicyService
from kms.service.ports import Clock, Identifiers, Vault
from kms.service.requests import RequestService


@dataclass(frozen=True)
class PageServices:
    """Everything the pages work with."""

    config: Config
    store: ConsoleStore
    vault: Vault
    clock: Clock
    identifiers: Identifiers
    logins: LoginService
    enrolment: EnrolmentService
    people: PeopleService
    policies: PolicyService
    campaigns: CampaignService
    actions: ActionService
    requests: RequestService
    ceremonies: CeremonyService
    ceremony_records: RecordService
    entry_starter: EntryStarter
    new_secret: Callable[[], str]

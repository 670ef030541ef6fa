"""What actions call: the use cases of a platform."""

from typing import Protocol

from kms.service.alarms import AlarmService
from kms.service.audit_log import AuditLogService
from kms.service.campaigns import CampaignService
from kms.service.cards import CardService
from kms.service.ceremonies.service import CeremonyService
from kms.service.compromise import CompromiseService
from kms.service.exchange import ExchangeService
from kms.service.keys import KeyService
from kms.service.people import PeopleService
from kms.service.policies import PolicyService
from kms.service.quorums import QuorumService
from kms.service.recovery import RecoveryService
from kms.service.repair import RepairService
from kms.service.terminals import TerminalService
from kms.service.updates import UpdateService


class ActingServices(Protocol):
    """The use cases that actions call."""

    @property
    def alarms(self) -> AlarmService: ...
    @property
    def audit_log(self) -> AuditLogService: ...
    @property
    def campaigns(self) -> CampaignService: ...
    @property
    def cards(self) -> CardService: ...
    @property
    def ceremonies(self) -> CeremonyService: ...
    @property
    def compromise(self) -> CompromiseService: ...
    @property
    def exchange(self) -> ExchangeService: ...
    @property
    def keys(self) -> KeyService: ...
    @property
    def people(self) -> PeopleService: ...
    @property
    def policies(self) -> PolicyService: ...
    @property
    def quorums(self) -> QuorumService: ...
    @property
    def recovery(self) -> RecoveryService: ...
    @property
    def repair(self) -> RepairService: ...
    @property
    def terminals(self) -> TerminalService: ...
    @property
    def updates(self) -> UpdateService: ...

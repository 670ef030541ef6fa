"""Typed models, a file per noun. Importing this package fills the metadata that migrations are compared with."""

from kms.db.models.alarms import AlarmRow
from kms.db.models.applications import ApplicationRow
from kms.db.models.audit_events import AuditCheckpointRow, AuditEventRow
from kms.db.models.base import Base
from kms.db.models.campaigns import CampaignRow
from kms.db.models.cards import CardRow
from kms.db.models.ceremonies import CeremonyRow, KeyComponentRow, StepRecordRow
from kms.db.models.key_sets import KeySetRow
from kms.db.models.key_updates import KeyUpdateRow
from kms.db.models.leases import JobRunRow, LeaseRow
from kms.db.models.master_keys import MasterKeyRow
from kms.db.models.people import AccountRow, CredentialRow, InvitationRow, LoginSessionRow, PersonRow
from kms.db.models.platform_keys import PeerKeyRow, PlatformKeyRow
from kms.db.models.policies import PolicyDayRow, PolicyVersionRow
from kms.db.models.recovery import KeyFindingRow, PlatformStateRow, RepairOrderRow
from kms.db.models.requests import ApprovalRow, QuorumRow, RequestRow
from kms.db.models.security_domains import SecurityDomainRow
from kms.db.models.terminals import TerminalRow
from kms.db.models.transfers import TransferRow
from kms.db.models.visits import VisitEventRow, VisitRow

__all__ = [
    "AccountRow",
    "AlarmRow",
    "ApplicationRow",
    "ApprovalRow",
    "AuditCheckpointRow",
    "AuditEventRow",
    "Base",
    "CampaignRow",
    "CardRow",
    "CeremonyRow",
    "CredentialRow",
    "InvitationRow",
    "JobRunRow",
    "KeyComponentRow",
    "KeyFindingRow",
    "KeySetRow",
    "KeyUpdateRow",
    "LeaseRow",
    "LoginSessionRow",
    "MasterKeyRow",
    "PeerKeyRow",
    "PersonRow",
    "PlatformKeyRow",
    "PlatformStateRow",
    "PolicyDayRow",
    "PolicyVersionRow",
    "QuorumRow",
    "RepairOrderRow",
    "RequestRow",
    "SecurityDomainRow",
    "StepRecordRow",
    "TerminalRow",
    "TransferRow",
    "VisitEventRow",
    "VisitRow",
]

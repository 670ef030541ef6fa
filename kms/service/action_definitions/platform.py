"""Actions about the platform as a whole: the audit key, the end of recovery, quorums."""

from typing import Annotated, Any

from pydantic import Field

from kms.domain.permissions import Action
from kms.domain.requests import MAX_QUORUM
from kms.service.actions import ActionDefinition, Parameters
from kms.service.audit_log import AuditLogService
from kms.service.plain_values import build_record
from kms.service.quorums import QuorumService
from kms.service.recovery import RecoveryService


class Nothing(Parameters):
    """No parameters."""


class SetQuorum(Parameters):
    """How many others are to approve an action."""

    action: Action
    approvals: Annotated[int, Field(ge=1, le=MAX_QUORUM)]


def define_platform(
    audit_log: AuditLogService, recovery: RecoveryService, quorums: QuorumService
) -> tuple[ActionDefinition[Any], ...]:
    """The definitions of audit-key.*, recovery.* and quorum.*."""
    return (
        ActionDefinition(
            Action.AUDIT_KEY_REPLACE,
            Nothing,
            lambda _given: "Make a new key that signs the audit log; the present one signs who comes after it.",
            lambda _given, by: build_record(audit_log.replace_key(actor=by.actor)),
        ),
        ActionDefinition(
            Action.RECOVERY_CONFIRM,
            Nothing,
            lambda _given: "End recovery: this is the database that the platform goes on with; what was found stands.",
            lambda _given, by: build_record(recovery.confirm(actor=by.actor)),
        ),
        ActionDefinition(
            Action.QUORUM_SET,
            SetQuorum,
            lambda given: f"Let {given.action} take the approval of {given.approvals} other persons from now on.",
            lambda given, by: build_record(quorums.set(given.action, given.approvals, actor=by.actor)),
            lambda given: quorums.find(given.action),
        ),
    )

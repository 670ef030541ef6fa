"""Actions about alarms."""

from typing import Any

from kms.domain.permissions import Action
from kms.service.action_definitions.forms import Name
from kms.service.actions import ActionDefinition, Parameters
from kms.service.alarms import AlarmService
from kms.service.plain_values import build_record


class AcknowledgeAlarm(Parameters):
    """An alarm by its id."""

    alarm: Name


def define_alarms(alarms: AlarmService) -> tuple[ActionDefinition[Any], ...]:
    """The definitions of alarms.*."""
    return (
        ActionDefinition(
            Action.ALARMS_ACKNOWLEDGE,
            AcknowledgeAlarm,
            lambda given: f"Look into alarm {given.alarm}.",
            lambda given, by: build_record(alarms.acknowledge(given.alarm, actor=by.actor)),
        ),
    )

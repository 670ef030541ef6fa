"""The one registry of actions."""

from kms.service.action_definitions.alarms import define_alarms
from kms.service.action_definitions.campaigns import define_campaigns
from kms.service.action_definitions.cards import define_cards
from kms.service.action_definitions.ceremonies import define_ceremonies
from kms.service.action_definitions.exchange import define_exchange
from kms.service.action_definitions.keys import define_keys
from kms.service.action_definitions.people import define_people
from kms.service.action_definitions.platform import define_platform
from kms.service.action_definitions.policies import define_policies
from kms.service.action_definitions.terminals import define_terminals
from kms.service.action_definitions.updates import define_updates
from kms.service.action_ports import ActingServices
from kms.service.actions import ActionRegistry
from kms.service.campaigns import Progress


def ignore_progress(_done: int, _of: int) -> None:
    """Nobody listens."""


def build_registry(
    services: ActingServices, *, force_without: int, progress: Progress = ignore_progress
) -> ActionRegistry:
    """Define every action over the services. `force_without`: updates that people may force within a day alone.

    `progress`: told of long work.
    """
    return ActionRegistry(
        *define_alarms(services.alarms),
        *define_campaigns(services.campaigns, progress),
        *define_cards(services.cards, services.repair, progress),
        *define_ceremonies(services.ceremonies),
        *define_exchange(services.exchange),
        *define_keys(services.keys, services.compromise, progress),
        *define_people(services.people),
        *define_platform(services.audit_log, services.recovery, services.quorums),
        *define_policies(services.policies, progress),
        *define_terminals(services.terminals),
        *define_updates(services.updates, force_without),
    )

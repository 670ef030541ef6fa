"""Actions about single key updates.

Rules: a few forced updates are an officer's own decision; more than the site's number within a day, whoever asked for
them, take another's approval, so that asking one by one is no way around a campaign's.
"""

from typing import Any

from kms.card.keys import KeyType
from kms.domain.permissions import Action
from kms.domain.updates import UpdateReason
from kms.service.action_definitions.forms import Aid, Identity, Moment, Name, Why, say_bytes, say_time
from kms.service.actions import ActionDefinition, Parameters, Performer
from kms.service.plain_values import build_record
from kms.service.updates import UpdateService


class ForceUpdate(Parameters):
    """`aid` None: every supplementary security domain of the card that holds keys."""

    card: Identity
    aid: Aid | None = None
    reason: UpdateReason = UpdateReason.FORCED
    deadline: Moment | None = None
    key_type: KeyType | None = None


class OneUpdate(Parameters):
    """An update by its id, and why."""

    update: Name
    because: Why


def define_updates(updates: UpdateService, force_without: int) -> tuple[ActionDefinition[Any], ...]:
    """The definitions of updates.*. `force_without`: how many may be forced within a day without approval."""

    def count_approvals(given: ForceUpdate) -> int:
        return 1 if updates.count_forced(given.card, given.aid) > force_without else 0

    def force(given: ForceUpdate, by: Performer) -> dict[str, object]:
        if given.aid is not None:
            forced = [
                updates.force(
                    given.card,
                    given.aid,
                    actor=by.actor,
                    reason=given.reason,
                    deadline=given.deadline,
                    key_type=given.key_type,
                )
            ]
        else:
            forced = list(
                updates.force_ssds(
                    given.card, actor=by.actor, reason=given.reason, deadline=given.deadline, key_type=given.key_type
                )
            )
        rows = [
            build_record(item.update, aid=item.domain.aid, kind=item.domain.kind, created=item.created)
            for item in forced
        ]
        return {"updates": rows}

    return (
        ActionDefinition(Action.UPDATES_FORCE, ForceUpdate, _describe_force, force, count_approvals),
        ActionDefinition(
            Action.UPDATES_CANCEL,
            OneUpdate,
            lambda given: f"Cancel key update {given.update}: {given.because}",
            lambda given, by: build_record(updates.cancel(given.update, actor=by.actor, why=given.because)),
        ),
        ActionDefinition(
            Action.UPDATES_ALLOW,
            OneUpdate,
            lambda given: f"For update {given.update}, use keys past their end and grace: {given.because}",
            lambda given, by: build_record(updates.allow_past_end(given.update, actor=by.actor, why=given.because)),
        ),
    )


def _describe_force(given: ForceUpdate) -> str:
    what = f"security domain {say_bytes(given.aid)}" if given.aid is not None else "every SSD that holds keys"
    text = f"Replace the keys of {what} on card {say_bytes(given.card)}, reason {given.reason}"
    if given.key_type is not None:
        text += f", by keys of type {given.key_type}"
    if given.deadline is not None:
        text += f", until {say_time(given.deadline)}"
    if given.reason is UpdateReason.COMPROMISE:
        text += "; the present keys are marked COMPROMISED at once"
    return f"{text}."

"""Actions about policies."""

from typing import Annotated, Any

from pydantic import Field

from kms.domain.permissions import Action
from kms.domain.policies import Policy
from kms.domain.policy_text import build_policy_text
from kms.service.actions import ActionDefinition, Parameters, Performer
from kms.service.plain_values import build_record
from kms.service.policies import PolicyService, Progress


class ApplyPolicies(Parameters):
    """Policies to put in force. `whole`: these and no others. `expected`: key sets that become due at once by it."""

    policies: Annotated[tuple[Policy, ...], Field(min_length=1, max_length=200)]
    whole: bool
    expected: Annotated[int, Field(ge=0)]


def define_policies(policies: PolicyService, progress: Progress) -> tuple[ActionDefinition[Any], ...]:
    """The definitions of policies.*."""

    def apply(given: ApplyPolicies, by: Performer) -> dict[str, object]:
        applied = policies.apply(
            given.policies, whole=given.whole, expected=given.expected, actor=by.actor, progress=progress
        )
        return build_record(applied.plan, settled=applied.settled)

    return (ActionDefinition(Action.POLICIES_APPLY, ApplyPolicies, _describe, apply),)


def _describe(given: ApplyPolicies) -> str:
    others = "All other policies end." if given.whole else "Other policies stay in force."
    lines = [f"Put these policies in force; {given.expected} key sets become due at once. {others}"]
    lines += [build_policy_text(policy) for policy in given.policies]
    return "\n".join(lines)

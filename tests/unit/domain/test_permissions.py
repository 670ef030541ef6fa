"""The table is whole, and gives nobody alone what needs two people."""

import pytest

from kms.domain.people import KEY_ROLES, Role
from kms.domain.permissions import PERMISSIONS, READING, Action, check_may_decide, check_permitted
from kms.errors import Code, KmsError
from tests.fakes.principals import build_principal

KEY_ACTIONS = [action for action in Action if action.startswith(("keys.", "policies.", "audit-key."))]
KEY_ACTIONS += [Action.EXCHANGE_ANSWER, Action.EXCHANGE_ACCEPT]


@pytest.mark.parametrize("action", list(Action))
def test_every_action_has_a_row_that_is_kept_for_every_role(action: Action) -> None:
    row = PERMISSIONS[action]
    for role in Role:
        somebody = build_principal("somebody", role)
        if role in row.roles:
            check_permitted(somebody, action)
        else:
            with pytest.raises(KmsError) as failure:
                check_permitted(somebody, action)
            assert failure.value.code is Code.PERSON_NOT_PERMITTED
        if role not in row.approving_roles:
            with pytest.raises(KmsError):
                check_may_decide(somebody, action)


def test_an_auditor_only_reads_and_a_custodian_has_a_part_in_ceremonies_alone() -> None:
    for action, row in PERMISSIONS.items():
        if action in READING:
            continue
        assert Role.AUDITOR not in row.roles | row.approving_roles
        if action not in {Action.CEREMONIES_STEP, Action.CEREMONIES_ABORT}:
            assert Role.KEY_CUSTODIAN not in row.roles | row.approving_roles


@pytest.mark.parametrize("action", KEY_ACTIONS)
def test_whatever_touches_keys_needs_two_officers_and_no_administrator(action: Action) -> None:
    row = PERMISSIONS[action]
    assert row.approvals >= 1
    assert row.roles | row.approving_roles <= KEY_ROLES


@pytest.mark.parametrize("action", [Action.TERMINALS_ENROL, Action.PEOPLE_ADD, Action.PEOPLE_CHANGE, Action.QUORUM_SET])
def test_whatever_changes_who_may_do_what_needs_another_person(action: Action) -> None:
    assert PERMISSIONS[action].approvals >= 1

"""Dual control: who may approve what, and when it is enough."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kms.domain.people import CredentialKind, Principal
from kms.domain.permissions import PERMISSIONS, Action
from kms.domain.requests import (
    Approval,
    Decision,
    Quorum,
    Request,
    RequestState,
    build_parameters,
    check_may_approve,
    check_quorum,
    check_unchanged,
    compute_digest,
    compute_quorum,
    is_complete,
)
from kms.errors import Code, KmsError
from tests.fakes.principals import ALICE, ALICE_AGAIN, BOB, CAROL
from tests.fakes.records import NOW

PARAMETERS = build_parameters({"name": "ssd-2027"})
TEXT = "Generate the SSD master ssd-2027, AES-256."
REQUEST = Request(
    id="r-1",
    action=Action.KEYS_GENERATE,
    parameters=PARAMETERS,
    text=TEXT,
    digest=compute_digest("r-1", Action.KEYS_GENERATE, PARAMETERS, TEXT),
    requested_by=ALICE.person_id,
    requester_name=ALICE.name,
    requested_at=NOW,
    expires_at=NOW + timedelta(hours=8),
    quorum=2,
    state=RequestState.PENDING,
)


def decide(person: Principal, decision: Decision = Decision.APPROVE) -> Approval:
    return Approval(
        f"a-{person.name}",
        REQUEST.id,
        person.person_id,
        person.name,
        person.account_id,
        decision,
        NOW,
        CredentialKind.WEBAUTHN,
    )


def test_somebody_else_may_approve_in_time() -> None:
    check_may_approve(REQUEST, [], BOB, NOW)
    check_may_approve(REQUEST, [decide(BOB)], CAROL, NOW)


@pytest.mark.parametrize("who", [ALICE, ALICE_AGAIN], ids=["same account", "another account"])
def test_the_requester_does_not_approve_with_whatever_account(who: Principal) -> None:
    with pytest.raises(KmsError) as failure:
        check_may_approve(REQUEST, [], who, NOW)
    assert failure.value.code is Code.REQUEST_OWN


def test_a_person_counts_once() -> None:
    with pytest.raises(KmsError) as failure:
        check_may_approve(REQUEST, [decide(BOB)], replace(BOB, account_id="another"), NOW)
    assert failure.value.code is Code.REQUEST_OWN


@pytest.mark.parametrize("state", [state for state in RequestState if state is not RequestState.PENDING])
def test_what_is_over_is_decided_no_more(state: RequestState) -> None:
    with pytest.raises(KmsError) as failure:
        check_may_approve(replace(REQUEST, state=state), [], BOB, NOW)
    assert failure.value.code is Code.REQUEST_STATE


def test_what_waited_too_long_is_decided_no_more() -> None:
    with pytest.raises(KmsError, match="expired"):
        check_may_approve(REQUEST, [], BOB, REQUEST.expires_at)


def test_it_is_enough_when_as_many_others_as_asked_for_approved() -> None:
    assert not is_complete(REQUEST, [decide(BOB)])
    assert not is_complete(REQUEST, [decide(BOB), decide(ALICE)])
    assert not is_complete(REQUEST, [decide(BOB), replace(decide(BOB), id="again", account_id="another")])
    assert not is_complete(REQUEST, [decide(BOB), decide(CAROL, Decision.REJECT)])
    assert is_complete(REQUEST, [decide(BOB), decide(CAROL)])


@pytest.mark.parametrize(
    "changed",
    [
        replace(REQUEST, parameters=build_parameters({"name": "other"})),
        replace(REQUEST, text=TEXT + " "),
        replace(REQUEST, action=Action.EXCHANGE_ANSWER),
        replace(REQUEST, id="r-2"),
    ],
    ids=["parameters", "text", "action", "another request"],
)
def test_a_changed_request_is_refused(changed: Request) -> None:
    check_unchanged(REQUEST)
    with pytest.raises(KmsError) as failure:
        check_unchanged(changed)
    assert failure.value.code is Code.REQUEST_CHANGED


def test_a_site_raises_the_quorum_and_never_lowers_it() -> None:
    action = Action.KEYS_GENERATE
    least = PERMISSIONS[action].approvals
    assert compute_quorum(action) == least
    assert compute_quorum(action, [Quorum(action, 3, NOW)]) == 3
    assert compute_quorum(action, [Quorum(action, 0, NOW)]) == least
    assert compute_quorum(action, [Quorum(Action.EXCHANGE_ANSWER, 3, NOW)]) == least
    assert compute_quorum(Action.UPDATES_FORCE, at_least=1) == 1


@pytest.mark.parametrize(
    ("action", "approvals"),
    [(Action.KEYS_GENERATE, 0), (Action.KEYS_GENERATE, 10), (Action.CARDS_IMPORT, 1)],
    ids=["below the table", "nobody could reach it", "no request at all"],
)
def test_a_quorum_that_makes_no_sense_is_refused(action: Action, approvals: int) -> None:
    check_quorum(Action.KEYS_GENERATE, 2)
    with pytest.raises(KmsError) as failure:
        check_quorum(action, approvals)
    assert failure.value.code is Code.INPUT_INVALID


def test_parameters_have_one_form() -> None:
    assert build_parameters({"b": 1, "a": "ü"}) == '{"a":"\\u00fc","b":1}'

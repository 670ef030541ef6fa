from datetime import timedelta
from functools import partial

import pytest

from kms.card.keys import DerivationPurpose, KeyType
from kms.domain.cards import CardState, DomainState
from kms.domain.keys import Delivery, KeyState
from kms.domain.updates import UpdateReason, UpdateState
from kms.domain.visits import VisitState
from kms.errors import Code, KmsError
from kms.service.updates import UpdateService
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import (
    ISD_AID,
    NOW,
    CountingIdentifiers,
    TickingClock,
    build_card,
    build_domain,
    build_id,
    build_isd,
    build_key_set,
    build_update,
    build_visit,
)

IDENTITY = build_card().identity
AID = build_domain(1).aid


@pytest.fixture
def store() -> MemoryStore:
    """A card with two keyed SSDs, a planned one, and an ISD under its vendor's keys."""
    store = MemoryStore()
    with store.transaction() as transaction:
        transaction.cards.add(build_card())
        transaction.security_domains.add_all(
            [build_domain(1), build_domain(2), build_domain(3, state=DomainState.PLANNED), build_isd(4)]
        )
        transaction.key_sets.add(
            build_key_set(9, security_domain_id=build_id(2004), purpose=None, generation=0, delivery=Delivery.FACTORY)
        )
    return store


@pytest.fixture
def service(store: MemoryStore) -> UpdateService:
    return UpdateService(store=store, clock=TickingClock(), identifiers=CountingIdentifiers())


def check_refused(service: UpdateService, code: Code, identity: bytes = IDENTITY, aid: bytes = AID) -> None:
    with pytest.raises(KmsError) as error:
        service.force(identity, aid, actor="cli:operator")
    assert error.value.code is code


def test_an_update_is_asked_for_and_due_at_once(service: UpdateService, store: MemoryStore) -> None:
    forced = service.force(IDENTITY, AID, actor="cli:operator")
    assert forced.created
    assert (forced.update.reason, forced.update.state) == (UpdateReason.FORCED, UpdateState.PENDING)
    assert (forced.update.due_at, forced.update.requested_by) == (NOW, "cli:operator")
    with store.transaction() as transaction:
        assert transaction.key_updates.list_open_for_card(build_card().id) == [forced.update]
        (event,) = transaction.audit.list()
    assert (event.action, event.subject) == ("update.force", f"security-domain {build_domain(1).id}")


def test_an_open_update_is_given_back_and_nothing_changes(service: UpdateService, store: MemoryStore) -> None:
    running = build_update(1, state=UpdateState.RUNNING)
    with store.transaction() as transaction:
        transaction.key_updates.add(running)
    forced = service.force(IDENTITY, AID, actor="cli:operator")
    assert not forced.created
    assert forced.update == running
    with store.transaction() as transaction:
        assert not transaction.audit.list()


def test_a_finished_update_is_no_hindrance(service: UpdateService, store: MemoryStore) -> None:
    with store.transaction() as transaction:
        transaction.key_updates.add(build_update(1, state=UpdateState.DONE))
    assert service.force(IDENTITY, AID, actor="cli:operator").created


def test_an_isd_under_its_vendors_keys_is_taken_over(service: UpdateService) -> None:
    assert service.force(IDENTITY, ISD_AID, actor="x").update.reason is UpdateReason.VENDOR_TAKEOVER


def test_an_isd_under_the_issuers_keys_is_forced(service: UpdateService, store: MemoryStore) -> None:
    with store.transaction() as transaction:
        transaction.key_sets.add(build_key_set(1, security_domain_id=build_id(2004), purpose=DerivationPurpose.ISD))
    assert service.force(IDENTITY, ISD_AID, actor="x").update.reason is UpdateReason.FORCED


def test_what_cannot_be_updated_is_refused(service: UpdateService, store: MemoryStore) -> None:
    check_refused(service, Code.CARD_UNKNOWN, identity=b"\x00")
    check_refused(service, Code.NOT_FOUND, aid=bytes(5))
    check_refused(service, Code.KEY_STATE, aid=build_domain(3).aid)
    with store.transaction() as transaction:
        transaction.cards.save(build_card(state=CardState.QUARANTINED))
    check_refused(service, Code.CARD_QUARANTINED)
    with store.transaction() as transaction:
        transaction.cards.save(build_card(state=CardState.RETIRED))
    check_refused(service, Code.CARD_UNKNOWN)


def test_first_keys_are_applied_for_and_not_forced(service: UpdateService) -> None:
    with pytest.raises(KmsError) as error:
        service.force(IDENTITY, AID, actor="x", reason=UpdateReason.INITIAL)
    assert error.value.code is Code.INPUT_INVALID
    with pytest.raises(KmsError) as error:
        service.force_ssds(IDENTITY, actor="x", reason=UpdateReason.INITIAL)
    assert error.value.code is Code.INPUT_INVALID


def test_all_ssds_that_hold_keys_and_only_those(service: UpdateService, store: MemoryStore) -> None:
    with store.transaction() as transaction:
        transaction.key_updates.add(build_update(1, security_domain_id=build_domain(2).id))
    forced = service.force_ssds(IDENTITY, actor="x", reason=UpdateReason.MASTER_ROTATION)
    assert [(item.domain.id, item.created) for item in forced] == [
        (build_domain(1).id, True),
        (build_domain(2).id, False),
    ]
    assert forced[0].update.reason is UpdateReason.MASTER_ROTATION


def test_a_card_without_keyed_ssds_is_refused(service: UpdateService, store: MemoryStore) -> None:
    with store.transaction() as transaction:
        transaction.cards.add(build_card(2))
    with pytest.raises(KmsError) as error:
        service.force_ssds(build_card(2).identity, actor="x")
    assert error.value.code is Code.NOT_FOUND


def test_a_compromise_marks_the_set_and_ends_what_would_run_under_it(
    service: UpdateService, store: MemoryStore
) -> None:
    held, gone = build_key_set(1), build_key_set(2, delivery=Delivery.REPLACED, state=KeyState.DEACTIVATED)
    with store.transaction() as transaction:
        transaction.security_domains.save(build_domain(1, parent_id=build_isd(4).id))
        transaction.key_sets.add_all([held, gone])
        transaction.key_updates.add(build_update(1))
        transaction.visits.add(build_visit(1, order="[]", program="{}"))
    forced = service.force(IDENTITY, AID, actor="cli:operator", reason=UpdateReason.COMPROMISE)
    assert (forced.created, forced.update.reason) == (True, UpdateReason.COMPROMISE)
    with store.transaction() as transaction:
        assert transaction.key_sets.get(held.id).state is KeyState.COMPROMISED
        assert transaction.key_sets.get(gone.id) == gone
        assert transaction.key_updates.get(build_update(1).id).state is UpdateState.CANCELLED
        visit = transaction.visits.get(build_visit(1).id)
        assert (visit.state, visit.order, visit.program) == (VisitState.FENCED, None, None)
        actions = {event.action for event in transaction.audit.list()}
    assert actions == {"key-set.compromise", "update.force"}


def test_a_compromise_of_a_domain_that_no_issuer_is_known_for_is_refused_and_marks_nothing(
    service: UpdateService, store: MemoryStore
) -> None:
    with store.transaction() as transaction:
        transaction.key_sets.add(build_key_set(1))
    with pytest.raises(KmsError) as error:
        service.force(IDENTITY, AID, actor="x", reason=UpdateReason.COMPROMISE)
    assert error.value.code is Code.KEY_STATE
    with store.transaction() as transaction:
        assert transaction.key_sets.get(build_key_set(1).id).state is KeyState.ACTIVE


def test_people_cancel_an_open_update_once(service: UpdateService, store: MemoryStore) -> None:
    update = service.force(IDENTITY, AID, actor="cli:operator").update
    gone = service.cancel(update.id, actor="cli:operator", why="wrong card")
    assert (gone.state, gone.finished_at) == (UpdateState.CANCELLED, NOW)
    assert gone.failure == "cli:operator: wrong card"
    with pytest.raises(KmsError) as error:
        service.cancel(update.id, actor="cli:operator", why="wrong card")
    assert error.value.code is Code.CONFLICT
    with store.transaction() as transaction:
        assert transaction.audit.list()[0].action == "update.cancel"
        assert (
            transaction.cards.get(build_card().id).version == 1
        )  # a step of a visit that read it before writes nothing
    assert service.force(IDENTITY, AID, actor="cli:operator").created


def test_an_update_past_the_end_of_its_keys_is_allowed_with_a_name_and_a_reason(
    service: UpdateService, store: MemoryStore
) -> None:
    update = service.force(IDENTITY, AID, actor="cli:operator").update
    allowed = service.allow_past_end(update.id, actor="cli:officer", why="was abroad")
    assert (allowed.past_end, allowed.past_end_reason) == (True, "cli:officer: was abroad")
    with store.transaction() as transaction:
        assert transaction.key_updates.get(update.id) == allowed
        assert transaction.audit.list()[0].action == "update.allow-past-end"
    with pytest.raises(KmsError) as error:
        service.allow_past_end(build_id(999), actor="cli:officer", why="was abroad")
    assert error.value.code is Code.NOT_FOUND


def test_a_forced_update_may_have_a_deadline_and_bring_another_key_type(service: UpdateService) -> None:
    later = NOW + timedelta(days=1)
    forced = service.force(
        IDENTITY, AID, actor="a", reason=UpdateReason.KEY_TYPE, deadline=later, key_type=KeyType.AES128
    )
    assert (forced.update.deadline, forced.update.key_type) == (later, KeyType.AES128)
    force = partial(service.force, IDENTITY, AID, actor="a")
    wrong = (
        partial(force, deadline=NOW),
        partial(force, key_type=KeyType.AES128),
        partial(force, reason=UpdateReason.KEY_TYPE),
    )
    for ask in wrong:
        with pytest.raises(KmsError) as error:
            ask()
        assert error.value.code is Code.INPUT_INVALID

from dataclasses import replace

import pytest

from kms.domain.cards import ApplicationState, CardState, DomainState
from kms.domain.updates import UpdateReason, UpdateState
from kms.errors import Code, KmsError
from tests.fakes.issuer import APPLICATION_AID, IDENTITY, SSD_AID, Issuer
from tests.fakes.scene import build_scene


@pytest.fixture
def issuer() -> Issuer:
    return build_scene().issuer


def apply(issuer: Issuer) -> str:
    return issuer.applications.apply(issuer.terminal, IDENTITY, APPLICATION_AID).session_id


def test_an_application_plans_its_ssd_and_opens_a_visit(issuer: Issuer) -> None:
    applied = issuer.applications.apply(issuer.terminal, IDENTITY, APPLICATION_AID)
    assert applied.state is ApplicationState.REQUESTED
    domain, update = issuer.domain(SSD_AID), issuer.last_update(SSD_AID)
    assert (domain.state, domain.privileges, domain.last_generation) == (DomainState.PLANNED, b"\x80", -1)
    assert (update.reason, update.state) == (UpdateReason.INITIAL, UpdateState.PENDING)
    with issuer.store.transaction() as tx:
        visit = tx.visits.find_by_session(applied.session_id)
    assert visit is not None
    assert visit.terminal_id == issuer.terminal.id
    assert issuer.audit_actions() == ["application.request", "update.request"]


def test_asking_again_changes_nothing_but_opens_another_visit(issuer: Issuer) -> None:
    assert apply(issuer) != apply(issuer)
    domain = issuer.domain(SSD_AID)
    with issuer.store.transaction() as tx:
        assert len(tx.key_updates.list_for_domain(domain.id)) == 1
        assert len(tx.applications.list_for_card(issuer.card.id)) == 1


def test_after_an_update_failed_asking_again_opens_a_new_one(issuer: Issuer) -> None:
    apply(issuer)
    update = issuer.last_update(SSD_AID)
    with issuer.store.transaction() as tx:
        tx.key_updates.save(replace(update, state=UpdateState.FAILED))
    issuer.clock.move(seconds=1)
    apply(issuer)
    assert issuer.last_update(SSD_AID).state is UpdateState.PENDING


def test_an_application_that_waits_although_its_ssd_is_keyed_becomes_ready(issuer: Issuer) -> None:
    apply(issuer)
    domain = issuer.domain(SSD_AID)
    with issuer.store.transaction() as tx:
        tx.security_domains.save(replace(domain, state=DomainState.KEYED))
    applied = issuer.applications.apply(issuer.terminal, IDENTITY, APPLICATION_AID)
    assert applied.state is ApplicationState.READY
    with issuer.store.transaction() as tx:
        stored = tx.applications.find_by_aid(issuer.card.id, APPLICATION_AID)
    assert stored is not None
    assert stored.ready_at == issuer.clock.now()
    assert issuer.audit_actions()[-1] == "application.ready"


def test_unknown_applications_and_cards_that_are_not_served_are_refused(issuer: Issuer) -> None:
    with pytest.raises(KmsError) as caught:
        issuer.applications.apply(issuer.terminal, IDENTITY, b"\xa0\x00\x00\x00\x01")
    assert caught.value.code is Code.NOT_FOUND
    for state, code in ((CardState.RETIRED, Code.CARD_UNKNOWN), (CardState.QUARANTINED, Code.CARD_QUARANTINED)):
        with issuer.store.transaction() as tx:
            tx.cards.save(replace(issuer.card, state=state))
        with pytest.raises(KmsError) as caught:
            apply(issuer)
        assert caught.value.code is code

"""The retry budget: what spends it, what does not, and what is said when it is spent."""

from dataclasses import replace

from kms.domain.updates import UpdateState
from kms.domain.visits import BreakCode
from kms.service.update_attempts import find_next_update
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene, sw


def refuse_everything(scene: Scene) -> str:
    """A visit in which the card refuses the new keys before anything of them may be in force."""
    return scene.visit(scene.agent(tamper=lambda _order, answers: [sw(0x6A84)(answer) for answer in answers]))


def test_refusals_spend_the_budget_and_the_last_one_fails_with_its_reason_and_an_alarm() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    for attempt in range(1, 4):
        refuse_everything(scene)
        update = scene.issuer.last_update(SSD_AID)
        assert (update.attempts, update.failure_code) == (attempt, BreakCode.CARD_REFUSED)
        assert update.state is (UpdateState.FAILED if attempt == 3 else UpdateState.PENDING)
    assert update.failure
    with scene.issuer.store.transaction() as tx:
        (alarm,) = tx.alarms.list_open()
    assert (alarm.kind, alarm.subject) == ("update.failed", f"update {update.id}")
    assert BreakCode.CARD_REFUSED in alarm.text
    scene.assert_not_set_aside()


def test_cards_that_are_taken_away_spend_nothing() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    for _ in range(6):
        scene.visit(scene.agent(tamper=lambda _order, answers: [b""] * len(answers)))
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING
    scene.assert_reached()


def test_an_update_that_no_visit_finishes_lets_the_others_go_first() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force(ISD_AID)
    scene.force(SSD_AID)
    with scene.issuer.store.transaction() as tx:
        updates = {item.id: item for item in tx.key_updates.list_open_for_card(scene.issuer.card.id)}
        domains = {item.id: item for item in tx.security_domains.list_for_card(scene.issuer.card.id)}
    isd_update, ssd_update = updates.values()
    tried = updates | {isd_update.id: replace(isd_update, attempts=2)}

    class Record:
        def __init__(self) -> None:
            self.updates = tried
            self.domains = domains

    limits = scene.issuer.terminal.limits
    assert find_next_update(Record(), limits, None) == ssd_update  # type: ignore[arg-type] # what it reads
    assert find_next_update(Record(), limits, isd_update.id) == tried[isd_update.id]  # type: ignore[arg-type] # the same

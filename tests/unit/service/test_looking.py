"""When a card is looked at before anything else, and at which terminal."""

from dataclasses import replace
from datetime import timedelta

from kms.domain.cards import CardState
from kms.domain.recovery import PlatformCondition, PlatformState, RepairOrder, RepairState
from kms.service.card_record import CardRecord, load_card_record
from kms.service.looking import RECOVERY_TEXT, REPAIR_TEXT, Looking, may_repair
from tests.fakes.records import NOW
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene

ORDER = RepairOrder("order", "card-1", None, RepairState.OPEN, NOW, "officer")


def load(scene: Scene) -> CardRecord:
    with scene.issuer.store.transaction() as tx:
        return load_card_record(tx, tx.cards.get(scene.issuer.card.id), [])


def build_state(scene: Scene, condition: PlatformCondition = PlatformCondition.RECOVERY) -> PlatformState:
    now = scene.issuer.clock.now()
    return PlatformState("platform", condition, now, "recovery", restored_at=now, behind_since=now)


def test_normally_nothing_is_looked_at() -> None:
    scene = build_scene()
    looking = Looking(None, scene.issuer.terminal)
    assert (looking.find_next(load(scene)), looking.find_end(load(scene))) == (None, None)


def test_after_a_restore_each_security_domain_is_looked_at_once_the_isd_first() -> None:
    scene = build_scene()
    scene.make_ssd()
    record, seen = load(scene), []
    looking = Looking(build_state(scene), scene.issuer.terminal)
    while (domain := looking.find_next(record)) is not None:
        seen.append(domain.aid)
        record.save(replace(domain, looked_at=scene.issuer.clock.now()))
    assert seen == [ISD_AID, SSD_AID]
    assert looking.find_end(record) == RECOVERY_TEXT
    later = Looking(build_state(scene, PlatformCondition.NORMAL), scene.issuer.terminal)
    assert later.find_end(record) is None
    scene.issuer.clock.move(seconds=timedelta(days=1).total_seconds())
    again = Looking(build_state(scene), scene.issuer.terminal)  # restored once more
    assert again.find_next(record) is not None


def test_a_card_that_is_set_aside_is_not_looked_at_for_recovery() -> None:
    scene = build_scene()
    record = load(scene)
    record.save(replace(record.card, state=CardState.QUARANTINED))
    assert Looking(build_state(scene), scene.issuer.terminal).find_next(record) is None
    record.repair = ORDER
    looking = Looking(None, scene.issuer.terminal)
    assert looking.find_next(record) is not None
    assert looking.find_end(record) == REPAIR_TEXT


def test_a_repair_is_for_its_terminal_and_while_it_is_open() -> None:
    terminal = build_scene().issuer.terminal
    assert may_repair(ORDER, terminal)
    assert may_repair(replace(ORDER, terminal_id=terminal.id), terminal)
    assert not may_repair(replace(ORDER, terminal_id="other"), terminal)
    assert not may_repair(replace(ORDER, state=RepairState.FOUND), terminal)
    assert not may_repair(None, terminal)

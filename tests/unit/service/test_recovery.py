"""Recovery: a database restored from an older backup reaches every card again, and repeats or undoes nothing."""

import pytest

from kms.domain.cards import CardState
from kms.domain.keys import KeyState
from kms.domain.recovery import FindingKind, PlatformCondition
from kms.domain.updates import UpdateState
from kms.domain.visits import TerminalState
from kms.errors import Code, KmsError
from kms.service.looking import RECOVERY_TEXT
from kms.service.recovery import LOST, RecoveryService, check_normal
from kms.service.terminals import TerminalService
from tests.fakes.memory_anchor import MemoryAnchor
from tests.fakes.memory_store import put_back, take_backup
from tests.fakes.scene import EXTERNAL_AUTHENTICATE, ISD_AID, SSD_AID, Scene, build_scene


def restart(scene: Scene) -> None:
    """Start the server anew: a process that looks at the anchor when it first needs to."""
    scene.issuer.recovery._checked = False  # noqa: SLF001 - what a new process begins with


def build_restored_scene(rotations: int = 1, *, anchored: bool = True) -> Scene:
    """The database is the one of before `rotations` rotations of the card's SSD."""
    scene = build_scene()
    scene.make_ssd()
    backup = take_backup(scene.issuer.store)
    for _ in range(rotations):
        scene.force()
        assert scene.visit() == "done"
    if anchored:
        scene.issuer.recovery.keep_anchor()
    put_back(scene.issuer.store, backup)
    scene.card.log.clear()
    restart(scene)
    return scene


@pytest.mark.parametrize("rotations", [1, 2, 15])
def test_a_restored_database_finds_the_generation_shows_it_and_goes_on(rotations: int) -> None:
    scene = build_restored_scene(rotations)
    issuer = scene.issuer
    assert scene.visit() == RECOVERY_TEXT
    assert scene.card.count(EXTERNAL_AUTHENTICATE) == 0
    assert issuer.sets_in_force(SSD_AID) == scene.card.kvns(SSD_AID)
    assert issuer.domain(SSD_AID).last_generation == 1 + rotations
    (finding,) = issuer.recovery.list_findings()
    assert (finding.kind, finding.generation) == (FindingKind.DERIVED, 1 + rotations)
    status = issuer.recovery.status()
    assert (status.condition, status.findings) == (PlatformCondition.RECOVERY, {"derived": 1})

    assert issuer.recovery.confirm(actor="officer").condition is PlatformCondition.NORMAL
    scene.force()
    assert scene.visit() == "done"
    scene.assert_in_step()
    assert issuer.domain(SSD_AID).last_generation == 2 + rotations  # never given twice
    assert scene.terminal_state() is TerminalState.ENROLLED
    scene.assert_not_set_aside()


def test_a_card_that_comes_after_officers_confirmed_is_looked_at_first_all_the_same() -> None:
    scene = build_restored_scene(2)
    scene.issuer.recovery.detect()
    scene.issuer.recovery.confirm(actor="officer")
    scene.force()
    assert scene.visit() == "done"
    scene.assert_in_step()
    assert scene.issuer.domain(SSD_AID).last_generation == 4


def test_an_update_that_the_database_still_owes_and_that_was_done_is_not_done_again() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    backup = take_backup(scene.issuer.store)
    assert scene.visit() == "done"
    scene.issuer.recovery.keep_anchor()
    put_back(scene.issuer.store, backup)
    restart(scene)
    assert scene.visit() == RECOVERY_TEXT
    scene.issuer.recovery.confirm(actor="officer")
    kvns = scene.card.kvns(SSD_AID)
    assert scene.visit() == "done"
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.DONE
    assert scene.card.kvns(SSD_AID) == kvns


def test_a_security_domain_that_the_database_never_heard_of_is_found_when_it_is_asked_for() -> None:
    scene = build_scene()
    backup = take_backup(scene.issuer.store)
    scene.make_ssd()
    scene.force(ISD_AID)
    assert scene.visit() == "done"
    scene.issuer.recovery.keep_anchor()
    put_back(scene.issuer.store, backup)
    restart(scene)
    assert scene.visit() == RECOVERY_TEXT
    assert scene.issuer.sets_in_force(ISD_AID) == scene.card.kvns(ISD_AID)
    scene.issuer.recovery.confirm(actor="officer")
    assert scene.visit(session=scene.apply()) == "done"
    scene.assert_in_step()
    assert scene.issuer.last_update(SSD_AID).failure == ""


def test_the_end_of_what_was_found_counts_from_what_the_database_held_last() -> None:
    scene = build_scene()
    scene.make_ssd()
    backup = take_backup(scene.issuer.store)
    last_known = scene.issuer.clock.now()
    scene.force()
    scene.visit()
    scene.issuer.recovery.keep_anchor()
    put_back(scene.issuer.store, backup)
    restart(scene)
    scene.issuer.clock.move(days=30)
    scene.visit()
    found = next(item for item in scene.issuer.key_sets(SSD_AID) if item.state is KeyState.ACTIVE)
    earlier = scene.issuer.key_sets(SSD_AID)[1]
    assert found.expires_at is not None
    assert earlier.expires_at is not None
    assert found.expires_at - earlier.expires_at == last_known - (earlier.proved_at or last_known)


def test_keys_that_fit_nothing_are_evidence_as_ever() -> None:
    scene = build_restored_scene()

    def forge(_order: object, answers: list[bytes]) -> list[bytes]:
        return [a[:-3] + bytes([a[-3] ^ 1]) + a[-2:] if len(a) == 30 else a for a in answers]

    assert "not the ones on record" in scene.visit(scene.agent(tamper=forge))
    assert scene.issuer.current_card().state is CardState.ENROLLED
    assert scene.visit() == RECOVERY_TEXT  # an honest terminal finds it
    assert scene.issuer.sets_in_force(SSD_AID) == scene.card.kvns(SSD_AID)


def test_no_refusal_of_a_terminal_is_undone() -> None:
    scene = build_scene()
    scene.make_ssd()
    terminals = TerminalService(
        store=scene.issuer.store, clock=scene.issuer.clock, identifiers=scene.issuer.identifiers
    )
    backup = take_backup(scene.issuer.store)
    terminals.revoke("counter-2", reason="stolen", actor="officer")
    scene.issuer.recovery.keep_anchor()
    put_back(scene.issuer.store, backup)
    scene.issuer.recovery.detect()
    assert scene.terminal_state("counter-2") is TerminalState.SUSPENDED
    assert scene.terminal_state("counter-1") is TerminalState.ENROLLED
    with pytest.raises(KmsError) as error:
        terminals.authenticate(b"\x02" * 32)
    assert error.value.code is Code.TERMINAL_REFUSED
    with scene.issuer.store.transaction() as tx:
        terminal = tx.terminals.find_by_name("counter-2")
        assert terminal is not None
        assert terminal.reason == LOST


def test_what_has_to_wait_says_so() -> None:
    scene = build_restored_scene()
    scene.issuer.recovery.detect()
    with scene.issuer.store.transaction() as tx, pytest.raises(KmsError) as error:
        check_normal(tx, "A campaign")
    assert error.value.code is Code.RECOVERY
    scene.issuer.recovery.confirm(actor="officer")
    with scene.issuer.store.transaction() as tx:
        check_normal(tx, "A campaign")


def test_the_anchor_follows_the_database_and_stays_while_it_is_behind() -> None:
    scene = build_scene()
    recovery, anchor = scene.issuer.recovery, scene.issuer.anchor
    assert recovery.keep_anchor() == "nothing is recorded yet"
    scene.make_ssd()
    recovery.keep_anchor()
    first = anchor.mark
    assert first is not None
    backup = take_backup(scene.issuer.store)
    scene.force()
    recovery.keep_anchor()
    assert anchor.mark != first
    newest = anchor.mark
    put_back(scene.issuer.store, backup)
    assert "stays as it is" in recovery.keep_anchor()
    assert anchor.mark == newest
    assert "recovery.begin" in scene.issuer.audit_actions()
    with scene.issuer.store.transaction() as tx:
        assert [alarm.kind for alarm in tx.alarms.list_open()] == ["platform.recovery"]
    recovery.confirm(actor="officer")
    with scene.issuer.store.transaction() as tx:
        assert tx.alarms.list_open() == []
    assert anchor.mark != newest
    with pytest.raises(KmsError) as error:
        recovery.confirm(actor="officer")
    assert error.value.code is Code.CONFLICT


def test_without_an_anchor_nothing_is_told_and_an_absent_one_is_no_alarm() -> None:
    scene = build_scene()
    issuer = scene.issuer
    bare = RecoveryService(store=issuer.store, clock=issuer.clock, identifiers=issuer.identifiers, anchor=None)
    assert bare.keep_anchor() == "no anchor is configured"
    assert bare.status().condition is PlatformCondition.NORMAL
    assert not bare.status().anchored
    scene.make_ssd()
    empty = RecoveryService(
        store=issuer.store, clock=issuer.clock, identifiers=issuer.identifiers, anchor=MemoryAnchor()
    )
    assert empty.detect() is None
    assert empty.list_findings() == []

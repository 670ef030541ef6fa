"""A key past its end protects nothing new, whatever the program and whenever the end comes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kms.card.programs.create_ssd import CreateSsd
from kms.card.programs.delete_keys import DeleteKeys
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.state import ProgramState
from kms.domain.keys import Delivery, KeyState, MasterKind
from kms.domain.orders import Order
from kms.domain.updates import KeyUpdate, UpdateState
from kms.errors import Code, KmsError
from kms.service.card_record import CardRecord
from kms.service.key_ends import KeyEnds, check_issuing, check_usable
from tests.fakes.card_records import ISD, MASTERS, SSD, VENDOR_SET, build_planner, build_record
from tests.fakes.records import NOW, build_key_set, build_master, build_update
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene

EXTERNAL_AUTHENTICATE, PUT_KEY, STORE_DATA, INSTALL = 0x82, 0xD8, 0xE2, 0xE6
PROTECTING = (EXTERNAL_AUTHENTICATE, PUT_KEY, STORE_DATA, INSTALL)
DAY = timedelta(days=1)


def expire(scene: Scene, aid: bytes, *, days_ago: int = 1) -> None:
    """The set in force ended so many days ago."""
    current = next(item for item in reversed(scene.issuer.key_sets(aid)) if item.state is KeyState.ACTIVE)
    with scene.issuer.store.transaction() as tx:
        tx.key_sets.save(replace(current, expires_at=scene.issuer.clock.now() - days_ago * DAY))


def end_master(scene: Scene, kind: MasterKind) -> None:
    with scene.issuer.store.transaction() as tx:
        master = tx.master_keys.find_active(kind)
        assert master is not None
        tx.master_keys.save(replace(master, expires_at=scene.issuer.clock.now()))


def assert_nothing_protected(scene: Scene) -> None:
    assert [scene.card.count(ins) for ins in PROTECTING] == [0, 0, 0, 0]


@pytest.fixture
def scene() -> Scene:
    scene = build_scene()
    scene.make_ssd()
    return scene


def test_a_set_past_its_end_opens_no_channel_until_officers_allow_it(scene: Scene) -> None:
    expire(scene, SSD_AID)
    scene.force()
    assert "past their end" in scene.visit()
    assert_nothing_protected(scene)
    update = scene.issuer.last_update(SSD_AID)
    assert update.state is UpdateState.PENDING
    scene.issuer.updates.allow_past_end(update.id, actor="cli:officer", why="card was abroad")
    assert scene.visit() == "done"
    scene.assert_in_step()
    assert "update.allow-past-end" in scene.issuer.audit_actions()


def test_an_end_that_comes_during_the_visit_stops_what_was_to_leave(scene: Scene) -> None:
    scene.force()

    def wait(order: Order, answers: list[bytes]) -> list[bytes]:
        if order.number == 1:
            expire(scene, SSD_AID, days_ago=0)
        return answers

    assert "past their end" in scene.visit(scene.agent(tamper=wait))
    assert_nothing_protected(scene)


@pytest.mark.parametrize("kind", [MasterKind.SSD, MasterKind.SSD_INITIAL])
def test_a_master_past_its_end_issues_nothing_new(kind: MasterKind) -> None:
    scene = build_scene()
    end_master(scene, kind)
    assert "issues nothing since" in scene.visit(session=scene.apply())
    assert scene.card.count(PUT_KEY) == 0


def test_what_was_sent_before_its_masters_end_is_sent_again(scene: Scene) -> None:
    scene.force()

    def lose(order: Order, answers: list[bytes]) -> list[bytes]:
        return [] if order.number == 2 else answers

    scene.visit(scene.agent(tamper=lose))
    end_master(scene, MasterKind.SSD)
    scene.visit()
    scene.assert_in_step()


def test_a_vendors_set_ends_with_its_master_and_no_ssd_is_made_under_it() -> None:
    scene = build_scene()
    end_master(scene, MasterKind.VENDOR)
    assert "replaced before anything else" in scene.visit(session=scene.apply())
    assert_nothing_protected(scene)


def test_a_compromised_master_opens_nothing(scene: Scene) -> None:
    with scene.issuer.store.transaction() as tx:
        master = tx.master_keys.find_active(MasterKind.SSD)
        assert master is not None
        tx.master_keys.save(replace(master, state=KeyState.COMPROMISED))
    scene.force()
    assert "COMPROMISED" in scene.visit()
    assert_nothing_protected(scene)
    assert scene.card.kvns(ISD_AID) == [0x01]


def test_within_grace_a_set_brings_its_own_replacement_and_nothing_else() -> None:
    record, programs = build_programs()
    for grace, ends, allowed in ((2, NOW - DAY, True), (1, NOW - DAY, False), (0, NOW, False), (0, NOW + DAY, True)):
        ends_of = KeyEnds(with_end(record, ends), lambda _domain, days=grace: days * DAY)  # type: ignore[misc] # the default binds the loop's value
        for program, update in programs:
            # An ISD past its end makes no SSD, grace or not.
            refused = not allowed or (isinstance(program, CreateSsd) and ends <= NOW)
            if refused:
                with pytest.raises(KmsError) as error:
                    ends_of.check_program(program, update, NOW)
                assert error.value.code is Code.KEY_EXPIRED
            else:
                ends_of.check_program(program, update, NOW)


@pytest.mark.parametrize("state", [KeyState.SUSPENDED, KeyState.DEACTIVATED, KeyState.COMPROMISED])
def test_no_program_runs_under_a_set_that_is_not_active(state: KeyState) -> None:
    record, programs = build_programs()
    for key_set in list(record.key_sets.values()):
        record.key_sets[key_set.id] = replace(key_set, state=state)
    for program, update in programs:
        allowed = replace(update, past_end=True)
        with pytest.raises(KmsError) as error:
            KeyEnds(record, lambda _domain: 9 * DAY).check_program(program, allowed, NOW)
        assert error.value.code is Code.KEY_STATE


def test_looking_is_always_allowed() -> None:
    record = build_record()
    record.key_sets[VENDOR_SET.id] = replace(VENDOR_SET, state=KeyState.SUSPENDED)
    KeyEnds(record, lambda _domain: DAY).check_program(build_planner().reconcile(record, ISD), None, NOW)


def test_masters_say_what_they_are_good_for() -> None:
    ended = build_master(7, expires_at=NOW)
    check_usable(ended)
    check_issuing(replace(ended, expires_at=NOW + DAY), NOW)
    with pytest.raises(KmsError) as error:
        check_issuing(ended, NOW)
    assert error.value.code is Code.KEY_EXPIRED
    for state in (KeyState.SUSPENDED, KeyState.COMPROMISED, KeyState.DESTROYED):
        with pytest.raises(KmsError, match=str(state)):
            check_usable(replace(ended, state=state))
    with pytest.raises(KmsError, match="DEACTIVATED"):
        check_issuing(replace(ended, state=KeyState.DEACTIVATED, expires_at=None), NOW)


def with_end(record: CardRecord, ends: object) -> CardRecord:
    sets = {item.id: replace(item, expires_at=ends) for item in record.key_sets.values()}  # type: ignore[arg-type] # a time
    return replace(record, key_sets=sets)


def build_programs() -> tuple[CardRecord, list[tuple[ProgramState, KeyUpdate]]]:
    """Every program that opens a channel, planned for a card whose ISD holds our keys, with its update."""
    isd_set = build_key_set(2, security_domain_id=ISD.id, kvn=0x20, master_id=MASTERS[MasterKind.ISD].id, generation=1)
    left = replace(VENDOR_SET, kvn=0xFF, state=KeyState.DEACTIVATED, delivery=Delivery.PROVED)
    create = build_update(1, security_domain_id=SSD.id)
    rotate = build_update(2, security_domain_id=ISD.id)
    remove = build_update(3, security_domain_id=ISD.id, new_key_set_id=isd_set.id)
    record = build_record(isd_set, left, updates=(create, rotate, remove))
    planner = build_planner()
    programs: list[tuple[ProgramState, KeyUpdate]] = []
    for update in (create, rotate, remove):
        program = planner.plan(record, update)
        assert isinstance(program, ReplaceKeys | CreateSsd | DeleteKeys)
        programs.append((program, update))
    assert {type(program) for program, _ in programs} == {ReplaceKeys, CreateSsd, DeleteKeys}
    return record, programs

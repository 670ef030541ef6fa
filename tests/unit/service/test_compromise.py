"""A compromised master: marked with all below it, replaced through the ISD on a real card, listed where that is not."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kms.card.profile import CardProfile
from kms.domain.campaigns import CampaignState
from kms.domain.compromises import Remedy
from kms.domain.keys import KeyState, MasterKind
from kms.domain.updates import UpdateReason, UpdateState
from kms.errors import Code, KmsError
from kms.service import compromise as module
from kms.service.campaigns import CampaignService
from kms.service.compromise import CompromiseReport, CompromiseService
from tests.fakes.issuer import Issuer
from tests.fakes.records import build_id
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene
from tests.fakes.software_keys import check_value


def build_service(issuer: Issuer, no_route: tuple[str, ...] = ()) -> CompromiseService:
    given = {"store": issuer.store, "clock": issuer.clock, "identifiers": issuer.identifiers}
    campaigns = CampaignService(**given, platform="issuer")  # type: ignore[arg-type] # the issuer's own parts
    return CompromiseService(**given, campaigns=campaigns, platform="issuer", no_route=no_route)  # type: ignore[arg-type] # as above


def find_name(issuer: Issuer, kind: MasterKind) -> str:
    with issuer.store.transaction() as tx:
        return next(item.name for item in tx.master_keys.list() if item.kind is kind)


def compromise(scene: Scene, kind: MasterKind = MasterKind.SSD, no_route: tuple[str, ...] = ()) -> CompromiseReport:
    name = find_name(scene.issuer, kind)
    return build_service(scene.issuer, no_route).compromise(name, 1, actor="cli:officer", why="lost backup")


def add_successor(scene: Scene, kind: MasterKind) -> None:
    """The master's next generation, as `kms keys generate --new-generation` makes it."""
    issuer = scene.issuer
    with issuer.store.transaction() as tx:
        old = next(item for item in tx.master_keys.list() if item.kind is kind)
        object_id = bytes([0x77]) * 16
        value = bytes([0x44]) * 32
        issuer.vault.masters[object_id] = value
        kcv = check_value(value, old.key_type, old.kcv_method)
        new = replace(
            old,
            id=build_id(77),
            generation=2,
            object_id=object_id,
            kcv=kcv,
            state=KeyState.ACTIVE,
            created_at=old.created_at + timedelta(days=1),
        )
        tx.master_keys.add(new)


@pytest.fixture
def scene() -> Scene:
    scene = build_scene()
    scene.make_ssd()
    return scene


def test_an_ssds_master_is_replaced_through_the_isd_at_the_next_visit(scene: Scene) -> None:
    before = scene.card.keys(SSD_AID)
    report = compromise(scene)
    assert report.master.state is KeyState.COMPROMISED
    assert (report.marked.domains, report.marked.key_sets) == (1, 1)
    assert report.affected.by_remedy == {Remedy.CAMPAIGN: 1}
    assert report.affected.for_officers == 0
    assert report.campaign is not None
    assert report.campaign.state is CampaignState.RUNNING
    add_successor(scene, MasterKind.SSD)
    assert scene.visit() == "done"
    scene.assert_in_step()
    assert scene.card.keys(SSD_AID) != before
    current = scene.issuer.key_sets(SSD_AID)[-1]
    assert (current.master_id, current.state) == (build_id(77), KeyState.ACTIVE)
    assert build_service(scene.issuer).count(report.master.name, 1)[1].by_remedy == {Remedy.DONE: 1}


def test_nothing_is_issued_before_the_next_generation_is_made(scene: Scene) -> None:
    compromise(scene)
    assert "COMPROMISED" in scene.visit()
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING
    add_successor(scene, MasterKind.SSD)
    assert scene.visit() == "done"
    scene.assert_in_step()


def test_a_visit_under_way_ends_without_keys(scene: Scene) -> None:
    scene.force()
    agent = scene.agent()

    def strike(_order: object, answers: list[bytes]) -> list[bytes]:
        if scene.card.count(0x50) == 1:
            compromise(scene)
        return answers

    agent.tamper = strike
    scene.visit(agent)
    assert scene.card.count(0xD8) == 0


def test_once_more_changes_nothing(scene: Scene) -> None:
    first = compromise(scene)
    events = len(scene.issuer.audit_events())
    again = compromise(scene)
    assert again.marked.domains == 0
    assert again.affected == first.affected
    assert again.campaign is not None
    assert again.campaign.id == first.campaign.id  # type: ignore[union-attr] # it has one, as the test above shows
    assert len(scene.issuer.audit_events()) == events


def test_a_run_that_was_cut_off_goes_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    service = build_service(scene.issuer)
    name = find_name(scene.issuer, MasterKind.SSD)
    with monkeypatch.context() as patched:
        patched.setattr(module.CompromiseService, "_mark_below", fail)
        with pytest.raises(RuntimeError):
            service.compromise(name, 1, actor="cli:officer", why="lost backup")
    scene.force()
    assert "COMPROMISED" in scene.visit()  # the master alone stops everything
    assert scene.card.count(0x82) == 0
    report = service.compromise(name, 1, actor="cli:officer", why="lost backup")
    assert (report.marked.key_sets, report.marked.updates) == (1, 1)
    assert scene.issuer.last_update(SSD_AID).reason is UpdateReason.COMPROMISE


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("power cut")


def test_what_is_found_after_a_campaign_is_done_joins_it(scene: Scene) -> None:
    report = compromise(scene)
    add_successor(scene, MasterKind.SSD)
    assert scene.visit() == "done"
    found = scene.issuer.key_sets(SSD_AID)[-1]
    with scene.issuer.store.transaction() as tx:
        assert report.campaign is not None
        tx.campaigns.save(replace(report.campaign, state=CampaignState.DONE))
        tx.key_sets.save(replace(found, master_id=report.master.id))
    again = compromise(scene)
    assert again.marked.key_sets == 1
    assert again.campaign is not None
    assert again.campaign.state is CampaignState.RUNNING
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING


def test_an_isds_master_is_for_officers(scene: Scene) -> None:
    scene.force(ISD_AID)
    assert scene.visit() == "done"
    report = compromise(scene, MasterKind.ISD)
    assert report.campaign is None
    assert report.affected.by_remedy == {Remedy.ISD: 1}
    (listed,) = build_service(scene.issuer).list(report.master.name, 1, remedies=[Remedy.ISD])
    assert (listed.card, listed.aid) == (scene.issuer.card.identity, ISD_AID)
    scene.card.log.clear()
    scene.visit()
    assert scene.card.count(0x82) == 0


def test_a_card_whose_route_is_put_key_is_for_officers(scene: Scene) -> None:
    report = compromise(scene, no_route=(CardProfile(name="default").name,))
    assert report.campaign is None
    assert report.affected.by_remedy == {Remedy.NO_ROUTE: 1}


def test_what_is_not_compromised_has_no_list(scene: Scene) -> None:
    service = build_service(scene.issuer)
    name = find_name(scene.issuer, MasterKind.SSD)
    for call in (service.count, service.list):
        with pytest.raises(KmsError) as error:
            call(name, 1)
        assert error.value.code is Code.KEY_STATE
    with pytest.raises(KmsError) as error:
        service.compromise(name, 9, actor="cli:officer", why="lost")
    assert error.value.code is Code.NOT_FOUND
    with scene.issuer.store.transaction() as tx:
        master = tx.master_keys.find_by_name(name)
        assert master is not None
        tx.master_keys.save(replace(master, state=KeyState.PRE_ACTIVATION))
    with pytest.raises(KmsError) as error:
        service.compromise(name, 1, actor="cli:officer", why="lost")
    assert error.value.code is Code.KEY_STATE


def test_the_audit_log_says_who_marked_what_and_why(scene: Scene) -> None:
    compromise(scene)
    events = {event.action: event for event in scene.issuer.audit_events()}
    assert "lost backup" in events["master-key.compromise"].detail
    assert events["master-key.compromise"].kcv
    assert "1 key sets of 1 security domains" in events["key-set.compromise"].detail
    assert events["campaign.start"].actor == "cli:officer"

"""A compromised key set: new keys go in through the ISD, at a provider by its issuer's help; nothing runs under it."""

from dataclasses import replace

import pytest

from kms.card.keys import DerivationPurpose
from kms.card.profile import CardProfile
from kms.domain.cards import ApplicationState
from kms.domain.keys import Delivery, KeyState
from kms.domain.orders import Order
from kms.domain.transfers import RelayedOrder, TransferReason, TransferState
from kms.domain.updates import UpdateReason, UpdateState
from kms.domain.visits import VisitState
from kms.errors import Code, KmsError
from tests.fakes.agent import VOID
from tests.fakes.issuer import IDENTITY
from tests.fakes.provider import APPLICATION, SSD
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene
from tests.fakes.transfer_scene import build_transfer_scene

INITIALIZE_UPDATE = 0x50


def asked_versions(log: list[bytes], aid: bytes) -> list[int]:
    """Key versions under which channels were begun with a security domain."""
    found, selected = [], b""
    for command in log:
        if command[1] == 0xA4:
            selected = command[5 : 5 + command[4]]
        if command[1] == INITIALIZE_UPDATE and selected == aid:
            found.append(command[2])
    return found


class TestProvider:
    def test_the_issuer_puts_new_initial_keys_in_and_the_compromised_set_goes(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        scene.force()
        assert scene.visit() == "done"
        scene.card.log.clear()
        compromised = scene.card.keys(SSD)
        scene.issuer.clock.move(minutes=1)
        scene.force(UpdateReason.COMPROMISE)
        assert scene.visit() == "done"
        scene.assert_handed_over()
        assert not set(compromised) & set(scene.card.keys(SSD))
        assert 0x22 not in asked_versions(scene.card.log, SSD)
        assert scene.provider.transfer().reason is TransferReason.REKEY
        old = [item for item in scene.provider.key_sets() if item.state is KeyState.COMPROMISED]
        assert [(item.kvn, item.delivery) for item in old] == [(0x22, Delivery.REPLACED)]
        assert scene.events("provider", "key-set.compromise")
        assert scene.events("provider", "key-set.remove")
        scene.assert_reached()

    def test_a_set_whose_version_the_issuer_takes_again_is_gone_all_the_same(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        compromised = scene.card.keys(SSD)
        scene.issuer.clock.move(minutes=1)
        scene.force(UpdateReason.COMPROMISE)
        assert scene.visit() == "done"
        assert not set(compromised) & set(scene.card.keys(SSD))
        scene.assert_reached()

    def test_again_and_again(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        for _ in range(4):
            scene.issuer.clock.move(minutes=1)
            scene.force(UpdateReason.COMPROMISE)
            assert scene.visit() == "done"
            scene.assert_handed_over()

    def test_a_visit_under_way_does_not_go_on_under_the_compromised_set(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        scene.issuer.clock.move(minutes=1)
        scene.force()
        agent, session = scene.agent(), scene.session()
        agent.handshake(session)
        report = agent.answer(agent.report(session, VOID))
        scene.force(UpdateReason.COMPROMISE)
        assert agent.report(session, report).stop
        with scene.provider.store.transaction() as tx:
            visit = tx.visits.find_by_session(session)
        assert visit is not None
        assert visit.state is VisitState.FENCED
        scene.card.reset()
        assert scene.visit() == "done"
        scene.assert_reached()

    def test_keys_on_their_way_under_the_compromised_set_are_compromised_too(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        scene.issuer.clock.move(minutes=1)
        scene.force()
        agent, session = scene.agent(), scene.session()
        agent.handshake(session)
        put_key = agent.report(session, agent.answer(agent.report(session, VOID)))
        scene.force(UpdateReason.COMPROMISE)
        agent.transmit(put_key.commands)  # the held-back batch acts after all
        assert scene.visit() == "done"
        scene.assert_handed_over()
        states = {item.kvn: item.state for item in scene.provider.key_sets() if item.state is KeyState.COMPROMISED}
        assert states == {0x21: KeyState.COMPROMISED, 0x22: KeyState.COMPROMISED}

    def test_the_issuer_hears_of_control_before_it_is_asked_for_new_keys(self) -> None:
        scene = build_transfer_scene()

        def disturb(name: str) -> None:
            if name == "control-accepted":
                raise KmsError(Code.PEER_UNREACHABLE, "away: try again")

        scene.provider.line.disturb = disturb
        assert scene.apply() == "done"
        assert scene.provider.transfer().state is TransferState.CONTROLLED
        scene.provider.line.disturb = lambda _name: None
        scene.issuer.clock.move(minutes=1)
        scene.force(UpdateReason.COMPROMISE)
        assert scene.visit() == "done"
        scene.assert_handed_over()

    def test_control_is_taken_with_the_proof_even_if_the_old_set_is_not_deleted(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        scene.issuer.clock.move(minutes=1)
        scene.force()
        scene.visit()
        scene.issuer.clock.move(minutes=1)
        scene.force(UpdateReason.COMPROMISE)

        def refuse_delete(_order: Order, answers: list[bytes]) -> list[bytes]:
            return [b"\x6a\x88" for _ in answers] if scene.card.count(0xE4) else answers

        for _ in range(3):
            scene.visit(scene.agent(tamper=refuse_delete))
        assert scene.provider.last_update().state is not UpdateState.DONE
        assert scene.provider.transfer().state is TransferState.CLOSED
        assert scene.provider.transfer().envelope is None
        scene.issuer.clock.move(minutes=1)
        scene.force(UpdateReason.COMPROMISE)
        scene.visit()
        scene.assert_reached()

    def test_old_initial_keys_handed_over_again_are_refused(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        (old,) = [item for item in scene.provider.key_sets() if item.purpose is DerivationPurpose.SSD_INITIAL]
        scene.issuer.clock.move(minutes=1)
        scene.force(UpdateReason.COMPROMISE)
        scene.issue(lambda hand_over: replace(hand_over, generation=old.generation))
        assert "replaced before" in scene.visit()
        assert scene.events("provider", "transfer.refuse")[-1].result == f"refused: {Code.ENVELOPE_KEYS}"
        scene.be_honest()
        assert scene.visit() == "done"
        scene.assert_reached()

    def test_a_refused_re_keying_is_asked_for_again_by_force(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        peers = dict(scene.issuer.transfers._peers)  # noqa: SLF001 - the configuration that changes
        scene.issuer.transfers._peers = {"provider": replace(peers["provider"], allowed_aids=(b"\xa0" * 5,))}  # noqa: SLF001 - the same
        scene.issuer.clock.move(minutes=1)
        scene.force(UpdateReason.COMPROMISE)
        assert "the AID is not among those" in scene.visit()
        assert scene.provider.last_update().state is UpdateState.FAILED
        assert scene.provider.transfer().state is TransferState.REFUSED
        scene.issuer.transfers._peers = peers  # noqa: SLF001 - the same
        scene.issuer.clock.move(minutes=1)
        scene.force(UpdateReason.COMPROMISE)
        assert scene.visit() == "done"
        scene.assert_reached()

    def test_an_application_waits_for_the_new_keys_and_asks_again_after_a_refusal(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        scene.issuer.clock.move(minutes=1)
        scene.force(UpdateReason.COMPROMISE)
        applied = scene.provider.applications.apply(scene.provider.terminal, IDENTITY, APPLICATION)
        assert applied.state is ApplicationState.READY  # it was asked for, and made ready, before the compromise
        refusing = RelayedOrder(1, (), ended=True, state=TransferState.REFUSED, text="no")
        scene.provider.line.change_order = lambda _order: refusing
        assert scene.visit(session=applied.session_id) == "issuer: no"
        scene.be_honest()
        assert scene.apply() == "done"
        assert scene.provider.transfer().reason is TransferReason.REKEY
        scene.assert_reached()

    def test_asking_again_gives_the_open_one_back(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        first = scene.provider.updates.force(IDENTITY, SSD, actor="test", reason=UpdateReason.COMPROMISE)
        again = scene.provider.updates.force(IDENTITY, SSD, actor="test", reason=UpdateReason.COMPROMISE)
        assert (first.created, again.created) == (True, False)
        assert again.update == first.update
        assert again.update.state is UpdateState.PENDING

    def test_what_was_to_run_under_the_set_is_cancelled(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        forced = scene.provider.updates.force(IDENTITY, SSD, actor="test").update
        scene.issuer.clock.move(minutes=1)
        scene.force(UpdateReason.COMPROMISE)
        with scene.provider.store.transaction() as tx:
            assert tx.key_updates.get(forced.id).state is UpdateState.CANCELLED

    def test_a_card_that_takes_put_key_alone_says_so(self) -> None:
        scene = build_transfer_scene(profile=CardProfile(name="default", initial_key_route="put-key"))
        scene.hand_over()
        scene.issuer.clock.move(minutes=1)
        scene.force(UpdateReason.COMPROMISE)
        assert "store-data" in scene.visit()


class TestIssuerManaged:
    @pytest.mark.parametrize("scp_i", [0x15, 0x55])
    def test_initial_keys_come_by_the_isd_and_the_compromised_set_goes(self, scp_i: int) -> None:
        scene = build_scene(scp_i=scp_i)
        scene.make_ssd()
        compromised = scene.card.keys(SSD_AID)
        self.compromise(scene)
        assert scene.visit() == "done"
        scene.assert_in_step()
        assert not set(compromised) & set(scene.card.keys(SSD_AID))
        assert 0x21 not in asked_versions(scene.card.log, SSD_AID)
        scene.assert_reached()

    def test_a_visit_that_breaks_at_any_order_is_gone_on_with(self) -> None:
        for number in range(1, 9):
            scene = build_scene()
            scene.make_ssd()
            compromised = scene.card.keys(SSD_AID)
            self.compromise(scene)

            def tamper(order: Order, answers: list[bytes], cut_at: int = number) -> list[bytes]:
                return [] if order.number == cut_at else answers

            scene.visit(scene.agent(tamper=tamper))
            for _ in range(3):
                if scene.issuer.last_update(SSD_AID).state is not UpdateState.DONE:
                    scene.visit()
            scene.assert_in_step()
            assert not set(compromised) & set(scene.card.keys(SSD_AID))
            scene.assert_reached()

    def test_an_isd_is_for_people(self) -> None:
        scene = build_scene()
        with pytest.raises(KmsError) as error:
            scene.issuer.updates.force(IDENTITY, ISD_AID, actor="test", reason=UpdateReason.COMPROMISE)
        assert error.value.code is Code.KEY_STATE

    def test_an_ssd_without_keys_has_none_to_be_compromised(self) -> None:
        scene = build_scene()
        scene.apply()
        with pytest.raises(KmsError) as error:
            scene.issuer.updates.force(IDENTITY, SSD_AID, actor="test", reason=UpdateReason.COMPROMISE)
        assert error.value.code is Code.KEY_STATE

    def test_an_ssd_that_was_handed_over_is_its_providers(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        with pytest.raises(KmsError) as error:
            scene.issuer.updates.force(IDENTITY, SSD, actor="test", reason=UpdateReason.COMPROMISE)
        assert error.value.code is Code.KEY_STATE

    @staticmethod
    def compromise(scene: Scene) -> None:
        scene.issuer.clock.move(minutes=1)
        scene.issuer.updates.force(IDENTITY, SSD_AID, actor="test", reason=UpdateReason.COMPROMISE)

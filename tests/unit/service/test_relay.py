"""The provider's calls: what it checks of an envelope, and what a visit keeps of a relay."""

from dataclasses import dataclass, field

import pytest

from kms.card.keys import KcvMethod, KeyType, MasterRef
from kms.domain.orders import AgentStatus, Report
from kms.domain.transfers import Envelope, RelayedOrder, TransferAnswer, TransferRequest, TransferState
from kms.errors import Code, KmsError
from kms.service.relay import Relay, RelayState, Trust, load_relay
from tests.fakes.provider import KEK
from tests.fakes.software_keys import check_value
from tests.fakes.transfer_scene import TransferScene, build_transfer_scene
from tests.unit.domain.test_hand_over import TRANSFER


@dataclass
class ScriptedLine:
    """Answers everything and keeps what it was asked."""

    asked: list[tuple[str, object]] = field(default_factory=list)

    def request(self, request: TransferRequest) -> TransferAnswer:
        self.asked.append(("request", request))
        return TransferAnswer(TransferState.REQUESTED, bytes(10), 2, 0x55, "default")

    def report(self, transfer_id: str, report: Report) -> RelayedOrder:
        self.asked.append((transfer_id, report))
        return RelayedOrder(1, (), ended=False, state=TransferState.REQUESTED, text="")

    def hand_over(self, transfer_id: str) -> Envelope:
        self.asked.append(("hand-over", transfer_id))
        return Envelope(b"", b"")

    def accept_control(self, transfer_id: str) -> TransferState:
        self.asked.append(("control-accepted", transfer_id))
        return TransferState.CLOSED


def test_a_transfer_is_asked_for_by_its_own_id_and_then_begun() -> None:
    line = ScriptedLine()
    Relay({"bank": line}).begin(TRANSFER)
    asked = TransferRequest(
        TRANSFER.id, TRANSFER.reason, TRANSFER.card_identity, TRANSFER.aid, TRANSFER.privileges, TRANSFER.key_type
    )
    assert line.asked == [("request", asked), (TRANSFER.id, Report(AgentStatus.POLLING, None))]


def test_answers_go_on_with_the_issuers_own_order_number() -> None:
    line = ScriptedLine()
    state = RelayState(transfer_id=TRANSFER.id, order_number=7)
    Relay({"bank": line}).answer(TRANSFER, state, [b"\x90\x00"], AgentStatus.PROCESSED)
    assert line.asked == [(TRANSFER.id, Report(AgentStatus.PROCESSED, 7, (b"\x90\x00",)))]


def test_an_issuer_without_a_line_is_refused_by_name() -> None:
    with pytest.raises(KmsError) as error:
        Relay({}).accept_control(TRANSFER)
    assert error.value.code is Code.PEER_UNKNOWN
    assert "bank" in error.value.detail


def test_a_relay_is_told_from_every_other_program() -> None:
    state = RelayState(transfer_id="t", order_number=3)
    assert load_relay(state.model_dump_json()) == state
    for other in (None, "", "{}", '{"kind": "replace-keys"}', '{"kind": "relay", "transfer_id": "t"}'):
        assert load_relay(other) is None


class TestFetch:
    """At the provider, when the issuer has proved the initial keys: the last envelope is fetched once more."""

    @pytest.fixture
    def scene(self) -> TransferScene:
        scene = build_transfer_scene()
        scene.provider.line.disturb = self.stop_at_control
        scene.apply()
        return scene

    @staticmethod
    def stop_at_control(name: str) -> None:
        if name == "control-accepted":
            raise KmsError(Code.PEER_UNREACHABLE, "away: try again")

    def fetch(self, scene: TransferScene, *, own_name: str = "provider", kek_kcv: bytes | None = None) -> Envelope:
        kcv = check_value(KEK, KeyType.AES256, KcvMethod.AES_CMAC)
        kek = MasterRef(b"kek.............", KeyType.AES256, kek_kcv or kcv, KcvMethod.AES_CMAC)
        with scene.provider.store.transaction() as tx:
            signing = tx.peer_keys.find_active("issuer")
        assert signing is not None
        trust = Trust(own_name, signing.public_key_der, kek)
        relay = Relay({"issuer": scene.provider.line})
        with scene.provider.vault.open_scope() as keys:
            envelope, hand_over = relay.fetch(
                scene.provider.transfer(), scene.issuer.card, trust, keys, scene.issuer.clock.now()
            )
        assert hand_over.transfer_id == scene.provider.transfer().id
        return envelope

    def test_a_good_one_is_given_with_what_it_says(self, scene: TransferScene) -> None:
        assert len(self.fetch(scene).signature) == 64

    def test_one_that_is_not_ours_is_refused(self, scene: TransferScene) -> None:
        with pytest.raises(KmsError) as error:
            self.fetch(scene, own_name="rival")
        assert error.value.code is Code.ENVELOPE_RECIPIENT

    def test_one_under_a_kek_that_was_not_agreed_is_refused(self, scene: TransferScene) -> None:
        with pytest.raises(KmsError) as error:
            self.fetch(scene, kek_kcv=bytes(5))
        assert error.value.code is Code.ENVELOPE_KEK

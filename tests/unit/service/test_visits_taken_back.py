"""A factory set that a lying terminal let the record believe deleted: the card is reached by it all the same."""

from kms.card.profile import CardProfile
from kms.domain.keys import Delivery, KeyState
from kms.domain.orders import Order
from kms.domain.updates import UpdateState
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.model import CardState
from terminal.virtual_card.personality import Personality
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene

SELECT, DELETE, GET_DATA = 0xA4, 0xE4, 0xCA


class Swapping(VirtualCard):
    """The scene's card behind a terminal that selects the SSD whatever it was told to select."""

    def __init__(self, scene: Scene) -> None:
        self._card = scene.card

    @property
    def state(self) -> CardState:
        return self._card.state

    def reset(self) -> None:
        self._card.reset()

    def transmit(self, command: bytes) -> bytes:
        if command[1] != SELECT:
            return self._card.transmit(command)
        self._card.transmit(bytes([0, SELECT, 4, 0, len(SSD_AID)]) + SSD_AID + b"\x00")
        return b"\x90\x00"


def test_an_isd_whose_new_keys_went_elsewhere_is_reached_by_its_factory_set() -> None:
    scene = build_scene(scp_i=0x15, kvn=0xFF, profile=CardProfile(name="default", initial_key_route="put-key"))
    scene.visit(scene.agent(tamper=lambda order, got: got if order.number < 2 else [b"" for _ in got]), scene.apply())
    scene.force(ISD_AID)
    scene.visit(scene.agent(card=Swapping(scene)))
    assert (scene.card.kvns(ISD_AID), scene.issuer.sets_in_force(ISD_AID)) == ([0xFF], [0x21])  # the lie is believed
    while scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING:
        scene.visit()
    scene.force(ISD_AID)
    scene.visit()
    assert scene.visit() == "done"
    assert scene.card.kvns(ISD_AID) == scene.issuer.sets_in_force(ISD_AID) == [0x22]


def test_a_factory_set_whose_deletion_was_withheld_is_deleted_once_it_is_seen() -> None:
    scene = build_scene(kvn=0xFF, personality=Personality(keep_factory_set=True))
    scene.force(ISD_AID)
    agent = scene.agent()
    transmit = scene.card.transmit
    template = bytes.fromhex("E012C00401218010C00402218010C0040321801090009000")[:-2]

    def withhold(commands: list[bytes]) -> list[bytes]:
        forged = {DELETE: b"\x90\x00", GET_DATA: template}
        return [forged.get(command[1]) or transmit(command) for command in commands]

    agent.transmit = withhold  # type: ignore[assignment,method-assign] # the terminal answers for the card
    assert scene.visit(agent) == "done"
    assert scene.card.kvns(ISD_AID) == [0xFF, 0x21]
    scene.force(ISD_AID)

    def break_once(order: Order, answers: list[bytes]) -> list[bytes]:
        return [b"" for _ in answers] if order.number == 2 else answers

    assert scene.visit(scene.agent(tamper=break_once)) == "done"
    factory = scene.issuer.key_sets(ISD_AID)
    assert [(s.kvn, s.delivery, s.state) for s in factory if s.kvn == 0xFF] == [
        (0xFF, Delivery.REPLACED, KeyState.DEACTIVATED)
    ]
    assert scene.card.kvns(ISD_AID) == [0x22]

"""Cards that lie: refused with the reason, both key sets kept until one is proved, terminal or card set aside."""

from typing import Any

import pytest

from kms.card.keys import KeyType
from kms.domain.cards import CardState
from kms.domain.keys import Delivery
from kms.domain.updates import UpdateState
from kms.domain.visits import TerminalState
from tests.fakes.lying_card import Lie, LyingCard, Told
from tests.fakes.scene import SSD_AID, Scene, build_scene

AES128: dict[str, Any] = {"scp_i": None, "vendor_type": KeyType.AES128}
AES256: dict[str, Any] = {"scp_i": None, "vendor_type": KeyType.AES256, "ssd_key_type": KeyType.AES256}
CARDS: dict[str, dict[str, Any]] = {
    "SCP02 i=55": {"ssd_key_type": KeyType.DES2},
    "SCP03 i=70": AES128 | {"scp03_i": 0x70},
    "SCP03 i=71, AES-256": AES256 | {"scp03_i": 0x71},
}
OTHER_KEYS = "the card answered under other keys"
OTHER_CHALLENGE = "the card challenge is not what i="
OTHER_CHECK_VALUE = "was answered with another check value"
OTHER_VERSION = "asked for key version"
WRONG_R_MAC = "R-MAC is wrong or missing"
REASONS = {
    Lie.CRYPTOGRAM: {"SCP02": OTHER_KEYS, "SCP03": OTHER_KEYS},
    # SCP02's counter makes the session keys; SCP03's makes the card challenge.
    Lie.COUNTER: {"SCP02": OTHER_KEYS, "SCP03": OTHER_CHALLENGE},
    Lie.KVN: {"SCP02": OTHER_VERSION, "SCP03": OTHER_VERSION},
    Lie.KCV: {"SCP02": OTHER_CHECK_VALUE, "SCP03": OTHER_CHECK_VALUE},
    Lie.R_MAC: {"SCP03": WRONG_R_MAC},
}
CASES = [(name, lie) for lie, reasons in REASONS.items() for name in CARDS if name[:5] in reasons]


def build_liar(name: str) -> tuple[Scene, LyingCard, int]:
    """A card under operative keys with an update pending, and the version of these keys."""
    scene = build_scene(**CARDS[name])
    scene.make_ssd()
    card = LyingCard(scene.card.state)
    scene.card = card
    scene.force()
    return scene, card, card.kvns(SSD_AID)[0]


def last_deliveries(scene: Scene) -> list[Delivery]:
    return [item.delivery for item in scene.issuer.key_sets(SSD_AID)][-2:]


@pytest.mark.parametrize(("name", "lie"), CASES)
def test_a_lie_at_the_proof_is_told_with_its_reason_and_both_sets_stay_until_one_is_proved(name: str, lie: Lie) -> None:
    scene, card, old = build_liar(name)
    is_about_session = lie in {Lie.CRYPTOGRAM, Lie.COUNTER, Lie.KVN}
    card.told = Told(lie, old + 1 if is_about_session else None)
    said = scene.visit(session="lied to")
    assert card.lies
    assert any(REASONS[lie][name[:5]] in event.text for event in scene.events("lied to"))
    assert "key-set.doubt" in scene.issuer.audit_actions()
    if is_about_session:
        assert said != "done"
        assert last_deliveries(scene) == [Delivery.PROVED, Delivery.IN_DOUBT]
    else:
        # What was said of PUT KEY settles nothing: the set is in doubt until a cryptogram under it proves it.
        assert "reconciled" in scene.journal("lied to")
        assert last_deliveries(scene) == [Delivery.REPLACED, Delivery.PROVED]
    card.told = None
    scene.assert_reached(visits=3)
    scene.assert_not_set_aside()


@pytest.mark.parametrize(("name", "lie"), [case for case in CASES if case[1] not in {Lie.KCV, Lie.R_MAC}])
def test_a_lie_about_the_session_is_never_answered_and_changes_nothing(name: str, lie: Lie) -> None:
    scene, card, _old = build_liar(name)
    card.told = Told(lie)
    assert scene.visit() != "done"
    assert card.count(0x82) == 0
    assert card.count(0xD8) == 0
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING
    assert last_deliveries(scene)[0] is Delivery.PROVED
    card.told = None
    scene.assert_reached(visits=3)


@pytest.mark.parametrize("name", CARDS)
def test_a_card_that_keeps_to_a_wrong_cryptogram_suspends_the_terminal_and_at_a_second_one_is_set_aside(
    name: str,
) -> None:
    scene, card, _old = build_liar(name)
    card.told = Told(Lie.CRYPTOGRAM)
    for _ in range(2):
        scene.visit()
        assert scene.terminal_state() is TerminalState.ENROLLED
    assert "suspended" in scene.visit()
    assert scene.terminal_state() is TerminalState.SUSPENDED
    scene.assert_not_set_aside()
    assert "set aside" in scene.visit(scene.agent(terminal=scene.issuer.other_terminal))
    assert scene.issuer.current_card().state is CardState.QUARANTINED
    assert card.count(0x82) == 0

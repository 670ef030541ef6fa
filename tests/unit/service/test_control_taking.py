"""What a provider takes; the whole exchange is walked in test_transfers.py and test_transfers_rekey.py."""

import pytest

from kms.domain.transfers import Transfer
from kms.errors import Code, KmsError
from kms.service.control_taking import ControlTaking, find_unproved_hand_over
from kms.service.relay import Relay
from tests.fakes.scene import SSD_AID, build_scene
from tests.unit.service.test_adopting import build_settling


def test_without_exchanged_keys_nothing_is_fetched() -> None:
    scene = build_scene()
    settling, record = build_settling(scene)
    taking = ControlTaking(settling, "issuer", lambda _kind, _text: None)
    transfer = Transfer.__new__(Transfer)
    object.__setattr__(transfer, "peer", "nobody")
    with scene.issuer.vault.open_scope() as keys, pytest.raises(KmsError) as error:
        taking.receive(Relay({}), transfer, keys)
    assert error.value.code is Code.KEY_MISSING
    assert record.key_sets


def test_keys_of_our_own_are_nobodys_word() -> None:
    scene = build_scene()
    scene.make_ssd()
    _, record = build_settling(scene)
    domain = record.domains[scene.issuer.domain(SSD_AID).id]
    assert find_unproved_hand_over(record, domain) is None

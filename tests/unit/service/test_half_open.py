from kms.card.channel_state import Handshake
from kms.card.programs.reconcile import Reconcile
from kms.card.programs.replace_keys import ReplaceKeys
from kms.service.half_open import HalfOpen, continues
from tests.unit.card.programs.runner import SSD_AID, create_ssd, our_set, parameters, vendor_set

HANDSHAKE = Handshake(bytes(8), bytes(10), 0x01, 2, None, 0, bytes(6), bytes(8))


def test_a_program_goes_on_under_the_same_set_of_the_same_security_domain_alone() -> None:
    aid = parameters().aid
    replacement = ReplaceKeys(parameters(), vendor_set(), our_set(1))
    assert continues(replacement, HalfOpen(aid, "vendor", HANDSHAKE))
    assert not continues(replacement, HalfOpen(aid, "isd 1", HANDSHAKE))
    assert not continues(replacement, HalfOpen(SSD_AID, "vendor", HANDSHAKE))
    assert continues(create_ssd(), HalfOpen(aid, "vendor", HANDSHAKE))


def test_what_asks_begins_anew() -> None:
    question = Reconcile(parameters(), (vendor_set(),))
    assert not continues(question, HalfOpen(parameters().aid, "vendor", HANDSHAKE))

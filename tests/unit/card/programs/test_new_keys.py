from kms.card.channel import open_channel
from kms.card.keys import KcvMethod
from kms.card.programs.base import build_opening, parse_opening
from kms.card.programs.new_keys import build_initial_keys, build_put_key_fields, wrap_key_set
from tests.fakes.software_keys import open_software_scope
from tests.unit.card.programs.runner import CHALLENGE, MASTERS, build_card, initial_set, our_set, parameters, vendor_set


def open_on_a_card() -> object:
    card = build_card()
    batch = build_opening(parameters(), 0x01, CHALLENGE)
    return parse_opening([card.transmit(c) for c in batch.commands], CHALLENGE, parameters(), 0x01)


def test_three_different_keys_are_wrapped_with_their_check_values_and_never_shown() -> None:
    handshake = open_on_a_card()
    with open_software_scope(MASTERS) as keys:
        channel = open_channel(keys, vendor_set().ref, handshake, parameters())  # type: ignore[arg-type] # a Handshake
        wrapped = wrap_key_set(keys, channel, our_set(1).ref)
    assert [key.role.kid for key in wrapped] == [1, 2, 3]
    assert len({key.block for key in wrapped}) == len({key.kcv for key in wrapped}) == 3
    assert all(len(key.block) == 16 and len(key.kcv) == 3 for key in wrapped)
    assert wrapped[0].block.hex() not in repr(wrapped)


def test_both_ways_in_carry_the_same_check_values_for_the_same_set() -> None:
    handshake = open_on_a_card()
    with open_software_scope(MASTERS) as keys:
        channel = open_channel(keys, vendor_set().ref, handshake, parameters())  # type: ignore[arg-type] # a Handshake
        fields, put = build_put_key_fields(keys, channel, initial_set().ref, "first", "long")
        initial, stored = build_initial_keys(keys, channel, initial_set().ref, "first")
    assert put == stored
    assert put.kcv_method is KcvMethod.DES_ZERO
    assert [key.kcv for key in initial] == list(put.kcvs)
    assert len(fields) == len(initial) == 3
    assert {key.kvn for key in initial} == {0x20}

"""PUT KEY: adding, replacing, atomicity, every block form, every refusal."""

from dataclasses import replace

import pytest

from terminal.virtual_card import AesKeyForm, Personality, VirtualCard, build_factory_state
from tests.unit.terminal.virtual_card.host import (
    FACTORY_KEYS,
    KEY,
    NEW_KEYS,
    SSD_AID,
    Host,
    aes_kcv,
    apdu,
    des_kcv,
    ecb,
    sw_of,
)
from tests.unit.terminal.virtual_card.host03 import Host03, make_card, make_keys


def key_versions(card: VirtualCard) -> list[int]:
    return [key_set.kvn for key_set in card.state.isd.key_sets]


def test_add_answers_version_and_check_values_and_the_new_set_works(card: VirtualCard, host: Host) -> None:
    body, sw = host.put_keys(0x00, 0x20)
    assert sw == "9000"
    assert body == b"\x20" + b"".join(des_kcv(key) for key in NEW_KEYS)
    assert key_versions(card) == [0x01, 0x20]
    Host(card, NEW_KEYS).open(0x03, kvn=0x20)
    Host(card).open(0x03, kvn=0x01)


@pytest.mark.parametrize("new_kvn", [0x01, 0x21])
def test_replace_ends_the_old_keys_at_once(card: VirtualCard, host: Host, new_kvn: int) -> None:
    assert host.put_keys(0x01, new_kvn)[1] == "9000"
    assert key_versions(card) == [new_kvn]
    Host(card, NEW_KEYS).open(0x01, kvn=new_kvn)
    old = Host(card)
    assert old.initialize() == "9000"
    assert old.card_cryptogram != old.initialize_response[20:28]


def test_replacing_resets_the_counter_and_the_session_goes_on(card: VirtualCard, host: Host) -> None:
    assert card.state.isd.key_sets[0].sequence_counter == 1
    assert host.put_keys(0x01, 0x01)[1] == "9000"
    assert card.state.isd.key_sets[0].sequence_counter == 0
    assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "9000"


def test_a_single_key_keeps_its_place_in_the_set(card: VirtualCard, host: Host) -> None:
    body, sw = host.send(0xD8, 0x01, 0x02, b"\x01" + host.key_field(NEW_KEYS[1]))
    assert (body, sw) == (b"\x01" + des_kcv(NEW_KEYS[1]), "9000")
    Host(card, (KEY, NEW_KEYS[1], KEY)).open(0x01)


def test_three_single_keys_move_a_set_to_a_new_version(card: VirtualCard, host: Host) -> None:
    for kid, key in enumerate(NEW_KEYS, start=1):
        assert host.sw(0xD8, 0x01, kid, b"\x22" + host.key_field(key)) == "9000"
    assert key_versions(card) == [0x22]
    Host(card, NEW_KEYS).open(0x03)


def test_a_wrong_check_value_of_the_last_key_changes_nothing(card: VirtualCard, host: Host) -> None:
    before = card.state
    fields = b"".join(host.key_field(key) for key in NEW_KEYS)
    assert host.sw(0xD8, 0x01, 0x81, b"\x01" + fields[:-1] + bytes([fields[-1] ^ 1])) == "6982"
    assert card.state == before
    assert host.put_keys(0x01, 0x01)[1] == "9000"


@pytest.mark.parametrize(
    ("p1p2", "new", "sw"),
    [
        ("0581", 0x05, "6A88"),  # the version to replace is absent
        ("0081", 0x01, "6A80"),  # the version to add is there
        ("0081", 0x00, "6A80"),
        ("0081", 0x80, "6A80"),
        ("0081", 0xFF, "6A80"),  # FF names no set that can be loaded
        ("FF81", 0x20, "6A86"),  # b8 of P1 asks for a chain
        ("8181", 0x20, "6A86"),
        ("0080", 0x20, "6A86"),  # key identifier 0
        ("00FE", 0x20, "6A86"),  # identifiers would pass 7F
        ("0001", 0x20, "6A80"),  # several keys without the bit that says so
        ("0184", 0x20, "6A88"),  # identifiers 4 to 6 are absent
    ],
)
def test_refusals_change_nothing(card: VirtualCard, host: Host, p1p2: str, new: int, sw: str) -> None:
    before = card.state
    fields = b"".join(host.key_field(key) for key in NEW_KEYS)
    p1, p2 = bytes.fromhex(p1p2)
    assert host.sw(0xD8, p1, p2, bytes([new]) + fields) == sw
    assert card.state == before
    assert host.put_keys(0x00, 0x20)[1] == "9000"


@pytest.mark.parametrize("cut", [1, 2, 3, 20, 22, 66])
def test_data_cut_short_is_6a80(host: Host, cut: int) -> None:
    data = b"\x20" + b"".join(host.key_field(key) for key in NEW_KEYS)
    assert host.sw(0xD8, 0x00, 0x81, data[:cut]) == "6A80"
    assert host.sw(0xD8, 0x00, 0x81, data + b"\x80") == "6A80"


@pytest.mark.parametrize("length", ["10", "8110", "820010", "83000010"])
def test_every_length_form_is_read(card: VirtualCard, host: Host, length: str) -> None:
    block = ecb(host.session_keys["DEK"], NEW_KEYS[0])
    data = b"\x20\x80" + bytes.fromhex(length) + block + b"\x03" + des_kcv(NEW_KEYS[0])
    assert host.sw(0xD8, 0x00, 0x01, data) == "9000"
    assert key_versions(card) == [0x01, 0x20]


def test_a_length_of_128_may_be_written_as_80_but_no_key_is_that_long(host: Host) -> None:
    data = b"\x20\x80\x80" + bytes(128) + b"\x03\x00\x00\x00"
    assert host.sw(0xD8, 0x00, 0x01, data) == "6A80"


def test_a_missing_check_value_is_refused(host: Host) -> None:
    block = ecb(host.session_keys["DEK"], NEW_KEYS[0])
    assert host.sw(0xD8, 0x00, 0x01, b"\x20\x80\x10" + block + b"\x00") == "6A80"


@pytest.mark.parametrize(
    ("size", "form"),
    [(16, "8811 10"), (16, "8810"), (24, "8819 18"), (24, "8821 18"), (24, "8818"), (32, "8821 20"), (32, "8820")],
)
def test_aes_keys_in_both_block_forms(card: VirtualCard, host: Host, size: int, form: str) -> None:
    key = bytes(range(size))
    plain = key.ljust(32, b"\x80") if form == "8821 18" else key
    data = b"\x30" + bytes.fromhex(form) + ecb(host.session_keys["DEK"], plain) + b"\x03" + aes_kcv(key)
    body, sw = host.send(0xD8, 0x00, 0x01, data)
    assert (body, sw) == (b"\x30" + aes_kcv(key), "9000")
    stored = card.state.isd.key_sets[1].find_key(1)
    assert stored is not None
    assert stored.value == key
    assert host.send(0xCA, 0x00, 0xE0)[0].endswith(bytes([0xC0, 4, 1, 0x30, 0x88, size]))


def test_the_extended_format_is_read(host: Host) -> None:
    block = ecb(host.session_keys["DEK"], NEW_KEYS[0])
    data = b"\x20\xff\x80\x10" + block + b"\x03" + des_kcv(NEW_KEYS[0]) + bytes.fromhex("0118 0100")
    assert host.sw(0xD8, 0x00, 0x01, data) == "9000"


@pytest.mark.parametrize("key_type", ["81", "85", "A0", "00"])
def test_unknown_key_types_are_refused(host: Host, key_type: str) -> None:
    data = b"\x20" + bytes.fromhex(key_type) + b"\x10" + ecb(host.session_keys["DEK"], KEY) + b"\x03" + des_kcv(KEY)
    assert host.sw(0xD8, 0x00, 0x01, data) == "6A80"


def test_a_replacement_keeps_algorithm_and_length(card: VirtualCard, host: Host) -> None:
    before = card.state
    aes = b"\x01\x88\x11\x10" + ecb(host.session_keys["DEK"], KEY) + b"\x03" + aes_kcv(KEY)
    assert host.sw(0xD8, 0x01, 0x01, aes) == "6A80"
    long_key = bytes(range(24))
    des = b"\x01\x80\x18" + ecb(host.session_keys["DEK"], long_key) + b"\x03" + des_kcv(long_key)
    assert host.sw(0xD8, 0x01, 0x01, des) == "6A80"
    assert card.state == before


@pytest.mark.parametrize(("keeps", "left"), [(False, [0x20]), (True, [0xFF, 0x20])])
def test_a_factory_set_goes_with_the_first_other_set_unless_the_product_keeps_it(keeps: bool, left: list[int]) -> None:
    card = VirtualCard(build_factory_state(kvn=0xFF), Personality(keep_factory_set=keeps))
    host = Host(card).open(0x03, kvn=0xFF)
    assert host.sw(0xD8, 0x00, 0x01, b"\x20" + host.key_field(NEW_KEYS[0])) == "9000"
    assert key_versions(card) == [0xFF, 0x20]
    for kid in (2, 3):
        assert host.sw(0xD8, 0x00, kid, b"\x20" + host.key_field(NEW_KEYS[kid - 1])) == "9000"
    assert key_versions(card) == left


def test_no_room_is_6a84(card: VirtualCard) -> None:
    card = VirtualCard(card.state, Personality(max_key_sets=2))
    host = Host(card).open(0x03)
    assert host.put_keys(0x00, 0x20)[1] == "9000"
    assert host.put_keys(0x00, 0x21)[1] == "6A84"
    assert host.put_keys(0x20, 0x21)[1] == "9000"


def test_a_keyless_domain_gets_keys_under_its_parents_channel(card: VirtualCard, ssd_host: Host) -> None:
    domain = card.state.find_domain(SSD_AID)
    assert domain is not None
    assert domain.life_cycle == 0x0F
    assert [key_set.kvn for key_set in domain.key_sets] == [0x20]
    assert ssd_host.put_keys(0x20, 0x21, FACTORY_KEYS)[1] == "9000"
    Host(card).open(0x03, kvn=0x21, aid=SSD_AID)


def test_without_a_session_it_is_6982(card: VirtualCard) -> None:
    assert sw_of(card.transmit(apdu(0x80, 0xD8, 0x00, 0x81, bytes(67)))) == "6982"


def test_empty_data_is_refused(host: Host) -> None:
    assert host.sw(0xD8, 0x00, 0x81) == "6A80"
    assert host.sw(0xD8, 0x00, 0x81, b"\x20") == "6A80"


def test_a_moved_counter_does_not_come_back_with_the_same_session(card: VirtualCard) -> None:
    state = card.state
    counted = replace(state.isd.key_sets[0], sequence_counter=0x0102)
    card = VirtualCard(state.with_domain(state.isd.with_key_set(counted)))
    Host(card).open(0x01)
    assert card.state.isd.key_sets[0].sequence_counter == 0x0103


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("length", [16, 24, 32])
def test_aes_sets_over_scp03_are_added_and_open_their_own_channel(length: int, short: bool) -> None:
    new_keys = make_keys(length, 0x90)
    host = Host03(make_card()).open(0x33)
    if short and length == 24:
        assert host.put_aes(0x00, 0x31, new_keys, short=True)[1] == "6982"  # read as keys of 32 bytes
        return
    body, sw = host.put_aes(0x00, 0x31, new_keys, short=short)
    assert (body, sw) == (b"\x31" + b"".join(aes_kcv(key) for key in new_keys), "9000")
    assert key_versions(host.card) == [0x30, 0x31]
    Host03(host.card, new_keys).open(0x33, 0x31)
    host.open(0x33, 0x30)


@pytest.mark.parametrize(
    ("form", "short", "sw"),
    [
        (AesKeyForm.LONG, False, "9000"),
        (AesKeyForm.LONG, True, "6A88"),
        (AesKeyForm.SHORT, True, "9000"),
        (AesKeyForm.SHORT, False, "6A88"),
    ],
)
def test_a_product_that_knows_one_form_of_aes_keys(form: AesKeyForm, short: bool, sw: str) -> None:
    host = Host03(make_card(personality=Personality(aes_key_form=form))).open(0x03)
    assert host.put_aes(0x30, 0x31, short=short)[1] == sw
    assert key_versions(host.card) == [0x31 if sw == "9000" else 0x30]


def test_a_padded_key_comes_with_its_length_in_either_form() -> None:
    host = Host03(make_card(personality=Personality(aes_key_form=AesKeyForm.SHORT))).open(0x03)
    assert host.put_aes(0x00, 0x31, make_keys(24, 0x90))[1] == "9000"


def test_an_aes_set_is_replaced_by_one_of_its_length_only() -> None:
    longer = make_keys(32, 0x90)
    host = Host03(make_card()).open(0x33)
    assert host.put_aes(0x30, 0x30, longer)[1] == "6A80"
    assert host.put_aes(0x30, 0x30)[1] == "9000"
    lenient = Host03(make_card(personality=Personality(replaces_other_lengths=True))).open(0x33)
    assert lenient.put_aes(0x30, 0x30, longer)[1] == "9000"
    Host03(lenient.card, longer).open(0x33)


def test_the_counter_of_an_aes_set_starts_again_when_the_whole_set_is_replaced() -> None:
    card = make_card(sequence_counter=7)
    host = Host03(card).open(0x33)
    assert host.sw(0xD8, 0x30, 0x02, b"\x30" + host.aes_field(host.keys[1])) == "9000"
    assert card.state.isd.key_sets[0].sequence_counter == 8
    assert host.put_aes(0x30, 0x30, host.keys)[1] == "9000"
    assert card.state.isd.key_sets[0].sequence_counter == 0


def test_a_des_set_over_scp03_opens_scp02_where_the_card_speaks_it() -> None:
    host = Host03(make_card(scp02_i=0x55)).open(0x33)
    body, sw = host.put_keys(0x00, 0x20, [host.des_field(key) for key in NEW_KEYS])
    assert (body, sw) == (b"\x20" + b"".join(des_kcv(key) for key in NEW_KEYS), "9000")
    Host(host.card, NEW_KEYS).open(0x03, 0x20)
    only_scp03 = Host03(make_card()).open(0x33)
    assert only_scp03.put_keys(0x00, 0x20, [only_scp03.des_field(key) for key in NEW_KEYS])[1] == "9000"
    assert Host(only_scp03.card, NEW_KEYS).initialize(0x20) == "6985"


@pytest.mark.parametrize("kvn", [0x30, 0x31])
def test_a_des_set_is_never_replaced_by_aes_keys(kvn: int) -> None:
    host = Host03(make_card(scp02_i=0x55)).open(0x33)
    assert host.put_keys(0x00, 0x20, [host.des_field(key) for key in NEW_KEYS])[1] == "9000"
    assert host.put_aes(0x20, kvn)[1] == "6A80"
    assert key_versions(host.card) == [0x30, 0x20]


def test_a_wrong_check_value_over_scp03_changes_nothing() -> None:
    host = Host03(make_card()).open(0x33)
    before = host.card.state.isd.key_sets[0].keys
    fields = [host.aes_field(key) for key in host.keys]
    assert host.put_keys(0x30, 0x30, [*fields[:2], host.aes_field(host.keys[2], kcv=bytes(3))])[1] == "6982"
    assert host.card.state.isd.key_sets[0].keys == before


def test_an_aes_factory_set_goes_with_the_first_of_its_own() -> None:
    host = Host03(make_card(kvn=0xFF)).open(0x33)
    assert host.put_aes(0x00, 0x30)[1] == "9000"
    assert key_versions(host.card) == [0x30]
    Host03(host.card, make_keys(16, 0x90)).open(0x33)

"""The programs on cards of AES keys, and on cards that go from triple DES to AES."""

from collections.abc import Callable

import pytest

from kms.card.channel import ChannelParameters
from kms.card.keys import KeyType
from kms.card.programs.base import Batch, Broken, Candidate, Finished, Mismatch, Reconciled
from kms.card.programs.create_ssd import CreateSsd, SsdRecipe
from kms.card.programs.delete_keys import DeleteKeys
from kms.card.programs.reconcile import Reconcile
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.state import start
from kms.errors import Code, KmsError
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.personality import AesKeyForm, Personality, build_factory_state
from tests.fakes.software_keys import SoftwareKeys
from tests.unit.card.programs.runner import (
    CHALLENGE,
    MASTERS,
    SSD_AID,
    aes_vendor_set,
    answer,
    build_aes_card,
    build_card,
    initial_set,
    kvns,
    our_set,
    parameters,
    run,
    scp03_parameters,
    vendor_set,
)

OPTIONS = (0x00, 0x10, 0x20, 0x30, 0x60, 0x70, 0x01, 0x11, 0x21, 0x31, 0x61, 0x71)
LEVELS = (0x01, 0x03, 0x11, 0x13, 0x33)
AES_TYPES = {16: KeyType.AES128, 24: KeyType.AES192, 32: KeyType.AES256}


def offers(scp_i: int, level: int) -> bool:
    return (not level & 0x10 or bool(scp_i & 0x20)) and (not level & 0x20 or scp_i & 0x60 == 0x60)


def our_aes_set(generation: int, key_type: KeyType = KeyType.AES128) -> Candidate:
    return our_set(generation, key_type=key_type)


@pytest.mark.parametrize(("scp_i", "level"), [(i, level) for i in OPTIONS for level in LEVELS if offers(i, level)])
def test_a_replacement_is_two_batches_five_commands_and_a_proof_on_every_option_and_level(
    scp_i: int, level: int
) -> None:
    card = build_aes_card(scp_i=scp_i)
    done = run(ReplaceKeys(scp03_parameters(scp_i=scp_i, level=level), aes_vendor_set(), our_aes_set(1)), card)
    assert isinstance(done.outcome, Finished)
    assert done.instructions == [["A4", "50"], ["82", "D8", "50"]]
    assert [evidence.label for evidence in done.proved] == ["vendor", "isd 1"]
    assert kvns(card) == [0x31]


@pytest.mark.parametrize("length", list(AES_TYPES))
@pytest.mark.parametrize("scp_i", [0x70, 0x71])
@pytest.mark.parametrize(
    ("form", "accepted"), [("long", AesKeyForm.LONG), ("short", AesKeyForm.SHORT)], ids=["long", "short"]
)
def test_keys_of_every_length_go_in_by_both_block_forms(
    length: int, scp_i: int, form: str, accepted: AesKeyForm
) -> None:
    card = build_aes_card(length, scp_i, personality=Personality(aes_key_form=accepted))
    done = run(
        ReplaceKeys(
            scp03_parameters(scp_i=scp_i),
            aes_vendor_set(length),
            our_aes_set(1, AES_TYPES[length]),
            aes_block_form=form,  # type: ignore[arg-type] # one of the two
        ),
        card,
    )
    assert isinstance(done.outcome, Finished)
    assert kvns(card) == [0x31]


@pytest.mark.parametrize("length", list(AES_TYPES))
def test_aes_keys_take_the_place_of_triple_des_keys_and_are_proved_by_their_own_protocol(length: int) -> None:
    card = VirtualCard(build_factory_state(scp02_i=0x55, scp03_i=0x71))
    new, scp03 = our_aes_set(1, AES_TYPES[length]), scp03_parameters(scp_i=0x71)
    moved = run(ReplaceKeys(parameters(), vendor_set(), new, add=True, new_parameters=scp03), card)
    assert isinstance(moved.outcome, Finished)
    assert [evidence.label for evidence in moved.proved] == ["vendor", "isd 1"]
    assert kvns(card) == [0x01, 0x31]

    deleted = run(DeleteKeys(scp03, new, 0x01), card, handshake=moved.outcome.handshake)
    assert deleted.instructions == [["82", "E4", "CA"]]
    assert isinstance(deleted.outcome, Finished)
    assert deleted.outcome.authenticated
    assert kvns(card) == [0x31]


def test_triple_des_keys_go_in_over_scp03_as_well() -> None:
    keys = build_aes_card(16).state.isd.key_sets[0].keys
    state = build_factory_state(
        (keys[0].value, keys[1].value, keys[2].value), key_type=0x88, scp02_i=0x55, scp03_i=0x70
    )
    card = VirtualCard(state)
    done = run(
        ReplaceKeys(scp03_parameters(), aes_vendor_set(), our_set(1), add=True, new_parameters=parameters()), card
    )
    assert isinstance(done.outcome, Finished)
    assert kvns(card) == [0x01, 0x21]


@pytest.mark.parametrize("new", [our_aes_set(1, KeyType.AES256), our_set(1)], ids=["other length", "other algorithm"])
def test_a_set_is_never_replaced_by_one_of_another_type(new: Candidate) -> None:
    program = ReplaceKeys(scp03_parameters(), aes_vendor_set(), new, new_parameters=parameters())
    card = build_aes_card()
    with pytest.raises(KmsError) as caught:
        run(program, card)
    assert caught.value.code is Code.INPUT_INVALID
    assert kvns(card) == [0x01]


@pytest.mark.parametrize("scp_i", [0x00, 0x70, 0x71])
@pytest.mark.parametrize(("length", "initial_type"), [(16, KeyType.AES128), (32, KeyType.AES256)])
@pytest.mark.parametrize("route", ["store-data", "put-key"])
def test_an_ssd_gets_its_initial_keys_over_scp03(scp_i: int, length: int, initial_type: KeyType, route: str) -> None:
    card = build_aes_card(length, scp_i)
    level = 0x33 if scp_i & 0x60 else 0x03
    recipe = SsdRecipe(
        aid=SSD_AID,
        load_file_aid=bytes.fromhex("A0000001515350"),
        module_aid=bytes.fromhex("A000000151535041"),
        privileges=b"\x80",
        install_parameters=bytes.fromhex("C900"),
        route=route,  # type: ignore[arg-type] # one of the two
        max_command_data=247,
    )
    program = CreateSsd(
        scp03_parameters(scp_i=scp_i, level=level), recipe, aes_vendor_set(length), initial_set(initial_type)
    )
    done = run(program, card)
    assert isinstance(done.outcome, Finished)
    assert kvns(card, SSD_AID) == [0x30]
    assert [evidence.label for evidence in done.proved][-1] == "ssd-initial 0"


def test_an_aes_ssd_is_made_on_a_card_whose_issuer_has_triple_des_keys() -> None:
    card = VirtualCard(build_factory_state(scp02_i=0x55, scp03_i=0x70))
    recipe = SsdRecipe(
        SSD_AID, bytes.fromhex("A0000001515350"), bytes.fromhex("A000000151535041"), b"\x80", bytes.fromhex("C900")
    )
    program = CreateSsd(
        parameters(),
        recipe,
        vendor_set(),
        initial_set(KeyType.AES256),
        initial_parameters=scp03_parameters(SSD_AID),
    )
    assert isinstance(run(program, card).outcome, Finished)
    assert kvns(card, SSD_AID) == [0x30]


def test_reconcile_asks_each_candidate_by_its_own_protocol() -> None:
    card = VirtualCard(build_factory_state(scp02_i=0x55, scp03_i=0x71))
    new, scp03 = our_aes_set(1), scp03_parameters(scp_i=0x71)
    run(ReplaceKeys(parameters(), vendor_set(), new, add=True, new_parameters=scp03), card)

    done = run(Reconcile(parameters(), (our_set(2), vendor_set(), new), others=(scp03,)), card)
    assert isinstance(done.outcome, Reconciled)
    assert [evidence.label for evidence in done.outcome.in_force] == ["vendor", "isd 1"]
    assert done.outcome.opened == "isd 1"
    assert [len(command) for command in done.batches[0].commands[2:]] == [14, 14, 22]
    on = run(ReplaceKeys(scp03, new, our_aes_set(2)), card, handshake=done.outcome.handshake)
    assert isinstance(on.outcome, Finished)
    assert on.instructions == [["82", "D8", "50"]]


def test_one_key_version_is_asked_by_both_protocols_where_either_may_hold_it() -> None:
    aes = Candidate("aes", aes_vendor_set(kvn=0x01).ref)
    for card, in_force in ((build_card(), "vendor"), (build_aes_card(), "aes")):
        done = run(Reconcile(parameters(), (vendor_set(), aes), others=(scp03_parameters(),)), card)
        assert isinstance(done.outcome, Reconciled)
        assert [evidence.label for evidence in done.outcome.in_force] == [in_force]
        assert done.outcome.mismatches == 0


# Cards and terminals that lie


def change(ins: int, edit: Callable[[bytes], bytes]) -> Callable[[Batch, list[bytes]], list[bytes]]:
    """Edit the answers to one instruction, but for those that say no."""
    return lambda batch, answers: [
        edit(said) if command[1] == ins and said[-2:] == b"\x90\x00" else said
        for command, said in zip(batch.commands, answers, strict=True)
    ]


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda said: said[:at] + bytes([said[at] ^ 1]) + said[at + 1 :]


def replace_under(how: ChannelParameters) -> ReplaceKeys:
    return ReplaceKeys(how, aes_vendor_set(), our_aes_set(1))


@pytest.mark.parametrize("scp_i", [0x70, 0x71])
@pytest.mark.parametrize(
    ("at", "kind"),
    [(10, Broken), (11, Broken), (12, Broken), (13, Mismatch), (-6, Mismatch), (-3, Broken)],
    ids=["key version", "protocol", "option", "challenge", "cryptogram", "counter"],
)
def test_a_forged_answer_to_initialize_update_is_never_authenticated_to(
    scp_i: int, at: int, kind: type[Broken] | type[Mismatch]
) -> None:
    done = run(replace_under(scp03_parameters(scp_i=scp_i)), build_aes_card(scp_i=scp_i), lie=change(0x50, flip(at)))
    assert isinstance(done.outcome, kind)
    assert not done.outcome.changed
    assert done.proved == []
    assert done.instructions == [["A4", "50"]]


def test_a_wrong_r_mac_breaks_the_program_and_leaves_the_new_set_in_doubt() -> None:
    done = run(replace_under(scp03_parameters()), build_aes_card(), lie=change(0xD8, flip(0)))
    assert isinstance(done.outcome, Broken)
    assert done.outcome.changed
    assert "R-MAC" in done.outcome.reason
    assert [evidence.label for evidence in done.proved] == ["vendor"]


def test_a_forged_list_of_keys_is_found_out_by_its_r_mac() -> None:
    shown = bytes.fromhex("E006C00401318810") + b"\x90\x00"
    card = VirtualCard(build_factory_state(scp02_i=0x55, scp03_i=0x70))
    new = our_aes_set(1)
    run(ReplaceKeys(parameters(), vendor_set(), new, add=True, new_parameters=scp03_parameters()), card)
    for level, kind in ((0x33, Broken), (0x03, Finished)):
        done = run(DeleteKeys(scp03_parameters(level=level), new, 0x01), card, lie=answer(0xCA, shown))
        assert isinstance(done.outcome, kind)
        if isinstance(done.outcome, Finished):
            assert not done.outcome.authenticated


def test_too_short_a_host_challenge_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(KmsError) as caught:
        start(replace_under(scp03_parameters(scp_i=0x71)), SoftwareKeys(MASTERS), CHALLENGE[:8])
    assert caught.value.code is Code.INPUT_INVALID


# What it costs: a call of the key port is one or more of the token, and a token on a network takes a while for each


@pytest.mark.parametrize(
    ("scp_i", "level", "calls"),
    [(0x00, 0x01, 19), (0x00, 0x03, 22), (0x60, 0x33, 29), (0x70, 0x03, 26), (0x70, 0x13, 29), (0x70, 0x33, 33)],
)
def test_the_calls_of_a_replacement_over_scp03(scp_i: int, level: int, calls: int) -> None:
    done = run(
        ReplaceKeys(scp03_parameters(scp_i=scp_i, level=level), aes_vendor_set(), our_aes_set(1)),
        build_aes_card(scp_i=scp_i),
    )
    # Finding a master costs nothing once a connection has found it.
    assert done.calls.total() - done.calls["get_master"] == calls


@pytest.mark.parametrize(("scp_i", "calls"), [(0x15, 22), (0x55, 29)])
def test_the_calls_of_a_replacement_over_scp02(scp_i: int, calls: int) -> None:
    done = run(ReplaceKeys(parameters(scp_i=scp_i), vendor_set(), our_set(1)), build_card(scp_i=scp_i))
    assert done.calls.total() - done.calls["get_master"] == calls

"""SCP03 against published exchanges, against an implementation of its own, and what is refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.card.apdu import CommandApdu, ResponseApdu, parse_command, parse_response
from kms.card.channel_state import ChannelParameters, Handshake, SecurityLevel
from kms.card.keys import KeyType
from kms.card.scp03 import (
    OPTIONS,
    Scp03Channel,
    check_card_cryptogram,
    get_max_command_data,
    open_channel,
    parse_initialize_update,
    resume_channel,
)
from kms.errors import Code, KmsError
from tests.fakes.scp03_card import Scp03Card, kdf
from tests.fakes.software_keys import RecordedKeys

ISD = bytes.fromhex("A0000005591010FFFFFFFF8900000100")
AES = {16: KeyType.AES128, 24: KeyType.AES192, 32: KeyType.AES256}
STATIC = (bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
KDD = bytes(10)
KVN = 0x30


def scope(static: tuple[bytes, bytes, bytes] = STATIC) -> RecordedKeys:
    return RecordedKeys(dict(enumerate(static, start=1)), KVN, KDD, AES[len(static[0])])


def parameters(i: int = 0x70, level: int = 0x33, aid: bytes = ISD) -> ChannelParameters:
    return ChannelParameters(3, i, SecurityLevel(level), aid)


def card(i: int = 0x70, static: tuple[bytes, bytes, bytes] = STATIC, counter: int = 5, aid: bytes = ISD) -> Scp03Card:
    size = 16 if i & 1 else 8
    challenge = kdf(static[0], 0x02, counter.to_bytes(3, "big") + aid, 8 * size) if i & 0x10 else b"\xc4" * size
    return Scp03Card(static, i, b"\x4a" * size, challenge, counter)


def handshake_of(peer: Scp03Card) -> Handshake:
    return parse_initialize_update(peer.initialize_update(KDD, KVN), peer.host_challenge)


def opened(peer: Scp03Card, how: ChannelParameters) -> tuple[RecordedKeys, Scp03Channel]:
    keys = scope(peer.static_keys)
    channel = open_channel(keys, keys.ref, handshake_of(peer), how)
    peer.authenticate(channel.external_authenticate().to_bytes())
    channel.unwrap(ResponseApdu(b"", 0x9000))
    return keys, channel


def code_of(call: Callable[[], object]) -> Code:
    with pytest.raises(KmsError) as caught:
        call()
    return caught.value.code


GET_DATA = CommandApdu(0x80, 0xCA, 0x00, 0xE0)
STORE_DATA = CommandApdu(0x80, 0xE2, 0x88, 0x00, b"\x01\x02\x03")


# Published exchanges (osmocom/pysim, tests/unittests/test_globalplatform.py)


def test_the_published_level_33_exchange_comes_out_byte_for_byte() -> None:
    keys = scope()
    answer = bytes.fromhex("000000000000000000003003703B1ACA81E821F219081CDC01C26B372D000003")
    handshake = parse_initialize_update(answer, bytes.fromhex("FDF38259A1E0DE44"))
    assert handshake.sequence_counter == 3
    channel = open_channel(keys, keys.ref, handshake, parameters())
    authenticate = channel.external_authenticate().to_bytes()
    assert authenticate.hex().upper() == "84823300108C36F96BCC00724A4E13AD591D7DA3F0"
    wrapped = channel.wrap(parse_command(bytes.fromhex("80E2910006BF3E035C015A00"))).to_bytes()
    assert wrapped.hex().upper() == "84E2910018267A85DFE4A98FCA6FB0527E0DFECCE4914E40401433C87F00"
    channel.unwrap(ResponseApdu(b"", 0x9000))
    protected = "F3BA2B1013AA6224F5E1C138D71805C569E5439B47576260B75FC021B25097CB2E68F8A0144975B99000"
    plain = channel.unwrap(parse_response(bytes.fromhex(protected)))
    assert plain.data.hex().upper() == "BF3E125A1089882119900000000000000000000005"


def test_the_published_aes_256_exchange_comes_out_byte_for_byte() -> None:
    keys = scope((STATIC[0] * 2, STATIC[1] * 2, STATIC[2] * 2))
    answer = bytes.fromhex("000000000000000000003203708682CD81BBD8919F2DE3F2664581F118000001")
    handshake = parse_initialize_update(answer, bytes.fromhex("C6066990FC426E1D"))
    channel = open_channel(keys, keys.ref, handshake, parameters(level=0x03))
    authenticate = channel.external_authenticate().to_bytes()
    assert authenticate.hex().upper() == "848203001077C493B632EDADAF865A1E64ACC07CE9"
    wrapped = channel.wrap(parse_command(bytes.fromhex("80E2910006BF3E035C015A00"))).to_bytes()
    assert wrapped.hex().upper() == "84E29100183DDAA60594963BEFAADA3525B492EDE23C2AB2C1CE3AFE4400"


# Against an implementation of its own


@st.composite
def channels(draw: st.DrawFn) -> tuple[Scp03Card, ChannelParameters]:
    i = draw(st.sampled_from(sorted(OPTIONS)))
    allowed = [0x00, 0x01, 0x03] + ([0x11, 0x13] if i & 0x20 else []) + ([0x33] if i & 0x40 else [])
    length = draw(st.sampled_from(sorted(AES)))
    key = st.binary(min_size=length, max_size=length)
    static = (draw(key), draw(key), draw(key))
    aid = draw(st.binary(min_size=5, max_size=16))
    peer = card(i, static, draw(st.integers(0, 0xFFFFFF)), aid)
    return peer, parameters(i, draw(st.sampled_from(allowed)), aid)


COMMANDS = st.lists(
    st.tuples(st.binary(max_size=223), st.binary(max_size=200), st.sampled_from([0x9000, 0x6310, 0x6285, 0x6A88])),
    max_size=4,
)


@given(channels(), COMMANDS)
def test_commands_and_answers_come_through_as_they_were(
    both: tuple[Scp03Card, ChannelParameters], commands: list[tuple[bytes, bytes, int]]
) -> None:
    peer, how = both
    _, channel = opened(peer, how)
    for number, (data, answer, sw) in enumerate(commands):
        command = CommandApdu(0x80, 0xE2, number, 0x00, data)
        plain = peer.receive(channel.wrap(command).to_bytes())
        assert plain == command.to_bytes()
        channel = resume_channel(scope(peer.static_keys), channel.state())
        said = ResponseApdu(answer if sw != 0x6A88 else b"", sw)
        assert channel.unwrap(parse_response(peer.answer(said.data, sw))) == said


@given(channels(), st.lists(st.binary(max_size=100), min_size=1, max_size=4))
def test_a_whole_batch_is_wrapped_before_its_first_answer(
    both: tuple[Scp03Card, ChannelParameters], answers: list[bytes]
) -> None:
    peer, how = both
    keys = scope(peer.static_keys)
    channel = open_channel(keys, keys.ref, handshake_of(peer), how)
    batch = [channel.external_authenticate(), *(channel.wrap(STORE_DATA) for _ in answers)]
    peer.authenticate(batch[0].to_bytes())
    later = resume_channel(scope(peer.static_keys), channel.state())
    later.unwrap(ResponseApdu(b"", 0x9000))
    for command, answer in zip(batch[1:], answers, strict=True):
        assert peer.receive(command.to_bytes()) == STORE_DATA.to_bytes()
        assert later.unwrap(parse_response(peer.answer(answer, 0x9000))).data == answer


# The card's answer


@pytest.mark.parametrize(
    ("i", "length"), [(0x00, 29), (0x20, 29), (0x60, 29), (0x10, 32), (0x70, 32), (0x01, 45), (0x61, 45), (0x71, 48)]
)
def test_the_answer_has_the_length_of_its_option(i: int, length: int) -> None:
    peer = card(i)
    data = peer.initialize_update(KDD, KVN)
    assert len(data) == length
    answer = handshake_of(peer)
    assert (answer.i, answer.kvn, answer.sequence_counter) == (i, KVN, 5 if i & 0x10 else 0)
    for wrong in (data[:-1], data + b"\x00", data[:12], b""):
        with pytest.raises(KmsError) as caught:
            parse_initialize_update(wrong, peer.host_challenge)
        assert caught.value.code is Code.CARD_PROTOCOL


def test_an_answer_of_another_protocol_or_mode_is_refused() -> None:
    data = card().initialize_update(KDD, KVN)
    marked = data[:11] + b"\x02" + data[12:]
    assert code_of(lambda: parse_initialize_update(marked, bytes(8))) is Code.CARD_PROTOCOL
    # An S8 answer to a challenge of 16 bytes: as long as S16's, but it says what it is.
    stretched = data[:12] + b"\x60" + bytes(32)
    assert code_of(lambda: parse_initialize_update(stretched, bytes(16))) is Code.CARD_PROTOCOL


@pytest.mark.parametrize("length", [0, 7, 9, 15, 32])
def test_a_host_challenge_of_another_length_is_refused(length: int) -> None:
    data = card().initialize_update(KDD, KVN)
    assert code_of(lambda: parse_initialize_update(data, bytes(length))) is Code.INPUT_INVALID


@pytest.mark.parametrize("i", [0x00, 0x70, 0x01, 0x71])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda right: replace(right, card_cryptogram=bytes(len(right.card_cryptogram))),
        lambda right: replace(right, card_challenge=bytes(len(right.card_challenge))),
        lambda right: replace(right, host_challenge=bytes(len(right.host_challenge))),
    ],
    ids=["cryptogram", "card challenge", "host challenge"],
)
def test_a_wrong_cryptogram_or_challenge_opens_nothing(i: int, spoil: Callable[[Handshake], Handshake]) -> None:
    wrong = spoil(handshake_of(card(i)))
    keys = scope()
    assert code_of(lambda: check_card_cryptogram(keys, keys.ref, wrong, parameters(i, 3))) is Code.CRYPTOGRAM_MISMATCH
    assert code_of(lambda: open_channel(keys, keys.ref, wrong, parameters(i, 3))) is Code.CRYPTOGRAM_MISMATCH


@pytest.mark.parametrize("i", [0x10, 0x30, 0x70, 0x11, 0x31, 0x71])
def test_a_pseudo_random_challenge_must_follow_from_counter_aid_and_enc_key(i: int) -> None:
    keys = scope()
    right = handshake_of(card(i))
    check_card_cryptogram(keys, keys.ref, right, parameters(i, 3))
    other_enc = scope((bytes(16), STATIC[1], STATIC[2]))
    for refused in (
        lambda: check_card_cryptogram(keys, keys.ref, replace(right, sequence_counter=6), parameters(i, 3)),
        lambda: check_card_cryptogram(keys, keys.ref, right, parameters(i, 3, ISD[:8])),
        lambda: open_channel(keys, keys.ref, right, parameters(i, 3, ISD[:8])),
        lambda: check_card_cryptogram(other_enc, other_enc.ref, right, parameters(i, 3)),
    ):
        assert code_of(refused) is Code.CHALLENGE_MISMATCH


def test_the_published_challenges_follow_from_their_counters() -> None:
    # yubikit's and GlobalPlatformPro's recordings begin with this challenge: keys 40..4F, counter 000000, this ISD.
    k = bytes(range(0x40, 0x50))
    assert kdf(k, 0x02, bytes(3) + bytes.fromhex("A000000151000000"), 64).hex().upper() == "4D2614D48B5A5572"


def test_a_random_challenge_is_taken_as_it_comes() -> None:
    keys = scope()
    peer = card(0x20)
    check_card_cryptogram(keys, keys.ref, handshake_of(peer), parameters(0x20, 3, ISD[:8]))


def test_a_forged_state_gets_no_external_authenticate() -> None:
    keys = scope()
    state = open_channel(keys, keys.ref, handshake_of(card()), parameters()).state()
    forged = replace(state, handshake=replace(state.handshake, card_cryptogram=bytes(8)))
    assert code_of(lambda: resume_channel(keys, forged).external_authenticate()) is Code.CRYPTOGRAM_MISMATCH


# Parameters


@pytest.mark.parametrize(
    ("i", "level"),
    [(0x00, 0x11), (0x10, 0x33), (0x20, 0x33), (0x31, 0x33), (0x70, 0x10), (0x40, 0x01), (0x08, 0x01), (0x55, 0x01)],
)
def test_an_option_or_level_that_is_not_there_is_refused(i: int, level: int) -> None:
    keys = scope()
    peer = card(i)
    assert code_of(lambda: open_channel(keys, keys.ref, handshake_of(peer), parameters(i, level))) is Code.INPUT_INVALID


def test_an_answer_by_another_option_than_on_record_is_refused() -> None:
    keys = scope()
    right = handshake_of(card(0x70))
    assert code_of(lambda: open_channel(keys, keys.ref, right, parameters(0x30, 3))) is Code.CARD_PROTOCOL
    assert code_of(lambda: open_channel(keys, keys.ref, right, replace(parameters(), scp=2))) is Code.CARD_PROTOCOL


def test_triple_des_keys_open_no_scp03_channel() -> None:
    keys = scope()
    ref = replace(keys.ref, key_type=KeyType.DES2)
    assert code_of(lambda: open_channel(keys, ref, handshake_of(card()), parameters())) is Code.INPUT_INVALID


# Commands


def test_a_command_without_data_is_not_encrypted_and_counts() -> None:
    peer = card()
    _, channel = opened(peer, parameters())
    wrapped = channel.wrap(GET_DATA)
    assert len(wrapped.data) == 8
    peer.receive(wrapped.to_bytes())
    assert peer.receive(channel.wrap(STORE_DATA).to_bytes()) == STORE_DATA.to_bytes()
    assert peer.counter == 2


@pytest.mark.parametrize(
    ("i", "level", "most", "wire"),
    [
        (0x70, 0x01, 247, 255),
        (0x70, 0x03, 239, 248),
        (0x70, 0x33, 239, 248),
        (0x71, 0x11, 239, 255),
        (0x71, 0x33, 223, 240),
        (0x71, 0x00, 255, 255),
    ],
)
def test_data_that_leaves_no_room_for_the_mac_is_refused(i: int, level: int, most: int, wire: int) -> None:
    _, channel = opened(card(i), parameters(i, level))
    assert get_max_command_data(parameters(i, level)) == most
    assert len(channel.wrap(replace(STORE_DATA, data=bytes(most))).data) == wire
    before = channel.state()
    if most < 255:
        assert code_of(lambda: channel.wrap(replace(STORE_DATA, data=bytes(most + 1)))) is Code.APDU_INVALID
    assert channel.state() == before


def test_two_commands_of_the_same_data_never_look_the_same() -> None:
    _, channel = opened(card(), parameters())
    first, second = channel.wrap(STORE_DATA), channel.wrap(STORE_DATA)
    assert first.data[:16] != second.data[:16]


# Answers


@pytest.mark.parametrize("level", [0x11, 0x13, 0x33])
@pytest.mark.parametrize("i", [0x70, 0x71])
@pytest.mark.parametrize(
    "forge",
    [
        lambda body, _: ResponseApdu(bytes([body[0] ^ 1]) + body[1:], 0x9000),
        lambda body, _: ResponseApdu(body, 0x6310),
        lambda body, _: ResponseApdu(body[:-1] + bytes([body[-1] ^ 1]), 0x9000),
        lambda body, size: ResponseApdu(body[:-size], 0x9000),
        lambda body, _: ResponseApdu(body[:-1], 0x9000),
        lambda body, size: ResponseApdu(body[-size:], 0x9000),
        lambda _body, _size: ResponseApdu(b"", 0x9000),
        lambda _body, _size: ResponseApdu(b"", 0x6283),
        lambda _body, _size: ResponseApdu(b"\x01", 0x9000),
        lambda body, _: ResponseApdu(body, 0x6A88),
        lambda _body, size: ResponseApdu(bytes(size), 0x6A88),
    ],
    ids=[
        "data", "status", "mac", "no mac", "short mac", "no data", "nothing", "warning", "short", "error", "error mac"
    ],
)  # fmt: skip
def test_a_tampered_answer_is_refused(level: int, i: int, forge: Callable[[bytes, int], ResponseApdu]) -> None:
    peer = card(i)
    _, channel = opened(peer, parameters(i, level))
    peer.receive(channel.wrap(STORE_DATA).to_bytes())
    said = forge(peer.answer(b"\x01\x02", 0x9000)[:-2], peer.size)
    assert code_of(lambda: channel.unwrap(said)) is Code.RESPONSE_MAC_MISMATCH


def test_the_answer_to_another_command_is_refused() -> None:
    peer = card()
    _, channel = opened(peer, parameters())
    peer.receive(channel.wrap(GET_DATA).to_bytes())
    first = parse_response(peer.answer(b"\x01", 0x9000))
    peer.receive(channel.wrap(GET_DATA).to_bytes())
    second = parse_response(peer.answer(b"\x01", 0x9000))
    assert code_of(lambda: channel.unwrap(second)) is Code.RESPONSE_MAC_MISMATCH
    assert channel.unwrap(first).data == b"\x01"


def test_an_error_has_no_r_mac_and_the_channel_goes_on() -> None:
    peer = card()
    _, channel = opened(peer, parameters())
    peer.receive(channel.wrap(GET_DATA).to_bytes())
    assert channel.unwrap(ResponseApdu(b"", 0x6A88)) == ResponseApdu(b"", 0x6A88)
    peer.receive(channel.wrap(STORE_DATA).to_bytes())
    assert channel.unwrap(parse_response(peer.answer(b"\x05", 0x9000))).data == b"\x05"
    assert code_of(lambda: channel.unwrap(ResponseApdu(b"", 0x9000))) is Code.CONFLICT


@pytest.mark.parametrize("plain", [bytes(16), b"\x80" + bytes(16), b"\x01" * 16, b"\x01" * 15])
def test_what_is_not_padded_under_a_right_r_mac_is_refused(plain: bytes) -> None:
    """Only a card that breaks the rules gets here: the R-MAC is right."""
    peer = card()
    _, channel = opened(peer, parameters())
    peer.receive(channel.wrap(GET_DATA).to_bytes())
    peer.level = 0x13  # MACs what it is given without encrypting it
    protected = parse_response(peer.answer(plain, 0x9000))
    assert code_of(lambda: channel.unwrap(protected)) is Code.CARD_PROTOCOL


# What it costs and what it shows


@pytest.mark.parametrize(
    ("i", "level", "calls"),
    [
        # Static MAC and S-MAC; both cryptograms and two C-MACs. C-ENC adds static ENC, S-ENC and one encryption.
        (0x00, 0x01, {"get_master": 1, "derive_cmac": 2, "cmac": 4}),
        (0x60, 0x33, {"get_master": 2, "derive_cmac": 4, "cmac": 4, "encrypt": 1}),
        # The card challenge adds static ENC for MACs and one CMAC.
        (0x70, 0x33, {"get_master": 3, "derive_cmac": 5, "cmac": 5, "encrypt": 1}),
    ],
)
def test_a_batch_asks_the_token_for_as_little_as_possible(i: int, level: int, calls: dict[str, int]) -> None:
    keys = scope()
    channel = open_channel(keys, keys.ref, handshake_of(card(i)), parameters(i, level))
    channel.external_authenticate()
    channel.wrap(CommandApdu(0x80, 0xD8, 0x01, 0x81, bytes(67), le=256))
    assert keys.calls == calls


def test_an_answer_takes_one_cmac_and_two_more_calls_where_it_is_encrypted() -> None:
    for level, expected in (
        (0x11, {"get_master": 1, "derive_cmac": 2, "cmac": 1}),
        (0x33, {"get_master": 2, "derive_cmac": 4, "cmac": 1, "encrypt": 1, "decrypt": 1}),
    ):
        peer = card(0x60)
        _, channel = opened(peer, parameters(0x60, level))
        peer.receive(channel.wrap(GET_DATA).to_bytes())
        keys = scope()
        resume_channel(keys, channel.state()).unwrap(parse_response(peer.answer(b"\x01", 0x9000)))
        assert keys.calls == expected


def test_the_proof_of_a_set_takes_one_cmac_and_with_its_challenge_two() -> None:
    for i, expected in (
        (0x60, {"get_master": 1, "derive_cmac": 2, "cmac": 1}),
        (0x70, {"get_master": 2, "derive_cmac": 3, "cmac": 2}),
    ):
        keys = scope()
        check_card_cryptogram(keys, keys.ref, handshake_of(card(i)), parameters(i))
        assert keys.calls == expected

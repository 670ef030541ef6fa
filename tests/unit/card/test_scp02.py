"""SCP02 against published exchanges and against its rules: what the card may say, and what is refused."""

from dataclasses import replace

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from kms.card.apdu import CommandApdu, ResponseApdu, parse_command, parse_response
from kms.card.channel_state import ChannelParameters, Handshake, SecurityLevel
from kms.card.scp02 import Scp02Channel, check_card_cryptogram, open_channel, parse_initialize_update, resume_channel
from kms.errors import Code, KmsError
from tests.fakes.software_keys import RecordedKeys

K = bytes(range(0x40, 0x50))
ISD = bytes.fromhex("A000000003000000")

# Published exchange at level 01 (osmocom/pysim, tests/unittests/test_globalplatform.py).
STATIC = {
    1: "100102030405060708090A0B0C0D0E0F",
    2: "101102030405060708090A0B0C0D0E0F",
    3: "102102030405060708090A0B0C0D0E0F",
}
ANSWER = bytes.fromhex("00000000000000000000700200016B4524ABEE7CF32EA3838BC148F3")
HOST_CHALLENGE = bytes.fromhex("40A62C37FA6304F8")


def recorded(static: dict[int, str], answer: bytes) -> RecordedKeys:
    return RecordedKeys({kid: bytes.fromhex(value) for kid, value in static.items()}, answer[10], answer[:10])


def level(value: int, i: int = 0x15, aid: bytes = ISD) -> ChannelParameters:
    return ChannelParameters(2, i, SecurityLevel(value), aid)


@pytest.fixture
def keys() -> RecordedKeys:
    return recorded(STATIC, ANSWER)


@pytest.fixture
def handshake() -> Handshake:
    return parse_initialize_update(ANSWER, HOST_CHALLENGE)


def opened(keys: RecordedKeys, handshake: Handshake, parameters: ChannelParameters) -> Scp02Channel:
    channel = open_channel(keys, keys.ref, handshake, parameters)
    channel.external_authenticate()
    return channel


def code_of(caught: pytest.ExceptionInfo[KmsError]) -> Code:
    return caught.value.code


# Published exchanges


def test_the_published_exchange_comes_out_byte_for_byte(keys: RecordedKeys, handshake: Handshake) -> None:
    channel = open_channel(keys, keys.ref, handshake, level(0x01))
    assert channel.external_authenticate().to_bytes().hex().upper() == "8482010010BA6961667737C5BCEBECE14C7D6A4376"
    for plain, wrapped in [
        ("80F22002", "84F220020814DB34FA4341DCA8"),
        ("80CA006600", "84CA00660855ED7C5FF069512B00"),
        ("80F220020A4F0212345C054F9F70C5", "84F22002124F0212345C054F9F70C58FC1B380C4228AF8"),
        ("80F28002024F0000", "84F280020A4F003B95F09317DE6A4E00"),
    ]:
        assert channel.wrap(parse_command(bytes.fromhex(plain))).to_bytes().hex().upper() == wrapped


KNOWN_CHALLENGE = bytes.fromhex("00007295713236006868FF0200088B320EC60E9BF5A6DBF1B3FEB875")


def test_a_published_card_challenge_of_option_55_is_accepted_for_its_aid_alone() -> None:
    keys = recorded(dict.fromkeys((1, 2, 3), K.hex()), KNOWN_CHALLENGE)
    answer = parse_initialize_update(KNOWN_CHALLENGE, bytes.fromhex("0102030405060708"))
    check_card_cryptogram(keys, keys.ref, answer, level(0x01, 0x55))
    with pytest.raises(KmsError) as caught:
        check_card_cryptogram(keys, keys.ref, answer, level(0x01, 0x55, bytes.fromhex("A000000151000000")))
    assert code_of(caught) is Code.CHALLENGE_MISMATCH
    with pytest.raises(KmsError) as caught:
        open_channel(keys, keys.ref, answer, level(0x01, 0x55, bytes.fromhex("A000000151000000")))
    assert code_of(caught) is Code.CHALLENGE_MISMATCH


# A transcript with R-MAC that an independent implementation made from the specification (g0ddest/javacard-express,
# gp/src/test/resources/.../scp-error-status-vectors.txt, case SCP02_i75_level11_reviewBareError6A88, Apache-2.0).
R_MAC_STATIC = {
    1: "0FD763C6E77BA53D75E56DA9A1D81E4C",
    2: "17854BEEB8D720A901A78397DD7DFB71",
    3: "C352B9F010FB10632C42EAEB7FF7F81E",
}
R_MAC_ANSWER = bytes.fromhex("A56594829C7A535DAC3E2002BB157A907E567C53C3104819676D4569")


def test_a_published_transcript_with_r_mac_verifies_across_a_bare_error() -> None:
    keys = recorded(R_MAC_STATIC, R_MAC_ANSWER)
    answer = parse_initialize_update(R_MAC_ANSWER, bytes.fromhex("7EF527300B55BFAF"))
    # Its card challenge is random, as with i=35; the R-MAC is the same for both options.
    channel = open_channel(keys, keys.ref, answer, level(0x11, 0x35))
    authenticate = channel.external_authenticate()
    assert authenticate.to_bytes().hex().upper() == "848211001024AD0FD943CB337B747C6783C0697FBA"
    channel.wrap(parse_command(bytes.fromhex("80E40000074F05A00000000100")))
    channel.wrap(parse_command(bytes.fromhex("80CA006600")))

    assert channel.unwrap(ResponseApdu(b"", 0x9000)).sw == 0x9000
    assert channel.unwrap(ResponseApdu(b"", 0x6A88)).sw == 0x6A88
    assert channel.state().r_mac_chaining.hex().upper() == "E9767F27FFBB2F92"
    assert channel.unwrap(parse_response(bytes.fromhex("6600B938E244578BAA499000"))) == ResponseApdu(
        b"\x66\x00", 0x9000
    )


# The card's answer


@pytest.mark.parametrize("length", [0, 20, 27, 29, 32])
def test_an_answer_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KmsError) as caught:
        parse_initialize_update((ANSWER + bytes(4))[:length], HOST_CHALLENGE)
    assert code_of(caught) is Code.CARD_PROTOCOL


@pytest.mark.parametrize("marker", [1, 3, 0])
def test_an_answer_of_another_protocol_is_refused(marker: int) -> None:
    with pytest.raises(KmsError) as caught:
        parse_initialize_update(ANSWER[:11] + bytes([marker]) + ANSWER[12:], HOST_CHALLENGE)
    assert code_of(caught) is Code.CARD_PROTOCOL


def test_a_host_challenge_of_another_length_is_refused() -> None:
    with pytest.raises(KmsError) as caught:
        parse_initialize_update(ANSWER, bytes(16))
    assert code_of(caught) is Code.INPUT_INVALID


def wrong_answers(right: Handshake) -> list[Handshake]:
    return [
        replace(right, card_cryptogram=bytes(8)),
        replace(right, card_cryptogram=right.card_cryptogram[:-1] + b"\x00"),
        replace(right, sequence_counter=right.sequence_counter + 1),
        replace(right, card_challenge=bytes(6)),
        replace(right, host_challenge=bytes(8)),
    ]


@pytest.mark.parametrize("which", range(5))
def test_a_wrong_cryptogram_counter_or_challenge_opens_nothing(
    keys: RecordedKeys, handshake: Handshake, which: int
) -> None:
    wrong = wrong_answers(handshake)[which]
    with pytest.raises(KmsError) as caught:
        check_card_cryptogram(keys, keys.ref, wrong, level(0x01))
    assert code_of(caught) is Code.CRYPTOGRAM_MISMATCH
    with pytest.raises(KmsError) as caught:
        open_channel(keys, keys.ref, wrong, level(0x01))
    assert code_of(caught) is Code.CRYPTOGRAM_MISMATCH


def test_a_forged_state_gets_no_external_authenticate(keys: RecordedKeys, handshake: Handshake) -> None:
    state = open_channel(keys, keys.ref, handshake, level(0x01)).state()
    forged = replace(state, handshake=replace(handshake, card_cryptogram=bytes(8)))
    with pytest.raises(KmsError) as caught:
        resume_channel(keys, forged).external_authenticate()
    assert code_of(caught) is Code.CRYPTOGRAM_MISMATCH


# Parameters


@pytest.mark.parametrize(
    ("i", "value"), [(0x15, 0x10), (0x15, 0x11), (0x55, 0x13), (0x75, 0x33), (0x1A, 0x01), (0x05, 0x01), (0x14, 0x03)]
)
def test_an_option_or_level_that_is_not_there_is_refused(
    keys: RecordedKeys, handshake: Handshake, i: int, value: int
) -> None:
    with pytest.raises(KmsError) as caught:
        open_channel(keys, keys.ref, handshake, level(value, i))
    assert code_of(caught) is Code.INPUT_INVALID


def test_a_profile_of_another_protocol_is_refused(keys: RecordedKeys, handshake: Handshake) -> None:
    with pytest.raises(KmsError) as caught:
        open_channel(keys, keys.ref, handshake, replace(level(0x01), scp=3))
    assert code_of(caught) is Code.CARD_PROTOCOL


# Commands


def test_external_authenticate_comes_first_and_once(keys: RecordedKeys, handshake: Handshake) -> None:
    channel = open_channel(keys, keys.ref, handshake, level(0x01))
    with pytest.raises(KmsError) as caught:
        channel.wrap(CommandApdu(0x80, 0xCA, 0x00, 0x66, le=256))
    assert code_of(caught) is Code.CONFLICT
    channel.external_authenticate()
    with pytest.raises(KmsError) as caught:
        channel.external_authenticate()
    assert code_of(caught) is Code.CONFLICT


def test_at_level_00_only_external_authenticate_has_a_mac(keys: RecordedKeys, handshake: Handshake) -> None:
    channel = open_channel(keys, keys.ref, handshake, level(0x00))
    assert channel.external_authenticate().cla == 0x84
    plain = CommandApdu(0x80, 0xCA, 0x00, 0x66, le=256)
    assert channel.wrap(plain) == plain


def test_at_level_03_a_command_without_data_is_not_encrypted(keys: RecordedKeys, handshake: Handshake) -> None:
    wrapped = opened(keys, handshake, level(0x03)).wrap(CommandApdu(0x80, 0xCA, 0x00, 0xE0, le=256))
    assert wrapped.to_bytes()[:5] == bytes.fromhex("84CA00E008")
    assert len(wrapped.data) == 8


@pytest.mark.parametrize(("value", "most", "wire"), [(0x01, 247, 255), (0x03, 239, 248)])
def test_data_that_leaves_no_room_for_the_mac_is_refused(
    keys: RecordedKeys, handshake: Handshake, value: int, most: int, wire: int
) -> None:
    channel = opened(keys, handshake, level(value))
    assert len(channel.wrap(CommandApdu(0x80, 0xE2, 0x00, 0x00, bytes(most))).data) == wire
    before = channel.state()
    with pytest.raises(KmsError) as caught:
        channel.wrap(CommandApdu(0x80, 0xE2, 0x00, 0x00, bytes(most + 1)))
    assert code_of(caught) is Code.APDU_INVALID
    assert channel.state() == before


@pytest.mark.parametrize("cla", [0x84, 0x0C, 0x04, 0xC0, 0x40])
def test_a_class_byte_that_cannot_be_protected_is_refused(keys: RecordedKeys, handshake: Handshake, cla: int) -> None:
    with pytest.raises(KmsError) as caught:
        opened(keys, handshake, level(0x01)).wrap(CommandApdu(cla, 0xCA, 0x00, 0x66))
    assert code_of(caught) is Code.APDU_INVALID


def test_the_logical_channel_shows_on_the_wire_and_not_in_the_mac(keys: RecordedKeys, handshake: Handshake) -> None:
    basic = opened(keys, handshake, level(0x01)).wrap(CommandApdu(0x80, 0xCA, 0x00, 0x66))
    other = opened(keys, handshake, level(0x01)).wrap(CommandApdu(0x82, 0xCA, 0x00, 0x66))
    assert (basic.cla, other.cla) == (0x84, 0x86)
    assert basic.data == other.data


# Responses with R-MAC, computed here from the text of GP 2.3.1 sections E.4.1 and E.4.5


def des3_cbc(key: bytes, iv: bytes, data: bytes) -> bytes:
    return (
        Cipher(TripleDES((key + key + key)[:24] if len(key) == 8 else key + key[:8]), modes.CBC(iv))
        .encryptor()
        .update(data)
    )


def r_mac(static_mac: bytes, counter: int, icv: bytes, data: bytes) -> bytes:
    key = des3_cbc(static_mac, bytes(8), b"\x01\x02" + counter.to_bytes(2, "big") + bytes(12))
    data += b"\x80"
    data += bytes(-len(data) % 8)
    for start in range(0, len(data) - 8, 8):
        icv = des3_cbc(key[:8], icv, data[start : start + 8])
    return des3_cbc(key, icv, data[-8:])


def card_r_mac(icv: bytes, stripped: str, data: bytes, sw: int) -> bytes:
    covered = bytes.fromhex(stripped) + bytes([len(data) % 256]) + data + sw.to_bytes(2, "big")
    return r_mac(bytes.fromhex(STATIC[2]), 1, icv, covered)


@pytest.mark.parametrize("value", [0x10, 0x11, 0x13])
def test_r_macs_chain_from_external_authenticate_through_every_answer(
    keys: RecordedKeys, handshake: Handshake, value: int
) -> None:
    channel = open_channel(keys, keys.ref, handshake, level(value, 0x35))
    first_icv = channel.external_authenticate().data[8:]
    channel.wrap(CommandApdu(0x81, 0xCA, 0x00, 0xE0, le=256))
    channel.wrap(CommandApdu(0x80, 0xE2, 0x88, 0x00, bytes.fromhex("010203"), le=256))
    channel.wrap(CommandApdu(0x80, 0xE4, 0x00, 0x00, bytes.fromhex("D20101"), le=256))
    channel.wrap(CommandApdu(0x80, 0xF0, 0x80, 0x0F))
    one = card_r_mac(first_icv, "80CA00E000", bytes(256), 0x9000)
    two = card_r_mac(one, "80E2880003010203", b"", 0x6310)
    three = card_r_mac(two, "80E4000003D20101", b"", 0x6A88)
    four = card_r_mac(three, "80F0800F00", b"", 0x6985)

    resumed = resume_channel(recorded(STATIC, ANSWER), replace(channel.state(), key_set=keys.ref))
    assert resumed.unwrap(ResponseApdu(b"", 0x9000)) == ResponseApdu(b"", 0x9000)
    assert resumed.unwrap(ResponseApdu(bytes(256) + one, 0x9000)) == ResponseApdu(bytes(256), 0x9000)
    assert resumed.unwrap(ResponseApdu(two, 0x6310)) == ResponseApdu(b"", 0x6310)
    assert resumed.unwrap(ResponseApdu(b"", 0x6A88)) == ResponseApdu(b"", 0x6A88)
    assert resumed.unwrap(ResponseApdu(four, 0x6985)) == ResponseApdu(b"", 0x6985)
    with pytest.raises(KmsError) as caught:
        resumed.unwrap(ResponseApdu(b"", 0x9000))
    assert code_of(caught) is Code.CONFLICT


@pytest.mark.parametrize(
    "forge",
    [
        lambda mac: ResponseApdu(b"\x02" + mac, 0x9000),
        lambda mac: ResponseApdu(b"\x01" + mac, 0x6310),
        lambda _: ResponseApdu(b"\x01" + bytes(8), 0x9000),
        lambda mac: ResponseApdu(mac, 0x9000),
        lambda mac: ResponseApdu(b"\x01" + mac[:7], 0x9000),
        lambda _: ResponseApdu(b"", 0x9000),
        lambda _: ResponseApdu(b"", 0x6310),
        lambda _: ResponseApdu(bytes(8), 0x6A88),
        lambda mac: ResponseApdu(b"\x01" + mac, 0x6A88),
    ],
    ids=["data", "status", "mac", "no data", "short mac", "no mac", "warning", "error mac", "error with data"],
)
def test_a_tampered_answer_is_refused(keys: RecordedKeys, handshake: Handshake, forge: object) -> None:
    channel = open_channel(keys, keys.ref, handshake, level(0x11, 0x35))
    icv = channel.external_authenticate().data[8:]
    channel.wrap(CommandApdu(0x80, 0xCA, 0x00, 0xE0, le=256))
    channel.unwrap(ResponseApdu(b"", 0x9000))
    assert callable(forge)
    with pytest.raises(KmsError) as caught:
        channel.unwrap(forge(card_r_mac(icv, "80CA00E000", b"\x01", 0x9000)))
    assert code_of(caught) is Code.RESPONSE_MAC_MISMATCH


# What it costs and what it shows


def test_a_batch_asks_the_token_for_as_little_as_possible(keys: RecordedKeys, handshake: Handshake) -> None:
    channel = opened(keys, handshake, level(0x03))
    channel.wrap(CommandApdu(0x80, 0xD8, 0x01, 0x81, bytes(67), le=256))
    # Static ENC and MAC, S-ENC, C-MAC and its single DES half; both cryptograms, two MACs of two calls, one encryption.
    assert keys.calls == {"get_master": 2, "derive_des": 5, "encrypt": 6}


def test_the_proof_of_a_set_without_known_challenge_takes_one_encryption(
    keys: RecordedKeys, handshake: Handshake
) -> None:
    check_card_cryptogram(keys, keys.ref, handshake, level(0x03))
    assert keys.calls == {"get_master": 1, "derive_des": 2, "encrypt": 1}


def test_commands_waiting_for_an_answer_are_kept_only_for_r_mac_and_never_shown(
    keys: RecordedKeys, handshake: Handshake
) -> None:
    command = CommandApdu(0x80, 0xE2, 0x00, 0x00, bytes.fromhex("C0FFEE"))
    for value, kept in [(0x03, 0), (0x13, 2)]:
        channel = opened(keys, handshake, level(value, 0x35))
        channel.wrap(command)
        assert len(channel.state().unanswered) == kept
        assert "c0ffee" not in repr(channel.state()).lower()
        assert "\\xc0\\xff\\xee" not in repr(channel.state())

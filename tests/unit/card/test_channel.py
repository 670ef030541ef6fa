"""The protocol-neutral front of secure channels: programs never see which protocol they run on."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from kms.card.channel import (
    MAX_HOST_CHALLENGE,
    ChannelParameters,
    ChannelState,
    SecureChannel,
    SecurityLevel,
    check_card_cryptogram,
    get_host_challenge_length,
    get_max_command_data,
    open_channel,
    parse_initialize_update,
    resume_channel,
)
from kms.errors import Code, KmsError
from tests.fakes.software_keys import RecordedKeys

K = bytes(range(0x40, 0x50))
ANSWER = bytes.fromhex("00007295713236006868FF0200088B320EC60E9BF5A6DBF1B3FEB875")
HOST_CHALLENGE = bytes.fromhex("0102030405060708")
PARAMETERS = ChannelParameters(2, 0x55, SecurityLevel.C_MAC_C_DEC, bytes.fromhex("A000000003000000"))
SCP01 = ChannelParameters(1, 0x05, SecurityLevel.C_MAC, PARAMETERS.aid)
SCP03 = ChannelParameters(3, 0x70, SecurityLevel.C_MAC_C_DEC_R_MAC_R_ENC, PARAMETERS.aid)


@pytest.fixture
def keys() -> RecordedKeys:
    return RecordedKeys(dict.fromkeys((1, 2, 3), K), 0xFF, ANSWER[:10])


def test_a_channel_goes_on_in_another_scope_as_if_it_had_never_stopped(keys: RecordedKeys) -> None:
    handshake = parse_initialize_update(ANSWER, HOST_CHALLENGE, 2)
    check_card_cryptogram(keys, keys.ref, handshake, PARAMETERS)
    channel: SecureChannel = open_channel(keys, keys.ref, handshake, PARAMETERS)
    state: ChannelState = channel.state()
    keys.close()

    later = RecordedKeys(dict.fromkeys((1, 2, 3), K), 0xFF, ANSWER[:10])
    resumed = resume_channel(later, state)
    assert resumed.external_authenticate().to_bytes()[:5].hex() == "8482030010"
    with pytest.raises(KmsError) as caught:
        channel.external_authenticate()
    assert caught.value.code is Code.HSM_UNAVAILABLE


def test_a_protocol_that_is_not_there_is_refused_everywhere(keys: RecordedKeys) -> None:
    handshake = parse_initialize_update(ANSWER, HOST_CHALLENGE, 2)
    calls: list[Callable[[], object]] = [
        lambda: parse_initialize_update(ANSWER, HOST_CHALLENGE, 1),
        lambda: check_card_cryptogram(keys, keys.ref, handshake, SCP01),
        lambda: open_channel(keys, keys.ref, handshake, SCP01),
        lambda: resume_channel(keys, ChannelState(handshake, SCP01, keys.ref)),
        lambda: get_host_challenge_length(SCP01),
        lambda: get_max_command_data(SCP01),
    ]
    for call in calls:
        with pytest.raises(KmsError) as caught:
            call()
        assert caught.value.code is Code.INPUT_INVALID


def test_an_answer_of_the_other_protocol_is_no_answer(keys: RecordedKeys) -> None:
    handshake = parse_initialize_update(ANSWER, HOST_CHALLENGE, 2)
    calls: list[Callable[[], object]] = [
        lambda: parse_initialize_update(ANSWER, HOST_CHALLENGE, 3),
        lambda: parse_initialize_update(ANSWER[:11] + b"\x03\x00" + ANSWER[12:], HOST_CHALLENGE, 2),
        lambda: check_card_cryptogram(keys, keys.ref, handshake, SCP03),
        lambda: open_channel(keys, keys.ref, handshake, SCP03),
        lambda: resume_channel(keys, ChannelState(handshake, SCP03, keys.ref)),
    ]
    for call in calls:
        with pytest.raises(KmsError) as caught:
            call()
        assert caught.value.code is Code.CARD_PROTOCOL


@pytest.mark.parametrize(
    ("scp", "i", "length"), [(2, 0x55, 8), (2, 0x15, 8), (3, 0x00, 8), (3, 0x70, 8), (3, 0x01, 16), (3, 0x71, 16)]
)
def test_a_host_challenge_has_8_bytes_and_16_in_s16_mode(scp: int, i: int, length: int) -> None:
    assert get_host_challenge_length(replace(PARAMETERS, scp=scp, i=i)) == length <= MAX_HOST_CHALLENGE


@pytest.mark.parametrize(
    ("scp", "i", "level", "most"),
    [
        (2, 0x55, 0x00, 255),
        (2, 0x55, 0x01, 247),
        (2, 0x55, 0x03, 239),
        (3, 0x70, 0x11, 247),
        (3, 0x70, 0x33, 239),
        (3, 0x71, 0x01, 239),
        (3, 0x71, 0x33, 223),
    ],
)
def test_the_most_plain_data_of_a_command_depends_on_mac_and_padding(scp: int, i: int, level: int, most: int) -> None:
    assert get_max_command_data(replace(PARAMETERS, scp=scp, i=i, level=SecurityLevel(level))) == most

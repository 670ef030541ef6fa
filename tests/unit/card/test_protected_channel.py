"""The course of a channel is the same whatever protects it."""

import pytest

from kms.card.apdu import CommandApdu, ResponseApdu
from kms.card.channel_state import ChannelParameters, ChannelState, Handshake, SecurityLevel
from kms.card.keys import Diversification, KeyHandle, KeySetRef, KeyType, VendorKeys
from kms.card.protected_channel import ProtectedChannel
from kms.errors import Code, KmsError
from tests.fakes.software_keys import software_master

K = bytes(16)
REF = KeySetRef(
    1, KeyType.AES128, VendorKeys(software_master(b"v", K, KeyType.AES128), Diversification.KDF3, bytes(10))
)
HANDSHAKE = Handshake(bytes(8), bytes(10), 1, 3, 0x70, 1, bytes(8), bytes(8))
COMMAND = CommandApdu(0x80, 0xE2, 0x00, 0x00, b"\x01")


class CountingChannel(ProtectedChannel):
    """A channel whose MACs are the numbers of its commands."""

    def check_card(self) -> bytes:
        return b"\xcc" * 4

    def wrap_key(self, key: KeyHandle) -> bytes:
        raise NotImplementedError

    def _mac(self, command: CommandApdu) -> bytes:
        return bytes([self._state.commands, len(command.data)])

    def _protect(self, command: CommandApdu) -> tuple[bytes, bytes]:
        return command.data[::-1], self._mac(command)

    def _keep(self, _command: CommandApdu, mac: bytes) -> bytes:
        return mac

    def _check_response(self, response: ResponseApdu, kept: bytes) -> ResponseApdu:
        assert response.data == kept
        return ResponseApdu(b"", response.sw)


def channel(level: int) -> CountingChannel:
    parameters = ChannelParameters(3, 0x70, SecurityLevel(level), bytes(5))
    return CountingChannel(ChannelState(HANDSHAKE, parameters, REF), 1)


def code_of(caught: pytest.ExceptionInfo[KmsError]) -> Code:
    return caught.value.code


@pytest.mark.parametrize("level", [0x00, 0x01, 0x33])
def test_external_authenticate_comes_first_and_once_and_is_always_signed(level: int) -> None:
    opened = channel(level)
    with pytest.raises(KmsError) as caught:
        opened.wrap(COMMAND)
    assert code_of(caught) is Code.CONFLICT
    built = opened.external_authenticate()
    assert (built.cla, built.ins, built.p1, built.data) == (0x84, 0x82, level, b"\xcc" * 4 + b"\x00")
    with pytest.raises(KmsError) as caught:
        opened.external_authenticate()
    assert code_of(caught) is Code.CONFLICT


def test_without_c_mac_a_command_goes_as_it_is_and_counts() -> None:
    opened = channel(0x00)
    opened.external_authenticate()
    assert opened.wrap(COMMAND) == COMMAND
    assert opened.state().commands == 2


def test_what_an_answer_needs_is_kept_for_r_mac_alone_and_in_order() -> None:
    opened = channel(0x11)
    opened.external_authenticate()
    opened.wrap(COMMAND)
    opened.wrap(CommandApdu(0x80, 0xCA, 0x00, 0x66))
    assert opened.state().unanswered == (b"", b"\x01\x01", b"\x02\x00")
    assert opened.unwrap(ResponseApdu(b"", 0x9000)).sw == 0x9000
    assert opened.unwrap(ResponseApdu(b"\x01\x01", 0x9000)).data == b""
    assert opened.unwrap(ResponseApdu(b"\x02\x00", 0x9000)).data == b""
    with pytest.raises(KmsError) as caught:
        opened.unwrap(ResponseApdu(b"", 0x9000))
    assert code_of(caught) is Code.CONFLICT

    plain = channel(0x03)
    plain.external_authenticate()
    plain.wrap(COMMAND)
    assert plain.state().unanswered == ()
    assert plain.unwrap(ResponseApdu(b"\x09", 0x9000)).data == b"\x09"

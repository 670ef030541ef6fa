"""SCP02 with explicit initiation and ICV encryption: options i=15 and 55, and with R-MAC i=35 and 75.

Rules (GP 2.3.1 appendix E): three keys, C-MAC on the modified APDU, first ICV zero. Programs reach this module through
`kms.card.channel` alone.
"""

from dataclasses import replace

from kms.card import secure_messaging
from kms.card.apdu import CommandApdu, ResponseApdu
from kms.card.channel_state import ChannelParameters, ChannelState, Handshake, SecurityLevel
from kms.card.keys import KeyHandle, KeyPort, KeySetRef
from kms.card.protected_channel import ProtectedChannel
from kms.card.scp02_keys import BLOCK, Scp02Keys
from kms.card.secure_messaging import (
    CHANNEL_BITS,
    build_mac_input,
    check_challenge,
    check_marker,
    check_r_mac,
    check_room,
    get_most_plain_data,
    is_error,
    pad,
)
from kms.errors import Code, KmsError

RESPONSE_LENGTH = 28
HOST_CHALLENGE_LENGTH = 8
MAC_LENGTH = 8

# Bits of the option "i" (GP 2.3.1 Table E-1).
I_R_MAC = 0x20
I_KNOWN_CHALLENGE = 0x40
OPTIONS = frozenset({0x15, 0x35, 0x55, 0x75})

LEVELS = frozenset(SecurityLevel) - {SecurityLevel.C_MAC_C_DEC_R_MAC_R_ENC}


def parse_initialize_update(data: bytes, host_challenge: bytes) -> Handshake:
    """Parse the 28 bytes of GP 2.3.1 Table E-8: kdd 10, KVN, 02, sequence counter 2, card challenge 6, cryptogram 8."""
    check_marker(data, 2, RESPONSE_LENGTH)
    if len(host_challenge) != HOST_CHALLENGE_LENGTH:
        raise KmsError(Code.INPUT_INVALID, f"an SCP02 host challenge is 8 bytes, not {len(host_challenge)}")
    return Handshake(
        host_challenge=host_challenge,
        kdd=data[:10],
        kvn=data[10],
        scp=2,
        i=None,
        sequence_counter=int.from_bytes(data[12:14], "big"),
        card_challenge=data[14:20],
        card_cryptogram=data[20:28],
    )


def get_max_command_data(parameters: ChannelParameters) -> int:
    """Get the most bytes of plain data in one command."""
    return get_most_plain_data(parameters.level, MAC_LENGTH, BLOCK)


def check_card_cryptogram(keys: KeyPort, ref: KeySetRef, handshake: Handshake, parameters: ChannelParameters) -> None:
    """Check the card cryptogram and, where i says that it is known, the card challenge."""
    check_parameters(handshake, parameters)
    session_keys = Scp02Keys(keys, ref, handshake.sequence_counter)
    secure_messaging.check_card_cryptogram(session_keys.mac_cryptogram(build_card_data(handshake)), handshake)
    check_known_challenge(session_keys, handshake, parameters)


def open_channel(keys: KeyPort, ref: KeySetRef, handshake: Handshake, parameters: ChannelParameters) -> "Scp02Channel":
    """Open a channel; refuse unless the card's cryptogram and, where it is known, its challenge are right."""
    channel = resume_channel(keys, ChannelState(handshake, parameters, ref))
    channel.check_card()
    return channel


def resume_channel(keys: KeyPort, state: ChannelState) -> "Scp02Channel":
    """Go on from a saved state."""
    check_parameters(state.handshake, state.parameters)
    return Scp02Channel(keys, state)


class Scp02Channel(ProtectedChannel):
    """A `SecureChannel` by SCP02."""

    def __init__(self, keys: KeyPort, state: ChannelState) -> None:
        super().__init__(state, MAC_LENGTH)
        self._session_keys = Scp02Keys(keys, state.key_set, state.handshake.sequence_counter)

    def check_card(self) -> bytes:
        """Check the card's cryptogram and known challenge; return and keep the host cryptogram that comes with them."""
        handshake = self._state.handshake
        card, host = self._session_keys.mac_both_cryptograms(
            build_card_data(handshake), handshake.card_cryptogram, build_host_data(handshake)
        )
        secure_messaging.check_card_cryptogram(card, handshake)
        check_known_challenge(self._session_keys, handshake, self._state.parameters)
        self._host_cryptogram = host
        return host

    def external_authenticate(self) -> CommandApdu:
        """Build EXTERNAL AUTHENTICATE; its C-MAC is the ICV of the first R-MAC (GP 2.3.1 section E.3.2)."""
        command = super().external_authenticate()
        if self._state.parameters.level.has_r_mac:
            self._state = replace(self._state, r_mac_chaining=self._state.mac_chaining)
        return command

    def wrap_key(self, key: KeyHandle) -> bytes:
        """Encrypt a key under the session DEK, which does not depend on the level (GP 2.3.1 section E.4.7)."""
        return self._session_keys.wrap(key)

    def _mac(self, command: CommandApdu) -> bytes:
        # The first ICV is zero, and its chain is empty (GP 2.3.1 section E.4.4).
        return self._session_keys.mac_command(build_mac_input(command, MAC_LENGTH), self._state.mac_chaining)

    def _protect(self, command: CommandApdu) -> tuple[bytes, bytes]:
        # E.4.6: without data there is nothing to encrypt, as SCP03 prescribes it (ADR 0011).
        encrypts = self._state.parameters.level.has_c_decryption and bool(command.data)
        data = pad(command.data, BLOCK) if encrypts else command.data
        check_room(command, len(data), MAC_LENGTH)
        # The MAC covers the plain data and their length, then the data is encrypted and the MAC is not (E.4.6).
        mac = self._mac(command)
        return (self._session_keys.encrypt_data(data) if encrypts else data), mac

    def _keep(self, command: CommandApdu, _mac: bytes) -> bytes:
        return build_stripped_command(command)

    def _check_response(self, response: ResponseApdu, kept: bytes) -> ResponseApdu:
        """Check and strip an answer's R-MAC (GP 2.3.1 section E.4.5; ADR 0010)."""
        data, r_mac = response.data[:-MAC_LENGTH], response.data[-MAC_LENGTH:]
        error = is_error(response.sw)
        if error and data:
            raise KmsError(Code.RESPONSE_MAC_MISMATCH, "an error answer carries data that no R-MAC covers")
        # E.4.5: Li is the length modulo 256, 00 on an error.
        covered = kept + bytes([len(data) % 256]) + data + response.sw.to_bytes(2, "big")
        expected = self._session_keys.mac_response(covered, self._state.r_mac_chaining)
        # An error may come as a bare status word (ISO/IEC 7816-4 section 5.1.3); the card's chain moves all the same.
        if not error or r_mac:
            check_r_mac(expected, r_mac)
        self._state = replace(self._state, r_mac_chaining=expected)
        return replace(response, data=data)


def check_parameters(handshake: Handshake, parameters: ChannelParameters) -> None:
    """Refuse a protocol, option or level that is not SCP02's as implemented here."""
    secure_messaging.check_parameters(handshake, parameters, 2, OPTIONS, LEVELS)
    if parameters.level.has_r_mac and not parameters.i & I_R_MAC:
        raise KmsError(
            Code.INPUT_INVALID, f"security level {parameters.level:02X} needs R-MAC, which i={parameters.i:02X} lacks"
        )


def check_known_challenge(session_keys: Scp02Keys, handshake: Handshake, parameters: ChannelParameters) -> None:
    """Where i has bit 40: refuse a card challenge that is not the AID's MAC (GP 2.3.1 section E.4.2.3; ADR 0012)."""
    if parameters.i & I_KNOWN_CHALLENGE:
        check_challenge(session_keys.mac_command(parameters.aid)[:6], handshake, parameters)


def build_card_data(handshake: Handshake) -> bytes:
    """Build what the card cryptogram covers, padded: host challenge, counter, card challenge (GP 2.3.1 E.4.2.1)."""
    counter = handshake.sequence_counter.to_bytes(2, "big")
    return pad(handshake.host_challenge + counter + handshake.card_challenge, BLOCK)


def build_host_data(handshake: Handshake) -> bytes:
    """Build what the host cryptogram covers, padded: counter, card challenge, host challenge (GP 2.3.1 E.4.2.2)."""
    counter = handshake.sequence_counter.to_bytes(2, "big")
    return pad(counter + handshake.card_challenge + handshake.host_challenge, BLOCK)


def build_stripped_command(command: CommandApdu) -> bytes:
    """Build what an R-MAC covers of a command: no MAC, no secure messaging bit, channel 0, Lc always, no Le (E.4.5)."""
    cla = command.cla & ~CHANNEL_BITS
    return bytes([cla, command.ins, command.p1, command.p2, len(command.data)]) + command.data

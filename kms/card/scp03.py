"""SCP03 (Amendment D 1.1.1, with S16 of 1.2): i = 00, 10, 20, 30, 60, 70, and the same with bit 01 for S16.

Rules: encrypt, then MAC; every command counts, the ICVs are made of its number. Programs reach this module through
`kms.card.channel` alone.
"""

from dataclasses import replace

from kms.card import secure_messaging
from kms.card.apdu import CommandApdu, ResponseApdu
from kms.card.channel_state import ChannelParameters, ChannelState, Handshake, SecurityLevel
from kms.card.keys import KeyHandle, KeyPort, KeySetRef
from kms.card.protected_channel import ProtectedChannel
from kms.card.scp03_keys import BLOCK, Scp03Keys
from kms.card.secure_messaging import (
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

# Bits of the option "i" (Amendment D Table 5-1; S16 by bit 1: ADR 0070).
I_S16 = 0x01
I_PSEUDO_RANDOM = 0x10
I_R_MAC = 0x20
I_R_ENC = 0x60
OPTIONS = frozenset(base | s16 for base in (0x00, 0x10, 0x20, 0x30, 0x60, 0x70) for s16 in (0, I_S16))

LEVELS = frozenset(SecurityLevel) - {SecurityLevel.R_MAC}

FIXED_LENGTH = 13  # kdd 10, KVN 1, protocol and i
COUNTER_LENGTH = 3


def get_mac_length(i: int) -> int:
    """Get the size of challenges, cryptograms and MACs on the wire: 8 bytes, in S16 mode 16."""
    return 16 if i & I_S16 else 8


def get_max_command_data(parameters: ChannelParameters) -> int:
    """Get the most bytes of plain data in one command."""
    return get_most_plain_data(parameters.level, get_mac_length(parameters.i), BLOCK)


def parse_initialize_update(data: bytes, host_challenge: bytes) -> Handshake:
    """Parse Amendment D Table 7-3: kdd 10, KVN, 03, i, card challenge, card cryptogram, and a counter if i has 10."""
    size = len(host_challenge)
    if size not in (8, 16):
        raise KmsError(Code.INPUT_INVALID, f"an SCP03 host challenge is 8 or 16 bytes, not {size}")
    i = data[12] if len(data) > 12 else 0
    check_marker(data, 3, FIXED_LENGTH + 2 * size + (COUNTER_LENGTH if i & I_PSEUDO_RANDOM else 0))
    if get_mac_length(i) != size:
        raise KmsError(Code.CARD_PROTOCOL, f"INITIALIZE UPDATE answered i={i:02X} to a host challenge of {size} bytes")
    return Handshake(
        host_challenge=host_challenge,
        kdd=data[:10],
        kvn=data[10],
        scp=3,
        i=i,
        sequence_counter=int.from_bytes(data[13 + 2 * size :], "big"),
        card_challenge=data[13 : 13 + size],
        card_cryptogram=data[13 + size : 13 + 2 * size],
    )


def check_card_cryptogram(keys: KeyPort, ref: KeySetRef, handshake: Handshake, parameters: ChannelParameters) -> None:
    """Check the card cryptogram and, where i says that it is pseudo-random, the card challenge."""
    Scp03Channel(keys, ChannelState(handshake, parameters, ref)).check_answer()


def open_channel(keys: KeyPort, ref: KeySetRef, handshake: Handshake, parameters: ChannelParameters) -> "Scp03Channel":
    """Open a channel; refuse unless the card's cryptogram and, where it is known, its challenge are right."""
    channel = resume_channel(keys, ChannelState(handshake, parameters, ref))
    channel.check_card()
    return channel


def resume_channel(keys: KeyPort, state: ChannelState) -> "Scp03Channel":
    """Go on from a saved state."""
    return Scp03Channel(keys, state)


class Scp03Channel(ProtectedChannel):
    """A `SecureChannel` by SCP03."""

    def __init__(self, keys: KeyPort, state: ChannelState) -> None:
        check_parameters(state.handshake, state.parameters)
        super().__init__(state, get_mac_length(state.parameters.i))
        context = state.handshake.host_challenge + state.handshake.card_challenge
        self._session_keys = Scp03Keys(keys, state.key_set, context, self._mac_length)

    def check_answer(self) -> None:
        """Check the card's cryptogram and pseudo-random challenge."""
        handshake, parameters = self._state.handshake, self._state.parameters
        secure_messaging.check_card_cryptogram(self._session_keys.make_card_cryptogram(), handshake)
        if parameters.i & I_PSEUDO_RANDOM:
            expected = self._session_keys.make_card_challenge(handshake.sequence_counter, parameters.aid)
            check_challenge(expected, handshake, parameters)

    def check_card(self) -> bytes:
        """Check the card's answer; return and keep the host cryptogram."""
        self.check_answer()
        self._host_cryptogram = self._session_keys.make_host_cryptogram()
        return self._host_cryptogram

    def wrap_key(self, key: KeyHandle) -> bytes:
        """Encrypt a key under the static Key-DEK, whatever the level (Amendment D section 6.2.8)."""
        return self._session_keys.wrap(key)

    def _mac(self, command: CommandApdu) -> bytes:
        # The chain begins with 16 zero bytes, and EXTERNAL AUTHENTICATE is its first link (section 6.2.3).
        chaining = self._state.mac_chaining or bytes(BLOCK)
        return self._session_keys.mac_command(chaining + build_mac_input(command, self._mac_length))

    def _protect(self, command: CommandApdu) -> tuple[bytes, bytes]:
        # Section 6.2.6: a command without data is not encrypted, and it counts all the same.
        encrypts = self._state.parameters.level.has_c_decryption and bool(command.data)
        data = pad(command.data, BLOCK) if encrypts else command.data
        check_room(command, len(data), self._mac_length)
        if encrypts:
            # The counter is 1 for the first command after EXTERNAL AUTHENTICATE, which is the channel's command 0.
            data = self._session_keys.encrypt_command(self._state.commands, data)
        return data, self._mac(replace(command, data=data))

    def _keep(self, _command: CommandApdu, mac: bytes) -> bytes:
        return mac

    def _check_response(self, response: ResponseApdu, kept: bytes) -> ResponseApdu:
        """Check and strip R-MAC and R-ENCRYPTION (Amendment D sections 6.2.5 and 6.2.7)."""
        if is_error(response.sw):
            # Section 6.2.5: no R-MAC protects an error status word, and no data comes with it.
            if response.data:
                raise KmsError(Code.RESPONSE_MAC_MISMATCH, "an error answer carries data that no R-MAC covers")
            return response
        split = len(response.data) - self._mac_length
        data, r_mac = response.data[: max(split, 0)], response.data[max(split, 0) :]
        expected = self._session_keys.mac_response(kept + data + response.sw.to_bytes(2, "big"))
        check_r_mac(expected[: self._mac_length], r_mac)
        if data and self._state.parameters.level.has_r_encryption:
            data = self._decrypt(data)
        return replace(response, data=data)

    def _decrypt(self, data: bytes) -> bytes:
        if len(data) % BLOCK:
            raise KmsError(Code.CARD_PROTOCOL, "an encrypted answer is no whole number of blocks")
        # The answer is of the oldest unanswered command, whose number the counter of its ICV is.
        counter = self._state.commands - len(self._state.unanswered)
        plain = self._session_keys.decrypt_response(counter, data)
        stripped = plain.rstrip(b"\x00")
        if not stripped.endswith(b"\x80") or len(plain) - len(stripped) >= BLOCK:
            raise KmsError(Code.CARD_PROTOCOL, "an encrypted answer does not end in padding")
        return stripped[:-1]


def check_parameters(handshake: Handshake, parameters: ChannelParameters) -> None:
    """Refuse a protocol, option or level that is not SCP03's, and an answer by another option than the card's."""
    secure_messaging.check_parameters(handshake, parameters, 3, OPTIONS, LEVELS)
    if handshake.i != parameters.i:
        # Nothing authenticates the option in the answer; what the card was enrolled with decides.
        raise KmsError(
            Code.CARD_PROTOCOL,
            f"the card answered by SCP03 option i={handshake.i or 0:02X} and is on record with i={parameters.i:02X}",
        )
    level, i = parameters.level, parameters.i
    if (level.has_r_mac and not i & I_R_MAC) or (level.has_r_encryption and i & I_R_ENC != I_R_ENC):
        raise KmsError(Code.INPUT_INVALID, f"security level {level:02X} needs response protection that i={i:02X} lacks")

"""SCP02 with explicit initiation and ICV encryption: options i=15 and 55, and with R-MAC i=35 and 75.

Rules (GP 2.3.1 appendix E): three keys, C-MAC on the modified APDU, first ICV zero. The state is a frozen value that
each command and answer replaces; programs reach this module through `kms.card.channel` alone.
"""

import hmac
from dataclasses import replace

from kms.card.apdu import CommandApdu, ResponseApdu
from kms.card.channel_state import ChannelParameters, ChannelState, Handshake, SecurityLevel
from kms.card.keys import KeyHandle, KeyPort, KeySetRef
from kms.card.scp02_keys import Scp02Keys, pad
from kms.errors import Code, KmsError

RESPONSE_LENGTH = 28
MAC_LENGTH = 8
MAX_COMMAND_DATA = 255
SECURE_MESSAGING = 0x04  # class byte: GlobalPlatform secure messaging (GP 2.3.1 Table 11-12)
CHANNEL_BITS = 0x03  # class byte: logical channel 0 to 3

# Bits of the option "i" (GP 2.3.1 Table E-1).
I_R_MAC = 0x20
I_KNOWN_CHALLENGE = 0x40
OPTIONS = frozenset({0x15, 0x35, 0x55, 0x75})

LEVELS = frozenset(SecurityLevel) - {SecurityLevel.C_MAC_C_DEC_R_MAC_R_ENC}


def parse_initialize_update(data: bytes, host_challenge: bytes) -> Handshake:
    """Parse the 28 bytes of GP 2.3.1 Table E-8: kdd 10, KVN, 02, sequence counter 2, card challenge 6, cryptogram 8."""
    if len(data) != RESPONSE_LENGTH:
        raise KmsError(
            Code.CARD_PROTOCOL,
            f"INITIALIZE UPDATE answered {len(data)} bytes, SCP02 has {RESPONSE_LENGTH}: check the card's profile",
        )
    if data[11] != 2:
        raise KmsError(
            Code.CARD_PROTOCOL, f"INITIALIZE UPDATE answered protocol {data[11]:02X}, not 02: check the card's profile"
        )
    if len(host_challenge) != 8:
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


def check_card_cryptogram(keys: KeyPort, ref: KeySetRef, handshake: Handshake, parameters: ChannelParameters) -> None:
    """Check the card cryptogram and, where i says that it is known, the card challenge."""
    check_parameters(handshake, parameters)
    session_keys = Scp02Keys(keys, ref, handshake.sequence_counter)
    check_equal_cryptogram(session_keys.mac_cryptogram(build_card_data(handshake)), handshake)
    check_card_challenge(session_keys, handshake, parameters)


def open_channel(keys: KeyPort, ref: KeySetRef, handshake: Handshake, parameters: ChannelParameters) -> "Scp02Channel":
    """Open a channel; refuse unless the card's cryptogram and, where it is known, its challenge are right."""
    check_parameters(handshake, parameters)
    channel = Scp02Channel(keys, ChannelState(handshake, parameters, ref))
    channel.check_card()
    return channel


def resume_channel(keys: KeyPort, state: ChannelState) -> "Scp02Channel":
    """Go on from a saved state."""
    check_parameters(state.handshake, state.parameters)
    return Scp02Channel(keys, state)


class Scp02Channel:
    """A `SecureChannel` by SCP02."""

    def __init__(self, keys: KeyPort, state: ChannelState) -> None:
        self._state = state
        self._session_keys = Scp02Keys(keys, state.key_set, state.handshake.sequence_counter)
        self._host_cryptogram: bytes | None = None

    def check_card(self) -> bytes:
        """Check the card's cryptogram and known challenge; return and keep the host cryptogram that comes with them."""
        handshake = self._state.handshake
        card, host = self._session_keys.mac_both_cryptograms(
            build_card_data(handshake), handshake.card_cryptogram, build_host_data(handshake)
        )
        check_equal_cryptogram(card, handshake)
        check_card_challenge(self._session_keys, handshake, self._state.parameters)
        self._host_cryptogram = host
        return host

    def external_authenticate(self) -> CommandApdu:
        """Build EXTERNAL AUTHENTICATE with its C-MAC, ICV zero, whatever the level (GP 2.3.1 sections E.4.4, E.5.2)."""
        if self._state.commands:
            raise KmsError(Code.CONFLICT, "EXTERNAL AUTHENTICATE was built already: open a new channel")
        level = self._state.parameters.level
        command = CommandApdu(0x80, 0x82, level, 0x00, self._host_cryptogram or self.check_card())
        mac = self._session_keys.mac_command(build_mac_input(command))
        # The C-MAC of EXTERNAL AUTHENTICATE is the ICV of the first R-MAC (GP 2.3.1 section E.3.2).
        self._advance(mac, b"")
        if level.has_r_mac:
            self._state = replace(self._state, r_mac_chaining=mac)
        return replace(command, cla=command.cla | SECURE_MESSAGING, data=command.data + mac)

    def wrap(self, command: CommandApdu) -> CommandApdu:
        """Protect a command (GP 2.3.1 sections E.4.4 and E.4.6)."""
        level = self._state.parameters.level
        if not self._state.commands:
            raise KmsError(Code.CONFLICT, "nothing can be wrapped before EXTERNAL AUTHENTICATE")
        check_class(command)
        if not level.has_c_mac:
            self._advance(self._state.mac_chaining, build_stripped_command(command))
            return command
        # E.4.6: without data there is nothing to encrypt, as SCP03 prescribes it (ADR 0011).
        encrypts = level.has_c_decryption and bool(command.data)
        data = pad(command.data) if encrypts else command.data
        if len(data) + MAC_LENGTH > MAX_COMMAND_DATA:
            raise KmsError(Code.APDU_INVALID, f"{len(command.data)} bytes of command data leave no room for the C-MAC")
        # The MAC covers the plain data and their length, then the data is encrypted and the MAC is not (E.4.6).
        mac = self._session_keys.mac_command(build_mac_input(command), self._state.mac_chaining)
        if encrypts:
            data = self._session_keys.encrypt_data(data)
        self._advance(mac, build_stripped_command(command))
        return replace(command, cla=command.cla | SECURE_MESSAGING, data=data + mac)

    def unwrap(self, response: ResponseApdu) -> ResponseApdu:
        """Check and strip an answer's R-MAC (GP 2.3.1 section E.4.5; ADR 0010)."""
        if not self._state.parameters.level.has_r_mac:
            return response
        if not self._state.unanswered:
            raise KmsError(Code.CONFLICT, "no command waits for an answer")
        stripped, *later = self._state.unanswered
        if not stripped:  # EXTERNAL AUTHENTICATE: the answers after it carry R-MACs
            self._state = replace(self._state, unanswered=tuple(later))
            return response
        data, r_mac = response.data[:-MAC_LENGTH], response.data[-MAC_LENGTH:]
        error = is_error(response.sw)
        if error and data:
            raise KmsError(Code.RESPONSE_MAC_MISMATCH, "an error answer carries data that no R-MAC covers")
        # E.4.5: Li is the length modulo 256, 00 on an error.
        covered = stripped + bytes([len(data) % 256]) + data + response.sw.to_bytes(2, "big")
        expected = self._session_keys.mac_response(covered, self._state.r_mac_chaining)
        # An error may come as a bare status word (ISO/IEC 7816-4 section 5.1.3); the card's chain moves all the same.
        bare = error and not r_mac
        if not bare and not hmac.compare_digest(expected, r_mac):
            raise KmsError(Code.RESPONSE_MAC_MISMATCH, "the answer's R-MAC is wrong or missing: the channel is dead")
        self._state = replace(self._state, r_mac_chaining=expected, unanswered=tuple(later))
        return replace(response, data=data)

    def wrap_key(self, key: KeyHandle) -> bytes:
        """Encrypt a key under the session DEK, which does not depend on the level (GP 2.3.1 section E.4.7)."""
        return self._session_keys.wrap(key)

    def state(self) -> ChannelState:
        """Give the state to go on from."""
        return self._state

    def _advance(self, mac: bytes, stripped: bytes) -> None:
        unanswered = self._state.unanswered
        if self._state.parameters.level.has_r_mac:
            unanswered = (*unanswered, stripped)
        self._state = replace(self._state, mac_chaining=mac, commands=self._state.commands + 1, unanswered=unanswered)


def check_parameters(handshake: Handshake, parameters: ChannelParameters) -> None:
    """Refuse a protocol, option or level that is not SCP02's as implemented here."""
    if handshake.scp != 2 or parameters.scp != 2:
        raise KmsError(Code.CARD_PROTOCOL, "the card's answer and its profile must both be of SCP02")
    if parameters.i not in OPTIONS:
        raise KmsError(Code.INPUT_INVALID, f"SCP02 option i={parameters.i:02X} is not supported: use 15, 35, 55 or 75")
    if parameters.level not in LEVELS:
        raise KmsError(Code.INPUT_INVALID, f"SCP02 has no security level {parameters.level:02X}")
    if parameters.level.has_r_mac and not parameters.i & I_R_MAC:
        raise KmsError(
            Code.INPUT_INVALID, f"security level {parameters.level:02X} needs R-MAC, which i={parameters.i:02X} lacks"
        )


def check_equal_cryptogram(expected: bytes, handshake: Handshake) -> None:
    """Refuse a card cryptogram that the key set does not make."""
    if not hmac.compare_digest(expected, handshake.card_cryptogram):
        raise KmsError(Code.CRYPTOGRAM_MISMATCH, "the card answered under other keys than this key set's")


def check_card_challenge(session_keys: Scp02Keys, handshake: Handshake, parameters: ChannelParameters) -> None:
    """Where i has bit 40: refuse a card challenge that is not the AID's MAC (GP 2.3.1 section E.4.2.3; ADR 0012)."""
    if not parameters.i & I_KNOWN_CHALLENGE:
        return
    if not hmac.compare_digest(session_keys.mac_command(parameters.aid)[:6], handshake.card_challenge):
        raise KmsError(
            Code.CHALLENGE_MISMATCH,
            f"the card challenge is not what i={parameters.i:02X} makes of this AID and MAC key: check profile and AID",
        )


def build_card_data(handshake: Handshake) -> bytes:
    """Build what the card cryptogram covers, padded: host challenge, counter, card challenge (GP 2.3.1 E.4.2.1)."""
    counter = handshake.sequence_counter.to_bytes(2, "big")
    return pad(handshake.host_challenge + counter + handshake.card_challenge)


def build_host_data(handshake: Handshake) -> bytes:
    """Build what the host cryptogram covers, padded: counter, card challenge, host challenge (GP 2.3.1 E.4.2.2)."""
    counter = handshake.sequence_counter.to_bytes(2, "big")
    return pad(counter + handshake.card_challenge + handshake.host_challenge)


def build_mac_input(command: CommandApdu) -> bytes:
    """Build what a C-MAC covers: modified header, Lc with the MAC's length, data; no Le (GP 2.3.1 section E.4.4)."""
    cla = (command.cla & ~CHANNEL_BITS) | SECURE_MESSAGING
    length = len(command.data) + MAC_LENGTH
    return bytes([cla, command.ins, command.p1, command.p2, length]) + command.data


def build_stripped_command(command: CommandApdu) -> bytes:
    """Build what an R-MAC covers of a command: no MAC, no secure messaging bit, channel 0, Lc always, no Le (E.4.5)."""
    cla = command.cla & ~CHANNEL_BITS
    return bytes([cla, command.ins, command.p1, command.p2, len(command.data)]) + command.data


def check_class(command: CommandApdu) -> None:
    """Refuse a class byte that says secure messaging already, or a logical channel above 3."""
    if command.cla & 0x4C:
        raise KmsError(
            Code.APDU_INVALID, f"class byte {command.cla:02X} cannot be wrapped: use logical channels 0 to 3"
        )


def is_error(sw: int) -> bool:
    """Tell an error status word: anything but 9000, 62xx and 63xx."""
    return sw != 0x9000 and sw >> 8 not in {0x62, 0x63}

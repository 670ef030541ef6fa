"""What SCP02 and SCP03 have in common: the class byte, padding, modified headers, and how a card's answer is judged.

Rules: nothing here depends on a key. What the protocols do differently stands in `scp02` and `scp03` alone.
"""

import hmac

from kms.card.apdu import CommandApdu
from kms.card.channel_state import ChannelParameters, Handshake, SecurityLevel
from kms.errors import Code, KmsError

SECURE_MESSAGING = 0x04  # class byte: GlobalPlatform secure messaging (GP 2.3.1 Table 11-12)
CHANNEL_BITS = 0x03  # class byte: logical channel 0 to 3


def pad(data: bytes, block: int) -> bytes:
    """Pad with 80 00.. to whole blocks of `block` bytes, always by at least one (ISO 9797-1 padding method 2)."""
    return data + b"\x80" + bytes(-(len(data) + 1) % block)


def xor(left: bytes, right: bytes) -> bytes:
    """Combine two byte strings of the same length bit by bit."""
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def get_most_plain_data(level: SecurityLevel, mac_length: int, block: int) -> int:
    """Get the most plain bytes that a short command takes: 255 less the C-MAC, less C-DECRYPTION's padding."""
    if not level.has_c_mac:
        return 255
    room = 255 - mac_length
    return room // block * block - 1 if level.has_c_decryption else room


def build_mac_input(command: CommandApdu, mac_length: int) -> bytes:
    """Build what a C-MAC covers: modified header, Lc with the MAC's length, data; no Le.

    GP 2.3.1 section E.4.4 and Amendment D section 6.2.4: the secure messaging bit set, the logical channel number zero.
    """
    cla = (command.cla & ~CHANNEL_BITS) | SECURE_MESSAGING
    length = len(command.data) + mac_length
    return bytes([cla, command.ins, command.p1, command.p2, length]) + command.data


def check_class(command: CommandApdu) -> None:
    """Refuse a class byte that says secure messaging already, or a logical channel above 3."""
    if command.cla & 0x4C:
        raise KmsError(
            Code.APDU_INVALID, f"class byte {command.cla:02X} cannot be wrapped: use logical channels 0 to 3"
        )


def check_room(command: CommandApdu, data_length: int, mac_length: int) -> None:
    """Refuse command data that leave no room for the C-MAC. `data_length`: with padding, before the MAC."""
    if data_length + mac_length > 255:
        raise KmsError(Code.APDU_INVALID, f"{len(command.data)} bytes of command data leave no room for the C-MAC")


def check_marker(data: bytes, scp: int, length: int) -> None:
    """Refuse an INITIALIZE UPDATE answer of another length or protocol (its 12th byte): `card.protocol-violation`."""
    if len(data) != length:
        raise KmsError(
            Code.CARD_PROTOCOL,
            f"INITIALIZE UPDATE answered {len(data)} bytes, SCP{scp:02d} has {length}: check the card's profile",
        )
    if data[11] != scp:
        raise KmsError(
            Code.CARD_PROTOCOL,
            f"INITIALIZE UPDATE answered protocol {data[11]:02X}, not {scp:02X}: check the card's profile",
        )


def check_parameters(
    handshake: Handshake,
    parameters: ChannelParameters,
    scp: int,
    options: frozenset[int],
    levels: frozenset[SecurityLevel],
) -> None:
    """Refuse a protocol, option or level that is not of the protocol `scp`."""
    if handshake.scp != scp or parameters.scp != scp:
        raise KmsError(Code.CARD_PROTOCOL, f"the card's answer and its profile must both be of SCP{scp:02d}")
    if parameters.i not in options:
        listed = ", ".join(f"{option:02X}" for option in sorted(options))
        raise KmsError(
            Code.INPUT_INVALID, f"SCP{scp:02d} option i={parameters.i:02X} is not supported: use one of {listed}"
        )
    if parameters.level not in levels:
        raise KmsError(Code.INPUT_INVALID, f"SCP{scp:02d} has no security level {parameters.level:02X}")


def check_card_cryptogram(expected: bytes, handshake: Handshake) -> None:
    """Refuse a card cryptogram that the key set does not make."""
    if not hmac.compare_digest(expected, handshake.card_cryptogram):
        raise KmsError(Code.CRYPTOGRAM_MISMATCH, "the card answered under other keys than this key set's")


def check_challenge(expected: bytes, handshake: Handshake, parameters: ChannelParameters) -> None:
    """Refuse a card challenge that is not what the option makes of the key set, the counter and the AID."""
    if not hmac.compare_digest(expected, handshake.card_challenge):
        raise KmsError(
            Code.CHALLENGE_MISMATCH,
            f"the card challenge is not what i={parameters.i:02X} makes of this AID and key set: check profile and AID",
        )


def check_r_mac(expected: bytes, r_mac: bytes) -> None:
    """Refuse a wrong or missing R-MAC."""
    if not hmac.compare_digest(expected, r_mac):
        raise KmsError(Code.RESPONSE_MAC_MISMATCH, "the answer's R-MAC is wrong or missing: the channel is dead")


def is_error(sw: int) -> bool:
    """Tell an error status word: anything but 9000, 62xx and 63xx."""
    return sw != 0x9000 and sw >> 8 not in {0x62, 0x63}

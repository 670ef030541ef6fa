"""INITIALIZE UPDATE, BEGIN and END R-MAC SESSION (GP Card Specification 2.3.1 appendix E.5, Amendment D section 7.1).

Rules: only bytes; the channel owns challenges, cryptograms, levels and EXTERNAL AUTHENTICATE, which carries a MAC.
"""

from kms.card.apdu import CommandApdu
from kms.card.commands.fields import CLA_GP, LE_ALL
from kms.card.status import INS_BEGIN_R_MAC, INS_END_R_MAC, INS_INITIALIZE_UPDATE
from kms.errors import Code, KmsError


def build_initialize_update(kvn: int, host_challenge: bytes) -> CommandApdu:
    """Build INITIALIZE UPDATE. `kvn`: 00 = the card's first available set, else 01-7F or FF (factory set).

    `host_challenge`: 8 bytes, or 16 in SCP03's S16 mode. Raises `card.apdu-invalid`.
    """
    if not (0 <= kvn <= 0x7F or kvn == 0xFF):
        raise KmsError(Code.APDU_INVALID, f"INITIALIZE UPDATE cannot name key version {kvn:02X}")
    if len(host_challenge) not in (8, 16):
        raise KmsError(Code.APDU_INVALID, f"a host challenge has 8 or 16 bytes, not {len(host_challenge)}")
    return CommandApdu(CLA_GP, INS_INITIALIZE_UPDATE, kvn, 0x00, host_challenge, LE_ALL)


def build_begin_r_mac(response_level: int = 0x10, session_data: bytes = b"") -> CommandApdu:
    """Build BEGIN R-MAC SESSION. `response_level`: 10 R-MAC, 30 R-MAC and R-ENCRYPTION (SCP03 only).

    `session_data`: 0-24 bytes that enter the first R-MAC (GP 2.3.1 section E.5.3). Raises `card.apdu-invalid`.
    """
    if response_level not in (0x10, 0x30):
        raise KmsError(Code.APDU_INVALID, f"response protection {response_level:02X} is neither 10 nor 30")
    if len(session_data) > 24:
        raise KmsError(Code.APDU_INVALID, "the data of an R-MAC session have at most 24 bytes")
    data = bytes([len(session_data)]) + session_data
    return CommandApdu(CLA_GP, INS_BEGIN_R_MAC, response_level, 0x01, data)


def build_end_r_mac() -> CommandApdu:
    """Build END R-MAC SESSION, which ends response protection and returns the last R-MAC (GP 2.3.1 section E.5.4)."""
    return CommandApdu(CLA_GP, INS_END_R_MAC, 0x00, 0x03, le=LE_ALL)

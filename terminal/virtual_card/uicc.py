"""The little of a UICC (ETSI TS 102 221) that hosts look at before they talk to a security domain.

SELECT of the MF and of EF.DIR answers file control parameters; EF.DIR has one record, which names the ISD.
"""

from typing import Final

from terminal.virtual_card.apdu import CommandApdu
from terminal.virtual_card.session import CardRuntime
from terminal.virtual_card.status import (
    CONDITIONS_NOT_SATISFIED,
    NO_RECORD,
    NOT_FOUND,
    WRONG_LENGTH,
    WRONG_P1P2,
    CardError,
)
from terminal.virtual_card.tlv import build_tlv

MF: Final = bytes.fromhex("3F00")
EF_DIR: Final = bytes.fromhex("2F00")
RECORD_LENGTH: Final = 32


def select_file(runtime: CardRuntime, file_id: bytes) -> bytes:
    """Select by file identifier; the ISD becomes the selected domain again, as after a reset."""
    if len(file_id) not in {0, 2}:
        raise CardError(WRONG_LENGTH)
    file_id = file_id or MF
    if file_id not in {MF, EF_DIR}:
        raise CardError(NOT_FOUND)
    runtime.select(runtime.state.isd.aid)
    runtime.record_file = file_id
    # TS 102 221 section 11.1.1.4.3: file descriptor 78 21 is a DF, 42 21 a linear fixed EF with its record size.
    if file_id == MF:
        parameters = build_tlv(0x82, bytes.fromhex("7821")) + build_tlv(0x83, MF)
        return build_tlv(0x62, parameters + build_tlv(0x8A, b"\x05"))
    descriptor = bytes.fromhex("4221") + RECORD_LENGTH.to_bytes(2, "big") + b"\x01"
    parameters = build_tlv(0x82, descriptor) + build_tlv(0x83, EF_DIR) + build_tlv(0x8A, b"\x05")
    return build_tlv(0x62, parameters + build_tlv(0x80, RECORD_LENGTH.to_bytes(2, "big")))


def read_record(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Return the one record of EF.DIR by its absolute number."""
    if runtime.record_file != EF_DIR:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    if command.p2 != 0x04:
        raise CardError(WRONG_P1P2)
    if command.p1 != 1:
        raise CardError(NO_RECORD)
    record = build_tlv(0x61, build_tlv(0x4F, runtime.state.isd.aid))
    return record.ljust(RECORD_LENGTH, b"\xff")

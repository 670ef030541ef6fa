"""Status words and what they mean (GP Card Specification 2.3.1 section 11.1.3 and each command's own table).

Rules: unknown values are legal and described as such. A meaning may depend on the command that was answered.
"""

from enum import IntEnum

INS_DELETE = 0xE4
INS_EXTERNAL_AUTHENTICATE = 0x82
INS_GET_DATA = 0xCA
INS_GET_STATUS = 0xF2
INS_INITIALIZE_UPDATE = 0x50
INS_INSTALL = 0xE6
INS_PUT_KEY = 0xD8
INS_SELECT = 0xA4
INS_SET_STATUS = 0xF0
INS_STORE_DATA = 0xE2
INS_BEGIN_R_MAC = 0x7A
INS_END_R_MAC = 0x78


class StatusWord(IntEnum):
    """Status words the core knows by name. Compare them with any int; values outside this list occur."""

    OK = 0x9000
    SELECTED_LOCKED = 0x6283
    AUTHENTICATION_FAILED = 0x6300
    MORE_DATA = 0x6310
    NO_DIAGNOSIS = 0x6400
    MEMORY_FAILURE = 0x6581
    WRONG_LENGTH = 0x6700
    CHANNEL_NOT_SUPPORTED = 0x6881
    SECURE_MESSAGING_NOT_SUPPORTED = 0x6882
    SECURITY_STATUS = 0x6982
    BLOCKED = 0x6983
    CONDITIONS_NOT_SATISFIED = 0x6985
    WRONG_DATA = 0x6A80
    FUNCTION_NOT_SUPPORTED = 0x6A81
    NOT_FOUND = 0x6A82
    NO_ROOM = 0x6A84
    WRONG_P1_P2 = 0x6A86
    REFERENCE_NOT_FOUND = 0x6A88
    INS_NOT_SUPPORTED = 0x6D00
    CLA_NOT_SUPPORTED = 0x6E00
    NO_PRECISE_DIAGNOSIS = 0x6F00
    ALGORITHM_NOT_SUPPORTED = 0x9484
    KCV_WRONG = 0x9485


_MEANINGS: dict[int, str] = {
    StatusWord.OK: "done",
    StatusWord.SELECTED_LOCKED: "selected, but locked",
    StatusWord.AUTHENTICATION_FAILED: "authentication failed",
    StatusWord.MORE_DATA: "more data available",
    StatusWord.NO_DIAGNOSIS: "no specific diagnosis",
    StatusWord.MEMORY_FAILURE: "memory failure, outcome unknown",
    StatusWord.WRONG_LENGTH: "wrong length",
    StatusWord.CHANNEL_NOT_SUPPORTED: "logical channel not supported or not active",
    StatusWord.SECURE_MESSAGING_NOT_SUPPORTED: "secure messaging not supported",
    StatusWord.SECURITY_STATUS: "security status not satisfied",
    StatusWord.BLOCKED: "authentication method blocked",
    StatusWord.CONDITIONS_NOT_SATISFIED: "conditions of use not satisfied",
    StatusWord.WRONG_DATA: "incorrect values in command data",
    StatusWord.FUNCTION_NOT_SUPPORTED: "function not supported",
    StatusWord.NOT_FOUND: "application or file not found",
    StatusWord.NO_ROOM: "not enough memory space",
    StatusWord.WRONG_P1_P2: "incorrect P1 P2",
    StatusWord.REFERENCE_NOT_FOUND: "referenced data not found",
    StatusWord.INS_NOT_SUPPORTED: "instruction not supported",
    StatusWord.CLA_NOT_SUPPORTED: "class not supported",
    StatusWord.NO_PRECISE_DIAGNOSIS: "no precise diagnosis",
    StatusWord.ALGORITHM_NOT_SUPPORTED: "algorithm not supported",
    StatusWord.KCV_WRONG: "key check value wrong",
}

_COMMAND_MEANINGS: dict[tuple[int, int], str] = {
    (INS_INITIALIZE_UPDATE, 0x6A88): "no such key version on the card",
    # Seen on cards where the key version exists but is no secure channel key set.
    (INS_INITIALIZE_UPDATE, 0x6985): "this key version opens no secure channel now",
    (INS_EXTERNAL_AUTHENTICATE, 0x6300): "the card does not accept the host cryptogram",
    (INS_EXTERNAL_AUTHENTICATE, 0x6982): "the card does not accept the host cryptogram or the MAC",
    (INS_PUT_KEY, 0x6581): "memory failure, unknown whether the keys were loaded",
    (INS_PUT_KEY, 0x6A80): "wrong key data, algorithm or length, or the key version is already there",
    (INS_PUT_KEY, 0x6A84): "no room for another key",
    (INS_PUT_KEY, 0x6A86): "key version, key identifier or chaining not supported",
    (INS_PUT_KEY, 0x6A88): "the key version to replace is not there, or the key block form is not supported",
    (INS_PUT_KEY, 0x6982): "key check value wrong, or the secure channel was refused",
    (INS_DELETE, 0x6A88): "nothing to delete under this name, or it cannot be deleted so",
    (INS_DELETE, 0x6985): "still referenced, or not allowed to be deleted",
    (INS_INSTALL, 0x6A80): "wrong install data, or the AID is already there",
    (INS_INSTALL, 0x6A84): "no room on the card",
    (INS_INSTALL, 0x6A88): "load file, module or security domain not found",
    (INS_STORE_DATA, 0x6982): "key check value wrong, or the secure channel was refused",
    (INS_STORE_DATA, 0x6A80): "wrong data",
    (INS_STORE_DATA, 0x6A84): "no room on the card",
    (INS_STORE_DATA, 0x6A88): "data object not known",
    (INS_GET_DATA, 0x6A88): "the card has no such data object",
    (INS_GET_STATUS, 0x6A88): "no entry matches",
    (INS_SELECT, 0x6A82): "no application or security domain with this AID",
    (INS_SELECT, 0x6283): "selected, but the card is locked",
    (INS_SET_STATUS, 0x6A80): "this life cycle state cannot be set now",
    (INS_SET_STATUS, 0x6A88): "no application or security domain with this AID",
}


def describe_status(sw: int, ins: int | None = None) -> str:
    """Describe a status word: `6A88 (referenced data not found)`. `ins`: the instruction byte that it answers."""
    meaning = _MEANINGS.get(sw)
    if ins is not None:
        meaning = _COMMAND_MEANINGS.get((ins, sw), meaning)
    return f"{sw:04X} ({meaning or _describe_family(sw)})"


def _describe_family(sw: int) -> str:
    sw1, sw2 = sw >> 8, sw & 0xFF
    if sw1 == 0x61:
        return f"{sw2 or 256} more response bytes available"
    if sw1 == 0x6C:
        return f"wrong Le, {sw2 or 256} bytes available"
    if sw & 0xFFF0 == 0x63C0:
        return f"verification failed, {sw2 & 0x0F} attempts left"
    return "unknown status word"

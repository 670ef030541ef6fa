"""GET DATA (GP231 section 11.3): what anyone may read of the card."""

from terminal.virtual_card import scp02, scp03
from terminal.virtual_card.apdu import CommandApdu
from terminal.virtual_card.authentication import find_default_key_set
from terminal.virtual_card.model import CardState
from terminal.virtual_card.session import CardRuntime
from terminal.virtual_card.status import REFERENCED_DATA_NOT_FOUND, CardError
from terminal.virtual_card.tlv import build_tlv

GLOBAL_PLATFORM_OID = bytes.fromhex("2A864886FC6B")


def get_data(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Return the data object whose tag is P1 P2; raise CardError 6A88 when the selected domain has none."""
    state = runtime.state
    match command.p1 << 8 | command.p2:
        case 0x0042 if runtime.selected_aid == state.isd.aid:
            answer = build_tlv(0x42, state.iin)
        case 0x0045 if runtime.selected_aid == state.isd.aid:
            answer = build_tlv(0x45, state.cin)
        case 0x0066:
            answer = build_card_recognition_data(state)
        case 0x00C1:
            answer = _build_sequence_counter(runtime)
        case 0x00CF:
            answer = build_tlv(0xCF, state.kdd)
        case 0x00E0:
            answer = _build_key_information(runtime)
        case 0x9F7F:
            answer = build_tlv(0x9F7F, state.cplc)
        case _:
            raise CardError(REFERENCED_DATA_NOT_FOUND)
    return answer


def build_card_recognition_data(state: CardState) -> bytes:
    """Return tag 66 (GP231 Table H-1): the card follows version 2.2.1; one tag 64 for each protocol and its i."""
    protocols = ((scp02.SCP_IDENTIFIER, state.scp02_i), (scp03.SCP_IDENTIFIER, state.scp03_i))
    oids = (
        build_tlv(0x06, GLOBAL_PLATFORM_OID + b"\x01"),
        build_tlv(0x60, build_tlv(0x06, GLOBAL_PLATFORM_OID + bytes([2, 2, 2, 1]))),
        build_tlv(0x63, build_tlv(0x06, GLOBAL_PLATFORM_OID + b"\x03")),
        *(
            build_tlv(0x64, build_tlv(0x06, GLOBAL_PLATFORM_OID + bytes([4, scp, scp_i])))
            for scp, scp_i in protocols
            if scp_i is not None
        ),
    )
    return build_tlv(0x66, build_tlv(0x73, b"".join(oids)))


def _build_sequence_counter(runtime: CardRuntime) -> bytes:
    """Return the sequence counter of the default key set: 2 bytes (GP231 section 11.3.3.1), or 3 of SCP03.

    SCP03 counts with a pseudo-random card challenge only.
    """
    state = runtime.state
    default_set = find_default_key_set(state, state.get_key_owner(runtime.selected))
    if default_set is None:
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    if default_set.is_scp02_set:
        return build_tlv(0xC1, default_set.sequence_counter.to_bytes(2, "big"))
    if not (state.scp03_i or 0) & scp03.I_PSEUDO_RANDOM:
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    return build_tlv(0xC1, default_set.sequence_counter.to_bytes(scp03.COUNTER_LENGTH, "big"))


def _build_key_information(runtime: CardRuntime) -> bytes:
    """Return the Key Information Template (GP231 Table 11-58) of the domain's own keys."""
    entries = [
        build_tlv(0xC0, bytes([key.kid, key_set.kvn, key.key_type, len(key.value)]))
        for key_set in runtime.selected.key_sets
        for key in key_set.keys
    ]
    if not entries:
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    return build_tlv(0xE0, b"".join(entries))

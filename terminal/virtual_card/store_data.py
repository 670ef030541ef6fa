"""STORE DATA (GP231 section 11.11): key data groups 00B9 and 8113, and the ISD's identification numbers.

The data of all blocks are gathered and read at the last one: what was sent takes effect whole or not at all.
"""

from dataclasses import dataclass, replace
from typing import Final

from terminal.virtual_card.apdu import CommandApdu
from terminal.virtual_card.crypto import AES_BLOCK, unpad
from terminal.virtual_card.key_store import check_kcv, check_key_shape, check_kvn, put_keys, settle_keys
from terminal.virtual_card.model import CardState, SecurityDomain, StaticKey
from terminal.virtual_card.session import CardRuntime, Personalization, SecureChannel
from terminal.virtual_card.status import (
    CONDITIONS_NOT_SATISFIED,
    REFERENCED_DATA_NOT_FOUND,
    WRONG_DATA,
    WRONG_P1P2,
    CardError,
    SecureMessagingError,
)
from terminal.virtual_card.tlv import parse_tlvs, read_byte, read_bytes

# P1, GP231 Table 11-84.
LAST_BLOCK: Final = 0x80
ENCRYPTION_MASK: Final = 0x60
ALL_ENCRYPTED: Final = 0x60
ENCRYPTION_RFU: Final = 0x40
FORMAT_MASK: Final = 0x18
FORMAT_DGI: Final = 0x08
FORMAT_RFU: Final = 0x18
OTHER_BITS: Final = 0x07

DGI_KEY_ATTRIBUTES: Final = 0x00B9
DGI_KEY_VALUE: Final = 0x8113
MAX_GATHERED: Final = 4096


@dataclass(frozen=True)
class KeyAttributes:
    """What DGI 00B9 says of one key (template B9)."""

    key_type: int
    length: int
    kid: int
    kvn: int
    kcv: bytes


def store_data(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Gather a block for the domain under personalization, else for the selected one; act at the last block."""
    channel = runtime.channel
    if channel is None:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    progress = runtime.personalization or Personalization(runtime.selected_aid)
    # Whatever goes wrong ends the personalization (GP231 section 7.3.2); a good block puts it back.
    runtime.personalization = None
    if command.p1 & OTHER_BITS or command.p1 & FORMAT_MASK == FORMAT_RFU:
        raise CardError(WRONG_P1P2)
    if command.p1 & ENCRYPTION_MASK == ENCRYPTION_RFU or command.p2 != progress.next_block:
        raise CardError(WRONG_P1P2)
    if progress.next_block and (command.p1 ^ progress.p1) & ~LAST_BLOCK:
        raise CardError(WRONG_P1P2)  # one series has one coding
    data = progress.data + command.data
    if not command.data or len(data) > MAX_GATHERED:
        raise CardError(WRONG_DATA)
    if not command.p1 & LAST_BLOCK:
        runtime.personalization = Personalization(progress.target_aid, progress.next_block + 1, command.p1, data)
        return b""
    domain = runtime.state.find_domain(progress.target_aid)
    if domain is None:
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    if command.p1 & FORMAT_MASK == FORMAT_DGI:
        is_all_encrypted = command.p1 & ENCRYPTION_MASK == ALL_ENCRYPTED
        changed = _load_keys(channel, domain, parse_dgis(data), is_all_encrypted=is_all_encrypted)
        runtime.state = settle_keys(runtime.state, changed, runtime.personality)
    else:
        runtime.state = _store_objects(runtime.state, domain, data)
    return b""


def parse_dgis(data: bytes) -> list[tuple[int, bytes]]:
    """Read data groups: 2-byte identifier, length of 1 byte or FF and 2 bytes (EMV CPS 1.1 section 2.2)."""
    groups = []
    offset = 0
    while offset < len(data):
        identifier, offset = read_bytes(data, offset, 2)
        length = read_byte(data, offset)
        offset += 1
        if length == 0xFF:
            long_length, offset = read_bytes(data, offset, 2)
            length = int.from_bytes(long_length, "big")
        value, offset = read_bytes(data, offset, length)
        groups.append((int.from_bytes(identifier, "big"), value))
    return groups


def parse_key_attributes(data: bytes) -> list[KeyAttributes]:
    """Read the B9 templates of DGI 00B9; raise CardError 6A80 for a field that is missing or of a wrong size."""
    keys = []
    for tag, value in parse_tlvs(data):
        fields = dict(parse_tlvs(value))
        if tag != 0xB9 or not {0x80, 0x81, 0x82, 0x83, 0x84} <= fields.keys() <= {*range(0x80, 0x85), 0x95, 0x96}:
            raise CardError(WRONG_DATA)
        numbers = [fields[number] for number in (0x80, 0x81, 0x82, 0x83)]
        if any(len(number) not in {1, 2} for number in numbers):
            raise CardError(WRONG_DATA)
        key_type, length, kid, kvn = (int.from_bytes(number, "big") for number in numbers)
        check_key_shape(key_type, length)
        check_kvn(kvn)
        if not 1 <= kid <= 0x7F:
            raise CardError(WRONG_DATA)
        keys.append(KeyAttributes(key_type, length, kid, kvn, fields[0x84]))
    return keys


def _decrypt_attributes(channel: SecureChannel, value: bytes, *, is_all_encrypted: bool) -> list[KeyAttributes]:
    """Read DGI 00B9, which is plain by definition.

    P1 may yet say that every group is encrypted. Hosts differ in what that means for 00B9, so both are taken.
    """
    try:
        return parse_key_attributes(value)
    except CardError:
        if not is_all_encrypted:
            raise
    try:
        return parse_key_attributes(unpad(channel.decrypt_sensitive(value), AES_BLOCK))
    except SecureMessagingError as error:
        raise CardError(WRONG_DATA) from error


def _load_keys(
    channel: SecureChannel, domain: SecurityDomain, groups: list[tuple[int, bytes]], *, is_all_encrypted: bool
) -> SecurityDomain:
    """Return the domain with the keys of these groups: each 00B9 is followed by one 8113 for each key it names."""
    if not groups:
        raise CardError(WRONG_DATA)
    waiting: list[KeyAttributes] = []
    # By version number, so that a set that comes whole counts as replaced whole.
    loaded: dict[int, tuple[StaticKey, ...]] = {}
    for identifier, value in groups:
        if identifier == DGI_KEY_ATTRIBUTES and not waiting:
            waiting = _decrypt_attributes(channel, value, is_all_encrypted=is_all_encrypted)
        elif identifier == DGI_KEY_VALUE and waiting:
            attributes = waiting.pop(0)
            key = _decrypt_key(channel, attributes, value)
            loaded[attributes.kvn] = (*loaded.get(attributes.kvn, ()), key)
        else:
            raise CardError(WRONG_DATA)
    if waiting:
        raise CardError(WRONG_DATA)
    for kvn, keys in loaded.items():
        domain = put_keys(domain, kvn, keys)
    return domain


def _decrypt_key(channel: SecureChannel, attributes: KeyAttributes, value: bytes) -> StaticKey:
    plain = channel.decrypt_sensitive(value)
    if not attributes.length <= len(plain) <= attributes.length + 16:
        raise CardError(WRONG_DATA)
    key = StaticKey(attributes.kid, attributes.key_type, plain[: attributes.length])
    check_kcv(key, attributes.kcv)
    return key


def _store_objects(state: CardState, domain: SecurityDomain, data: bytes) -> CardState:
    """Set the issuer's and the card image's number (tags 42 and 45) in the ISD."""
    if domain.aid != state.isd.aid:
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    for tag, value in parse_tlvs(data):
        if tag not in {0x42, 0x45} or not 1 <= len(value) <= 16:
            raise CardError(WRONG_DATA)
        state = replace(state, iin=value) if tag == 0x42 else replace(state, cin=value)
    return state

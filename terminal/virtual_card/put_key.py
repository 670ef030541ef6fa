"""PUT KEY (GP231 section 11.8): add or replace one key or several of one set, all of them or none."""

from dataclasses import dataclass, field
from typing import Final

from terminal.virtual_card.apdu import CommandApdu
from terminal.virtual_card.key_store import (
    check_kcv,
    check_key_shape,
    check_kvn,
    compute_kcv,
    put_keys,
    settle_keys,
    take_keys,
)
from terminal.virtual_card.model import KEY_TYPE_AES, SecurityDomain, StaticKey
from terminal.virtual_card.personality import AesKeyForm
from terminal.virtual_card.session import CardRuntime, SecureChannel
from terminal.virtual_card.status import (
    CONDITIONS_NOT_SATISFIED,
    REFERENCED_DATA_NOT_FOUND,
    WRONG_DATA,
    WRONG_P1P2,
    CardError,
)
from terminal.virtual_card.tlv import read_byte, read_bytes, read_length, read_lv

EXTENDED_FORMAT: Final = 0xFF


@dataclass(frozen=True)
class KeyDataField:
    """One key as it stands in the command: type, the encrypted block, check value."""

    key_type: int
    block: bytes = field(repr=False)
    kcv: bytes


def put_key(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Load keys into the selected domain; return the key version number and the check values."""
    if command.p1 & 0x80:
        raise CardError(WRONG_P1P2)  # a chain of PUT KEY commands is not offered
    first_kid = command.p2 & 0x7F
    channel = runtime.channel
    if channel is None:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    new_kvn = read_byte(command.data, 0)
    check_kvn(new_kvn)
    fields = parse_key_data_fields(command.data[1:])
    if not fields or (len(fields) > 1 and not command.p2 & 0x80):
        raise CardError(WRONG_DATA)
    if first_kid == 0 or first_kid + len(fields) - 1 > 0x7F:
        raise CardError(WRONG_P1P2)
    form = runtime.personality.aes_key_form
    keys = tuple(_decrypt_key(channel, kid, item, form) for kid, item in enumerate(fields, start=first_kid))
    old_kvn = command.p1
    domain = runtime.selected
    if old_kvn:
        domain = _remove_replaced(domain, old_kvn, keys, any_length=runtime.personality.replaces_other_lengths)
    present = domain.find_key_set(new_kvn)
    if present is not None and any(present.find_key(key.kid) for key in keys):
        raise CardError(WRONG_DATA)  # a key with this identifier and version is there already
    # One assignment: every key of the command is installed, or none (GP231 section 11.8.1).
    runtime.state = settle_keys(runtime.state, put_keys(domain, new_kvn, keys), runtime.personality)
    return bytes([new_kvn]) + b"".join(compute_kcv(key) for key in keys)


def parse_key_data_fields(data: bytes) -> tuple[KeyDataField, ...]:
    """Read key data fields, basic or extended format (GP231 Tables 11-68 and 11-69), to the last byte."""
    fields = []
    offset = 0
    while offset < len(data):
        key_type = data[offset]
        offset += 1
        is_extended = key_type == EXTENDED_FORMAT
        if is_extended:
            key_type = read_byte(data, offset)
            offset += 1
        # GP231 section 11.8.2.3: a length of 128 may be written as the single byte 80.
        if read_byte(data, offset) == 0x80:
            length, offset = 0x80, offset + 1
        else:
            length, offset = read_length(data, offset)
        block, offset = read_bytes(data, offset, length)
        kcv, offset = read_lv(data, offset)
        if is_extended:
            _usage, offset = read_lv(data, offset)
            _access, offset = read_lv(data, offset)
        fields.append(KeyDataField(key_type, block, kcv))
    return tuple(fields)


def _decrypt_key(channel: SecureChannel, kid: int, item: KeyDataField, aes_form: AesKeyForm) -> StaticKey:
    """Decrypt and check one key.

    A block that is a whole number of cipher blocks is the bare ciphertext (GP231 Table 11-71); any other begins with
    the key's length (GPC 2.3 Amendment D Table 7-10). The ciphertext may be padded behind the key, which needs the
    length. A product that knows one form of an AES key only answers 6A88 to the other.
    """
    block = item.block
    length = len(block)
    has_length = bool(length % 8)
    if has_length:
        length, block = block[0], block[1:]
    is_padded = length != len(block)
    if item.key_type == KEY_TYPE_AES and not is_padded and not aes_form.allows(has_length=has_length):
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    plain = channel.decrypt_sensitive(block)
    if not length <= len(plain) < length + 16:
        raise CardError(WRONG_DATA)
    check_key_shape(item.key_type, length)
    key = StaticKey(kid, item.key_type, plain[:length])
    check_kcv(key, item.kcv)
    return key


def _remove_replaced(
    domain: SecurityDomain, old_kvn: int, keys: tuple[StaticKey, ...], *, any_length: bool
) -> SecurityDomain:
    """Return the domain without the keys that give way; raise CardError 6A88 if one is absent."""
    old_set = domain.find_key_set(old_kvn)
    for key in keys:
        old_key = old_set.find_key(key.kid) if old_set else None
        if old_key is None:
            raise CardError(REFERENCED_DATA_NOT_FOUND)
        # GP231 section 7.5.1: a replacement keeps algorithm and length.
        has_same_length = len(old_key.value) == len(key.value) or (key.is_aes and any_length)
        if old_key.is_des != key.is_des or not has_same_length:
            raise CardError(WRONG_DATA)
    return take_keys(domain, old_kvn, frozenset(key.kid for key in keys))

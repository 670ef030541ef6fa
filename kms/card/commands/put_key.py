"""PUT KEY for symmetric keys (GP Card Specification 2.3.1 section 11.8, Amendment D section 7.2).

Rules: keys arrive wrapped; this module never sees a value. All keys of one command are installed together or not at
all, so a set goes in one command. KIDs run on from the first in the order of the fields: ENC 1, MAC 2, DEK 3.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from kms.card.apdu import CommandApdu
from kms.card.commands.fields import CLA_GP, KVN_FACTORY, LE_ALL, check_kid, check_kvn
from kms.card.keys import KeyType
from kms.card.status import INS_PUT_KEY
from kms.card.tlv import build_length
from kms.errors import Code, KmsError

KEY_TYPE_DES = 0x80  # GP 2.3.1 section 11.1.8: DES, mode (ECB/CBC) implicitly known
KEY_TYPE_AES = 0x88
_EXTENDED = 0xFF
_DES_BLOCK = 8


@dataclass(frozen=True)
class KeyDataField:
    """One key of a PUT KEY command.

    `key_type_code`: 00-FE, or FF00-FFFF for the extended format. `block`: the key data block as sent, that is the
    wrapped key, after its inner length byte in the long form. `kcv`: 3 bytes (empty where the type allows none).
    `usage`, `access`: key usage qualifier (0-2 bytes) and access (0-1), in the extended format only.
    Raises `card.apdu-invalid`.
    """

    key_type_code: int
    block: bytes = field(repr=False)
    kcv: bytes
    usage: bytes = b""
    access: bytes = b""

    def __post_init__(self) -> None:
        if not (0 <= self.key_type_code < _EXTENDED or self.key_type_code >> 8 == _EXTENDED):
            raise KmsError(Code.APDU_INVALID, f"key type {self.key_type_code:02X} is neither 00-FE nor FFxx")
        if not self.block:
            raise KmsError(Code.APDU_INVALID, "a key data block is empty")
        if len(self.kcv) > 0x7F:
            raise KmsError(Code.APDU_INVALID, "a key check value is longer than 127 bytes")
        if (self.usage or self.access) and not self.is_extended:
            raise KmsError(Code.APDU_INVALID, "key usage and access need the extended format (key type FFxx)")
        if len(self.usage) > 2 or len(self.access) > 1:
            raise KmsError(Code.APDU_INVALID, "key usage has at most 2 bytes, key access at most 1")

    @property
    def is_extended(self) -> bool:
        """Whether the field has the extended format."""
        return self.key_type_code > _EXTENDED


def get_key_type_code(key_type: KeyType) -> int:
    """Get the key type byte of PUT KEY and of key information: 80 for DES, 88 for AES."""
    return KEY_TYPE_AES if key_type.is_aes else KEY_TYPE_DES


def build_key_data(key_type: KeyType, wrapped: bytes, kcv: bytes, *, aes_block_form: str = "long") -> KeyDataField:
    """Build the field of one wrapped key.

    `wrapped`: whole cipher blocks. DES goes without an inner length byte. AES in the "long" form has it (Amendment D
    table 7-10), in the "short" form not (GP 2.3.1 table 11-71); a key that was padded before wrapping (24 bytes
    under AES) always has it, as the padding hides its length. Raises `card.apdu-invalid`.
    """
    if len(wrapped) < key_type.length or len(wrapped) % _DES_BLOCK:
        raise KmsError(Code.APDU_INVALID, f"a wrapped {key_type} key has {len(wrapped)} bytes, which cannot be")
    if len(kcv) != 3:
        # GP 2.3.1 section 11.8.2.3: a key check value shall be there for DES and AES keys.
        raise KmsError(Code.APDU_INVALID, f"a key check value has 3 bytes, not {len(kcv)}")
    if aes_block_form not in ("long", "short"):
        raise KmsError(Code.APDU_INVALID, "the AES block form is neither long nor short")
    is_padded = len(wrapped) != key_type.length
    if is_padded or (key_type.is_aes and aes_block_form == "long"):
        wrapped = bytes([key_type.length]) + wrapped
    return KeyDataField(get_key_type_code(key_type), wrapped, kcv)


def parse_key_block(block: bytes) -> tuple[bytes, int | None]:
    """Split a key data block into the wrapped key and the key length of the inner length byte (None: short form).

    A card tells the forms apart by whether the length is a multiple of the cipher block (GP 2.3.1 table 11-71); 8
    serves for both ciphers. Raises `card.apdu-invalid`.
    """
    if block and len(block) % _DES_BLOCK == 0:
        return block, None
    wrapped = block[1:]
    if not wrapped or len(wrapped) % _DES_BLOCK or not 0 < block[0] <= len(wrapped):
        raise KmsError(Code.APDU_INVALID, f"a key data block of {len(block)} bytes has neither form")
    return wrapped, block[0]


def build_key_data_field(key: KeyDataField, *, bare_128: bool = False) -> bytes:
    """Encode one key data field. `bare_128`: write a block length of 128 as `80`, not `8180`; both are legal."""
    length = b"\x80" if bare_128 and len(key.block) == 0x80 else build_length(len(key.block))
    type_code = key.key_type_code.to_bytes(2 if key.is_extended else 1, "big")
    encoded = type_code + length + key.block + bytes([len(key.kcv)]) + key.kcv
    if key.is_extended:
        encoded += bytes([len(key.usage)]) + key.usage + bytes([len(key.access)]) + key.access
    return encoded


def parse_key_data_fields(data: bytes) -> tuple[KeyDataField, ...]:
    """Parse key data fields up to the end (the data of PUT KEY after its first byte, the new key version).

    Raises `card.apdu-invalid`.
    """
    fields: list[KeyDataField] = []
    offset = 0
    while offset < len(data):
        key_type_code = data[offset]
        offset += 1
        if key_type_code == _EXTENDED:
            low, offset = _take(data, offset, 1)
            key_type_code = _EXTENDED << 8 | low[0]
        length, offset = _parse_block_length(data, offset)
        block, offset = _take(data, offset, length)
        kcv, offset = _take_lv(data, offset)
        usage = access = b""
        if key_type_code > _EXTENDED:
            usage, offset = _take_lv(data, offset)
            access, offset = _take_lv(data, offset)
        fields.append(KeyDataField(key_type_code, block, kcv, usage, access))
    return tuple(fields)


def build_put_key(
    existing_kvn: int | None, new_kvn: int, fields: Sequence[KeyDataField], first_kid: int = 1, *, more: bool = False
) -> CommandApdu:
    """Build PUT KEY: add keys (`existing_kvn` None) or replace those of a version, as version `new_kvn` (01-7F).

    `more`: further PUT KEY commands belong to this one. Raises `card.apdu-invalid`, also when the data exceed 255
    bytes.
    """
    if existing_kvn == KVN_FACTORY:
        raise KmsError(Code.APDU_INVALID, "the factory set FF cannot be replaced: add a set, then delete FF")
    if existing_kvn is not None:
        check_kvn(existing_kvn)
    check_kvn(new_kvn)
    if not fields:
        raise KmsError(Code.APDU_INVALID, "PUT KEY without a key")
    check_kid(first_kid)
    check_kid(first_kid + len(fields) - 1)
    p1 = (existing_kvn or 0) | (0x80 if more else 0)
    p2 = first_kid | (0x80 if len(fields) > 1 else 0)
    data = bytes([new_kvn]) + b"".join(build_key_data_field(key) for key in fields)
    return CommandApdu(CLA_GP, INS_PUT_KEY, p1, p2, data, LE_ALL)


def check_put_key_response(data: bytes, expected_kvn: int, expected_kcvs: Sequence[bytes]) -> None:
    """Check the answer to PUT KEY: new key version, then the check values without lengths (GP 2.3.1 section 11.8.3).

    Says only what the card (or the terminal) answered; the proof is a card cryptogram under the new set. Raises
    `card.protocol-violation` naming what differs.
    """
    if not data:
        raise KmsError(Code.CARD_PROTOCOL, "PUT KEY was answered without the key version and check values")
    if data[0] != expected_kvn:
        raise KmsError(
            Code.CARD_PROTOCOL, f"PUT KEY was answered with key version {data[0]:02X} instead of {expected_kvn:02X}"
        )
    expected_length = 1 + sum(len(kcv) for kcv in expected_kcvs)
    if len(data) != expected_length:
        raise KmsError(Code.CARD_PROTOCOL, f"PUT KEY was answered with {len(data)} bytes instead of {expected_length}")
    offset = 1
    for number, kcv in enumerate(expected_kcvs, start=1):
        if not hmac.compare_digest(data[offset : offset + len(kcv)], kcv):
            raise KmsError(Code.CARD_PROTOCOL, f"PUT KEY was answered with another check value for key {number}")
        offset += len(kcv)


def _parse_block_length(data: bytes, offset: int) -> tuple[int, int]:
    first, offset = _take(data, offset, 1)
    # GP 2.3.1 section 11.8.2.3: 1-3 bytes as in BER, except that 128 may be written 80 (where BER means "indefinite").
    if first[0] <= 0x80:
        return first[0], offset
    if first[0] > 0x82:
        raise KmsError(Code.APDU_INVALID, f"the key data block length before offset {offset} has more than 3 bytes")
    length, offset = _take(data, offset, first[0] & 0x7F)
    return int.from_bytes(length, "big"), offset


def _take_lv(data: bytes, offset: int) -> tuple[bytes, int]:
    length, offset = _take(data, offset, 1)
    return _take(data, offset, length[0])


def _take(data: bytes, offset: int, length: int) -> tuple[bytes, int]:
    end = offset + length
    if end > len(data):
        raise KmsError(Code.APDU_INVALID, f"key data are cut off at offset {offset}")
    return data[offset:end], end

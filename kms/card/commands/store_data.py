"""STORE DATA with key DGIs (GP Card Specification 2.3.1 section 11.11 and Amendment A's key DGIs).

Rules: DGI format: tag of 2 bytes, length of 1 byte (00-FE) or FF and 2 bytes. 00B9 describes the keys, one 8113 per key
follows it in the same order. Values of 8113 arrive encrypted under the channel's DEK.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from kms.card.apdu import MAX_COMMAND_DATA, CommandApdu
from kms.card.commands.fields import CLA_GP, check_kid, check_kvn
from kms.card.commands.put_key import get_key_type_code
from kms.card.keys import KeyRole, KeyType
from kms.card.status import INS_STORE_DATA
from kms.card.tlv import build_tlv
from kms.errors import Code, KmsError

DGI_KEY_ATTRIBUTES = 0x00B9
DGI_KEY_VALUE = 0x8113

# 255 bytes less an 8-byte MAC and up to 8 bytes that C-DECRYPTION's padding adds.
DEFAULT_MAX_DATA = 239

_P1_LAST = 0x80
_P1_DGI_FORMAT = 0x08
_P1_ALL_ENCRYPTED = 0x60
_P1_PARTLY_ENCRYPTED = 0x20  # "application dependent": the DGI tells which values are encrypted

_USAGES: Final = {KeyRole.ENC: 0x38, KeyRole.MAC: 0x34, KeyRole.DEK: 0xC8}


@dataclass(frozen=True)
class InitialKey:
    """A key that an SSD is initialised with. `wrapped`: encrypted under the channel's DEK; `kcv`: 3 bytes.

    `usage`: key usage qualifier, 1 or 2 bytes as a number (`get_key_usage`); `access`: 00 = by the domain and any
    application associated with it. Raises `card.apdu-invalid`.
    """

    kid: int
    kvn: int
    key_type: KeyType
    usage: int
    wrapped: bytes = field(repr=False)
    kcv: bytes
    access: int = 0

    def __post_init__(self) -> None:
        check_kid(self.kid)
        check_kvn(self.kvn)
        if not 0 <= self.usage <= 0xFFFF or not 0 <= self.access <= 0xFF:
            raise KmsError(Code.APDU_INVALID, "key usage has 1-2 bytes and key access 1")
        if len(self.wrapped) < self.key_type.length or len(self.wrapped) % 8:
            raise KmsError(
                Code.APDU_INVALID, f"a wrapped {self.key_type} key has {len(self.wrapped)} bytes, which cannot be"
            )
        if len(self.kcv) != 3:
            raise KmsError(Code.APDU_INVALID, f"a key check value has 3 bytes, not {len(self.kcv)}")


@dataclass(frozen=True)
class Dgi:
    """A data grouping: `tag` 0000-FFFF, its content, and whether the content is encrypted under the DEK."""

    tag: int
    value: bytes = field(repr=False)
    is_encrypted: bool


def get_key_usage(role: KeyRole) -> int:
    """Get the key usage qualifier of a secure channel key: commands and responses both (ENC 38, MAC 34, DEK C8)."""
    return _USAGES[role]


def build_key_dgis(keys: Sequence[InitialKey]) -> tuple[Dgi, ...]:
    """Build the DGIs of a key set: 00B9 with one B9 template per key, then one 8113 per key, in the same order.

    Raises `card.apdu-invalid` for no key.
    """
    if not keys:
        raise KmsError(Code.APDU_INVALID, "an SSD cannot be initialised without a key")
    attributes = b"".join(_build_key_attributes(key) for key in keys)
    values = (Dgi(DGI_KEY_VALUE, key.wrapped, is_encrypted=True) for key in keys)
    return (Dgi(DGI_KEY_ATTRIBUTES, attributes, is_encrypted=False), *values)


def build_dgi(dgi: Dgi) -> bytes:
    """Encode one DGI. Raises `card.apdu-invalid` for a tag or length that cannot be encoded."""
    if not 0 <= dgi.tag <= 0xFFFF or len(dgi.value) > 0xFFFF:
        raise KmsError(Code.APDU_INVALID, f"a DGI {dgi.tag:04X} of {len(dgi.value)} bytes cannot be encoded")
    short = len(dgi.value) < 0xFF
    length = bytes([len(dgi.value)]) if short else b"\xff" + len(dgi.value).to_bytes(2, "big")
    return dgi.tag.to_bytes(2, "big") + length + dgi.value


def parse_dgis(data: bytes) -> tuple[tuple[int, bytes], ...]:
    """Parse DGIs (tag, content) up to the end. Raises `card.apdu-invalid` naming the offset."""
    dgis: list[tuple[int, bytes]] = []
    offset = 0
    while offset < len(data):
        header = 3 if data[offset + 2 : offset + 3] != b"\xff" else 5
        if offset + header > len(data):
            raise KmsError(Code.APDU_INVALID, f"the DGI at offset {offset} is cut off")
        length = int.from_bytes(data[offset + (2 if header == 3 else 3) : offset + header], "big")
        end = offset + header + length
        if end > len(data):
            raise KmsError(Code.APDU_INVALID, f"the DGI at offset {offset} is cut off")
        dgis.append((int.from_bytes(data[offset : offset + 2], "big"), data[offset + header : end]))
        offset = end
    return tuple(dgis)


def build_store_data_blocks(dgis: Sequence[Dgi], *, max_data: int = DEFAULT_MAX_DATA) -> tuple[CommandApdu, ...]:
    """Build the numbered STORE DATA commands that carry the DGIs, the last one marked.

    `max_data`: most bytes in one command before secure messaging. DGIs stay whole; only one that is longer than a
    command is cut, and then it has commands of its own. P1 says for each command whether all, some or none of it is
    encrypted (GP 2.3.1 section 11.11.2). Raises `card.apdu-invalid` for no DGI or more than 256 commands.
    """
    if not 1 <= max_data <= MAX_COMMAND_DATA:
        raise KmsError(Code.APDU_INVALID, "a STORE DATA command takes 1-255 bytes")
    blocks: list[tuple[bytes, set[bool]]] = []
    for dgi in dgis:
        encoded = build_dgi(dgi)
        if blocks and len(blocks[-1][0]) + len(encoded) <= max_data:
            content, encrypted = blocks.pop()
            blocks.append((content + encoded, encrypted | {dgi.is_encrypted}))
        else:
            pieces = (encoded[start : start + max_data] for start in range(0, len(encoded), max_data))
            blocks.extend((piece, {dgi.is_encrypted}) for piece in pieces)
    if not 0 < len(blocks) <= 256:
        raise KmsError(Code.APDU_INVALID, f"{len(blocks)} STORE DATA commands cannot be numbered 00-FF")
    return tuple(
        CommandApdu(
            CLA_GP,
            INS_STORE_DATA,
            _P1_DGI_FORMAT | _get_encryption_bits(encrypted) | (_P1_LAST if number == len(blocks) - 1 else 0),
            number,
            content,
        )
        for number, (content, encrypted) in enumerate(blocks)
    )


def _get_encryption_bits(encrypted: set[bool]) -> int:
    if len(encrypted) > 1:
        return _P1_PARTLY_ENCRYPTED
    return _P1_ALL_ENCRYPTED if True in encrypted else 0


def _build_key_attributes(key: InitialKey) -> bytes:
    usage = key.usage.to_bytes(2 if key.usage > 0xFF else 1, "big")
    return build_tlv(
        0xB9,
        build_tlv(0x95, usage)
        + build_tlv(0x96, bytes([key.access]))
        + build_tlv(0x80, bytes([get_key_type_code(key.key_type)]))
        + build_tlv(0x81, bytes([key.key_type.length]))
        + build_tlv(0x82, bytes([key.kid]))
        + build_tlv(0x83, bytes([key.kvn]))
        + build_tlv(0x84, key.kcv),
    )

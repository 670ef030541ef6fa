"""BER-TLV data objects (ISO/IEC 7816-4 section 5.2.2; GP Card Specification 2.3.1 section 4).

Rules: parsing is strict and total. Tags have one to three bytes, lengths the forms 00-7F, 81, 82 and 83. Refused: a
truncated tag, length or value, the indefinite length 80, a length in more bytes than it needs, a tag byte 00 (padding)
and trailing bytes. Errors name the offset, never the bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kms.errors import Code, KmsError

_MAX_LENGTH = 0xFFFFFF


@dataclass(frozen=True)
class Tlv:
    """One data object. `tag`: its tag bytes as a big-endian number (0x4F, 0x9F70); `value`: its content."""

    tag: int
    value: bytes = field(repr=False)

    @property
    def is_constructed(self) -> bool:
        """Whether the content is itself data objects (bit 6 of the first tag byte)."""
        return bool(_encode_tag(self.tag)[0] & 0x20)

    def children(self) -> tuple["Tlv", ...]:
        """Parse the content as data objects. Raises `card.tlv-invalid`; offsets count from the content's start."""
        return parse_tlvs(self.value)

    def to_bytes(self) -> bytes:
        """Encode the object. Raises `card.tlv-invalid` for an impossible tag."""
        return build_tlv(self.tag, self.value)


def build_length(length: int) -> bytes:
    """Encode a length in the fewest bytes: 00-7F, 81 xx, 82 xxxx, 83 xxxxxx. Raises `card.tlv-invalid`."""
    if not 0 <= length <= _MAX_LENGTH:
        raise KmsError(Code.TLV_INVALID, f"a data object of {length} bytes cannot be encoded")
    if length < 0x80:
        return bytes([length])
    size = (length.bit_length() + 7) // 8
    return bytes([0x80 | size]) + length.to_bytes(size, "big")


def build_tlv(tag: int, value: bytes) -> bytes:
    """Encode one data object. Raises `card.tlv-invalid` for an impossible tag or length."""
    return _encode_tag(tag) + build_length(len(value)) + value


def parse_tlvs(data: bytes) -> tuple[Tlv, ...]:
    """Parse data objects, one after the other, up to the end; none for no bytes. Raises `card.tlv-invalid`."""
    tlvs: list[Tlv] = []
    offset = 0
    while offset < len(data):
        tag, value_offset = _parse_tag(data, offset)
        length, value_offset = _parse_length(data, value_offset)
        end = value_offset + length
        if end > len(data):
            raise KmsError(
                Code.TLV_INVALID,
                f"the data object at offset {offset} announces {length} bytes; {len(data) - value_offset} are there",
            )
        tlvs.append(Tlv(tag, data[value_offset:end]))
        offset = end
    return tuple(tlvs)


def parse_tlv(data: bytes) -> Tlv:
    """Parse exactly one data object. Raises `card.tlv-invalid`, also for none or more than one."""
    tlvs = parse_tlvs(data)
    if len(tlvs) != 1:
        raise KmsError(Code.TLV_INVALID, f"one data object was expected; {len(tlvs)} are there")
    return tlvs[0]


def find_tlv(tlvs: Iterable[Tlv], tag: int) -> Tlv | None:
    """Find the first data object with the tag, or None. Does not look inside the objects."""
    return next((tlv for tlv in tlvs if tlv.tag == tag), None)


def get_tlv(tlvs: Iterable[Tlv], tag: int) -> Tlv:
    """Get the first data object with the tag. Raises `card.tlv-invalid` when it is missing."""
    tlv = find_tlv(tlvs, tag)
    if tlv is None:
        raise KmsError(Code.TLV_INVALID, f"the data object {tag:02X} is missing")
    return tlv


def _encode_tag(tag: int) -> bytes:
    encoded = tag.to_bytes((tag.bit_length() + 7) // 8, "big") if 0 < tag <= 0xFFFFFF else b""
    if not encoded or _parse_tag(encoded, 0) != (tag, len(encoded)):
        raise KmsError(Code.TLV_INVALID, f"{tag:02X} is no tag of a BER-TLV data object")
    return encoded


def _parse_tag(data: bytes, offset: int) -> tuple[int, int]:
    first = data[offset]
    if first == 0:
        raise KmsError(Code.TLV_INVALID, f"the byte at offset {offset} is 00, which starts no tag")
    if first & 0x1F != 0x1F:
        return first, offset + 1
    # EMV numbers its two-byte tags from 9F01 on, so a second byte below 1F is taken although ISO 7816-4 would not.
    for end in range(offset + 2, offset + 4):
        if end > len(data):
            raise KmsError(Code.TLV_INVALID, f"the tag at offset {offset} is cut off")
        if data[offset + 1] == 0x80:
            raise KmsError(Code.TLV_INVALID, f"the tag at offset {offset} has a leading zero in its number")
        if not data[end - 1] & 0x80:
            return int.from_bytes(data[offset:end], "big"), end
    raise KmsError(Code.TLV_INVALID, f"the tag at offset {offset} is longer than three bytes")


def _parse_length(data: bytes, offset: int) -> tuple[int, int]:
    if offset >= len(data):
        raise KmsError(Code.TLV_INVALID, f"the length at offset {offset} is missing")
    first = data[offset]
    if first < 0x80:
        return first, offset + 1
    size = first & 0x7F
    if size not in (1, 2, 3):
        raise KmsError(Code.TLV_INVALID, f"the length at offset {offset} has a form that is not 00-7F, 81, 82 or 83")
    end = offset + 1 + size
    if end > len(data):
        raise KmsError(Code.TLV_INVALID, f"the length at offset {offset} is cut off")
    length = int.from_bytes(data[offset + 1 : end], "big")
    # Two encodings of one object would let a terminal change bytes without changing their meaning.
    if len(build_length(length)) != 1 + size:
        raise KmsError(Code.TLV_INVALID, f"the length at offset {offset} takes more bytes than it needs")
    return length, end

"""BER-TLV and the length-value fields of GlobalPlatform commands, read strictly: what is left over is an error."""

from terminal.virtual_card.status import WRONG_DATA, CardError


def build_length(length: int) -> bytes:
    """Return the shortest BER length for 0 to 65535."""
    if length < 0x80:
        return bytes([length])
    if length < 0x100:
        return bytes([0x81, length])
    return b"\x82" + length.to_bytes(2, "big")


def build_tlv(tag: int, value: bytes) -> bytes:
    """Return `tag ‖ length ‖ value`; the tag is written in as many bytes as its number needs."""
    return tag.to_bytes(max(1, (tag.bit_length() + 7) // 8), "big") + build_length(len(value)) + value


def read_length(data: bytes, offset: int) -> tuple[int, int]:
    """Read a BER length of 1 to 4 bytes at `offset`; return it and the offset after it. Raise CardError 6A80."""
    first = read_byte(data, offset)
    if first < 0x80:
        return first, offset + 1
    count = first & 0x7F
    if not 1 <= count <= 3 or offset + 1 + count > len(data):
        raise CardError(WRONG_DATA)
    return int.from_bytes(data[offset + 1 : offset + 1 + count], "big"), offset + 1 + count


def read_byte(data: bytes, offset: int) -> int:
    """Return the byte at `offset`; raise CardError 6A80 past the end."""
    if offset >= len(data):
        raise CardError(WRONG_DATA)
    return data[offset]


def read_bytes(data: bytes, offset: int, length: int) -> tuple[bytes, int]:
    """Return `length` bytes at `offset` and the offset after them; raise CardError 6A80 past the end."""
    if offset + length > len(data):
        raise CardError(WRONG_DATA)
    return data[offset : offset + length], offset + length


def read_lv(data: bytes, offset: int) -> tuple[bytes, int]:
    """Read a value behind its BER length; return it and the offset after it. Raise CardError 6A80."""
    length, offset = read_length(data, offset)
    return read_bytes(data, offset, length)


def parse_tlvs(data: bytes) -> list[tuple[int, bytes]]:
    """Read a sequence of BER-TLV objects to the last byte; raise CardError 6A80."""
    objects = []
    offset = 0
    while offset < len(data):
        tag = data[offset]
        offset += 1
        if tag & 0x1F == 0x1F:
            following = read_byte(data, offset)
            if following & 0x80:
                raise CardError(WRONG_DATA)  # no GlobalPlatform tag has more than two bytes
            tag = tag << 8 | following
            offset += 1
        value, offset = read_lv(data, offset)
        objects.append((tag, value))
    return objects

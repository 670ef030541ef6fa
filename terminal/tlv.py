"""BER-TLV as far as a terminal reads it: tags of one or two bytes, definite lengths up to 65535. No I/O.

Rules: strict; a wrong length is a ValueError, which the caller turns into its own meaning.
"""


def parse_tlvs(data: bytes) -> list[tuple[int, bytes]]:
    """Parse a sequence of TLVs into (tag, value) pairs; raises ValueError on anything else."""
    items: list[tuple[int, bytes]] = []
    while data:
        tag, data = data[0], data[1:]
        if tag & 0x1F == 0x1F:
            if not data or data[0] & 0x80:
                raise ValueError("tag of more than two bytes, or cut off")
            tag, data = tag << 8 | data[0], data[1:]
        length, data = _parse_length(data)
        if len(data) < length:
            raise ValueError("value cut off")
        items.append((tag, data[:length]))
        data = data[length:]
    return items


def find_value(data: bytes, *path: int) -> bytes | None:
    """Return the value under the first TLVs of these tags, one inside the other; None when absent or ill-formed."""
    for tag in path:
        try:
            matches = [value for found, value in parse_tlvs(data) if found == tag]
        except ValueError:
            return None
        if not matches:
            return None
        data = matches[0]
    return data


def _parse_length(data: bytes) -> tuple[int, bytes]:
    if not data:
        raise ValueError("length cut off")
    if data[0] < 0x80:
        return data[0], data[1:]
    size = data[0] & 0x7F
    if size not in (1, 2) or len(data) <= size:
        raise ValueError("length of more than three bytes, or cut off")
    return int.from_bytes(data[1 : 1 + size]), data[1 + size :]

"""What a card says of itself that decides which secure channel protocols it is spoken to by.

Rules: GET DATA needs no authentication, so nothing here is proved: it says what to try, and a card cryptogram under a
key set of that protocol proves it. Nothing is guessed: what a card does not say is not in the answer.
"""

from collections.abc import Mapping

from kms.card.commands.data import KeyInformation, parse_card_recognition, parse_key_information
from kms.card.commands.put_key import KEY_TYPE_AES, KEY_TYPE_DES
from kms.card.keys import KeyRole, KeyType

_KEY_TYPES = {
    (KEY_TYPE_DES, 16): KeyType.DES2,
    (KEY_TYPE_DES, 24): KeyType.DES3,
    (KEY_TYPE_AES, 16): KeyType.AES128,
    (KEY_TYPE_AES, 24): KeyType.AES192,
    (KEY_TYPE_AES, 32): KeyType.AES256,
}


def list_protocols(recognition: bytes) -> Mapping[int, tuple[int, ...]]:
    """List the protocols that Card Recognition Data names (GET DATA 66), each with its options "i", in rising order.

    `recognition`: the answer's data. A protocol or option that is not implemented is listed too
    (`kms.card.channel.OPTIONS`). Raises `card.tlv-invalid` or `card.protocol-violation`.
    """
    offered: dict[int, set[int]] = {}
    for option in parse_card_recognition(recognition):
        offered.setdefault(option.scp, set()).add(option.i)
    return {scp: tuple(sorted(offered[scp])) for scp in sorted(offered)}


def list_set_types(information: bytes) -> Mapping[int, KeyType]:
    """List the secure channel key sets that GET DATA E0 shows: their type, by key version.

    `information`: the answer's data. A set has the keys 1, 2 and 3 of one and the same type; what is otherwise (a lone
    key, RSA keys, mixed types) is left out. Raises `card.tlv-invalid` or `card.protocol-violation`.
    """
    versions: dict[int, dict[int, KeyType | None]] = {}
    for entry in parse_key_information(information):
        versions.setdefault(entry.kvn, {})[entry.kid] = _find_type(entry)
    found: dict[int, KeyType] = {}
    for kvn, kinds in sorted(versions.items()):
        types = {kinds.get(role.kid) for role in KeyRole}
        key_type = types.pop()
        if not types and key_type is not None:
            found[kvn] = key_type
    return found


def _find_type(entry: KeyInformation) -> KeyType | None:
    if len(entry.components) != 1:
        return None
    code, length = entry.components[0]
    # The extended form has FF before the same code (GP 2.3.1 section 11.3.3.1).
    return _KEY_TYPES.get((code & 0xFF, length))

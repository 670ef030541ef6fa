"""DELETE of keys and of card content (GP Card Specification 2.3.1 section 11.2)."""

from kms.card.apdu import CommandApdu
from kms.card.commands.fields import CLA_GP, KVN_FACTORY, LE_ALL, check_aid, check_kid, check_kvn
from kms.card.status import INS_DELETE
from kms.card.tlv import build_tlv
from kms.errors import Code, KmsError


def build_delete_key(kvn: int | None, kid: int | None = None) -> CommandApdu:
    """Build DELETE [key]: of one version (01-7F, FF for the factory set), one identifier, or the one key that has both.

    Left out, either means all (GP 2.3.1 section 11.2.2.3.2), if the card allows it. Raises `card.apdu-invalid`.
    """
    if kvn is None and kid is None:
        raise KmsError(Code.APDU_INVALID, "DELETE [key] must name a key version, a key identifier or both")
    data = b""
    if kid is not None:
        check_kid(kid)
        data += build_tlv(0xD0, bytes([kid]))
    if kvn is not None:
        if kvn != KVN_FACTORY:
            check_kvn(kvn)
        data += build_tlv(0xD2, bytes([kvn]))
    return CommandApdu(CLA_GP, INS_DELETE, 0x00, 0x00, data, LE_ALL)


def build_delete_object(aid: bytes, *, related: bool = False) -> CommandApdu:
    """Build DELETE [card content]: an application, security domain or load file by AID.

    `related`: with everything that was made from it. Raises `card.apdu-invalid`.
    """
    check_aid(aid, "deleted")
    return CommandApdu(CLA_GP, INS_DELETE, 0x00, 0x80 if related else 0x00, build_tlv(0x4F, aid), LE_ALL)

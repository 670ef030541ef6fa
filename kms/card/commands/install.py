"""INSTALL [for install], [for personalization] and [for extradition] (GP Card Specification 2.3.1 section 11.5).

Rules: tokens are made elsewhere (a peer or the HSM) and passed in. INSTALL [for personalization] must end a batch: a
STORE DATA that follows its failure would personalise the sending domain itself.
"""

from kms.card.apdu import CommandApdu
from kms.card.commands.fields import CLA_GP, LE_ALL, build_lv, check_aid
from kms.card.status import INS_INSTALL
from kms.card.tlv import build_tlv
from kms.errors import Code, KmsError

_P1_INSTALL = 0x04
_P1_MAKE_SELECTABLE = 0x08
_P1_EXTRADITION = 0x10
_P1_PERSONALIZATION = 0x20


def build_install_parameters(c9: bytes = b"", ef: bytes = b"") -> bytes:
    """Build the install parameters field: C9 (application specific; always there, may be empty), then EF if not empty.

    `c9`, `ef`: the contents of these tags (GP 2.3.1 section 11.5.2.3).
    """
    return build_tlv(0xC9, c9) + (build_tlv(0xEF, ef) if ef else b"")


def build_install_for_install(
    load_file_aid: bytes,
    module_aid: bytes,
    instance_aid: bytes,
    privileges: bytes,
    parameters: bytes,
    *,
    token: bytes = b"",
    make_selectable: bool = True,
) -> CommandApdu:
    """Build INSTALL [for install], as a rule [and make selectable].

    `privileges`: 1 or 3 bytes (GP 2.3.1 section 11.1.2). `parameters`: the whole field, C9 included. `token`: install
    token, empty under Authorized Management. Raises `card.apdu-invalid`.
    """
    check_aid(load_file_aid, "load file")
    check_aid(module_aid, "module")
    check_aid(instance_aid, "instance")
    if len(privileges) not in (1, 3):
        raise KmsError(Code.APDU_INVALID, f"privileges have 1 or 3 bytes, not {len(privileges)}")
    p1 = _P1_INSTALL | (_P1_MAKE_SELECTABLE if make_selectable else 0)
    return _build_install(p1, load_file_aid, module_aid, instance_aid, privileges, parameters, token)


def build_install_for_personalization(aid: bytes) -> CommandApdu:
    """Build INSTALL [for personalization]: the STORE DATA commands that follow are for the domain or application `aid`.

    Raises `card.apdu-invalid`.
    """
    check_aid(aid, "personalised")
    return _build_install(_P1_PERSONALIZATION, b"", b"", aid, b"", b"", b"")


def build_install_for_extradition(
    sd_aid: bytes, aid: bytes, parameters: bytes = b"", token: bytes = b""
) -> CommandApdu:
    """Build INSTALL [for extradition]: associate `aid` with the security domain `sd_aid`.

    A domain extradited to itself becomes the root of its own hierarchy. Raises `card.apdu-invalid`.
    """
    check_aid(sd_aid, "receiving security domain's")
    check_aid(aid, "extradited")
    return _build_install(_P1_EXTRADITION, sd_aid, b"", aid, b"", parameters, token)


def _build_install(p1: int, *fields: bytes) -> CommandApdu:
    return CommandApdu(CLA_GP, INS_INSTALL, p1, 0x00, b"".join(build_lv(value) for value in fields), LE_ALL)

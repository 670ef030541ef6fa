import pytest

from kms.card.commands import (
    build_install_for_extradition,
    build_install_for_install,
    build_install_for_personalization,
    build_install_parameters,
)
from kms.errors import Code, KmsError

LOAD_FILE = bytes.fromhex("A0000001515350")
MODULE = bytes.fromhex("A000000151535041")
SSD = bytes.fromhex("A000000151000001")


def test_an_ssd_is_installed_as_a_card_was_seen_to_take_it() -> None:
    command = build_install_for_install(LOAD_FILE, MODULE, SSD, b"\x80", build_install_parameters())

    # A JCOP card took this command with CLA 84 and 8 bytes of MAC more (GlobalPlatformPro issue 306).
    assert command.to_bytes().hex().upper() == (
        "80E60C002007A000000151535008A00000015153504108A000000151000001018002C9000000"
    )


def test_privileges_parameters_and_token_find_their_places() -> None:
    parameters = build_install_parameters(b"\x81\x02\x02\x55", b"\xc8\x02\x10\x00")
    command = build_install_for_install(
        LOAD_FILE, MODULE, SSD, b"\x80\x40\x00", parameters, token=bytes(128), make_selectable=False
    )

    assert command.p1 == 0x04
    assert parameters.hex().upper() == "C90481020255EF04C8021000"
    assert command.data.endswith(b"\x03\x80\x40\x00" + b"\x0c" + parameters + b"\x81\x80" + bytes(128))


@pytest.mark.parametrize(("aid", "privileges"), [(b"", b"\x80"), (SSD, b""), (SSD, b"\x80\x00"), (bytes(17), b"\x80")])
def test_an_installation_that_cannot_be_is_refused(aid: bytes, privileges: bytes) -> None:
    with pytest.raises(KmsError) as refused:
        build_install_for_install(LOAD_FILE, MODULE, aid, privileges, b"\xc9\x00")
    assert refused.value.code is Code.APDU_INVALID


def test_personalization_names_the_ssd_alone() -> None:
    encoded = build_install_for_personalization(SSD).to_bytes().hex().upper()
    assert encoded == "80E620000E" + "0000" + "08A000000151000001" + "000000" + "00"


def test_extradition_names_both() -> None:
    target = bytes.fromhex("D4D4D4D4D4010101")
    moved = bytes.fromhex("D0D1D2D3D4D50101")

    encoded = build_install_for_extradition(target, moved).to_bytes().hex().upper()

    assert encoded == "80E6100016" + "08D4D4D4D4D4010101" + "00" + "08D0D1D2D3D4D50101" + "00" + "00" + "00" + "00"


def test_personalization_and_extradition_need_aids() -> None:
    with pytest.raises(KmsError, match="personalised AID"):
        build_install_for_personalization(b"")
    with pytest.raises(KmsError, match="receiving security domain"):
        build_install_for_extradition(b"", SSD)
    with pytest.raises(KmsError, match="extradited AID"):
        build_install_for_extradition(SSD, b"\xa0")

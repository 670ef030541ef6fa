import pytest

from kms.card.commands import build_begin_r_mac, build_end_r_mac, build_initialize_update
from kms.errors import Code, KmsError


def test_initialize_update_carries_key_version_and_challenge() -> None:
    command = build_initialize_update(0x02, bytes.fromhex("D097685634D05BC0"))
    assert command.to_bytes().hex().upper() == "8050020008D097685634D05BC000"

    long = build_initialize_update(0x30, bytes.fromhex("EE9A35D2D420ACD77F2C930EB117058B"))
    assert long.to_bytes().hex().upper() == "8050300010EE9A35D2D420ACD77F2C930EB117058B00"


@pytest.mark.parametrize("kvn", [0x00, 0x7F, 0xFF])
def test_any_set_and_the_factory_set_can_be_named(kvn: int) -> None:
    assert build_initialize_update(kvn, bytes(8)).p1 == kvn


@pytest.mark.parametrize(("kvn", "length"), [(-1, 8), (0x80, 8), (0x100, 8), (0x20, 7), (0x20, 0)])
def test_an_impossible_key_version_or_challenge_is_refused(kvn: int, length: int) -> None:
    with pytest.raises(KmsError) as refused:
        build_initialize_update(kvn, bytes(length))
    assert refused.value.code is Code.APDU_INVALID


def test_response_protection_is_begun_and_ended() -> None:
    assert build_begin_r_mac().to_bytes().hex().upper() == "807A10010100"
    assert build_begin_r_mac(0x30, b"\xaa\xbb").to_bytes().hex().upper() == "807A30010302AABB"
    assert build_end_r_mac().to_bytes().hex().upper() == "8078000300"


@pytest.mark.parametrize(("level", "length"), [(0x00, 0), (0x20, 0), (0x10, 25)])
def test_impossible_response_protection_is_refused(level: int, length: int) -> None:
    with pytest.raises(KmsError):
        build_begin_r_mac(level, bytes(length))

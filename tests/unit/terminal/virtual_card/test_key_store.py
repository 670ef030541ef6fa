"""Rules that every way of loading keys shares."""

import pytest

from terminal.virtual_card import StaticKey
from terminal.virtual_card.key_store import check_kcv, check_key_shape, check_kvn, compute_kcv
from terminal.virtual_card.status import CardError
from tests.unit.terminal.virtual_card.host import KEY


@pytest.mark.parametrize(("key_type", "kcv"), [(0x80, "8BAF47"), (0x83, "8BAF47"), (0x88, "504A77")])
def test_the_check_value_follows_the_type(key_type: int, kcv: str) -> None:
    key = StaticKey(1, key_type, KEY)
    assert compute_kcv(key).hex().upper() == kcv
    check_kcv(key, bytes.fromhex(kcv))


@pytest.mark.parametrize(("kcv", "sw"), [("000000", 0x6982), ("", 0x6A80), ("8BAF", 0x6A80), ("8BAF4700", 0x6A80)])
def test_a_check_value_is_there_and_right(kcv: str, sw: int) -> None:
    with pytest.raises(CardError) as caught:
        check_kcv(StaticKey(1, 0x80, KEY), bytes.fromhex(kcv))
    assert caught.value.sw == sw


@pytest.mark.parametrize(("key_type", "length"), [(0x80, 8), (0x80, 32), (0x88, 8), (0x88, 0), (0xA1, 16)])
def test_shapes_that_the_card_does_not_hold(key_type: int, length: int) -> None:
    with pytest.raises(CardError):
        check_key_shape(key_type, length)


@pytest.mark.parametrize("kvn", [0x00, 0x80, 0xFF])
def test_versions_that_cannot_be_loaded(kvn: int) -> None:
    with pytest.raises(CardError):
        check_kvn(kvn)
    check_kvn(0x7F)

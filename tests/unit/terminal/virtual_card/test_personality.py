"""What a factory can make."""

import pytest

from terminal.virtual_card import KEY_TYPE_AES, AesKeyForm, build_factory_state
from tests.unit.terminal.virtual_card.host import KEY


def test_the_default_card() -> None:
    state = build_factory_state()
    assert state.isd.aid.hex().upper() == "A000000151000000"
    assert (state.scp02_i, state.isd.key_sets[0].kvn) == (0x55, 0x01)
    assert len(state.cplc) == 42


@pytest.mark.parametrize("kvn", [0x00, 0x80, 0xFE, 0x100])
def test_key_versions_that_no_card_has(kvn: int) -> None:
    with pytest.raises(ValueError, match="key version"):
        build_factory_state(kvn=kvn)


@pytest.mark.parametrize("scp_i", [0x00, 0x1A, 0x14, 0xFF])
def test_other_variants_of_scp02_are_not_offered(scp_i: int) -> None:
    with pytest.raises(ValueError, match="parameter i"):
        build_factory_state(scp02_i=scp_i)


def test_wrong_sizes() -> None:
    with pytest.raises(ValueError, match="AID"):
        build_factory_state(isd_aid=bytes(4))
    with pytest.raises(ValueError, match="keys"):
        build_factory_state((KEY, KEY, KEY[:8]))
    with pytest.raises(ValueError, match="diversification"):
        build_factory_state(kdd=bytes(9))


@pytest.mark.parametrize("scp03_i", [0x40, 0x50, 0x02, 0x08, 0x72])
def test_other_variants_of_scp03_are_not_offered(scp03_i: int) -> None:
    with pytest.raises(ValueError, match="SCP03 parameter i"):
        build_factory_state(key_type=KEY_TYPE_AES, scp03_i=scp03_i)


def test_keys_and_protocols_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="need SCP02"):
        build_factory_state(scp02_i=None, scp03_i=0x70)
    with pytest.raises(ValueError, match="need SCP02"):
        build_factory_state(key_type=KEY_TYPE_AES)
    with pytest.raises(ValueError, match="one length"):
        build_factory_state((KEY, KEY, KEY + KEY), key_type=KEY_TYPE_AES, scp03_i=0x70)
    with pytest.raises(ValueError, match="type DES"):
        build_factory_state(key_type=0x82, scp03_i=0x70)


@pytest.mark.parametrize(("form", "takes"), [("either", [True, False]), ("long", [True]), ("short", [False])])
def test_forms_of_aes_keys(form: str, takes: list[bool]) -> None:
    assert [has_length for has_length in (True, False) if AesKeyForm(form).allows(has_length=has_length)] == takes

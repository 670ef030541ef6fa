"""What a factory can make."""

import pytest

from terminal.virtual_card import build_factory_state
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

"""Who may manage whom on the card."""

from dataclasses import replace

import pytest

from terminal.virtual_card.authority import (
    GLOBAL_DELETE,
    check_authorized_management,
    check_not_locked,
    get_supplementary,
    has_authority,
)
from terminal.virtual_card.model import LOCKED_BIT, PERSONALIZED, SecurityDomain
from terminal.virtual_card.personality import build_factory_state
from terminal.virtual_card.status import CardError

STATE = build_factory_state()
SSD = SecurityDomain(bytes.fromhex("A0000009510001"), STATE.isd.aid, PERSONALIZED, b"\x80\x00\x00", ())
OTHER = SecurityDomain(bytes.fromhex("A0000009510002"), STATE.isd.aid, PERSONALIZED, b"\x80\x00\x00", ())
BOTH = replace(STATE, domains=(*STATE.domains, SSD, OTHER))


def test_the_isd_stands_above_its_children_and_they_not_above_each_other() -> None:
    assert has_authority(BOTH, STATE.isd, SSD, GLOBAL_DELETE)
    assert not has_authority(BOTH, OTHER, SSD, GLOBAL_DELETE)


def test_only_authorized_management_changes_card_content() -> None:
    check_authorized_management(BOTH, STATE.isd)
    with pytest.raises(CardError) as refused:
        check_authorized_management(BOTH, SSD)
    assert refused.value.sw == 0x6985


def test_a_supplementary_domain_is_found_and_the_isd_is_none() -> None:
    assert get_supplementary(BOTH, SSD.aid) == SSD
    for aid, sw in ((b"\xa0" * 5, 0x6A88), (STATE.isd.aid, 0x6985)):
        with pytest.raises(CardError) as refused:
            get_supplementary(BOTH, aid)
        assert refused.value.sw == sw


def test_a_locked_domain_does_nothing() -> None:
    check_not_locked(SSD)
    with pytest.raises(CardError) as refused:
        check_not_locked(replace(SSD, life_cycle=SSD.life_cycle | LOCKED_BIT))
    assert refused.value.sw == 0x6985

"""Cards and hosts that most tests of the virtual card begin with."""

import pytest

from terminal.virtual_card import VirtualCard, build_factory_state
from tests.unit.terminal.virtual_card.host import NEW_KEYS, SSD_AID, Host


@pytest.fixture
def card() -> VirtualCard:
    """A card with one ISD, KVN 01, SCP02 i=55, public test keys."""
    return VirtualCard(build_factory_state())


@pytest.fixture
def host(card: VirtualCard) -> Host:
    """A host with a channel to the ISD at level 03."""
    return Host(card).open(0x03)


@pytest.fixture
def ssd_host(card: VirtualCard, host: Host) -> Host:
    """A host with a channel to a supplementary domain that has a key set 20 of its own."""
    assert host.install_ssd() == "9000"
    keyless = Host(card).open(0x03, aid=SSD_AID)
    assert keyless.put_keys(0, 0x20)[1] == "9000"
    return Host(card, NEW_KEYS).open(0x03, aid=SSD_AID)

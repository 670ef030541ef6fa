"""The virtual card's memory on disk."""

from pathlib import Path

import pytest

from terminal.virtual_card import VirtualCard, build_factory_state
from terminal.virtual_card.state_file import StateFileError, find_state, save_state
from tests.unit.terminal.virtual_card.host import Host


@pytest.fixture
def card() -> VirtualCard:
    return VirtualCard(build_factory_state())


def test_a_file_is_replaced_whole_and_private(tmp_path: Path, card: VirtualCard) -> None:
    path = tmp_path / "card.json"
    assert find_state(path) is None
    save_state(path, card.state)
    Host(card).open(0x01)
    save_state(path, card.state)
    assert find_state(path) == card.state
    assert path.stat().st_mode & 0o077 == 0
    assert [item.name for item in tmp_path.iterdir()] == ["card.json"]


def test_trouble_with_the_file_is_told_with_its_name(tmp_path: Path, card: VirtualCard) -> None:
    with pytest.raises(StateFileError, match="cannot read"):
        find_state(tmp_path)
    with pytest.raises(StateFileError, match="cannot write"):
        save_state(tmp_path / "no" / "card.json", card.state)
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="ascii")
    with pytest.raises(StateFileError, match=r"broken\.json"):
        find_state(broken)

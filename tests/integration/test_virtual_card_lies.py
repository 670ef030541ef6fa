"""A lying card differs from an honest one in the thing it lies about, and in nothing else."""

import pytest

from tests.fakes.lying_card import Lie, LyingCard, Told
from tests.unit.terminal.virtual_card.host03 import NEW_KEYS, Host03, make_card

GET_KEYS = (0xCA, 0x00, 0xE0)


def make_liar(lie: Lie, kvn: int | None = None, after: int = 0) -> LyingCard:
    card = LyingCard(make_card().state)
    card.told = Told(lie, kvn, after)
    return card


@pytest.mark.parametrize("lie", [Lie.CRYPTOGRAM, Lie.COUNTER, Lie.KVN])
def test_lies_about_the_session(lie: Lie) -> None:
    card = make_liar(lie, kvn=0x30)
    host = Host03(card)
    assert host.initialize() == "9000"
    assert (host.card_cryptogram == host.expect_cryptogram()) == (lie is not Lie.CRYPTOGRAM)
    assert (host.sequence_counter == 1) == (lie is not Lie.COUNTER)
    assert (host.response[10] == 0x30) == (lie is not Lie.KVN)
    assert card.lies == 1


def test_a_lie_may_wait_and_may_concern_one_version_only() -> None:
    card = make_liar(Lie.CRYPTOGRAM, kvn=0x31)
    Host03(card).open(0x33)
    card.told = Told(Lie.CRYPTOGRAM, after=1)
    Host03(card).open(0x33)
    host = Host03(card)
    host.initialize()
    assert host.card_cryptogram != host.expect_cryptogram()


@pytest.mark.parametrize("level", [0x03, 0x33])
def test_a_wrong_check_value_comes_under_a_right_r_mac(level: int) -> None:
    card = make_liar(Lie.KCV)
    host = Host03(card).open(level)
    truth = b"\x31" + Host03(make_card()).open(level).put_aes(0x00, 0x31)[0][1:]
    body, sw = host.put_aes(0x00, 0x31)
    assert sw == "9000"
    assert body[:-1] == truth[:-1]
    assert body != truth
    Host03(card, NEW_KEYS).open(level, 0x31)


def test_a_wrong_r_mac() -> None:
    card = make_liar(Lie.R_MAC)
    host = Host03(card).open(0x33)
    with pytest.raises(AssertionError):
        host.send(*GET_KEYS)
    assert card.lies == 1

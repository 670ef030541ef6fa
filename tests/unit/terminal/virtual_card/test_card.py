"""The card as a whole: classes, instructions, resets, commits; and whatever bytes come, an answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminal.virtual_card import CardState, VirtualCard, build_factory_state
from terminal.virtual_card.card import INSTRUCTIONS
from terminal.virtual_card.transmission import TransmissionProtocol
from tests.unit.terminal.virtual_card.host import Host, sw_of

anything = st.binary(max_size=270)
known_instructions = st.builds(
    lambda header, data: bytes(header) + bytes([len(data)]) + data,
    st.tuples(
        st.sampled_from([0x00, 0x80, 0x84]),
        st.sampled_from([*INSTRUCTIONS, 0x82, 0xC0]),
        st.integers(0, 255),
        st.integers(0, 255),
    ),
    st.binary(min_size=1, max_size=80),
)


# No deadline: a busy machine is not a slow card.
@settings(deadline=None)
@given(st.lists(anything | known_instructions, max_size=8), st.sampled_from(list(TransmissionProtocol)))
def test_any_bytes_get_an_answer(commands: list[bytes], protocol: TransmissionProtocol) -> None:
    card = VirtualCard(build_factory_state(), protocol=protocol)
    for command in commands:
        assert 2 <= len(card.transmit(command)) <= 258


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(INSTRUCTIONS)), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=80)
        ),
        max_size=6,
    )
)
def test_any_command_inside_a_session_gets_an_answer(commands: list[tuple[int, int, int, bytes]]) -> None:
    card = VirtualCard(build_factory_state())
    host = Host(card).open(0x00)
    for ins, p1, p2, data in commands:
        host.level = 0x00
        assert 2 <= len(card.transmit(host.wrap(ins, p1, p2, data))) <= 258


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("80FE000000", "6D00"),
        ("00FE000000", "6D00"),
        ("A0A40000023F00", "6E00"),
        ("10A4040000", "6E00"),
        ("01A4040000", "6881"),
        ("83CA00E000", "6881"),
        ("40A4040000", "6881"),
        ("C0CA00E000", "6881"),
        ("0CA4040000", "6882"),
        ("88CA00E000", "6882"),
        ("84CA00E008" + 8 * "00", "6985"),  # secure messaging without a session
        ("00D8008100", "6E00"),
        ("80F2800200", "6982"),
        ("80", "6700"),
        ("", "6700"),
    ],
)
def test_what_the_card_does_not_serve(card: VirtualCard, command: str, sw: str) -> None:
    assert sw_of(card.transmit(bytes.fromhex(command))) == sw


def test_a_reset_ends_the_session_and_selects_the_isd(card: VirtualCard, ssd_host: Host) -> None:
    card.reset()
    assert ssd_host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "6985"
    assert sw_of(card.transmit(bytes.fromhex("80CA004200"))) == "9000"


def test_each_change_is_committed_before_its_answer() -> None:
    commits: list[CardState] = []
    card = VirtualCard(build_factory_state(), on_commit=commits.append)
    host = Host(card).open(0x03)
    assert [state.isd.key_sets[0].sequence_counter for state in commits] == [1]
    assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "9000"
    assert len(commits) == 1
    assert host.put_keys(0x00, 0x20)[1] == "9000"
    assert commits[-1] == card.state
    assert len(commits) == 2

"""Recorded exchanges of independent off-card tools, fed to the card: every answer must match byte for byte.

Those of `tests/vectors/gp` were made with another card, which differs from the specification in three things. It
replaces AES keys by longer ones. It keeps one sequence counter for all its key sets and does not set it to 0 when keys
are loaded (GP231 E.1.2.3 does). With SCP03 it uses the counter before it moves it (Amendment D 6.2.2 moves it first).
So before each INITIALIZE UPDATE the counter is set from the recording, and a random card challenge is handed out from
it. Everything else is the card's.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from terminal.virtual_card import KEY_TYPE_AES, KEY_TYPE_DES, CardState, Personality, VirtualCard, build_factory_state

VECTORS = Path(__file__).parents[3] / "vectors" / "gp"
RECORDINGS = sorted(VECTORS.glob("*scp0*.json"))
S16_RECORDINGS = sorted((VECTORS.parent / "pysim_s16").glob("*.json"))
RECORDED_CARD = Personality(replaces_other_lengths=True)


def with_counter(state: CardState, session: dict[str, Any]) -> CardState:
    """The card as it stands before the session's INITIALIZE UPDATE; without a counter the card says none."""
    if "sequence_counter" not in session:
        return state
    counter = int(session["sequence_counter"], 16) - (1 if session["scp"] == 3 else 0)
    key_set = state.isd.find_key_set(int(session["kvn"], 16))
    assert key_set is not None
    return state.with_domain(state.isd.with_key_set(replace(key_set, sequence_counter=counter)))


def build_state(recording: dict[str, Any]) -> CardState:
    first = recording["sessions"][0]
    enc, mac, dek = (bytes.fromhex(first["static_keys"][role]) for role in ("ENC", "MAC", "DEK"))
    is_scp03, scp_i = first["scp"] == 3, int(first["i"], 16)
    return build_factory_state(
        (enc, mac, dek),
        isd_aid=bytes.fromhex(recording["card"]["isd"]),
        kvn=int(first["kvn"], 16),
        key_type=KEY_TYPE_AES if is_scp03 else KEY_TYPE_DES,
        scp02_i=None if is_scp03 else scp_i,
        scp03_i=scp_i if is_scp03 else None,
        kdd=bytes.fromhex(first["kdd"]),
    )


def test_recordings_are_there() -> None:
    assert len([path for path in RECORDINGS if "scp02" in path.name]) == 8
    assert len([path for path in RECORDINGS if "scp03" in path.name]) == 9


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_every_answer_matches_the_recording(path: Path) -> None:
    recording = json.loads(path.read_text(encoding="utf-8"))
    challenges = [bytes.fromhex(session["card_challenge"]) for session in recording["sessions"]]
    state = build_state(recording)
    card = VirtualCard(state)
    for exchange in recording["exchanges"]:
        if "session" in exchange:
            # A card that lost power and came back with the counter of the recording.
            state = with_counter(card.state, recording["sessions"][exchange["session"]])
            card = VirtualCard(state, RECORDED_CARD, random_bytes=lambda _size: challenges.pop(0))
        response = card.transmit(bytes.fromhex(exchange["command"]))
        assert response.hex().upper() == exchange["response"], exchange["name"]
    final = {
        f"{key_set.kvn:02X}": [{"type": f"{key.key_type:02X}", "key": key.value.hex().upper()} for key in key_set.keys]
        for key_set in card.state.isd.key_sets
    }
    assert final == recording["final_keysets"]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_new_key_set_starts_counting_at_zero(path: Path) -> None:
    recording = json.loads(path.read_text(encoding="utf-8"))
    first = recording["sessions"][0]
    state = with_counter(build_state(recording), first)
    card = VirtualCard(state, RECORDED_CARD, random_bytes=lambda _size: bytes.fromhex(first["card_challenge"]))
    for exchange in recording["exchanges"]:
        card.transmit(bytes.fromhex(exchange["command"]))
        if exchange["name"] == "PUT KEY":
            key_set = card.state.isd.find_key_set(int(exchange["new_kvn"], 16))
            assert key_set is not None
            assert key_set.sequence_counter == 0
            return
    pytest.fail("no PUT KEY in the recording")


def test_recordings_of_s16_cover_both_key_sizes_and_each_level() -> None:
    assert [path.stem for path in S16_RECORDINGS] == [
        f"pysim-scp03-s16-aes{bits}-level{level}" for bits in (128, 256) for level in ("01", "03", "13", "33")
    ]


@pytest.mark.parametrize("path", S16_RECORDINGS, ids=lambda path: path.stem)
def test_answers_that_pysim_accepted_in_s16_stay_as_they_were(path: Path) -> None:
    recording = json.loads(path.read_text(encoding="utf-8"))
    first = recording["sessions"][0]
    enc, mac, dek = (bytes.fromhex(first["static_keys"][role]) for role in ("ENC", "MAC", "DEK"))
    state = build_factory_state(
        (enc, mac, dek),
        kvn=int(first["kvn"], 16),
        key_type=KEY_TYPE_AES,
        scp02_i=None,
        scp03_i=int(recording["card"]["i"], 16),
    )
    card = VirtualCard(state)
    for exchange in recording["exchanges"]:
        response = card.transmit(bytes.fromhex(exchange["command"]))
        assert response.hex().upper() == exchange["response"], exchange["name"]
    final = {f"{item.kvn:02X}": [key.value.hex().upper() for key in item.keys] for item in card.state.isd.key_sets}
    assert final == recording["final_keysets"]

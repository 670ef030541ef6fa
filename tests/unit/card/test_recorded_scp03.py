"""Every recorded SCP03 exchange of independent implementations comes out of the core byte for byte."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from kms.card.apdu import CommandApdu, parse_command, parse_response
from kms.card.channel import (
    ChannelParameters,
    Handshake,
    SecureChannel,
    SecurityLevel,
    check_card_cryptogram,
    open_channel,
    parse_initialize_update,
    resume_channel,
)
from kms.card.commands import build_key_data, build_put_key, check_put_key_response, parse_key_data_fields
from kms.card.key_sets import compute_kcv
from kms.card.keys import KcvMethod, KeyRole, KeyType, KeyUse
from kms.errors import Code, KmsError
from tests.fakes.software_keys import RecordedKeys, SoftwareKeys

RECORDINGS = sorted((Path(__file__).parents[2] / "vectors" / "gp").glob("*scp03*.json"))
Recording = dict[str, Any]
AES = {16: KeyType.AES128, 24: KeyType.AES192, 32: KeyType.AES256}


def load(path: Path) -> Recording:
    recording: Recording = json.loads(path.read_text())
    return recording


def recorded_keys(session: Recording) -> RecordedKeys:
    static = {role.kid: bytes.fromhex(session["static_keys"][role]) for role in KeyRole}
    return RecordedKeys(static, int(session["kvn"], 16), bytes.fromhex(session["kdd"]), AES[len(static[1])])


def parameters(recording: Recording, session: Recording) -> ChannelParameters:
    return ChannelParameters(
        scp=3,
        i=int(session["i"], 16),
        level=SecurityLevel(int(session["security_level"], 16)),
        aid=bytes.fromhex(recording["card"]["isd"]),
    )


def handshake(recording: Recording, number: int) -> Handshake:
    exchange = next(e for e in recording["exchanges"] if e.get("session") == number)
    host_challenge = bytes.fromhex(recording["sessions"][number]["host_challenge"])
    return parse_initialize_update(bytes.fromhex(exchange["response"])[:-2], host_challenge, 3)


def without_le(command: CommandApdu) -> bytes:
    return replace(command, le=None).to_bytes()


def check_put_key(keys: SoftwareKeys, channel: SecureChannel, exchange: Recording) -> None:
    """Build the whole command from the recorded new keys, in the block form that its implementation uses."""
    fields = []
    for new in exchange["keys"]:
        value = bytes.fromhex(new["key"])
        form: Literal["long", "short"] = "short" if new.get("no_inner_length") else "long"
        key = keys.load(value, AES[len(value)], KeyUse.PAYLOAD)
        kcv = compute_kcv(keys, key, KcvMethod.AES_GP)
        assert kcv.hex().upper() == new["kcv"]
        fields.append(build_key_data(key.key_type, channel.wrap_key(key), kcv, aes_block_form=form))
    existing = int(exchange["old_kvn"], 16) or None
    built = build_put_key(existing, int(exchange["new_kvn"], 16), fields)
    recorded = parse_command(bytes.fromhex(exchange["plain"]))
    assert without_le(built) == without_le(recorded)
    assert parse_key_data_fields(recorded.data[1:]) == tuple(fields)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("other_process", [False, True], ids=["one scope", "a scope per command"])
def test_every_host_command_comes_out_byte_for_byte(path: Path, other_process: bool) -> None:
    recording = load(path)
    channel: SecureChannel | None = None
    keys = RecordedKeys({}, 0, bytes(10))
    session: Recording = {}
    for exchange in recording["exchanges"]:
        recorded = parse_command(bytes.fromhex(exchange["command"]))
        if exchange["name"].startswith("SELECT"):
            continue
        if "session" in exchange:
            session = recording["sessions"][exchange["session"]]
            keys = recorded_keys(session)
            answer = handshake(recording, exchange["session"])
            channel = open_channel(keys, keys.ref, answer, parameters(recording, session))
            continue
        assert channel is not None
        if other_process:
            keys = recorded_keys(session)
            channel = resume_channel(keys, channel.state())
        if exchange["name"] == "EXTERNAL AUTHENTICATE":
            assert without_le(channel.external_authenticate()) == without_le(recorded)
        else:
            if exchange["name"] == "PUT KEY":
                check_put_key(keys, channel, exchange)
            # The clients add Le where they send, so `plain` may lack it.
            plain = replace(parse_command(bytes.fromhex(exchange["plain"])), le=recorded.le)
            assert channel.wrap(plain).to_bytes().hex().upper() == exchange["command"]
        if other_process:
            keys = recorded_keys(session)
            channel = resume_channel(keys, channel.state())
        response = channel.unwrap(parse_response(bytes.fromhex(exchange["response"])))
        assert response == parse_response(bytes.fromhex(exchange.get("plain_response", exchange["response"])))
        if exchange["name"] == "PUT KEY":
            check_put_key_response(
                response.data, int(exchange["new_kvn"], 16), [bytes.fromhex(key["kcv"]) for key in exchange["keys"]]
            )


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_card_cryptogram_proves_its_own_key_set_and_no_other(path: Path) -> None:
    recording = load(path)
    for number, session in enumerate(recording["sessions"]):
        answer, how = handshake(recording, number), parameters(recording, session)
        keys = recorded_keys(session)
        check_card_cryptogram(keys, keys.ref, answer, how)

        other = recorded_keys(recording["sessions"][1 - number])
        with pytest.raises(KmsError) as caught:
            check_card_cryptogram(other, other.ref, answer, how)
        assert caught.value.code is Code.CRYPTOGRAM_MISMATCH


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_answer_is_read_as_recorded(path: Path) -> None:
    recording = load(path)
    for number, session in enumerate(recording["sessions"]):
        answer = handshake(recording, number)
        assert answer.kdd.hex().upper() == session["kdd"]
        assert (f"{answer.kvn:02X}", f"{answer.i:02X}") == (session["kvn"], session["i"])
        assert f"{answer.sequence_counter:06X}" == session.get("sequence_counter", "000000")
        assert answer.card_challenge.hex().upper() == session["card_challenge"]
        assert answer.card_cryptogram.hex().upper() == session["card_cryptogram"]


def test_there_are_recordings_of_both_lengths_of_every_option_family() -> None:
    sessions = [session for path in RECORDINGS for session in load(path)["sessions"]]
    assert len(RECORDINGS) >= 9
    assert {session["i"] for session in sessions} >= {"00", "70", "71"}
    assert {session["security_level"] for session in sessions} >= {"01", "03", "33"}
    assert {session["key_bits"] for session in sessions} >= {128, 256}

"""Every recorded SCP02 exchange of independent implementations comes out of the core byte for byte."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from kms.card.diversification import derive_vendor_key
from kms.card.key_sets import compute_kcv, gp_kcv_method
from kms.card.keys import Diversification, KeyRole, KeySetRef, KeyType, KeyUse, VendorKeys
from kms.errors import Code, KmsError
from tests.fakes.software_keys import RecordedKeys, SoftwareKeys, software_master

RECORDINGS = sorted((Path(__file__).parents[2] / "vectors" / "gp").glob("*scp02*.json"))
Recording = dict[str, Any]


def load(path: Path) -> Recording:
    recording: Recording = json.loads(path.read_text())
    return recording


def recorded_keys(session: Recording) -> RecordedKeys:
    static = {role.kid: bytes.fromhex(session["static_keys"][role]) for role in KeyRole}
    return RecordedKeys(static, int(session["kvn"], 16), bytes.fromhex(session["kdd"]))


def parameters(recording: Recording, session: Recording) -> ChannelParameters:
    return ChannelParameters(
        scp=2,
        i=int(session["i"], 16),
        level=SecurityLevel(int(session["security_level"], 16)),
        aid=bytes.fromhex(recording["card"]["isd"]),
    )


def handshake(recording: Recording, number: int) -> Handshake:
    exchange = next(e for e in recording["exchanges"] if e.get("session") == number)
    host_challenge = bytes.fromhex(recording["sessions"][number]["host_challenge"])
    return parse_initialize_update(bytes.fromhex(exchange["response"])[:-2], host_challenge, 2)


def without_le(command: CommandApdu) -> bytes:
    return replace(command, le=None).to_bytes()


def check_put_key(keys: SoftwareKeys, channel: SecureChannel, exchange: Recording) -> None:
    """Build the key data fields from the recorded new keys: wrapped blocks and check values as they were sent."""
    data = bytes.fromhex(exchange["new_kvn"])
    for new in exchange["keys"]:
        key = keys.load(bytes.fromhex(new["key"]), KeyType.DES2, KeyUse.PAYLOAD)
        kcv = compute_kcv(keys, key, gp_kcv_method(KeyType.DES2))
        assert kcv.hex().upper() == new["kcv"]
        data += b"\x80\x10" + channel.wrap_key(key) + b"\x03" + kcv
    assert parse_command(bytes.fromhex(exchange["plain"])).data == data


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
            channel = open_channel(
                keys, keys.ref, handshake(recording, exchange["session"]), parameters(recording, session)
            )
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
        response = parse_response(bytes.fromhex(exchange["response"]))
        assert channel.unwrap(response) == response


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
        assert f"{answer.kvn:02X}" == session["kvn"]
        assert f"{answer.sequence_counter:04X}" == session["sequence_counter"]
        assert answer.card_challenge.hex().upper() == session["card_challenge"]
        assert answer.card_cryptogram.hex().upper() == session["card_cryptogram"]


def test_the_diversified_exchange_follows_from_its_master_keys() -> None:
    recording = load(next(path for path in RECORDINGS if "diversified" in path.stem))
    masters = (bytes(range(0x40, 0x50)), bytes(range(0x50, 0x60)))
    for number, (session, value) in enumerate(zip(recording["sessions"], masters, strict=True)):
        keys = SoftwareKeys({b"vendor": value})
        source = VendorKeys(
            software_master(b"vendor", value, KeyType.DES2), Diversification.EMV_CPS_1_1, bytes.fromhex(session["kdd"])
        )
        for role in KeyRole:
            static = keys.load(bytes.fromhex(session["static_keys"][role]), KeyType.DES2, KeyUse.PAYLOAD)
            derived = derive_vendor_key(keys, source, role, KeyType.DES2, KeyUse.PAYLOAD)
            method = gp_kcv_method(KeyType.DES2)
            assert compute_kcv(keys, derived, method) == compute_kcv(keys, static, method)
        ref = KeySetRef(int(session["kvn"], 16), KeyType.DES2, source)
        channel = open_channel(keys, ref, handshake(recording, number), parameters(recording, session))
        authenticate = next(
            parse_command(bytes.fromhex(e["command"]))
            for e in recording["exchanges"]
            if session["host_cryptogram"] in e["command"]
        )
        assert without_le(channel.external_authenticate()) == without_le(authenticate)


def test_there_are_recordings() -> None:
    assert len(RECORDINGS) >= 8

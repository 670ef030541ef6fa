"""A visit with cards that nobody here wrote, as far as recordings reach: the server authenticates as their hosts did.

A recording answers only the challenge it was made with, so the server is given that one. Its EXTERNAL AUTHENTICATE must
then be the recorded host's, byte for byte; what follows carries other keys and cannot be compared.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from kms.card.profile import CardProfile
from kms.domain.orders import AgentStatus, Report
from tests.fakes.agent import VOID
from tests.fakes.issuer import IDENTITY, VENDOR_KEY, build_issuer

RECORDINGS = Path(__file__).resolve().parents[2] / "vectors" / "gp"


def has_one_static_key(session: dict[str, Any]) -> bool:
    return {bytes.fromhex(value) for value in session["static_keys"].values()} == {VENDOR_KEY}


def find_sessions() -> list[Any]:
    found = []
    for path in sorted(RECORDINGS.glob("*scp02*.json")):
        recording = json.loads(path.read_text())
        for number, session in enumerate(recording["sessions"]):
            if has_one_static_key(session):
                found.append(pytest.param(recording, number, id=f"{path.stem}-{number}"))
    return found


@pytest.mark.parametrize(("recording", "number"), find_sessions())
def test_the_server_opens_a_channel_to_a_recorded_card(recording: dict[str, Any], number: int) -> None:
    session = recording["sessions"][number]
    exchanges = recording["exchanges"]
    at = next(index for index, one in enumerate(exchanges) if one.get("session") == number)
    issuer = build_issuer(
        kvn=int(session["kvn"], 16),
        scp_i=int(session["i"], 16),
        profile=CardProfile(name="default", security_level=int(session["security_level"], 16)),
        entropy=lambda length: bytes.fromhex(session["host_challenge"])[:length],
        isd_aid=bytes.fromhex(recording["card"]["isd"]),
    )
    issuer.updates.force(IDENTITY, bytes.fromhex(recording["card"]["isd"]), actor="test")
    issuer.visits.handshake(issuer.terminal, "session", [IDENTITY])
    first = issuer.visits.report(issuer.terminal, "session", VOID)
    asked = bytes.fromhex(exchanges[at]["command"])
    assert first.commands[1] == bytes([*asked[:2], int(session["kvn"], 16), *asked[3:]])  # some ask for any version
    answers = tuple(bytes.fromhex(exchanges[index]["response"]) for index in (at - 1, at))
    second = issuer.visits.report(issuer.terminal, "session", Report(AgentStatus.PROCESSED, 1, answers))
    recorded = exchanges[at + 1]["command"]
    assert recorded.startswith(second.commands[0].hex().upper())  # GlobalPlatformPro adds an Le


def test_there_are_recordings_of_several_makers() -> None:
    assert len(find_sessions()) >= 3

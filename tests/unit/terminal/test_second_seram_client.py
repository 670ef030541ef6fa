"""The second SERAM agent and the relay do the same to a card, as far as a server can tell."""

from pathlib import Path

import httpx

from terminal.client import ServerClient
from terminal.journal import Journal
from terminal.relay import Relay
from tests.fakes.scripted_card import ScriptedCard
from tests.fakes.second_seram_client import run_visit
from tests.fakes.seram_server import SeramServer

IDENTITY = b"\x01\x02"
ANSWERS = {"80CA0001": "6A88"}


def test_the_second_client_sends_no_cookie_and_waits_as_told() -> None:
    server, card, slept = (
        SeramServer("0102", batches=1, delay=40, needs_cookies=False),
        ScriptedCard(ANSWERS),
        list[float](),
    )
    with httpx.Client(base_url="https://kms.test", transport=httpx.MockTransport(server)) as client:
        result = run_visit(client, "s", card, "0102", sleep=slept.append)
    assert set(server.cookies_seen) == {None}
    assert result.started
    assert result.stopped
    assert slept[0] == 0.04
    assert result.requests == len(server.requests)
    assert result.notifications == ["keys are in place"]
    assert result.status_words[:2] == ["6A88", "9000"]


def test_both_send_a_batch_whole_and_report_it_alike(tmp_path: Path) -> None:
    servers = SeramServer("0102", batches=1, needs_cookies=False), SeramServer("0102", batches=1)
    cards = ScriptedCard(ANSWERS), ScriptedCard(ANSWERS)
    with httpx.Client(base_url="https://kms.test", transport=httpx.MockTransport(servers[0])) as client:
        run_visit(client, "s", cards[0], "0102", sleep=lambda _: None)
    http = httpx.Client(base_url="https://kms.test", transport=httpx.MockTransport(servers[1]))
    with Journal(tmp_path) as journal:
        Relay(ServerClient(http), journal, sleep=lambda _: None).run_visit("s", cards[1], IDENTITY)
    assert cards[0].received == cards[1].received
    assert servers[0].reports == servers[1].reports


def test_a_card_that_fails_gives_empty_answers() -> None:
    server, card = SeramServer("0102", batches=1, needs_cookies=False), ScriptedCard(leaves_after=1)
    with httpx.Client(base_url="https://kms.test", transport=httpx.MockTransport(server)) as client:
        result = run_visit(client, "s", card, "0102", sleep=lambda _: None)
    assert server.reports[1]["ramResponses"] == [{"ramResponseType": "seRamResponse", "listOfRAPDU": ["9000", ""]}]
    assert server.reports[1]["localAgentStatus"]["localAgentStatusEnum"] == "UNAVAILABLE_SE"
    assert result.exchanges[1][1] == b""

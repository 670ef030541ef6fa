"""What happens to a visit that an earlier run left open when the next card comes."""

from pathlib import Path

import httpx
import pytest

from terminal.client import ServerClient
from terminal.errors import TerminalCode, TerminalError, card_gone
from terminal.journal import Journal
from terminal.relay import Relay
from terminal.visits import new_session_id, serve_card, settle_without_card
from tests.fakes.scripted_card import ScriptedCard
from tests.fakes.seram_server import SeramServer

CARD, OTHER = b"\x01\x02", b"\x03\x04"


class Servers:
    """A server for each session."""

    def __init__(self) -> None:
        self.by_session: dict[str, SeramServer] = {}
        self.forgotten: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        session = request.url.params["sessionId"]
        if session in self.forgotten:
            return httpx.Response(404, json={"detail": "unknown", "code": "visit.session-unknown"})
        return self.by_session[session](request)


def make_relay(servers: Servers, journal: Journal) -> Relay:
    http = httpx.Client(base_url="https://kms.test", transport=httpx.MockTransport(servers))
    return Relay(ServerClient(http, reconnect=0), journal, sleep=lambda _: None)


def break_off(servers: Servers, directory: Path, boundary: str) -> ScriptedCard:
    """Leave a visit of CARD in session "old" open at a boundary."""
    card = ScriptedCard()
    servers.by_session["old"] = SeramServer(CARD.hex())

    def stop(crossed: str) -> None:
        if crossed == boundary:
            raise KeyboardInterrupt

    with Journal(directory) as journal:
        relay = make_relay(servers, journal)
        relay.observer = stop
        with pytest.raises(KeyboardInterrupt):
            relay.run_visit("old", card, CARD)
    return card


def test_the_same_card_goes_on_where_it_was_and_then_has_a_visit_of_its_own(tmp_path: Path) -> None:
    servers = Servers()
    card = break_off(servers, tmp_path, "responses-journalled")
    servers.by_session["new"] = SeramServer(CARD.hex(), batches=0)
    with Journal(tmp_path) as journal:
        served = serve_card(make_relay(servers, journal), card, CARD, lambda: "new")
    assert served.settled is not None
    assert served.settled.resumed
    assert served.visit is not None
    assert servers.by_session["old"].answered == [["9000", "9000"], ["9000", "9000"]]
    assert servers.by_session["new"].ended


def test_another_card_settles_the_old_visit_without_touching_it(tmp_path: Path) -> None:
    servers, other = Servers(), ScriptedCard()
    break_off(servers, tmp_path, "responses-journalled")
    servers.by_session["new"] = SeramServer(OTHER.hex(), batches=1)
    with Journal(tmp_path) as journal:
        served = serve_card(make_relay(servers, journal), other, OTHER, lambda: "new")
    assert servers.by_session["old"].answered == [["9000", "9000"], ["", ""]]
    assert servers.by_session["old"].ended
    assert servers.by_session["new"].answered == [["9000", "9000"]]
    assert other.received == ["80CA000100", "80CA000200"]
    assert served.card_error is None


def test_a_visit_the_server_forgot_is_dropped(tmp_path: Path) -> None:
    servers = Servers()
    card = break_off(servers, tmp_path, "after-apdu 1")
    servers.forgotten.add("old")
    servers.by_session["new"] = SeramServer(CARD.hex(), batches=1)
    with Journal(tmp_path) as journal:
        served = serve_card(make_relay(servers, journal), card, CARD, lambda: "new")
        assert journal.find_open_visit() is None
    assert served.settled is None
    assert served.visit is not None


def test_a_visit_that_touched_no_card_is_dropped_without_asking(tmp_path: Path) -> None:
    servers = Servers()
    break_off(servers, tmp_path, "after-handshake")
    with Journal(tmp_path) as journal:
        assert settle_without_card(make_relay(servers, journal)) is None
        assert journal.find_open_visit() is None
    assert len(servers.by_session["old"].requests) == 1


def test_nothing_to_settle(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        assert settle_without_card(make_relay(Servers(), journal)) is None


def test_a_card_that_leaves_again_while_settling_gets_no_new_visit(tmp_path: Path) -> None:
    servers = Servers()
    break_off(servers, tmp_path, "responses-journalled")
    card = ScriptedCard(leaves_after=0, gone=card_gone())
    with Journal(tmp_path) as journal:
        served = serve_card(make_relay(servers, journal), card, CARD, lambda: "new")
    assert served.visit is None
    assert served.card_error is not None
    assert served.card_error.code is TerminalCode.CARD_GONE


def test_a_server_out_of_reach_keeps_the_old_visit(tmp_path: Path) -> None:
    servers = Servers()
    card = break_off(servers, tmp_path, "responses-journalled")
    servers.by_session["old"].faults.append(httpx.ConnectError("down"))
    with Journal(tmp_path) as journal:
        with pytest.raises(TerminalError):
            serve_card(make_relay(servers, journal), card, CARD)
        assert journal.find_open_visit() is not None


def test_sessions_are_never_the_same() -> None:
    assert new_session_id() != new_session_id()

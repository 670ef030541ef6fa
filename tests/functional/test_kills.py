"""Power lost, for real: SIGKILL for the server and the terminal, the card pulled out of its reader, at named places.

`SERVER_KILLS`, `TERMINAL_KILLS` and `CARD_TEARS` are the list. After each the card is presented again, and that one
normal visit must end "done" with card and platform in agreement, old keys refused and the current ones in force.
(tests/functional/test_boundaries.py walks all commits and APDUs in one process.)
"""

import itertools
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from terminal.client import ServerClient
from terminal.errors import TerminalCode, TerminalError
from terminal.relay import BOUNDARIES, Relay
from terminal.virtual_card import VpcdConnection
from terminal.virtual_card.tear import parse_tear_at, parse_tear_during
from terminal.visits import serve_card
from tests.functional.channel_prober import ROOT
from tests.functional.reader_slot import in_reader, put_in
from tests.functional.site import READER_PORT, TRANSIT, TRANSIT_SSD, Delivered, Site, power

# The server dies at the Nth HTTP request of the flow: "before" it is sent, "during" its work (all is computed, nothing
# is committed), "after" its work (committed, and the answer never arrives). A rotation has four requests: handshake,
# void report, and two reports; flow 2 begins with the application and has four reports.
SERVER_KILLS = (
    "rotation, after request 2",
    "rotation, before request 3",
    "rotation, during request 3",
    "rotation, after request 3",
    "rotation, during request 4",
    "rotation, after request 4",
    "flow 2, during request 4",
    "flow 2, after request 4",
    "flow 2, after request 6",
)

# The terminal dies at each of its relay's boundaries; APDU 4 of a rotation is PUT KEY.
TERMINAL_KILLS = tuple(f"{name} 4" if name.endswith("-apdu") else name for name in BOUNDARIES)

# Power lost at an APDU counted from the card's presentation (three of them read its identity), or at a command.
CARD_TEARS = (
    "rotation, PUT-KEY:before",
    "rotation, PUT-KEY:after",
    "rotation, APDU 8:after",  # the proof
    "flow 2, STORE-DATA:after",
)


def check_recovered(site: Site, delivered: Delivered, kvn: int) -> None:
    visit = site.last_visit(delivered)
    assert visit["result"] in ("done", "nothing is pending for this card"), visit["journal"]
    assert site.kms("updates", "list", "--card", delivered.name, "--open") == []
    assert delivered.kvns(TRANSIT_SSD) == [kvn]
    site.check_agreement(delivered)


def prepare(site: Site, flow: str) -> tuple[Delivered, int]:
    """A card on which the flow is about to run, and the SSD's key version after it."""
    if flow == "flow 2":
        delivered = site.issue()
        site.visit(delivered)
        return delivered, 0x21
    delivered = site.keyed()
    site.force(delivered)
    return delivered, 0x22


@dataclass
class Killer(httpx.BaseTransport):
    """The way to the server, on which it dies once: at request `number` of this connection, `when` of it."""

    inner: httpx.BaseTransport
    site: Site
    when: str
    number: int
    count: int = 0
    fired: bool = False
    threads: list[threading.Thread] = field(default_factory=list)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        if self.fired or self.count != self.number:
            return self.inner.handle_request(request)
        self.fired = True
        if self.when == "before":
            self.site.server.kill()
            return self.inner.handle_request(request)
        if self.when == "during":
            return self._kill_at_first_commit(request)
        answer = self.inner.handle_request(request)
        answer.read()
        answer.close()
        self.site.server.kill()
        raise httpx.ReadError("the server died before its answer arrived", request=request)

    def close(self) -> None:
        self.inner.close()

    def _kill_at_first_commit(self, request: httpx.Request) -> httpx.Response:
        """Let the request come as far as its first commit, and no further, then kill the server."""
        with self.site.database.hold():
            killing = threading.Timer(0.5, self.site.server.kill)
            killing.start()
            try:
                return self.inner.handle_request(request)
            finally:
                killing.join()


def serve(relay: Relay, delivered: Delivered, flow: str) -> None:
    def open_session() -> str:
        client = relay.transport
        assert isinstance(client, ServerClient)
        return client.apply(delivered.identity, bytes.fromhex(TRANSIT)).session_id

    how: tuple[Callable[[], str], ...] = (open_session,) if flow == "flow 2" else ()
    serve_card(relay, power(delivered.card), delivered.identity, *how)


@pytest.mark.parametrize("place", SERVER_KILLS)
def test_the_server_is_killed(site: Site, place: str) -> None:
    flow, where = place.split(", ")
    when, _, number = where.split()
    delivered, kvn = prepare(site, flow)
    killers: list[Killer] = []

    def watch(client: httpx.Client) -> httpx.Client:
        killers.append(Killer(client._transport, site, when, int(number)))  # noqa: SLF001 - stands in its way
        client._transport = killers[0]  # noqa: SLF001 - the same
        return client

    # The terminal keeps on trying, and the server is started again meanwhile: one visit goes on over the gap.
    with site.relay(http=watch, on_retry=lambda problem, pause: site.server.start()) as relay:  # noqa: ARG005 - what listeners get
        serve(relay, delivered, flow)
    assert killers[0].fired
    assert site.last_visit(delivered)["result"] == "done", site.last_visit(delivered)["journal"]
    site.visit(delivered)
    check_recovered(site, delivered, kvn)


def test_a_server_that_stays_away_leaves_a_visit_that_the_next_run_ends(site: Site) -> None:
    delivered, kvn = prepare(site, "rotation")

    def watch(client: httpx.Client) -> httpx.Client:
        client._transport = Killer(client._transport, site, "after", 3)  # noqa: SLF001 - stands in its way
        return client

    with site.relay(http=watch, reconnect=0.2) as relay, pytest.raises(TerminalError) as caught:
        serve(relay, delivered, "rotation")
    assert caught.value.code is TerminalCode.SERVER_UNREACHABLE
    site.server.start()
    site.visit(delivered)
    check_recovered(site, delivered, kvn)


@pytest.mark.pcsc
def test_the_terminal_is_killed_at_each_boundary(site: Site) -> None:
    delivered = site.keyed()
    kvn = 0x21
    config = str(site.terminal_config("terminal-1"))
    journal = site.load_terminal("terminal-1").journal_directory / "visit.journal"
    with in_reader(VpcdConnection(delivered.card, READER_PORT)):
        for boundary in TERMINAL_KILLS:
            print(f"terminal killed: {boundary}")
            site.force(delivered)
            kvn += 1
            command = [sys.executable, "-m", "tests.functional.dying_terminal", boundary, "--config", config, "once"]
            died = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
            site.said += [died.stdout, died.stderr]
            assert died.returncode == -signal.SIGKILL, f"{boundary}: {died.stderr}"
            assert bool(journal.read_bytes()) == (boundary != "journal-erased"), boundary
            again = site.terminal("once")
            assert again.returncode == 0, f"{boundary}: {again.stderr}"
            assert not journal.read_bytes()
            check_recovered(site, delivered, kvn)


@pytest.mark.pcsc
def test_the_card_is_torn_out_of_the_reader(site: Site) -> None:
    for place in CARD_TEARS:
        print(f"card torn out: {place}")
        flow, where = place.split(", ")
        delivered, kvn = prepare(site, flow)
        command = ("apply", "--application", TRANSIT) if flow == "flow 2" else ("once",)
        tear = parse_tear_at(where.removeprefix("APDU ")) if where.startswith("APDU") else parse_tear_during(where)
        connection = VpcdConnection(delivered.card, READER_PORT, tear=tear)
        with in_reader(connection):
            torn = site.terminal(*command)
            assert connection.wait_gone(5), place
            assert connection.was_torn, place
            assert torn.returncode == 1, f"{place}: {torn.stdout}"
            assert "[card.gone]" in torn.stderr
            assert "Present the same card again" in torn.stderr
            connection.pull_out()
            put_in(connection)
            again = site.terminal("once")
            assert again.returncode == 0, f"{place}: {again.stderr}"
        check_recovered(site, delivered, kvn)


@pytest.mark.parametrize(("flow", "least"), [("rotation", 5), ("flow 2", 12)])
def test_the_card_is_gone_after_each_apdu(site: Site, flow: str, least: int) -> None:
    """The same in this process, where an APDU costs nothing: the card carries N of them out, the answer is lost."""
    for number in itertools.count(1):
        delivered, kvn = prepare(site, flow)
        card = Leaving(delivered, number)
        if flow == "flow 2":
            site.apply(delivered, card=card)
        else:
            site.visit(delivered, card)
        if not card.is_gone:
            break
        assert "the card was taken away" in site.last_visit(delivered)["result"], f"{flow}, APDU {number}"
        site.visit(delivered)
        check_recovered(site, delivered, kvn)
    assert number > least


class Leaving:
    """A card that carries its Nth command out and is gone before the answer."""

    def __init__(self, delivered: Delivered, number: int) -> None:
        self._card = delivered.card
        self._rest = number

    @property
    def is_gone(self) -> bool:
        return self._rest <= 0

    def transmit(self, command: bytes) -> bytes:
        self._rest -= 1
        answer = self._card.transmit(command) if self._rest >= 0 else b""
        return b"" if self.is_gone else answer

    def reset(self) -> None:
        self._card.reset()

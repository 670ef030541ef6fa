"""Flows 3 and 5 on real parts: two servers, a token and a database each, the leased line, and the provider's terminal.

Flows and kills run on SQLite and on PostgreSQL; a server's start takes seconds, so what is no matter of the database
runs on one. (tests/functional/test_transfer_boundaries.py walks all boundaries of flow 3 in one process.)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from demo.installation import exchange_keys, find_kek
from terminal.client import ServerClient
from terminal.errors import TerminalCode, TerminalError
from terminal.relay import VisitSummary
from terminal.visits import serve_card
from tests.fakes.stores import DATABASES
from tests.functional.platforms import (
    BIKES,
    BIKES_SSD,
    BOATS,
    Platforms,
    find_transfer_states,
    open_platforms,
    read_story,
)
from tests.functional.site import ISD_AID, TRANSIT_SSD, Counted, Delivered, Site, power

ON_ONE_DATABASE = pytest.mark.parametrize("both", ["sqlite"], indirect=True)
ROTATION = ["A4", "50", "82", "D8", "50"]
# The issuer's part: SELECT SSD and ISD, INITIALIZE UPDATE; the channel, GET STATUS, two INSTALLs; STORE DATA, and the
# proof of the initial keys. Then the provider's: SELECT and INITIALIZE UPDATE; the channel, PUT KEY, and the proof.
FLOW_3 = ["A4", "A4", "50", "82", "F2", "E6", "E6", "E2", "A4", "50", "A4", "50", "82", "D8", "50"]


@pytest.fixture(scope="module", params=DATABASES)
def both(request: pytest.FixtureRequest) -> Iterator[Platforms]:
    with open_platforms(request.param) as platforms:
        platforms.provider.add_terminal("other")
        yield platforms


@pytest.fixture
def platforms(both: Platforms) -> Platforms:
    both.start()
    return both


def issue(platforms: Platforms) -> Delivered:
    """A card whose ISD holds the issuer's keys."""
    delivered = platforms.issuer.issue()
    platforms.issuer.visit(delivered)
    return delivered


def apply(site: Site, delivered: Delivered, card: Any = None, **how: Any) -> VisitSummary | None:  # noqa: ANN401 - any card
    """The card's user applies at the provider's terminal. `how`: of `Site.relay`."""
    with site.relay(**how) as relay:
        client = relay.transport
        assert isinstance(client, ServerClient)

        def open_session() -> str:
            return client.apply(delivered.identity, bytes.fromhex(BIKES)).session_id

        return serve_card(relay, power(card or delivered.card), delivered.identity, open_session).visit


def test_flow_3_in_one_visit_and_flow_5_without_the_issuer(platforms: Platforms) -> None:
    issuer, provider = platforms.issuer, platforms.provider
    delivered = issue(platforms)
    card = Counted(delivered.card)
    summary = apply(provider, delivered, card)
    assert provider.last_visit(delivered)["result"] == "done"
    assert card.names == FLOW_3
    assert summary is not None
    assert (summary.commands, summary.requests) == (15, 7)
    platforms.check_control(delivered, 0x21)
    assert read_story(provider, delivered) == [
        ("transfer.request", "asked for"),
        ("transfer.request", "admitted by issuer"),
        ("transfer.receive", "handed over by issuer"),
        ("transfer.control", "our own keys in force, envelope destroyed"),
        ("transfer.close", "heard by issuer"),
    ]
    assert read_story(issuer, delivered) == [
        ("transfer.request", "admitted"),
        ("transfer.prove", "initial keys in force"),
        ("transfer.hand-over", "issued"),
        ("transfer.control", "accepted by the provider"),
    ]

    provider.force(delivered, BIKES_SSD)
    card = Counted(delivered.card)
    with issuer.server.frozen():
        summary = provider.visit(delivered, card)
    assert provider.last_visit(delivered)["result"] == "done"
    assert card.names == ROTATION
    assert summary is not None
    assert (summary.commands, summary.requests) == (5, 4)
    platforms.check_control(delivered, 0x22)


@ON_ONE_DATABASE
def test_flow_3_takes_a_card_over_that_its_issuer_has_not_met_yet(platforms: Platforms) -> None:
    delivered = platforms.issuer.issue(kvn=0xFF)
    apply(platforms.provider, delivered)
    platforms.check_control(delivered, 0x21)
    assert delivered.kvns(ISD_AID) == [0x21]


def test_the_issuer_s_own_flows_go_on_beside_the_provider_s(platforms: Platforms) -> None:
    issuer = platforms.issuer
    delivered = issuer.keyed()
    apply(platforms.provider, delivered)
    issuer.force(delivered)
    issuer.visit(delivered)
    assert issuer.last_visit(delivered)["result"] == "done"
    assert delivered.kvns(TRANSIT_SSD) == [0x22]
    platforms.check_control(delivered, 0x21)


@ON_ONE_DATABASE
def test_an_aid_that_the_issuer_does_not_allow_is_refused_with_its_reason(platforms: Platforms) -> None:
    delivered = issue(platforms)
    before = delivered.card.state
    with pytest.raises(TerminalError, match=r"peer\.not-allowed") as caught:
        platforms.provider.apply(delivered, BOATS)
    assert (caught.value.code, caught.value.server_code) == (TerminalCode.SERVER_REFUSED, "peer.refused")
    assert delivered.card.state == before
    assert find_transfer_states(platforms.provider, delivered) == ["REFUSED"]
    assert find_transfer_states(platforms.issuer, delivered) == []
    refused = [event for event in platforms.issuer.kms("audit", "tail") if "peer.not-allowed" in event["result"]]
    assert delivered.name in refused[0]["detail"]


@ON_ONE_DATABASE
def test_a_card_that_the_issuer_does_not_know_is_refused(platforms: Platforms) -> None:
    stranger = platforms.issuer.deliver()
    with pytest.raises(TerminalError, match=r"card\.unknown"):
        apply(platforms.provider, stranger)
    assert find_transfer_states(platforms.provider, stranger) == ["REFUSED"]


@ON_ONE_DATABASE
def test_the_terminal_waits_for_an_issuer_that_starts_late(platforms: Platforms) -> None:
    delivered = issue(platforms)
    platforms.issuer.server.kill()
    problems: list[str] = []

    def on_retry(problem: str, _pause: float) -> None:
        problems.append(problem)
        if len(problems) == 2:
            platforms.issuer.server.start()

    apply(platforms.provider, delivered, on_retry=on_retry)
    assert len(problems) >= 2
    assert all("peer.unreachable" in problem for problem in problems)
    platforms.check_control(delivered, 0x21)


# Where somebody dies: the card has carried this APDU of flow 3 out, and its answer has not reached the terminal.
INSTALLED, INITIAL_PROOF, PUT_KEY = 7, 10, 14


@pytest.mark.parametrize(("who", "number"), [("issuer", INITIAL_PROOF), ("provider", PUT_KEY)])
def test_a_server_is_killed_and_comes_back(platforms: Platforms, who: str, number: int) -> None:
    """The terminal goes on trying; what the visit could not bring to its end the next one does."""
    delivered = issue(platforms)
    site: Site = getattr(platforms, who)
    card = Interrupted(delivered.card, number, site.server.kill)
    apply(platforms.provider, delivered, card, on_retry=lambda _problem, _pause: site.server.start())
    assert card.rest <= 0
    platforms.start()
    finish(platforms, delivered)


@pytest.mark.parametrize(
    ("number", "next_terminal"),
    [(INSTALLED, "other"), (INITIAL_PROOF, "other"), (PUT_KEY, "other"), (PUT_KEY, "terminal-1")],
)
def test_the_terminal_is_killed_and_another_run_or_another_terminal_goes_on(
    platforms: Platforms, number: int, next_terminal: str
) -> None:
    delivered = issue(platforms)
    with pytest.raises(PowerLostError):
        apply(platforms.provider, delivered, Interrupted(delivered.card, number, lose_power))
    finish(platforms, delivered, next_terminal)


@ON_ONE_DATABASE
def test_preparing_again_changes_nothing(platforms: Platforms) -> None:
    """As `make up` does whenever it is started."""
    issuer, provider = platforms.issuer, platforms.provider
    before = issuer.dump(), provider.dump()
    kek = find_kek(provider.installation, "issuer")
    assert kek is not None
    issuer.installation.prepare(issuer.master)
    told = exchange_keys(issuer.installation, provider.installation)
    assert told == f"{kek['kcv']} (aes-cmac-zero)"
    assert (issuer.dump(), provider.dump()) == before


@ON_ONE_DATABASE
def test_certificates_on_the_line_that_are_valid_but_not_the_pinned_ones(platforms: Platforms) -> None:
    delivered = issue(platforms)
    provider = platforms.provider
    folder = provider.folder / "pki"
    with reconfigured(provider, f'certificate = "{folder}/server.pem"', f'certificate = "{folder}/provider.pem"'):
        with pytest.raises(TerminalError, match=r"its certificate is not the pinned one \(HTTP 422, peer\.untrusted"):
            apply(provider, delivered, reconnect=0.2)
        assert find_transfer_states(platforms.issuer, delivered) == []
    # Of the issuer's own authority, but a terminal's.
    with reconfigured(provider, f"{folder}/provider.", f"{folder}/terminal-1."):
        with pytest.raises(TerminalError, match=r"peer\.unknown"):
            apply(provider, delivered)
        assert find_transfer_states(platforms.issuer, delivered) == []
    provider.server.start()
    apply(provider, delivered)
    platforms.check_control(delivered, 0x21)


def finish(platforms: Platforms, delivered: Delivered, terminal: str = "terminal-1") -> None:
    """The next visit, in which nothing special happens, leaves the provider in control and no set in doubt."""
    platforms.provider.visit(delivered, terminal=terminal)
    result = platforms.provider.last_visit(delivered)["result"]
    assert result in ("done", "nothing is pending for this card"), platforms.provider.last_visit(delivered)["journal"]
    platforms.check_control(delivered, delivered.kvns(BIKES_SSD)[0])
    for site in (platforms.issuer, platforms.provider):
        unsettled = [
            item for item in site.key_sets(delivered, BIKES_SSD) if item["delivery"] in ("IN_FLIGHT", "IN_DOUBT")
        ]
        assert unsettled == []


@contextmanager
def reconfigured(site: Site, old: str, new: str) -> Iterator[None]:
    """The site's server with another configuration; after the block it is stopped and has its own again."""
    path = site.installation.platform_config
    text = path.read_text()
    assert old in text
    site.server.kill()
    path.write_text(text.replace(old, new))
    try:
        site.server.start()
        yield
    finally:
        path.write_text(text)
        site.server.kill()


class PowerLostError(Exception):
    """The terminal's power is gone: nothing of it runs on."""


def lose_power() -> None:
    raise PowerLostError


@dataclass
class Interrupted:
    """A card that carries its Nth command out; before the answer is there, something happens."""

    card: Any
    rest: int
    happen: Callable[[], None]

    def transmit(self, command: bytes) -> bytes:
        answer: bytes = self.card.transmit(command)
        self.rest -= 1
        if self.rest == 0:
            self.happen()
        return answer

    def reset(self) -> None:
        self.card.reset()

"""The flows driven by an agent that is not ours: written from SERAM's OpenAPI text, without cookies."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from terminal.client import open_http
from terminal.virtual_card.personality import Personality
from tests.fakes.second_seram_client import VisitResult, run_visit
from tests.functional.site import ISD_AID, TRANSIT, TRANSIT_SSD, Counted, Delivered, Site


@pytest.fixture(scope="module")
def agent(whole_site: Site) -> str:
    """A terminal with a certificate of its own."""
    return whole_site.add_terminal("seram-agent")


@pytest.fixture
def http(site: Site, agent: str) -> Iterator[httpx.Client]:
    with open_http(site.load_terminal(agent)) as client:
        yield client


def apply(http: httpx.Client, delivered: Delivered) -> str:
    body = {"card": {"identity": delivered.name}, "application": TRANSIT}
    answer = http.post("/api/v1/applications", json=body)
    assert answer.status_code == 201, answer.text
    session_id: str = answer.json()["sessionId"]
    return session_id


def run(http: httpx.Client, delivered: Delivered, session_id: str) -> tuple[VisitResult, Counted]:
    delivered.card.reset()
    card = Counted(delivered.card)
    return run_visit(http, session_id, card, delivered.name), card


@pytest.mark.parametrize("scp_i", [0x15, 0x75])
def test_it_drives_take_over_flow_2_and_flow_4(site: Site, http: httpx.Client, scp_i: int) -> None:
    delivered = site.issue(kvn=0xFF, scp_i=scp_i)

    taken_over, _ = run(http, delivered, str(uuid4()))
    assert (taken_over.started, taken_over.stopped, taken_over.notifications) == (True, True, ["done"])
    assert delivered.kvns(ISD_AID) == [0x21]

    created, _ = run(http, delivered, apply(http, delivered))
    assert created.notifications == ["done"]
    assert delivered.kvns(TRANSIT_SSD) == [0x21]

    site.force(delivered)
    replaced, card = run(http, delivered, str(uuid4()))
    assert replaced.notifications == ["done"]
    assert (replaced.requests, card.names) == (4, ["A4", "50", "82", "D8", "50"])
    assert delivered.kvns(TRANSIT_SSD) == [0x22]

    visit = site.last_visit(delivered)
    assert (visit["terminal"], visit["result"], visit["requests"], visit["commands_sent"]) == (
        "seram-agent",
        "done",
        4,
        5,
    )
    site.check_agreement(delivered)


def test_it_sends_all_commands_though_one_failed_and_the_card_stays_as_it_was(site: Site, http: httpx.Client) -> None:
    delivered = site.issue(personality=Personality(max_domains=0))
    run(http, delivered, str(uuid4()))
    before = [domain.key_sets[0].keys for domain in delivered.card.state.domains]
    refused, card = run(http, delivered, apply(http, delivered))
    assert card.names[-2:] == ["E6", "E6"]  # the second INSTALL after the first was refused
    assert refused.status_words[-2:] == ["6A84", "6A88"]
    assert "INSTALL [for install]: the card answered 6A84" in refused.notifications[0]
    assert [domain.key_sets[0].keys for domain in delivered.card.state.domains] == before
    site.check_agreement(delivered)


def test_sessions_belong_to_the_certificate_that_began_them(site: Site, http: httpx.Client) -> None:
    delivered = site.issue()
    session_id = apply(http, delivered)
    with open_http(site.load_terminal("terminal-1")) as other:
        answer = other.post(
            "/gp/seram/remoteManagement",
            params={"sessionId": session_id},
            json={"localAgentStatus": {"localAgentStatusEnum": "POLLING", "executedSeRamCommands": 0}},
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "visit.session-unknown")
    result, _ = run(http, delivered, session_id)
    assert result.notifications == ["done"]
    site.check_agreement(delivered)

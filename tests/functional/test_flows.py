"""The flows on real parts: `kms serve`, its token and database, TLS, and a card that is looked into afterwards."""

import json
import re
import signal
import subprocess

import pytest

from demo.installation import BIN
from terminal.virtual_card import KEY_TYPE_DES, VpcdConnection
from terminal.virtual_card.diversification import Diversification
from terminal.virtual_card.personality import Personality
from terminal.virtual_card.transmission import TransmissionProtocol
from tests.functional.reader_slot import in_reader
from tests.functional.site import (
    ISD_AID,
    LOYALTY,
    LOYALTY_SSD,
    READER_PORT,
    TRANSIT,
    TRANSIT_SSD,
    Counted,
    Delivered,
    Site,
)

ROTATION = ["A4", "50", "82", "D8", "50"]  # SELECT, INITIALIZE UPDATE, EXTERNAL AUTHENTICATE, PUT KEY, and the proof


def check_done(site: Site, delivered: Delivered) -> dict[str, object]:
    visit = site.last_visit(delivered)
    assert (visit["result"], visit["state"]) == ("done", "ENDED"), visit["journal"]
    return visit


@pytest.mark.parametrize("diversification", [item for item in Diversification if item.makes(KEY_TYPE_DES)])
@pytest.mark.parametrize(("kvn", "keeps_factory_set"), [(0x01, False), (0xFF, False), (0xFF, True)])
def test_the_isd_goes_from_the_vendors_keys_to_the_issuers(
    site: Site, kvn: int, keeps_factory_set: bool, diversification: Diversification
) -> None:
    delivered = site.issue(
        kvn=kvn, diversification=diversification, personality=Personality(keep_factory_set=keeps_factory_set)
    )
    site.visit(delivered)
    check_done(site, delivered)
    assert delivered.kvns(ISD_AID) == [0x21]
    assert [(item["kvn"], item["delivery"]) for item in site.key_sets(delivered, ISD_AID)] == [
        (0x21, "PROVED"),
        (kvn, "REPLACED"),
    ]
    site.check_agreement(delivered)


@pytest.mark.parametrize("profile", ["default", "jcop"])
@pytest.mark.parametrize("scp_i", [0x15, 0x35, 0x55, 0x75])
def test_an_application_gets_an_ssd_with_keys_and_has_them_replaced(site: Site, scp_i: int, profile: str) -> None:
    delivered = site.issue(scp_i=scp_i, profile=profile)
    site.visit(delivered)
    check_done(site, delivered)

    card = Counted(delivered.card)
    site.apply(delivered, card=card)
    check_done(site, delivered)
    assert ("E2" in card.names) == (profile == "default")  # STORE DATA, else PUT KEY under the parent's keys
    assert card.names.count("D8") == (1 if profile == "default" else 2)
    assert delivered.kvns(TRANSIT_SSD) == [0x21]
    site.check_agreement(delivered)
    first = delivered.kcvs(TRANSIT_SSD)

    site.force(delivered)
    card = Counted(delivered.card)
    summary = site.visit(delivered, card)
    visit = check_done(site, delivered)
    assert card.names == ROTATION
    assert summary is not None
    assert (summary.commands, summary.requests) == (5, 4)
    assert (visit["commands_sent"], visit["requests"]) == (5, 4)
    assert delivered.kvns(TRANSIT_SSD) == [0x22]
    assert delivered.kcvs(TRANSIT_SSD)[0x22] != first[0x21]
    site.check_agreement(delivered)
    tried = {item.kvn: item.opened for item in site.try_channels(delivered) if item.aid == TRANSIT_SSD}
    assert len(tried) == 3
    assert [kvn for kvn, opened in tried.items() if opened] == [0x22]


def test_one_visit_takes_the_isd_over_and_creates_the_ssd(site: Site) -> None:
    delivered = site.issue(kvn=0xFF, diversification=Diversification.VISA2)
    site.apply(delivered)
    check_done(site, delivered)
    assert (delivered.kvns(ISD_AID), delivered.kvns(TRANSIT_SSD)) == ([0x21], [0x21])
    site.check_agreement(delivered)


def test_two_applications_have_ssds_of_their_own_with_keys_of_their_own(site: Site) -> None:
    delivered = site.keyed()
    site.apply(delivered, LOYALTY)
    check_done(site, delivered)
    assert delivered.kcvs(TRANSIT_SSD)[0x21] != delivered.kcvs(LOYALTY_SSD)[0x21]
    site.force(delivered, LOYALTY_SSD)
    site.visit(delivered)
    assert (delivered.kvns(TRANSIT_SSD), delivered.kvns(LOYALTY_SSD)) == ([0x21], [0x22])
    site.check_agreement(delivered)


def test_the_isds_own_keys_are_replaced_under_the_issuers_keys(site: Site) -> None:
    delivered = site.keyed()
    site.force(delivered, ISD_AID)
    card = Counted(delivered.card)
    site.visit(delivered, card)
    check_done(site, delivered)
    assert card.names == ROTATION
    assert delivered.kvns(ISD_AID) == [0x22]
    site.check_agreement(delivered)


def test_key_versions_go_round_after_sixteen_generations(site: Site) -> None:
    delivered = site.keyed()
    for generation in range(2, 19):
        site.force(delivered)
        site.visit(delivered)
        assert delivered.kvns(TRANSIT_SSD) == [0x20 + generation % 16]
    site.check_agreement(delivered)


def test_with_nothing_pending_no_command_reaches_the_card(site: Site) -> None:
    delivered = site.keyed()
    card = Counted(delivered.card)
    summary = site.visit(delivered, card)
    assert summary is not None
    assert card.names == []
    assert summary.notifications == ("nothing is pending for this card",)


@pytest.mark.pcsc
@pytest.mark.parametrize("protocol", list(TransmissionProtocol))
def test_the_flows_through_a_reader_by_the_terminals_commands(site: Site, protocol: TransmissionProtocol) -> None:
    delivered = site.deliver(kvn=0xFF, protocol=protocol, diversification=Diversification.VISA2)
    with in_reader(VpcdConnection(delivered.card, READER_PORT)):
        how = ("--vendor-master", "demo-vendor", "--diversification", "visa2", "--profile", "default")
        row = site.terminal("identify", "--csv", *how)
        assert row.returncode == 0, row.stderr
        cards = site.folder / f"from-{protocol}.csv"
        cards.write_text(row.stdout)
        assert site.kms("cards", "import", str(cards))["enrolled"] == 1

        pending = site.terminal("pending", "--json")
        assert [json.loads(line)["aid"] for line in pending.stdout.splitlines()] == [ISD_AID]
        for command in (("once",), ("apply", "--application", TRANSIT)):
            done = site.terminal(*command)
            assert done.returncode == 0, done.stderr
            assert "Server: done" in done.stdout
        site.force(delivered)
        rotation = site.terminal("once", "--json")
        assert rotation.returncode == 0, rotation.stderr
        events = [json.loads(line) for line in rotation.stdout.splitlines()]
        visit = next(event for event in events if event["event"] == "visit")
        assert (visit["commands"], visit["requests"]) == (5, 4)
        assert site.terminal("pending").stdout == "Nothing is pending.\n"
        again = site.terminal("once")
        assert re.search(r"Server: nothing is pending for this card\nVisit over: 0 commands, 2 requests", again.stdout)
    assert (delivered.kvns(ISD_AID), delivered.kvns(TRANSIT_SSD)) == ([0x21], [0x22])
    site.check_agreement(delivered)


@pytest.mark.pcsc
def test_run_serves_one_card_after_the_other_until_ctrl_c(site: Site) -> None:
    """A card that is refused in between is told about, and the next one is served."""
    first, stranger, second = site.issue(), site.deliver(), site.issue()
    command = [str(BIN / "kms-terminal"), "--config", str(site.terminal_config("terminal-1")), "run", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stderr
        for delivered in (first, stranger, second):
            with in_reader(VpcdConnection(delivered.card, READER_PORT)):
                if delivered is stranger:
                    told = json.loads(running.stderr.readline())
                    assert (told["code"], told["server_code"]) == ("server.session-over", "card.unknown")
                events = [json.loads(running.stdout.readline())]
                while events[-1]["event"] != "remove":
                    events.append(json.loads(running.stdout.readline()))
                served = [event["card"] for event in events if event["event"] == "card-served"]
                assert served == [delivered.name]
        assert json.loads(running.stdout.readline())["event"] == "waiting"
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == 130
        assert "Interrupted. Next run: It begins a new visit" in running.stderr.read()
    for delivered in (first, second):
        assert delivered.kvns(ISD_AID) == [0x21]
        site.check_agreement(delivered)

"""The flows on real parts with cards of SCP02, of SCP03 and of both, mixed in one fleet."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from terminal.virtual_card import VpcdConnection
from tests.functional.platforms import BIKES, BIKES_SSD, Platforms, open_platforms
from tests.functional.reader_slot import in_reader
from tests.functional.site import ISD_AID, READER_PORT, TRANSIT, TRANSIT_SSD, Counted, Delivered, Site

ROTATION = ["A4", "50", "82", "D8", "50"]


@dataclass(frozen=True)
class Kind:
    """A kind of card in the fleet. `key_type`: of the vendor's keys; `recorded`: whether its file says what it speaks.

    `isd`, `ssd`: bytes of the AES keys it ends with, 0 for triple DES.
    """

    name: str
    scp02_i: int | None
    scp03_i: int | None
    key_type: str
    isd: int
    ssd: int
    recorded: bool = True


FLEET = (
    Kind("SCP02", 0x55, None, "DES2", isd=0, ssd=0),
    Kind("SCP02 with R-MAC", 0x35, None, "DES2", isd=0, ssd=0),
    Kind("SCP03 S8, AES-128", None, 0x70, "AES128", isd=16, ssd=16),
    Kind("SCP03 S16, AES-128", None, 0x71, "AES128", isd=16, ssd=16),
    Kind("SCP03 S8, AES-256", None, 0x60, "AES256", isd=32, ssd=16),
    Kind("SCP03 S16, AES-256", None, 0x71, "AES256", isd=32, ssd=16),
    Kind("both, triple DES from its vendor", 0x55, 0x70, "DES2", isd=0, ssd=16),
    Kind("SCP03, not in its file", None, 0x70, "AES256", isd=32, ssd=16, recorded=False),
    Kind("both, not in its file", 0x15, 0x71, "DES2", isd=0, ssd=16, recorded=False),
)


def deliver(site: Site, kind: Kind) -> Delivered:
    vendor = site.import_vendor(f"vendor-{kind.key_type.lower()}", kind.key_type)
    return site.deliver(scp_i=kind.scp02_i, scp03_i=kind.scp03_i, vendor=vendor, recorded=kind.recorded, kvn=0xFF)


@pytest.fixture(scope="module")
def fleet(whole_site: Site) -> dict[str, Delivered]:
    """All kinds, enrolled by one file."""
    whole_site.server.start()
    delivered = {kind.name: deliver(whole_site, kind) for kind in FLEET}
    whole_site.enrol(*delivered.values())
    return delivered


@pytest.fixture(scope="module")
def platforms() -> Iterator[Platforms]:
    with open_platforms("sqlite") as found:
        yield found


@pytest.mark.parametrize("kind", FLEET, ids=lambda kind: kind.name)
def test_take_over_first_keys_rotation_and_a_rotation_of_the_isd(
    site: Site, fleet: dict[str, Delivered], kind: Kind
) -> None:
    delivered = fleet[kind.name]
    site.apply(delivered)
    visit = site.last_visit(delivered)
    assert (visit["result"], visit["state"]) == ("done", "ENDED"), visit["journal"]
    assert list(delivered.lengths(ISD_AID).values()) == [kind.isd]
    assert list(delivered.lengths(TRANSIT_SSD).values()) == [kind.ssd]
    site.check_agreement(delivered)
    for aid, length in ((TRANSIT_SSD, kind.ssd), (ISD_AID, kind.isd)):
        site.force(delivered, aid)
        card = Counted(delivered.card)
        summary = site.visit(delivered, card)
        assert summary is not None
        assert (summary.notifications, summary.commands, summary.requests) == (("done",), 5, 4)
        assert card.names == ROTATION
        assert delivered.lengths(aid) == {(0x32 if length else 0x22): length}
    site.check_agreement(delivered)
    opened = [item.kvn for item in site.try_channels(delivered) if item.opened]
    assert sorted(opened) == sorted((0x32 if kind.isd else 0x22, 0x32 if kind.ssd else 0x22))


@pytest.mark.parametrize("kind", [kind for kind in FLEET if kind.scp03_i is not None], ids=lambda kind: kind.name)
def test_commands_and_answers_are_protected_by_level_33(site: Site, kind: Kind) -> None:
    delivered = deliver(site, kind)
    site.enrol(delivered)
    site.apply(delivered)
    site.force(delivered)
    sent: list[bytes] = []

    class Watched(Counted):
        def transmit(self, command: bytes) -> bytes:
            sent.append(command)
            return super().transmit(command)

    site.visit(delivered, Watched(delivered.card))
    (authenticate,) = [command for command in sent if command[1] == 0x82]
    assert authenticate[2] == 0x33
    assert authenticate[4] == (0x20 if (kind.scp03_i or 0) & 1 else 0x10)


@pytest.mark.parametrize("scp03_i", [0x70, 0x71])
@pytest.mark.parametrize("key_type", ["AES128", "AES256"])
def test_security_domains_move_from_triple_des_to_aes(site: Site, scp03_i: int, key_type: str) -> None:
    delivered = site.issue(scp03_i=scp03_i)
    site.visit(delivered)
    assert delivered.lengths(ISD_AID) == {0x21: 0}
    move(site, delivered, ISD_AID, key_type)
    assert delivered.lengths(ISD_AID) == {0x32: int(key_type[3:]) // 8}
    site.apply(delivered)
    assert delivered.lengths(TRANSIT_SSD) == {0x31: 16}
    move(site, delivered, TRANSIT_SSD, "DES2")
    assert delivered.lengths(TRANSIT_SSD) == {0x22: 0}
    move(site, delivered, TRANSIT_SSD, key_type)
    assert delivered.lengths(TRANSIT_SSD) == {0x33: int(key_type[3:]) // 8}
    site.check_agreement(delivered)


def move(site: Site, delivered: Delivered, aid: str, key_type: str) -> None:
    what = ("--card", delivered.name, "--aid", aid, "--reason", "key-type", "--key-type", key_type)
    site.kms("updates", "force", *what)
    site.visit(delivered)
    assert site.last_visit(delivered)["result"] == "done"


@pytest.mark.pcsc
@pytest.mark.parametrize("kind", [FLEET[0], FLEET[3], FLEET[4], FLEET[8]], ids=lambda kind: kind.name)
def test_through_a_reader_by_the_terminals_commands(site: Site, kind: Kind) -> None:
    delivered = deliver(site, kind)
    with in_reader(VpcdConnection(delivered.card, READER_PORT)):
        if kind.recorded:
            scheme = "none" if kind.key_type == "DES2" else "kdf3"
            how = ("--vendor-master", f"vendor-{kind.key_type.lower()}", "--diversification", scheme)
            row = site.terminal("identify", "--csv", *how, "--profile", "default")
            assert row.returncode == 0, row.stderr
            cards = site.folder / f"from-{kind.name}.csv"
            cards.write_text(row.stdout)
            assert site.kms("cards", "import", str(cards))["enrolled"] == 1
        else:
            site.enrol(delivered)
        done = site.terminal("apply", "--application", TRANSIT)
        assert done.returncode == 0, done.stderr
        site.force(delivered)
        rotation = site.terminal("once", "--json")
        assert rotation.returncode == 0, rotation.stderr
        visit = next(event for event in map(json.loads, rotation.stdout.splitlines()) if event["event"] == "visit")
        assert (visit["commands"], visit["requests"]) == (5, 4)
    assert list(delivered.lengths(ISD_AID).values()) == [kind.isd]
    assert delivered.lengths(TRANSIT_SSD) == {0x32 if kind.ssd else 0x22: kind.ssd}
    site.check_agreement(delivered)


# A hand-over does not ask what a card's file says, nor which keys its vendor gave it: one kind for each protocol.
@pytest.mark.parametrize("kind", [FLEET[0], FLEET[2], FLEET[5], FLEET[6]], ids=lambda kind: kind.name)
def test_a_providers_security_domain_and_its_rotation(platforms: Platforms, kind: Kind) -> None:
    """Flows 3 and 5: initial keys of the type that the provider asks for, handed over from HSM to HSM."""
    platforms.start()
    issuer, provider = platforms.issuer, platforms.provider
    delivered = deliver(issuer, kind)
    issuer.enrol(delivered)
    issuer.visit(delivered)
    provider.apply(delivered, BIKES)
    visit = provider.last_visit(delivered)
    assert visit["result"] == "done", visit["journal"]
    kvn = 0x31 if kind.ssd else 0x21
    assert delivered.lengths(BIKES_SSD) == {kvn: kind.ssd}
    platforms.check_control(delivered, kvn)
    provider.force(delivered, BIKES_SSD)
    provider.visit(delivered)
    assert delivered.lengths(BIKES_SSD) == {kvn + 1: kind.ssd}
    platforms.check_control(delivered, kvn + 1)

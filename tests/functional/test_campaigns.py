"""Campaigns over a few real cards: a master rotated to the last card and retired, then compromised; ends refused.

On a site of its own: what happens to its masters happens to every card of it.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fakes.stores import closing_store
from tests.functional.site import TRANSIT_SSD, Delivered, Site, open_site


@pytest.fixture(scope="module")
def fleet_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("campaigns")) as site:
        yield site


def find_ssd_master(site: Site) -> dict[str, Any]:
    found: list[dict[str, Any]] = [item for item in site.kms("keys", "list") if item["kind"] == "ssd"]
    return found[-1]


def rotate(site: Site, *, valid_days: int = 365) -> tuple[str, str]:
    """Make the SSD master's next generation; returns its name and the generation before."""
    old = find_ssd_master(site)
    site.kms(
        *("keys", "generate", "--kind", "ssd", "--name", old["name"]),
        *("--new-generation", "--valid-days", str(valid_days)),
    )
    return old["name"], str(old["generation"])


def build_fleet(site: Site, number: int) -> list[Delivered]:
    return [site.keyed() for _ in range(number)]


def end_keys(site: Site, card: Delivered, *, days_ago: int) -> None:
    """The keys of the card's SSD ended so many days ago."""
    (current,) = [item for item in site.key_sets(card, TRANSIT_SSD) if item["state"] == "ACTIVE"]
    with closing_store(site.database.url) as store, store.transaction() as tx:
        key_set = tx.key_sets.get(current["id"])
        tx.key_sets.save(replace(key_set, expires_at=datetime.now(UTC) - timedelta(days=days_ago)))


def report(site: Site, name: str) -> dict[str, Any]:
    found: dict[str, Any] = site.kms("campaigns", "report", name)
    return found


def test_a_masters_generation_is_replaced_to_the_last_card_and_retired(fleet_site: Site) -> None:
    site = fleet_site
    cards = build_fleet(site, 3)
    name, generation = rotate(site)
    asked = ("create", "rotation", "--reason", "master-rotation", "--master", name, "--generation", generation)
    counted = site.kms("campaigns", *asked, "--dry-run")
    assert (counted["security_domains"], counted["updates_to_be_added"]) == (3, 3)
    assert not site.kms("campaigns", "list")
    made = site.kms("campaigns", *asked)
    assert (made["state"], made["added"]) == ("RUNNING", 3)
    before = [card.all_keys() for card in cards]

    for card in cards[:2]:
        site.visit(card)
        assert site.last_visit(card)["result"] == "done"
    shown = report(site, "rotation")
    assert (shown["state"], shown["updates"]["DONE"], shown["open"]) == ("RUNNING", 2, 1)
    assert (shown["key_sets_left_under_it"], shown["of_these_with_an_open_update"]) == (1, 1)
    refused = site.run("keys", "deactivate", name, "--generation", generation, "--because", "over")
    assert refused.exit_code == 1
    assert "key.state" in refused.output
    # The old generation still opens the channel to the card that nobody has brought yet.
    site.check_agreement(cards[2])

    site.kms("campaigns", "pause", "rotation", "--because", "holidays")
    site.visit(cards[2])
    assert site.last_visit(cards[2])["result"] == "nothing is pending for this card"
    site.kms("campaigns", "resume", "rotation")
    site.visit(cards[2])
    shown = report(site, "rotation")
    assert (shown["state"], shown["updates"]["DONE"], shown["done_percent"]) == ("DONE", 3, 100.0)
    assert site.kms("keys", "show", name, "--generation", generation)["key_sets_on_cards"] == 0
    site.kms("keys", "deactivate", name, "--generation", generation, "--because", "nothing hangs on it")
    for card, old in zip(cards, before, strict=True):
        site.check_agreement(card)
        assert card.all_keys() > old
    assert {item["campaign"] for item in site.kms("updates", "list", "--campaign", "rotation")} == {"rotation"}


def test_a_compromised_master_takes_everything_below_it_and_comes_back_through_the_isd(fleet_site: Site) -> None:
    site = fleet_site
    cards = build_fleet(site, 2)
    current = find_ssd_master(site)
    site.force(cards[0])
    strike = ("compromise", current["name"], "--generation", str(current["generation"]), "--because", "lost backup")
    found = site.kms("keys", *strike)
    assert (found["state"], found["updates_cancelled"], found["for_officers"]) == ("COMPROMISED", 1, 0)
    assert found["key_sets_marked"] >= 2
    assert site.kms("keys", *strike)["key_sets_marked"] == 0
    affected = ("affected", current["name"], "--generation", str(current["generation"]))
    listed = site.kms("keys", *affected, "--remedy", "campaign")
    assert {item["card"] for item in listed} >= {card.name for card in cards}
    assert not site.kms("keys", *affected, "--for-officers")

    site.visit(cards[0])
    assert "COMPROMISED" in site.last_visit(cards[0])["result"]
    rotate(site)
    for card in cards:
        old = card.kvns(TRANSIT_SSD)
        site.visit(card)
        assert site.last_visit(card)["result"] == "done"
        assert len(card.kvns(TRANSIT_SSD)) == 1
        assert card.kvns(TRANSIT_SSD) != old
        site.check_agreement(card)


def test_updates_are_cancelled_filtered_and_overdue_by_hand(fleet_site: Site) -> None:
    site = fleet_site
    if find_ssd_master(site)["state"] != "ACTIVE":
        rotate(site)
    card = site.keyed()
    soon = (datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    (forced,) = site.kms("updates", "force", "--card", card.name, "--aid", TRANSIT_SSD, "--deadline", soon)
    mine = ("updates", "list", "--card", card.name)
    assert [item["id"] for item in site.kms(*mine, "--state", "PENDING")] == [forced["id"]]
    assert [item["id"] for item in site.kms(*mine, "--reason", "forced")] == [forced["id"]]
    time.sleep(2.1)
    assert [item["id"] for item in site.kms(*mine, "--overdue")] == [forced["id"]]
    site.kms("updates", "cancel", forced["id"], "--because", "wrong card")
    assert not site.kms(*mine, "--open")
    site.visit(card)
    assert site.last_visit(card)["result"] == "nothing is pending for this card"


def test_keys_past_their_end_wait_for_officers(fleet_site: Site) -> None:
    site = fleet_site
    if find_ssd_master(site)["state"] != "ACTIVE":
        rotate(site)
    card = site.keyed()
    end_keys(site, card, days_ago=29)  # the policy's grace is 30 days
    site.force(card)
    site.visit(card)
    assert site.last_visit(card)["result"] == "done"
    end_keys(site, card, days_ago=31)
    before = card.kvns(TRANSIT_SSD)
    site.force(card)
    site.visit(card)
    assert "past their end" in site.last_visit(card)["result"]
    assert card.kvns(TRANSIT_SSD) == before
    (waiting,) = site.kms("updates", "list", "--card", card.name, "--open")
    site.kms("updates", "allow", waiting["id"], "--because", "the card was abroad")
    site.visit(card)
    assert site.last_visit(card)["result"] == "done"
    site.check_agreement(card)

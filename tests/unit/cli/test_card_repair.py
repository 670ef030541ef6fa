import json
from pathlib import Path

import pytest

from tests.fakes.command_line import check_wrong_usage
from tests.fakes.installation import build_installation
from tests.fakes.records import build_card, build_isd, build_terminal

CARD = build_card()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("quarantine", "AB"), "--reason"),
        (("repair",), "IDENTITY"),
        (("repair", "AB", "--show", "--terminal", "x"), "--terminal goes with the order alone"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(arguments: tuple[str, ...], what: str) -> None:
    check_wrong_usage("cards", *arguments, what=what)


def test_a_repair_is_ordered_shown_and_dropped(tmp_path: Path) -> None:
    site = build_installation(tmp_path)
    store = site.open_store()
    with store.transaction() as tx:
        tx.cards.add(CARD)
        tx.security_domains.add(build_isd(1, card_id=CARD.id))
        tx.terminals.add(build_terminal())
    store.dispose()
    name = CARD.identity.hex()
    aside = site.run("cards", "quarantine", name, "--reason", "out of step", "--json")
    assert json.loads(aside.stdout)["quarantine_code"] == "officer"
    ordered = json.loads(site.run("cards", "repair", name, "--terminal", build_terminal().name, "--json").stdout)
    assert (ordered["state"], ordered["terminal"], ordered["findings"]) == ("OPEN", build_terminal().name, [])
    shown = site.run("cards", "repair", name, "--show")
    assert "out of step" in shown.stdout
    refused = site.run("cards", "repair", name, "--confirm", "--json")
    assert json.loads(refused.stderr)["code"] == "input.conflict"
    dropped = json.loads(site.run("cards", "repair", name, "--cancel", "--json").stdout)
    assert dropped["state"] == "CANCELLED"

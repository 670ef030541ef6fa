"""Cards that lie, on real parts: refused with the reason, both key sets kept until one is proved, and who is set aside.

A terminal that lies for its card looks the same to the platform, but for the R-MAC and what it covers.
"""

from typing import Any

import pytest

from tests.fakes.lying_card import Lie, LyingCard, Told
from tests.functional.site import TRANSIT_SSD, Delivered, Site

EXTERNAL_AUTHENTICATE = 0x82
KINDS: dict[str, dict[str, Any]] = {
    "SCP02": {"scp_i": 0x55},
    "SCP03 S8": {"scp_i": None, "scp03_i": 0x70, "key_type": "AES128"},
    "SCP03 S16": {"scp_i": None, "scp03_i": 0x71, "key_type": "AES256"},
}
MISFIT = "the card's keys are not the ones on record"
SILENT = "the card did not show which keys are in force"

every_kind = pytest.mark.parametrize("kind", KINDS)


class Case:
    """A card that is owed an update of its transit SSD and lies, at terminals that no other test uses."""

    def __init__(self, site: Site, kind: str, name: str) -> None:
        how = dict(KINDS[kind])
        key_type = how.pop("key_type", None)
        if key_type is not None:
            how["vendor"] = site.import_vendor(f"vendor-{key_type.lower()}", key_type)
        self.site = site
        self.delivered: Delivered = site.keyed(**how)
        self.card = LyingCard(self.delivered.card.state)
        self.delivered.card = self.card
        self.old = self.delivered.kvns(TRANSIT_SSD)[0]
        self.new = self.old + 1
        words = f"{name}-{kind}".lower().replace(" ", "-")
        self.terminals = [site.add_terminal(f"{words}-{number}") for number in (1, 2)]
        site.force(self.delivered, TRANSIT_SSD)

    def visit(self, told: Told | None = None, terminal: int = 0) -> str:
        """One visit; returns its result."""
        self.card.told = told
        self.card.log.clear()
        self.site.visit(self.delivered, terminal=self.terminals[terminal])
        result: str = self.site.last_visit(self.delivered)["result"]
        return result

    def reasons(self) -> list[str]:
        """What the last visit's journal says was broken or did not fit."""
        journal = self.site.last_visit(self.delivered)["journal"]
        return [line["text"] for line in journal if line["kind"] in {"broken", "mismatch"}]

    def kept(self) -> dict[int, str]:
        """The SSD's key sets that are on the card or may be, as recorded."""
        sets = self.site.key_sets(self.delivered, TRANSIT_SSD)
        return {item["kvn"]: item["delivery"] for item in sets if item["delivery"] in {"PROVED", "IN_DOUBT"}}

    def terminal_state(self, number: int) -> str:
        rows = self.site.kms("terminals", "list", "--limit", "200")
        return next(str(row["state"]) for row in rows if row["name"] == self.terminals[number])

    def check_reached(self) -> None:
        """The card, honest again, is brought to the new set by the normal path, and one more rotation works."""
        if self.site.kms("updates", "list", "--card", self.delivered.name, "--open"):
            assert self.visit(terminal=1) == "done"
        assert self.delivered.kvns(TRANSIT_SSD) == [self.new]
        self.site.force(self.delivered, TRANSIT_SSD)
        assert self.visit(terminal=1) == "done"
        self.site.check_agreement(self.delivered)


@every_kind
def test_a_wrong_cryptogram_spends_no_attempt_and_sets_the_terminal_then_the_card_aside(site: Site, kind: str) -> None:
    case = Case(site, kind, "cryptogram")
    lie = Told(Lie.CRYPTOGRAM)
    said = [case.visit(lie) for _ in range(3)]
    assert said == [MISFIT, MISFIT, "card cryptograms at this terminal do not verify; the terminal is suspended"]
    assert case.card.count(EXTERNAL_AUTHENTICATE) == 0
    assert (case.terminal_state(0), case.kept()) == ("SUSPENDED", {case.old: "PROVED"})
    assert case.visit(lie, terminal=1) == "the card's keys are not the ones on record; the card is set aside"
    assert case.terminal_state(1) == "ENROLLED"
    card = site.kms("cards", "show", case.delivered.name)
    assert (card["state"], card["quarantine_reason"]) == (
        "QUARANTINED",
        "its cryptogram fitted no known key set at 2 terminals",
    )
    site.kms("cards", "release", case.delivered.name)
    case.check_reached()


@every_kind
def test_a_new_set_with_a_wrong_cryptogram_is_in_doubt_and_the_old_one_kept(site: Site, kind: str) -> None:
    case = Case(site, kind, "proof")
    assert case.visit(Told(Lie.CRYPTOGRAM, kvn=case.new)) == MISFIT
    assert case.kept() == {case.old: "PROVED", case.new: "IN_DOUBT"}
    assert "under other keys" in case.reasons()[0]
    case.check_reached()


@every_kind
def test_a_wrong_counter_is_found_before_an_attempt_is_spent(site: Site, kind: str) -> None:
    """SCP02: it enters the session keys, so nothing fits. SCP03: the challenge does not follow from it."""
    case = Case(site, kind, "counter")
    assert case.visit(Told(Lie.COUNTER)) == (MISFIT if kind == "SCP02" else SILENT)
    assert case.card.count(EXTERNAL_AUTHENTICATE) == 0
    assert case.kept() == {case.old: "PROVED"}
    expected = "under other keys" if kind == "SCP02" else "card challenge"
    assert expected in case.reasons()[0]
    assert case.terminal_state(0) == "ENROLLED"
    case.check_reached()


@pytest.mark.parametrize("kind", ["SCP03 S8", "SCP03 S16"])
def test_a_wrong_r_mac_ends_the_channel_and_the_cryptogram_decides(site: Site, kind: str) -> None:
    case = Case(site, kind, "r-mac")
    assert case.visit(Told(Lie.R_MAC)) == "done"  # by reconciling: the new set's cryptogram was right
    assert case.reasons() == ["PUT KEY: the answer's R-MAC is wrong or missing: the channel is dead"]
    assert case.kept() == {case.new: "PROVED"}
    case.check_reached()


@every_kind
def test_a_check_value_that_does_not_match_is_no_success_whatever_protects_it(site: Site, kind: str) -> None:
    case = Case(site, kind, "kcv")
    assert case.visit(Told(Lie.KCV)) == "done"  # by reconciling, as above
    assert case.reasons() == ["PUT KEY: PUT KEY was answered with another check value for key 3"]
    assert case.kept() == {case.new: "PROVED"}
    case.check_reached()


@every_kind
def test_both_sets_stay_until_one_is_proved_when_the_card_goes_on_lying(site: Site, kind: str) -> None:
    case = Case(site, kind, "both")
    card = case.card

    class Silent:
        """PUT KEY's check value is wrong, and later answers do not come: the terminal is switched off."""

        sent = 0

        def transmit(self, command: bytes) -> bytes:
            self.sent += 1
            return card.transmit(command) if self.sent <= 4 else b""

        def reset(self) -> None:
            card.reset()

    card.told = Told(Lie.KCV)
    site.visit(case.delivered, Silent(), case.terminals[0])
    assert case.kept() == {case.old: "PROVED", case.new: "IN_DOUBT"}
    case.check_reached()


@every_kind
def test_another_key_version_than_asked_for_is_no_answer(site: Site, kind: str) -> None:
    case = Case(site, kind, "kvn")
    assert case.visit(Told(Lie.KVN)) == SILENT
    assert case.reasons() == [
        f"INITIALIZE UPDATE: asked for key version {case.old:02X}, the card answered for {case.old ^ 1:02X}"
    ]
    assert case.card.count(EXTERNAL_AUTHENTICATE) == 0
    assert case.visit(Told(Lie.KVN, kvn=case.new)) == SILENT
    assert case.kept() == {case.old: "PROVED", case.new: "IN_DOUBT"}
    case.check_reached()

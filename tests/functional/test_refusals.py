"""What is refused, with which words, and that nothing half done stays behind: on the card, in the database, on disk."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from demo.installation import BIN, VENDOR
from terminal.errors import TerminalCode, TerminalError
from terminal.reader import Readers
from terminal.relay import VisitSummary
from terminal.virtual_card import VirtualCard, VpcdConnection
from terminal.virtual_card.model import SELECTABLE, SecurityDomain
from terminal.virtual_card.personality import Personality
from tests.functional.reader_slot import in_reader
from tests.functional.site import (
    ISD_AID,
    READER,
    READER_PORT,
    TRANSIT,
    TRANSIT_SSD,
    Counted,
    Delivered,
    Site,
    find_free_port,
)

RECORDS = ("cards", "security_domains", "key_sets", "applications", "master_keys")


def check_refused(work: Callable[[], object], code: TerminalCode, server_code: str, *said: str) -> None:
    """The terminal tells its user the terminal's code, the server's, and what to do."""
    with pytest.raises(TerminalError) as caught:
        work()
    error = caught.value
    assert (error.code, error.server_code) == (code, server_code), error
    for text in said:
        assert text in f"{error.problem} {error.remedy}"


def get_notification(summary: VisitSummary | None) -> str:
    assert summary is not None
    (text,) = summary.notifications
    return text


class TestCardsAndTerminals:
    def test_a_card_that_nobody_enrolled(self, site: Site) -> None:
        stranger = site.deliver()
        before, factory = site.dump(), stranger.card.state
        text = "no card with this identity is enrolled: import it first"
        check_refused(lambda: site.visit(stranger), TerminalCode.SESSION_OVER, "card.unknown", text)
        check_refused(lambda: site.apply(stranger), TerminalCode.SERVER_REFUSED, "card.unknown", text)
        assert site.dump() == before
        assert stranger.card.state == factory

    def test_a_terminal_that_nobody_enrolled(self, site: Site) -> None:
        site.add_terminal("unenrolled", enrol=False)
        delivered = site.issue()
        before = site.dump()
        check_refused(
            lambda: site.visit(delivered, terminal="unenrolled"),
            TerminalCode.SERVER_UNAUTHORISED,
            "terminal.unknown",
            "certificate is not enrolled",
            "kms terminals",
        )
        assert site.dump() == before

    def test_a_terminal_that_is_suspended_resumed_and_revoked(self, site: Site) -> None:
        site.add_terminal("moved")
        delivered = site.issue()
        site.kms("terminals", "suspend", "moved", "--reason", "seen elsewhere")
        before = site.dump()
        check_refused(
            lambda: site.visit(delivered, terminal="moved"),
            TerminalCode.SERVER_UNAUTHORISED,
            "terminal.refused",
            "This terminal is suspended",
        )
        assert site.dump() == before
        site.kms("terminals", "resume", "moved")
        site.visit(delivered, terminal="moved")
        assert site.last_visit(delivered)["terminal"] == "moved"
        site.kms("terminals", "revoke", "moved", "--reason", "sold")
        before = site.dump()
        check_refused(
            lambda: site.visit(delivered, terminal="moved"),
            TerminalCode.SERVER_UNAUTHORISED,
            "terminal.refused",
            "This terminal is revoked",
        )
        assert site.dump() == before
        resumed = site.run("terminals", "resume", "moved")
        assert resumed.exit_code == 1
        assert "[input.conflict]" in resumed.stderr


class TestKeys:
    def test_a_card_under_other_keys_spends_no_authentication_and_suspends_the_terminal_then_the_card(
        self, site: Site
    ) -> None:
        site.add_terminal("doubtful")
        site.add_terminal("second")
        other = site.issue(master=bytes(range(16)))
        factory = other.card.state
        for expected in (
            "the card's keys are not the ones on record",
            "the card's keys are not the ones on record",
            "card cryptograms at this terminal do not verify; the terminal is suspended",
        ):
            card = Counted(other.card)
            assert get_notification(site.visit(other, card, terminal="doubtful")) == expected
            assert "82" not in card.names  # EXTERNAL AUTHENTICATE
        (terminal,) = [item for item in site.kms("terminals", "list") if item["name"] == "doubtful"]
        assert terminal["state"] == "SUSPENDED"
        assert "3 visits" in terminal["reason"]
        assert site.kms("cards", "show", other.name)["state"] == "ENROLLED"
        check_refused(
            lambda: site.visit(other, terminal="doubtful"),
            TerminalCode.SERVER_UNAUTHORISED,
            "terminal.refused",
            "This terminal is suspended",
        )

        site.kms("terminals", "resume", "doubtful")
        good = site.issue()
        site.visit(good, terminal="doubtful")
        assert site.last_visit(good)["result"] == "done"

        text = get_notification(site.visit(other, terminal="second"))
        assert text == "the card's keys are not the ones on record; the card is set aside"
        shown = site.kms("cards", "show", other.name)
        assert shown["state"] == "QUARANTINED"
        assert shown["quarantine_reason"] == "its cryptogram fitted no known key set at 2 terminals"
        # What the terminal says is about the card, and a terminal that serves many goes on.
        for work in (lambda: site.visit(other), lambda: site.apply(other)):
            check_refused(work, TerminalCode.SERVER_REFUSED, "card.quarantined", "the card is set aside")
        vendor = [item for item in site.key_sets(other, ISD_AID) if item["state"] == "ACTIVE"]
        assert [(item["kvn"], item["delivery"]) for item in vendor] == [(1, "FACTORY")]
        kept = [(domain.aid, domain.key_sets[0].keys) for domain in other.card.state.domains]
        assert kept == [(domain.aid, domain.key_sets[0].keys) for domain in factory.domains]

    def test_a_resumed_terminal_is_trusted_afresh(self, site: Site) -> None:
        site.add_terminal("forgiven")
        other = site.issue(master=bytes(range(16)))
        for _ in range(3):
            site.visit(other, terminal="forgiven")
        site.kms("terminals", "resume", "forgiven")
        text = get_notification(site.visit(other, terminal="forgiven"))
        assert text == "the card's keys are not the ones on record"

    def test_a_card_that_lies_about_its_check_values_is_looked_at_again(self, site: Site) -> None:
        delivered = site.keyed()
        site.force(delivered)
        assert get_notification(site.visit(delivered, WrongCheckValue(delivered.card))) == "done"
        kinds = [line["kind"] for line in site.last_visit(delivered)["journal"]]
        assert kinds == ["update", "broken", "reconciled", "completed"]
        texts = " ".join(line["text"] for line in site.last_visit(delivered)["journal"])
        assert "PUT KEY was answered with another check value for key 3" in texts
        site.check_agreement(delivered)

    def test_a_vendor_master_whose_check_value_does_not_fit_is_not_kept(self, site: Site) -> None:
        before = site.dump(*RECORDS)
        component = site.folder / "mistyped"
        component.write_text(os.urandom(16).hex())
        component.chmod(0o600)
        result = site.run(
            *("keys", "import", "--name", "mistyped", "--type", "DES2", "--kcv", "000000"),
            *("--component-file", str(component), "--component-file", str(component)),
        )
        component.unlink()
        assert result.exit_code == 1
        assert "[key.kcv-mismatch]" in result.stderr or "[input.invalid]" in result.stderr
        assert site.dump(*RECORDS) == before


class TestTheCardSaysNo:
    def test_a_card_without_room_is_tried_three_times(self, site: Site) -> None:
        full = site.issue(personality=Personality(max_domains=0))
        site.visit(full)
        for attempt in (1, 2, 3):
            text = get_notification(site.apply(full))
            assert text == "INSTALL [for install]: the card answered 6A84 (no room on the card)"
            update = site.kms("updates", "list", "--card", full.name)[0]
            assert (update["attempts"], update["state"]) == (attempt, "FAILED" if attempt == 3 else "PENDING")
        assert get_notification(site.visit(full)) == "nothing is pending for this card"
        assert full.kvns(TRANSIT_SSD) == []
        site.check_agreement(full)

    def test_a_card_without_room_for_a_key_set_keeps_its_old_one(self, site: Site) -> None:
        full = site.issue(kvn=0xFF, personality=Personality(max_key_sets=1, keep_factory_set=True))
        assert "6A84 (no room for another key)" in get_notification(site.visit(full))
        assert full.kvns(ISD_AID) == [0xFF]
        site.check_agreement(full)

    def test_an_ssd_that_somebody_else_made_is_left_alone(self, site: Site) -> None:
        delivered = site.issue()
        site.visit(delivered)
        put_foreign_ssd(delivered)
        before = delivered.card.state.find_domain(bytes.fromhex(TRANSIT_SSD))
        for _ in range(2):  # having been refused once does not make it ours
            text = get_notification(site.apply(delivered))
            assert text.startswith(f"security domain {TRANSIT_SSD} is on the card, but this platform did not make it")
        assert delivered.card.state.find_domain(bytes.fromhex(TRANSIT_SSD)) == before
        assert [item for item in site.key_sets(delivered, TRANSIT_SSD) if item["state"] == "ACTIVE"] == []

    def test_an_application_that_is_not_in_the_catalogue(self, site: Site) -> None:
        delivered = site.issue()
        before = site.dump()
        text = "not in the platform's catalogue"
        check_refused(
            lambda: site.apply(delivered, "A000000951000999"), TerminalCode.SERVER_REFUSED, "input.not-found", text
        )
        assert site.dump() == before


class TestFiles:
    def test_a_faulty_card_file_tells_each_fault_with_its_line_and_enrols_nothing(self, site: Site) -> None:
        good = site.deliver().row
        rows = {
            2: good,
            3: site.deliver().row.replace(",55,,", ",56,,"),
            4: site.deliver().row.replace(",none,", ",rot13,"),
            5: "ABC,too,short",
            6: good,
            7: site.deliver().row.replace(VENDOR, "unknown-vendor"),
            8: site.deliver().row.replace(",default", ",no-such-profile"),
        }
        path = site.folder / "faulty.csv"
        header = "identity,kdd,isd_aid,isd_kvn,scp02_i,scp03_i,vendor_master,diversification,profile"
        path.write_text("\n".join((header, *rows.values())) + "\n")
        before = site.dump()
        command = [str(BIN / "kms"), "--config", str(site.installation.platform_config), "cards", "import", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stdout == ""
        assert "[input.invalid]" in done.stderr
        lines = [line.strip() for line in done.stderr.splitlines()[1:]]
        assert [line.split(":")[0] for line in lines] == [
            "line 3, column scp02_i",
            "line 4, column diversification",
            "line 5",
            "line 6, column identity",
            "line 7, column vendor_master",
            "line 8, column profile",
        ]
        assert site.dump() == before


@dataclass(frozen=True)
class Faulty:
    """A copy of the platform's configuration that can be spoiled."""

    path: Path

    def change(self, old: str, new: str) -> None:
        text = self.path.read_text()
        assert old in text
        self.path.write_text(text.replace(old, new))

    def serve(self) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "kms"), "--config", str(self.path), "serve"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class TestServe:
    @pytest.fixture
    def faulty(self, site: Site, tmp_path: Path) -> Faulty:
        faulty = Faulty(tmp_path / "issuer.toml")
        faulty.path.write_text(site.installation.platform_config.read_text())
        return faulty

    def test_a_wrong_pin_is_one_line_and_no_server(self, site: Site, faulty: Faulty, tmp_path: Path) -> None:
        pin = tmp_path / "wrong.pin"
        pin.write_text("31415926535\n")
        pin.chmod(0o600)
        faulty.change(f"{site.folder}/issuer/hsm.pin", str(pin))
        faulty.change(f"port = {site.installation.port}", f"port = {find_free_port()}")
        done = faulty.serve()
        assert (done.returncode, done.stdout) == (1, "")
        told, *faults = done.stderr.splitlines()
        assert told == "Error [platform.not-ready] The server cannot start yet"
        assert len(faults) == 1
        assert "PIN" in faults[0]
        assert "31415926535" not in done.stderr

    def test_everything_that_is_missing_is_told_at_once(self, site: Site, faulty: Faulty, tmp_path: Path) -> None:
        """An empty database, no certificate, and a port that another server has."""
        faulty.change(site.database.url, f"sqlite:///{tmp_path}/new.db")
        faulty.change(f"{site.folder}/pki/server.pem", str(tmp_path / "server.pem"))
        done = faulty.serve()
        assert (done.returncode, done.stdout) == (1, "")
        assert "[platform.not-ready]" in done.stderr
        faults = [line.strip() for line in done.stderr.splitlines()[1:]]
        assert [fault.split(":")[0] for fault in faults] == ["server.certificate", "server.port", "database"]
        assert "kms db upgrade" in faults[2]

    def test_faults_of_the_configuration_are_told_with_their_place(self, faulty: Faulty) -> None:
        faulty.change("workers = 2", "workers = 0\nworker = 3")
        faulty.change('role = "issuer"', 'role = "isuer"')
        done = faulty.serve()
        assert (done.returncode, done.stdout) == (1, "")
        assert "[config.invalid]" in done.stderr
        for field in ("platform.role", "server.worker:", "server.workers"):
            assert f"{faulty.path}: {field}" in done.stderr


class TestReaders:
    def check(self, done: subprocess.CompletedProcess[str], code: str, *said: str) -> None:
        assert (done.returncode, done.stdout) == (1, "")
        problem, to_do, next_run = done.stderr.splitlines()
        assert f"[{code}]" in problem
        assert to_do.startswith("What to do: ")
        assert next_run.startswith("Next run: ")
        for text in said:
            assert text in done.stderr

    @pytest.mark.pcsc
    def test_no_such_reader(self, site: Site) -> None:
        self.check(site.terminal("once", "--reader", "Nowhere"), "reader.none", 'whose name holds "Nowhere"')

    @pytest.mark.pcsc
    def test_no_card(self, site: Site) -> None:
        wait_until_empty()
        self.check(site.terminal("once"), "card.none", "Present a card", "begins a new visit")

    def test_no_pcscd(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(site.folder / "no-such-socket"))
        self.check(site.terminal("identify"), "reader.service-down", "Start pcscd")

    @pytest.mark.pcsc
    def test_refusals_of_the_server_end_the_command_with_its_words(self, site: Site) -> None:
        stranger = site.deliver()
        with in_reader(VpcdConnection(stranger.card, READER_PORT)):
            done = site.terminal("apply", "--application", TRANSIT, "--json")
        assert done.returncode == 1
        told = json.loads(done.stderr)
        assert (told["code"], told["server_code"]) == ("server.refused", "card.unknown")


class WrongCheckValue:
    """A card that answers PUT KEY with another check value for its last key."""

    def __init__(self, card: VirtualCard) -> None:
        self._card = card

    def transmit(self, command: bytes) -> bytes:
        answer = self._card.transmit(command)
        return answer[:-5] + bytes(3) + answer[-2:] if command[1] == 0xD8 else answer

    def reset(self) -> None:
        self._card.reset()


def put_foreign_ssd(delivered: Delivered) -> None:
    """As if somebody else had made the SSD: it is there, without keys."""
    state = delivered.card.state
    foreign = SecurityDomain(bytes.fromhex(TRANSIT_SSD), state.isd.aid, SELECTABLE, bytes.fromhex("800000"))
    delivered.card = VirtualCard(replace(state, domains=(*state.domains, foreign)), on_commit=delivered.commits.append)


def wait_until_empty() -> None:
    """Wait until nobody else's card is in the second slot."""
    readers = Readers()
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end and readers.find_card(READER):
            time.sleep(1)
    finally:
        readers.close()

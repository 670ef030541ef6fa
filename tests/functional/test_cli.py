"""The `kms` command on a database of its own, of either kind, as an operator types it; the HSM is away."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fakes.installation import Installation, build_installation
from tests.fakes.records import (
    build_card,
    build_domain,
    build_isd,
    build_key_set,
    build_master,
    build_terminal,
    build_update,
    build_visit,
    build_visit_event,
)
from tests.fakes.stores import DATABASES, open_database
from tests.unit.domain.test_card_file import GOOD, build_file, change

IDENTITY = build_card().identity.hex()
SSD_AID = build_domain(1).aid.hex()


@pytest.fixture(params=DATABASES)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """A platform with a vendor master and one card with an ISD and an SSD."""
    with open_database(request.param, tmp_path) as url:
        installation = build_installation(tmp_path, url)
        fill(installation)
        yield installation


@pytest.fixture(params=DATABASES)
def bare_installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """A platform whose database has no schema yet."""
    with open_database(request.param, tmp_path, empty=True) as url:
        yield build_installation(tmp_path, url)


def fill(installation: Installation) -> None:
    store = installation.open_store()
    with store.transaction() as transaction:
        transaction.master_keys.add(build_master(1, name="acme"))
        transaction.cards.add(build_card())
        transaction.security_domains.add_all([build_domain(1), build_isd(2)])
        transaction.key_sets.add(build_key_set())
        transaction.terminals.add(build_terminal())
    store.dispose()


def check_ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def read_json(result: Result) -> object:
    found: object = json.loads(check_ok(result))
    return found


class TestCards:
    def write(self, installation: Installation, *lines: str) -> str:
        path = installation.folder / "cards.csv"
        path.write_bytes(build_file(*lines))
        return str(path)

    def test_import_list_and_show(self, installation: Installation) -> None:
        file = self.write(installation, GOOD)
        assert "1 enrolled, 0 enrolled before" in check_ok(installation.run("cards", "import", file))
        assert read_json(installation.run("cards", "import", file, "--json")) == {
            "cards": 1,
            "enrolled": 0,
            "skipped": 1,
        }
        listed = check_ok(installation.run("cards", "list"))
        assert "4292AABB01" in listed
        assert "SCP02 i=55" in listed
        shown = check_ok(installation.run("cards", "show", "4292aabb01"))
        assert "A000000151000000" in shown
        card = read_json(installation.run("cards", "show", "4292AABB01", "--json"))
        assert isinstance(card, dict)
        assert card["identity"] == "4292AABB01"
        assert card["enrolled_at"].endswith("Z")
        assert [domain["kind"] for domain in card["security_domains"]] == ["ISD"]

    def test_a_faulty_file_tells_every_fault_and_enrols_nothing(self, installation: Installation) -> None:
        file = self.write(installation, GOOD, change("scp03_i", "40"), change("vendor_master", "nobody"))
        result = installation.run("cards", "import", file)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert "[input.invalid]" in result.stderr
        assert "line 3, column scp03_i: is no supported option of SCP03" in result.stderr
        assert read_json(installation.run("cards", "list", "--json", "--offset", "1")) == []
        told = json.loads(installation.run("cards", "import", file, "--json").stderr)
        assert told["code"] == "input.invalid"
        assert told["faults"][0]["where"] == "line 3, column scp03_i"

    def test_an_unknown_card(self, installation: Installation) -> None:
        result = installation.run("cards", "show", "00")
        assert result.exit_code == 1
        assert "[card.unknown]" in result.stderr

    def test_an_identity_that_is_no_hex_is_wrong_usage(self, installation: Installation) -> None:
        result = installation.run("cards", "show", "xyz")
        assert result.exit_code == 2
        assert "is not hex" in result.stderr


class TestSecurityDomains:
    def test_list_and_show_with_key_sets(self, installation: Installation) -> None:
        listed = read_json(installation.run("ssds", "list", "--card", IDENTITY, "--json"))
        assert isinstance(listed, list)
        assert [row["kind"] for row in listed] == ["ISD", "SSD"]
        assert check_ok(installation.run("ssds", "list", "--card", "00")) == "Security domains: none.\n"
        shown = check_ok(installation.run("ssds", "show", IDENTITY, SSD_AID))
        assert "010203 040506 000000" in shown
        assert "3des-ecb-zero" in shown
        assert "acme" in shown
        as_json = read_json(installation.run("ssds", "show", IDENTITY, SSD_AID, "--json"))
        assert isinstance(as_json, dict)
        assert as_json["key_sets"][0]["kcvs"] == ["010203", "040506", "000000"]

    def test_what_is_not_there(self, installation: Installation) -> None:
        assert "[card.unknown]" in installation.run("ssds", "show", "00", SSD_AID).stderr
        assert "[input.not-found]" in installation.run("ssds", "show", IDENTITY, "A000000000").stderr


class TestUpdates:
    def test_force_list_and_show(self, installation: Installation) -> None:
        forced = check_ok(installation.run("updates", "force", "--card", IDENTITY, "--aid", SSD_AID))
        assert "asked for" in forced
        again = check_ok(installation.run("updates", "force", "--card", IDENTITY, "--aid", SSD_AID))
        assert "was open already" in again
        (update,) = json.loads(check_ok(installation.run("updates", "list", "--open", "--card", IDENTITY, "--json")))
        assert (update["reason"], update["state"], update["aid"]) == ("forced", "PENDING", SSD_AID.upper())
        assert update["requested_by"].startswith("cli:")
        assert "PENDING" in check_ok(installation.run("updates", "list"))
        assert update["id"] in check_ok(installation.run("updates", "show", update["id"]))
        assert "update.force" in check_ok(installation.run("audit", "tail"))

    def test_force_all_ssds(self, installation: Installation) -> None:
        forced = read_json(installation.run("updates", "force", "--card", IDENTITY, "--all-ssds", "--json"))
        assert isinstance(forced, list)
        assert [(item["aid"], item["created"]) for item in forced] == [(SSD_AID.upper(), True)]

    @pytest.mark.parametrize("choice", [(), ("--aid", SSD_AID, "--all-ssds")], ids=["neither", "both"])
    def test_force_needs_one_choice(self, installation: Installation, choice: tuple[str, ...]) -> None:
        result = installation.run("updates", "force", "--card", IDENTITY, *choice)
        assert result.exit_code == 2
        assert "Give either --aid or --all-ssds" in result.stderr

    def test_an_unknown_update(self, installation: Installation) -> None:
        assert "[input.not-found]" in installation.run("updates", "show", "nowhere").stderr


class TestVisits:
    def test_list_and_show_without_commands_and_program(self, installation: Installation) -> None:
        store = installation.open_store()
        with store.transaction() as transaction:
            transaction.key_updates.add(build_update())
            transaction.visits.add(build_visit(1, order='["80CA"]', program='{"x":1}', update_id=build_update().id))
            transaction.visits.add_event(build_visit_event(1))
        store.dispose()
        assert "counter-1" in check_ok(installation.run("visits", "list", "--card", IDENTITY))
        for name in ("session-1", build_visit(1).id):
            shown = check_ok(installation.run("visits", "show", name))
            assert "line 1" in shown
            assert "80CA" not in shown
        visit = read_json(installation.run("visits", "show", "session-1", "--json"))
        assert isinstance(visit, dict)
        assert visit["terminal"] == "counter-1"
        assert not {"order", "program", "report_digest"} & visit.keys()
        assert [line["text"] for line in visit["journal"]] == ["line 1"]
        listed = check_ok(installation.run("visits", "list", "--json"))
        assert "80CA" not in listed

    def test_an_unknown_visit(self, installation: Installation) -> None:
        assert "[input.not-found]" in installation.run("visits", "show", "nowhere").stderr


class TestTerminals:
    def test_enrol_by_fingerprint_and_the_states_after(self, installation: Installation) -> None:
        fingerprint = ":".join(["AB"] * 32)
        check_ok(installation.run("terminals", "enrol", "--name", "kiosk", "--fingerprint", fingerprint))
        assert "SUSPENDED" in check_ok(installation.run("terminals", "suspend", "kiosk", "--reason", "stolen?"))
        assert "ENROLLED" in check_ok(installation.run("terminals", "resume", "kiosk"))
        check_ok(installation.run("terminals", "revoke", "kiosk", "--reason", "sold"))
        assert "[input.conflict]" in installation.run("terminals", "resume", "kiosk").stderr
        listed = read_json(installation.run("terminals", "list", "--json"))
        assert isinstance(listed, list)
        assert [(row["name"], row["state"], row["reason"]) for row in listed] == [
            ("counter-1", "ENROLLED", ""),
            ("kiosk", "REVOKED", "sold"),
        ]

    @pytest.mark.parametrize("encoding", [serialization.Encoding.PEM, serialization.Encoding.DER])
    def test_enrol_by_certificate(self, installation: Installation, encoding: serialization.Encoding) -> None:
        certificate = build_certificate()
        path = installation.folder / "terminal.crt"
        path.write_bytes(certificate.public_bytes(encoding))
        enrolled = read_json(
            installation.run("terminals", "enrol", "--name", "kiosk", "--certificate", str(path), "--json")
        )
        assert isinstance(enrolled, dict)
        digest = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
        assert enrolled["fingerprint"] == digest.upper()

    def test_wrong_usage(self, installation: Installation) -> None:
        other = installation.folder / "other.txt"
        other.write_text("no certificate", encoding="utf-8")
        for options in ((), ("--fingerprint", "AB"), ("--certificate", str(other))):
            result = installation.run("terminals", "enrol", "--name", "kiosk", *options)
            assert result.exit_code == 2


class TestDatabase:
    def test_from_nothing_to_the_newest_schema(self, bare_installation: Installation) -> None:
        installation = bare_installation
        before = installation.run("cards", "list")
        assert before.exit_code == 1
        # SQLite: there is no file yet; PostgreSQL: the database is there and empty.
        code = "database.unavailable" if installation.url.startswith("sqlite") else "database.schema"
        assert f"[{code}]" in before.stderr
        assert "kms db upgrade" in before.stderr
        assert f"[{code}]" in installation.run("db", "check").stderr
        check_ok(installation.run("db", "upgrade"))
        check_ok(installation.run("db", "upgrade"))
        current = read_json(installation.run("db", "current", "--json"))
        assert isinstance(current, dict)
        assert current["revision"] == current["needed"]
        check_ok(installation.run("db", "check"))
        assert check_ok(installation.run("cards", "list")) == "Cards: none.\n"

    def test_a_schema_changed_by_hand_is_found(self, installation: Installation) -> None:
        store = installation.open_store()
        with store.transaction() as transaction:
            transaction.cards._connection.exec_driver_sql("DROP INDEX ix_visits_card_id_state")  # noqa: SLF001 - plays the hand
        store.dispose()
        result = installation.run("db", "check")
        assert result.exit_code == 1
        assert "ix_visits_card_id_state" in result.stderr


class TestCommandLine:
    def test_a_configuration_that_is_not_there(self, tmp_path: Path) -> None:
        result = Installation(tmp_path, "").run("cards", "list")
        assert result.exit_code == 1
        assert "[config.invalid]" in result.stderr

    def test_help_lists_every_group(self, installation: Installation) -> None:
        text = check_ok(installation.run("--help"))
        for group in ("audit", "cards", "db", "ssds", "terminals", "updates", "visits"):
            assert f"  {group} " in text

    def test_an_unknown_command_is_wrong_usage(self, installation: Installation) -> None:
        assert installation.run("nothing").exit_code == 2


def build_certificate() -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kiosk")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        subject_name=name,
        issuer_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=now,
        not_valid_after=now + timedelta(days=1),
    )
    return builder.sign(key, hashes.SHA256())

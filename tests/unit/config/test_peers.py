from datetime import timedelta
from pathlib import Path

import pytest

from kms.config import PeerRole, load_config, read_fingerprint
from kms.domain.card_ranges import CardRange
from kms.errors import Code, KmsError
from kms.pki import init_pki
from tests.unit.config.conftest import WriteConfig, find_faults
from tests.unit.config.peer_texts import ISSUER_PEER, MANAGED, PIN, PROVIDER_PEER, RANGE, ROLE
from tests.unit.pki.test_authority import HOSTS, NOW

CONFIG = Path(__file__).parents[3] / "config"


def test_a_provider_that_may_call_becomes_values(write_config: WriteConfig) -> None:
    path = write_config()
    path.write_text(path.read_text() + PROVIDER_PEER)
    (peer,) = load_config(path).peers
    assert (peer.name, peer.role) == ("bikes", PeerRole.PROVIDER)
    assert peer.allowed_aids == (bytes.fromhex("A000000952"),)
    assert peer.allowed_privileges == (b"\x80",)
    assert peer.hand_over_validity == timedelta(hours=1)
    assert read_fingerprint(peer) == bytes.fromhex(PIN)


def test_an_issuer_that_we_call_becomes_values(write_config: WriteConfig, tmp_path: Path) -> None:
    path = write_config(ROLE, MANAGED)
    path.write_text(path.read_text() + ISSUER_PEER + RANGE)
    config = load_config(path)
    (peer,) = config.peers
    assert (peer.url, peer.ca) == ("https://bank.example:8443", tmp_path / "bank-ca.pem")
    assert config.card_ranges == (CardRange(b"\x47\x00", b"\x47\xff", "bank"),)


def test_the_pin_is_read_from_the_certificate_s_file_when_it_is_needed(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    path = write_config(ROLE, MANAGED)
    path.write_text(path.read_text() + ISSUER_PEER + RANGE)
    (peer,) = load_config(path).peers
    with pytest.raises(KmsError, match="cannot be read") as caught:
        read_fingerprint(peer)
    assert caught.value.code is Code.CONFIG_INVALID
    assert caught.value.faults[0].where == "peers.bank.certificate"
    server = init_pki(tmp_path / "pki", HOSTS, NOW)[1]
    (tmp_path / "bank.pem").write_bytes(server.certificate_file.read_bytes())
    assert read_fingerprint(peer) == server.fingerprint
    (tmp_path / "bank.pem").write_bytes(server.key_file.read_bytes())
    with pytest.raises(KmsError, match="holds no certificate"):
        read_fingerprint(peer)


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('"bikes"', '"Bikes"', "peers[0].name", "pattern"),
        ('role = "provider"', 'role = "both"', "peers[0].role", "'issuer'"),
        (PIN, "ab" * 31, "peers[0].certificate_fingerprint", "at least 32"),
        (PIN, "xy" * 32, "peers[0].certificate_fingerprint", "hex"),
        ('"A000000952"', '"A0000009"', "peers[0].allowed_aids[0]", "at least 5"),
        ('["80"]', '["00"]', "peers[0].allowed_privileges[0]", "security domain"),
        ('["80"]', '["80"]\nmax_open_transfers = 0', "peers[0].max_open_transfers", "greater than"),
        ('["80"]', '["80"]\nhand_over_valid_minutes = 1441', "peers[0].hand_over_valid_minutes", "less than"),
        ('["80"]', '["80"]\ncolour = 1', "peers[0].colour", "Unknown key"),
    ],
)
def test_each_fault_of_a_peer_is_named(write_config: WriteConfig, old: str, new: str, where: str, what: str) -> None:
    path = write_config()
    assert old in PROVIDER_PEER
    path.write_text(path.read_text() + PROVIDER_PEER.replace(old, new))
    faults = find_faults(path)
    assert what in faults[where]
    assert len(faults) == 1


@pytest.mark.parametrize("url", ["http://bank.example", "https://", "https://bank/path", "https://u:p@bank"])
def test_an_issuer_is_reached_by_https_at_a_host(write_config: WriteConfig, url: str) -> None:
    path = write_config(ROLE, MANAGED)
    path.write_text(path.read_text() + ISSUER_PEER.replace("https://bank.example:8443", url) + RANGE)
    assert find_faults(path).keys() == {"peers[0].url"}


def test_the_shipped_files_know_each_other() -> None:
    issuer, provider = load_config(CONFIG / "issuer.toml"), load_config(CONFIG / "provider.toml")
    ours, theirs = provider.peers[0], issuer.peers[0]
    assert (ours.name, theirs.name) == (issuer.platform.name, provider.platform.name)
    assert ours.certificate == issuer.server.certificate
    assert ours.client_certificate == theirs.certificate
    assert ours.url == f"https://localhost:{issuer.server.port}"
    entry = provider.applications[0]
    assert entry.managed_by == "provider"
    assert any(entry.ssd_aid.startswith(prefix) for prefix in theirs.allowed_aids)
    assert entry.privileges in theirs.allowed_privileges
    assert (provider.hsm.token_label, provider.database.url) != (issuer.hsm.token_label, issuer.database.url)

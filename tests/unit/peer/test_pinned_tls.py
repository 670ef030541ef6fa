import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kms.config import PeerConfig, PeerRole
from kms.errors import Code, KmsError
from kms.peer.pinned_tls import PinMismatchError, build_peer_context
from kms.pki import init_pki, issue_peer


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> PeerConfig:
    folder = tmp_path_factory.mktemp("pki")
    now = datetime.now(UTC)
    ca, server = init_pki(folder, ("localhost",), now)
    ours = issue_peer(folder, "bikes", ("localhost",), now)
    return PeerConfig(
        name="bank",
        role=PeerRole.ISSUER,
        certificate_fingerprint=server.fingerprint,
        url="https://localhost",
        ca=ca.certificate_file,
        client_certificate=ours.certificate_file,
        client_key=ours.key_file,
    )


@contextmanager
def _connected(peer: PeerConfig) -> Iterator[socket.socket]:
    """One end of a connection, a TLS server of the authority's at the other."""
    assert peer.ca is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(peer.ca.parent / "server.pem", peer.ca.parent / "server.key")
    ours, theirs = socket.socketpair()
    received: list[bytes] = []

    def serve() -> None:
        with suppress(OSError), context.wrap_socket(theirs, server_side=True) as connection:
            received.append(connection.recv(100))

    thread = threading.Thread(target=serve)
    thread.start()
    with ours:
        yield ours
    thread.join(timeout=10)
    theirs.close()
    assert not any(received)


def test_the_pinned_certificate_is_taken(peer: PeerConfig) -> None:
    with (
        _connected(peer) as ours,
        build_peer_context(peer).wrap_socket(ours, server_hostname="localhost") as connection,
    ):
        assert connection.version() == "TLSv1.3"


def test_another_certificate_of_the_same_authority_is_not(peer: PeerConfig) -> None:
    context = build_peer_context(replace(peer, certificate_fingerprint=bytes(32)))
    with _connected(peer) as ours, pytest.raises(PinMismatchError):
        context.wrap_socket(ours, server_hostname="localhost")


def test_a_pin_does_not_stand_for_the_name(peer: PeerConfig) -> None:
    with _connected(peer) as ours, pytest.raises(ssl.SSLCertVerificationError, match="Hostname"):
        build_peer_context(peer).wrap_socket(ours, server_hostname="elsewhere")


def test_files_that_cannot_be_used_are_named(peer: PeerConfig, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("none")
    for path in (garbage, tmp_path / "missing", None):
        for spoilt in (
            replace(peer, ca=path),
            replace(peer, client_certificate=path),
            replace(peer, client_key=path),
        ):
            with pytest.raises(KmsError) as caught:
                build_peer_context(spoilt)
            assert caught.value.code is Code.CONFIG_INVALID
            assert caught.value.faults[0].where.startswith("peers.bank.c")

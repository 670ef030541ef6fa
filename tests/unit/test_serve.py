import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kms.config import ServerConfig
from kms.pki import init_pki
from kms.serve import HANDSHAKE_SECONDS, build_tls_context


@pytest.fixture
def server(tmp_path: Path) -> ServerConfig:
    init_pki(tmp_path, ("localhost",), datetime.now(UTC))
    return ServerConfig(
        host="127.0.0.1",
        port=0,
        certificate=tmp_path / "server.pem",
        private_key=tmp_path / "server.key",
        client_ca=tmp_path / "ca.pem",
    )


def test_the_listener_asks_for_tls_1_3_and_a_client_certificate(server: ServerConfig) -> None:
    context = build_tls_context(server)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.num_tickets == 0
    (authority,) = context.get_ca_certs()
    assert "DEVELOPMENT ONLY" in str(authority["subject"])


def test_a_handshake_has_an_end(server: ServerConfig) -> None:
    ours, theirs = socket.socketpair()
    wrapped = build_tls_context(server).wrap_socket(ours, server_side=True, do_handshake_on_connect=False)
    assert wrapped.gettimeout() == HANDSHAKE_SECONDS
    wrapped.close()
    theirs.close()


@pytest.mark.parametrize("field", ["server.pem", "server.key", "ca.pem"])
def test_a_file_that_is_none_is_refused(server: ServerConfig, field: str) -> None:
    (server.certificate.parent / field).write_text("none")
    with pytest.raises(ssl.SSLError):
        build_tls_context(server)

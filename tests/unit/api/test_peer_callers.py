import hashlib

import pytest
from flask.testing import FlaskClient

from kms.api import create_api
from kms.api.peer_callers import get_peer, is_peer_address
from kms.domain.visits import TerminalState
from kms.errors import Code, KmsError
from tests.fakes.api_platform import CERTIFICATE, FakePlatform
from tests.unit.api.conftest import PEER_CERTIFICATE, Line, read_body

TRANSFER = "/peer/v1/transfers/0f96af97-f879-45a2-a011-ee7439df3804"


@pytest.mark.parametrize("certificate", [None, CERTIFICATE, b"somebody else"])
@pytest.mark.parametrize("address", [TRANSFER, "/peer/v1/transfers", "/peer/v1/nowhere", "/peer/v1/"])
def test_who_is_no_peer_is_refused_before_anything_else(line: Line, certificate: bytes | None, address: str) -> None:
    line.certificate = certificate
    answer = line.client().get(address)
    assert (answer.status_code, read_body(answer)["code"]) == (403, "peer.unknown")
    assert line.transfers.calls == []


@pytest.mark.parametrize("address", ["/api/v1/pending", "/gp/seram/handshake", "/nowhere", "/peer/v1", "/peer/v10/x"])
def test_a_peer_is_no_terminal(line: Line, address: str) -> None:
    answer = line.client().get(address)
    assert (answer.status_code, read_body(answer)["code"]) == (403, "terminal.unknown")


def test_a_peer_s_certificate_is_no_terminal_s_even_where_it_was_enrolled_as_one(line: Line) -> None:
    line.platform.terminals.known[hashlib.sha256(PEER_CERTIFICATE).digest()] = TerminalState.ENROLLED
    assert line.client().get("/api/v1/pending").status_code == 403


def test_a_terminal_is_served_beside_peers(line: Line) -> None:
    line.certificate = CERTIFICATE
    assert line.client().get("/api/v1/pending").status_code == 200


def test_a_platform_without_peers_has_not_these_addresses(client: FlaskClient) -> None:
    assert client.get(TRANSFER).status_code == 404
    stranger = create_api(FakePlatform(), lambda _environ: PEER_CERTIFICATE).test_client()
    assert read_body(stranger.get(TRANSFER))["code"] == "terminal.unknown"


def test_no_spelling_of_an_address_goes_past_the_gate(line: Line) -> None:
    line.certificate = CERTIFICATE  # a terminal's: good for every address that is not a peer's
    client = line.client()
    for address in (
        f"/{TRANSFER}",
        "/peer//v1/transfers/x",
        "/peer/./v1/transfers",
        "/PEER/v1/transfers",
        "/peer%2Fv1/x",
    ):
        client.get(address, follow_redirects=True)
        client.post(address, json={}, follow_redirects=True)
    assert line.transfers.calls == []


def test_other_addresses_have_no_peer(line: Line) -> None:
    app = line.client().application
    with app.test_request_context(), pytest.raises(KmsError) as caught:
        get_peer()
    assert caught.value.code is Code.PEER_UNKNOWN
    assert not is_peer_address("/api/v1/pending")

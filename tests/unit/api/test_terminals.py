import hashlib

import pytest

from kms.api import create_api
from kms.api.terminals import get_terminal
from kms.domain.visits import TerminalState
from kms.errors import Code, KmsError
from tests.fakes.api_platform import CERTIFICATE, FakePlatform
from tests.unit.api.conftest import read_body

ADDRESSES = ("/api/v1/pending", "/gp/seram/handshake", "/nowhere")


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("certificate", [None, b"somebody else"])
def test_who_is_not_enrolled_is_refused_before_anything_else(address: str, certificate: bytes | None) -> None:
    client = create_api(FakePlatform(), lambda _environ: certificate).test_client()
    answer = client.get(address)
    assert (answer.status_code, read_body(answer)["code"]) == (403, "terminal.unknown")


@pytest.mark.parametrize("state", [TerminalState.SUSPENDED, TerminalState.REVOKED])
def test_a_terminal_that_lost_its_enrolment_is_refused(state: TerminalState) -> None:
    platform = FakePlatform()
    platform.terminals.known[hashlib.sha256(CERTIFICATE).digest()] = state
    answer = create_api(platform, lambda _environ: CERTIFICATE).test_client().get("/api/v1/pending")
    assert (answer.status_code, read_body(answer)["code"]) == (403, "terminal.refused")


def test_an_open_address_has_no_terminal() -> None:
    app = create_api(FakePlatform())
    with app.test_request_context(), pytest.raises(KmsError) as caught:
        get_terminal()
    assert caught.value.code is Code.TERMINAL_UNKNOWN

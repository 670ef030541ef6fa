import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from kms.api import create_api
from kms.api.services import PeerAccess
from tests.fakes.api_platform import CERTIFICATE, FakePlatform
from tests.fakes.api_transfers import FakeTransfers

PEER_CERTIFICATE = b"the certificate of bikes"
OTHER_PEER = b"the certificate of boats"


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@pytest.fixture
def client(platform: FakePlatform) -> FlaskClient:
    """A client whose connection shows terminal-1's certificate."""
    # Cookies are set by hand: the test client does not keep a Secure cookie over its plain connection.
    return create_api(platform, lambda _environ: CERTIFICATE).test_client(use_cookies=False)


@dataclass
class Line:
    """The issuer's end of leased lines to `bikes` and `boats`; `certificate`: what the connection shows."""

    platform: FakePlatform = field(default_factory=FakePlatform)
    transfers: FakeTransfers = field(default_factory=FakeTransfers)
    certificate: bytes | None = PEER_CERTIFICATE

    def client(self) -> FlaskClient:
        names = {hashlib.sha256(PEER_CERTIFICATE).digest(): "bikes", hashlib.sha256(OTHER_PEER).digest(): "boats"}
        access = PeerAccess(names, self.transfers)
        return create_api(self.platform, lambda _environ: self.certificate, access).test_client(use_cookies=False)


@pytest.fixture
def line() -> Line:
    return Line()


def read_body(answer: TestResponse) -> dict[str, Any]:
    """The JSON object of an answer."""
    found = json.loads(answer.text)
    assert isinstance(found, dict)
    return found

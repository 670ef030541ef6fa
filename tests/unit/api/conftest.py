import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from kms.api import create_api
from tests.fakes.api_platform import CERTIFICATE, FakePlatform


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@pytest.fixture
def client(platform: FakePlatform) -> FlaskClient:
    """A client whose connection shows terminal-1's certificate."""
    # Cookies are set by hand: the test client does not keep a Secure cookie over its plain connection.
    return create_api(platform, lambda _environ: CERTIFICATE).test_client(use_cookies=False)


def read_body(answer: TestResponse) -> dict[str, Any]:
    """The JSON object of an answer."""
    found = json.loads(answer.text)
    assert isinstance(found, dict)
    return found

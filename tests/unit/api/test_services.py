import inspect

import pytest

from kms.api import services
from kms.service.applications import ApplicationService
from kms.service.terminals import TerminalService
from kms.service.visits import VisitService
from tests.fakes.api_platform import FakeApplications, FakeTerminals, FakeVisits

PARTS = [
    (services.VisitService, VisitService, FakeVisits),
    (services.ApplicationService, ApplicationService, FakeApplications),
    (services.TerminalService, TerminalService, FakeTerminals),
]


@pytest.mark.parametrize(("asked", "real", "fake"), PARTS, ids=["visits", "applications", "terminals"])
def test_services_and_their_fakes_are_called_as_the_api_calls_them(asked: type, real: type, fake: type) -> None:
    names = [name for name, _ in inspect.getmembers(asked, inspect.isfunction) if not name.startswith("_")]
    assert names
    for name in names:
        parameters = list(inspect.signature(getattr(asked, name)).parameters)
        assert list(inspect.signature(getattr(real, name)).parameters) == parameters
        assert list(inspect.signature(getattr(fake, name)).parameters) == parameters

"""What the API and the console share is tried through the API."""

from tests.unit.api.conftest import client, platform

__all__ = ["client", "platform"]

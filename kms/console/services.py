"""What the console's applications need of a platform."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from kms.domain.people import Principal
from kms.service.actions import ActionService
from kms.service.login import Opened
from kms.service.requests import RequestService


class Logins(Protocol):
    """Who somebody is (`kms.service.login.LoginService`)."""

    def login(self, login: str, password: str, proof: Mapping[str, object], *, source: str = "") -> Opened:
        """Password and second factor at once. Raises `login.refused`, `login.locked`."""
        ...

    def authenticate(self, secret: str, *, touch: bool = True) -> Principal:
        """Who holds the secret. Raises `login.needed`."""
        ...

    def logout(self, secret: str) -> None:
        """End the login."""
        ...


@dataclass(frozen=True)
class ConsoleServices:
    """The use cases behind the admin API. `platform`: this platform's name."""

    platform: str
    logins: Logins
    actions: ActionService
    requests: RequestService

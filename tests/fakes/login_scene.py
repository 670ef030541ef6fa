"""A platform's people on fakes: memory store, a clock that is set, software security keys and a token in software.

Passwords are hashed at once here (the real hasher has tests of its own); security keys are checked by the real adapter.
"""

import base64
import hashlib
import hmac
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kms.domain.audit import AuditEvent
from kms.domain.people import CredentialKind, NewPerson, Principal, Role
from kms.errors import Code, KmsError
from kms.logins.security_keys import WebAuthnKeys
from kms.service.enrolment import EnrolmentService
from kms.service.login import LoginService, Opened
from kms.service.one_time_codes import OneTimeCodes
from kms.service.people import PeopleService
from kms.service.ports import Store
from kms.service.second_factors import SecondFactors
from tests.fakes.master_vault import MasterVault
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import NOW, CountingIdentifiers
from tests.fakes.security_key import SoftwareSecurityKey

ORIGIN = "https://kms.example:8445"
RP_ID = "kms.example"
PASSWORD = "seven brown horses on a hill"
FIRST = (
    NewPerson("Adam Admin", "adam", frozenset({Role.ADMINISTRATOR})),
    NewPerson("Alice Officer", "alice", frozenset({Role.SECURITY_OFFICER})),
    NewPerson("Bob Officer", "bob", frozenset({Role.SECURITY_OFFICER, Role.KEY_CUSTODIAN})),
)


class SettableClock:
    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def pass_(self, **duration: float) -> None:
        self.at += timedelta(**duration)


class QuickPasswords:
    """SHA-256 in place of argon2id. `checked`: how often work was done; `looked_at`: with a stored hash."""

    def __init__(self) -> None:
        self.checked = 0
        self.looked_at = 0

    def hash(self, password: str) -> bytes:
        return hashlib.sha256(password.encode()).digest()

    def check(self, stored: bytes | None, password: str) -> None:
        self.checked += 1
        self.looked_at += stored is not None
        if stored is None or not hmac.compare_digest(stored, self.hash(password)):
            raise KmsError(Code.LOGIN_REFUSED, "wrong")


@dataclass(frozen=True)
class App:
    """An authenticator app: codes by RFC 6238, written apart from the product."""

    secret: bytes

    def show(self, at: datetime) -> str:
        counter = (int(at.timestamp()) // 30).to_bytes(8, "big")
        digest = hmac.digest(self.secret, counter, "sha1")
        start = digest[19] % 16
        return str((int.from_bytes(digest[start : start + 4], "big") % 2**31) % 1_000_000).zfill(6)


class LoginScene:
    def __init__(self, store: Store | None = None) -> None:
        self.store: Store = store if store is not None else MemoryStore()
        self.clock = SettableClock()
        self.vault = MasterVault()
        self.passwords = QuickPasswords()
        ids = CountingIdentifiers()
        secrets = (f"secret-{number}" for number in itertools.count(1))
        self.codes = OneTimeCodes(
            store=self.store, vault=self.vault, clock=self.clock, identifiers=ids, platform="test"
        )
        factors = SecondFactors(
            codes=self.codes,
            security_keys=WebAuthnKeys(rp_id=RP_ID, rp_name="test", origin=ORIGIN),
            platform="test",
        )
        self.people = PeopleService(
            store=self.store, clock=self.clock, identifiers=ids, codes=self.codes, new_secret=lambda: next(secrets)
        )
        self.logins = LoginService(
            store=self.store,
            clock=self.clock,
            identifiers=ids,
            passwords=self.passwords,
            factors=factors,
            new_secret=lambda: next(secrets),
        )
        self.enrolment = EnrolmentService(
            store=self.store,
            clock=self.clock,
            identifiers=ids,
            passwords=self.passwords,
            factors=factors,
            new_secret=lambda: next(secrets),
        )
        self.apps: dict[str, App] = {}
        self.keys: dict[str, SoftwareSecurityKey] = {}

    def start(self) -> "LoginScene":
        """Add the first people: alice has a security key, adam and bob an app."""
        for invited in self.people.initialise(FIRST, actor="cli:root"):
            if invited.login == "alice":
                self.enrol_key(invited.login, invited.secret)
            else:
                self.enrol_app(invited.login, invited.secret)
        self.clock.pass_(minutes=1)
        return self

    def enrol_app(self, login: str, secret: str) -> str:
        """Enrol with one-time codes; the code to be read out."""
        offered = self.enrolment.begin(secret)
        text = offered.totp.text
        self.apps[login] = App(base64.b32decode(text + "=" * (-len(text) % 8)))
        return self.enrolment.finish(secret, PASSWORD, self.show_code(login)).code

    def enrol_key(self, login: str, secret: str, key: SoftwareSecurityKey | None = None) -> str:
        """Enrol with a security key; the code to be read out."""
        self.keys[login] = key or SoftwareSecurityKey(ORIGIN)
        answer = self.keys[login].create(self.enrolment.begin(secret).options)
        return self.enrolment.finish(secret, PASSWORD, {"webauthn": answer}, label="blue key").code

    def show_code(self, login: str) -> dict[str, object]:
        return {"totp": self.apps[login].show(self.clock.now())}

    def touch_key(self, login: str, options: Mapping[str, object] | None) -> dict[str, object]:
        assert options is not None
        return {"webauthn": self.keys[login].get(options)}

    def log_in(self, login: str) -> Opened:
        """Log in with whatever the person has; a minute later, so that the next code is another one."""
        self.clock.pass_(minutes=1)
        step = self.logins.begin(login, PASSWORD)
        if CredentialKind.WEBAUTHN in step.factors:
            return self.logins.finish(step.secret, self.touch_key(login, step.options))
        return self.logins.finish(step.secret, self.show_code(login))

    def approve(self, principal: Principal, digest: bytes, login: str) -> Any:  # noqa: ANN401 - a Signature
        options = self.logins.build_approval_options(principal, digest)
        return self.logins.check_approval(principal, digest, self.touch_key(login, options))

    def list_events(self, what: str) -> list[AuditEvent]:
        """Audit events of one kind, the oldest first."""
        with self.store.reading() as reading:
            return [event for event in reversed(reading.audit.list(limit=1000)) if event.action == what]

    def list_all_events(self) -> str:
        """The whole log as text, to be searched."""
        with self.store.reading() as reading:
            return re.sub(r"\s+", " ", repr(reading.audit.list(limit=1000)))

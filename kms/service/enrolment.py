"""Enrolment: an invited person chooses a password and shows a second factor, by themselves and once.

Rules: an invitation's secret is random, used once, and ends by time; its SHA-256 is stored. What is offered is offered
anew each time the page is opened, and only the newest offer is taken. Nobody but the person ever holds password or
one-time code secret. Unless the invitation is one of the first people's, an officer confirms the account before it can
log in, by the code that the person reads out: so whoever invites somebody cannot take that person's place.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from kms.domain.audit import AuditEvent
from kms.domain.passwords import check_password, normalise_password
from kms.domain.people import (
    PERSON,
    Account,
    AccountState,
    Credential,
    CredentialKind,
    Invitation,
    Person,
    PersonState,
    compute_enrolment_code,
)
from kms.domain.second_factors import TotpSecret
from kms.errors import Code, KmsError
from kms.service.login import compute_session_id
from kms.service.people_ports import Passwords
from kms.service.ports import Clock, Identifiers, Store, Transaction
from kms.service.second_factors import Proof, SecondFactors

UNKNOWN = "This invitation is unknown, used, or too old: ask for a new one."
MAX_LABEL = 64  # characters


@dataclass(frozen=True)
class Enrolment:
    """What an invited person is shown. `options`: for `navigator.credentials.create`; `totp`: for an app, shown once.

    The person takes one of the two.
    """

    name: str
    login: str
    totp: TotpSecret = field(repr=False)
    options: Mapping[str, object]
    expires_at: datetime


@dataclass(frozen=True)
class Enrolled:
    """`code`: to be read out to the officer who confirms the account; `confirmed`: nobody needs to."""

    login: str
    code: str
    confirmed: bool


class EnrolmentService:
    """The use cases of invited people. `new_secret`: random text, 32 bytes."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        identifiers: Identifiers,
        passwords: Passwords,
        factors: SecondFactors,
        new_secret: Callable[[], str],
    ) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._passwords = passwords
        self._factors = factors
        self._new_secret = new_secret

    def begin(self, secret: str) -> Enrolment:
        """Offer second factors. What an earlier call offered is no longer taken. Raises `login.invitation`, `hsm.*`."""
        with self._store.transaction() as transaction:
            invitation, account, person = self._get(transaction, secret)
            offered = replace(
                invitation,
                credential_id=self._identifiers.new(),
                challenge=hashlib.sha256(self._new_secret().encode()).digest(),
            )
            transaction.invitations.save(offered)
        totp, options = self._factors.offer(account, person, offered.credential_id, offered.challenge)
        return Enrolment(person.name, account.login, totp, options, invitation.expires_at)

    def finish(self, secret: str, password: str, proof: Proof, *, label: str = "") -> Enrolled:
        """Set the password and the second factor that `proof` shows. `label`: what the person calls it.

        Raises `login.invitation`, `login.refused` for a wrong proof, `input.invalid` for a weak password; all but the
        first may be mended.
        """
        now = self._clock.now()
        with self._store.reading() as reading:
            invitation, account, person = self._get(reading, secret)
        if not invitation.credential_id:
            raise KmsError(Code.LOGIN_INVITATION, "Open the invitation first: it offers the second factors.")
        check_password(password, login=account.login, name=person.name)
        if len(label) > MAX_LABEL or not label.isprintable():
            raise KmsError(Code.INPUT_INVALID, f"A label has {MAX_LABEL} printable characters at most.")
        factor = self._factors.register(
            account, invitation.credential_id, invitation.challenge, proof, label=label, now=now
        )
        chosen = Credential(
            id=self._identifiers.new(),
            account_id=account.id,
            kind=CredentialKind.PASSWORD,
            label="",
            data=self._passwords.hash(normalise_password(password)),
            state=PersonState.ACTIVE,
            created_at=now,
        )
        with self._store.transaction() as transaction:
            transaction.invitations.use(invitation, now)
            account = transaction.accounts.get(account.id)
            _check_invited(account)
            transaction.credentials.add(chosen)
            transaction.credentials.add(factor)
            state = AccountState.ACTIVE if invitation.confirmed else AccountState.ENROLLED
            transaction.accounts.save(replace(account, state=state, failed_logins=0, locked_until=None))
            event = AuditEvent(
                self._identifiers.new(),
                now,
                f"{PERSON}{person.name}",
                "account.enrol",
                f"account {account.login}",
                str(state).lower(),
                detail=f"with {factor.kind}",
            )
            transaction.audit.append(event)
        return Enrolled(account.login, compute_enrolment_code([chosen, factor]), invitation.confirmed)

    def _get(self, transaction: Transaction, secret: str) -> tuple[Invitation, Account, Person]:
        found = transaction.invitations.find(compute_session_id(secret))
        if found is None or found.used_at is not None or self._clock.now() >= found.expires_at:
            raise KmsError(Code.LOGIN_INVITATION, UNKNOWN)
        account = transaction.accounts.get(found.account_id)
        person = transaction.people.get(account.person_id)
        _check_invited(account)
        if person.state is not PersonState.ACTIVE:
            raise KmsError(Code.LOGIN_INVITATION, UNKNOWN)
        return found, account, person


def _check_invited(account: Account) -> None:
    if account.state is not AccountState.INVITED:
        raise KmsError(Code.LOGIN_INVITATION, UNKNOWN)

"""People: who there is, with which roles, and how they come by their accounts.

Rules: a person is added, changed and enabled by an approved request; disabling needs nobody's approval, since it takes
rights away, and ends all logins at once. Adding somebody gives them no credential: an invitation does, made apart, so
that its secret is never part of a stored result. An account that was enrolled by invitation is confirmed by somebody
else than who invited it. The first people are added at the server's own console, once, and confirmed by that.
"""

import hmac
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from kms.domain.audit import AuditEvent
from kms.domain.people import (
    Account,
    AccountState,
    Credential,
    Invitation,
    NewPerson,
    Person,
    PersonState,
    Role,
    check_first_people,
    check_login,
    check_name,
    check_roles,
    compute_enrolment_code,
)
from kms.errors import Code, KmsError
from kms.service.login import compute_session_id
from kms.service.one_time_codes import OneTimeCodes
from kms.service.ports import Clock, Identifiers, Store, Transaction
from kms.service.recovery import check_normal

ALL = 10_000
VALID_FOR = timedelta(days=3)


@dataclass(frozen=True)
class Invited:
    """An invitation to give to its person alone. `secret`: shown once, stored nowhere."""

    name: str
    login: str
    secret: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class AccountRecord:
    """An account and the credentials that are in force."""

    account: Account
    credentials: Sequence[Credential]


@dataclass(frozen=True)
class PersonRecord:
    """A person with their accounts."""

    person: Person
    accounts: Sequence[AccountRecord]


class PeopleService:
    """The use cases of people. `new_secret`: random text, 32 bytes. Accounts are named by their login."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        identifiers: Identifiers,
        codes: OneTimeCodes,
        new_secret: Callable[[], str],
    ) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._codes = codes
        self._new_secret = new_secret

    def list(self) -> Sequence[PersonRecord]:
        """Everybody, the oldest first."""
        with self._store.reading() as reading:
            return list_people(reading)

    def get(self, login: str) -> PersonRecord:
        """The person of an account. Raises `input.not-found`."""
        with self._store.reading() as reading:
            return _read(reading, reading.people.get(_get_account(reading, login).person_id))

    def initialise(self, people: Sequence[NewPerson], *, actor: str) -> Sequence[Invited]:
        """Add the first people and invite them; their accounts need no confirmation. Makes the login key in the HSM.

        Raises `input.conflict` once there are people, `input.invalid` for too few, `hsm.*`.
        """
        check_first_people(people)
        self._check_nobody()
        self._codes.ensure_key(actor=actor)
        with self._store.transaction() as transaction:
            if transaction.people.list(limit=1):
                raise KmsError(Code.CONFLICT, "There are people already: they add others.")
            invited = []
            for new in people:
                account = self._add(transaction, new, actor)
                invited.append(self._invite(transaction, account, new.name, actor, inviter="", confirmed=True))
        return invited

    def add(self, name: str, login: str, roles: Collection[Role], *, actor: str) -> PersonRecord:
        """Add a person with an account that is to be invited. Raises `input.invalid`, `input.conflict`."""
        new = NewPerson(name, login, frozenset(roles))
        check_name(name)
        check_login(login)
        check_roles(roles)
        with self._store.transaction() as transaction:
            check_normal(transaction, "People")
            account = self._add(transaction, new, actor)
            return _read(transaction, transaction.people.get(account.person_id))

    def add_account(self, login: str, new_login: str, *, actor: str) -> PersonRecord:
        """Give the person of `login` another account: they count once all the same."""
        check_login(new_login)
        with self._store.transaction() as transaction:
            check_normal(transaction, "People")
            person = transaction.people.get(_get_account(transaction, login).person_id)
            self._add_account(transaction, person, new_login)
            self._log(transaction, "account.add", new_login, actor, f"for {person.name}")
            return _read(transaction, person)

    def change(
        self, login: str, *, name: str | None = None, roles: Collection[Role] | None = None, actor: str
    ) -> PersonRecord:
        """Change name or roles of the person of an account; roles hold at once, in open logins too."""
        with self._store.transaction() as transaction:
            check_normal(transaction, "People")
            person = transaction.people.get(_get_account(transaction, login).person_id)
            changed = replace(
                person,
                name=person.name if name is None else name,
                roles=person.roles if roles is None else frozenset(roles),
            )
            check_name(changed.name)
            check_roles(changed.roles)
            transaction.people.save(changed)
            self._log(transaction, "person.change", login, actor, f"{_say(person)} -> {_say(changed)}")
            return _read(transaction, changed)

    def disable(self, login: str, *, actor: str) -> PersonRecord:
        """Shut out the person of an account: all their accounts, at once. Works in recovery too; harmless again."""
        now = self._clock.now()
        with self._store.transaction() as transaction:
            person = transaction.people.get(_get_account(transaction, login).person_id)
            disabled = replace(person, state=PersonState.DISABLED)
            transaction.people.save(disabled)
            ended = 0
            for account in transaction.accounts.list_for_person(person.id):
                ended += transaction.login_sessions.end_for_account(account.id, now)
                transaction.invitations.end_for_account(account.id, now)
            self._log(transaction, "person.disable", login, actor, f"{_say(person)}; {ended} logins ended")
            return _read(transaction, disabled)

    def enable(self, login: str, *, actor: str) -> PersonRecord:
        """Let a disabled person in again, with the credentials they had."""
        with self._store.transaction() as transaction:
            check_normal(transaction, "People")
            person = transaction.people.get(_get_account(transaction, login).person_id)
            enabled = replace(person, state=PersonState.ACTIVE)
            transaction.people.save(enabled)
            self._log(transaction, "person.enable", login, actor, _say(person))
            return _read(transaction, enabled)

    def reset_credentials(self, login: str, *, actor: str) -> PersonRecord:
        """Disable an account's credentials and end its logins; it is to be invited again. For a lost second factor."""
        now = self._clock.now()
        with self._store.transaction() as transaction:
            check_normal(transaction, "People")
            account = _get_account(transaction, login)
            transaction.credentials.disable_for_account(account.id)
            transaction.login_sessions.end_for_account(account.id, now)
            transaction.invitations.end_for_account(account.id, now)
            transaction.accounts.save(replace(account, state=AccountState.INVITED, failed_logins=0, locked_until=None))
            self._log(transaction, "account.reset", login, actor, "credentials disabled, logins ended")
            return _read(transaction, transaction.people.get(account.person_id))

    def invite(self, login: str, *, actor: str, inviter: str) -> Invited:
        """Make an invitation, in the place of any before. `inviter`: the person's id, who may not confirm the account.

        Makes a new login key where the one before was compromised. Raises `input.conflict` for an account that has
        credentials: those are reset first, with approval; `hsm.*`.
        """
        self._codes.ensure_key(actor=actor)
        with self._store.transaction() as transaction:
            check_normal(transaction, "People")
            account = _get_account(transaction, login)
            person = transaction.people.get(account.person_id)
            if account.state is not AccountState.INVITED or person.state is not PersonState.ACTIVE:
                raise KmsError(Code.CONFLICT, "Only an account without credentials, of an active person, is invited.")
            return self._invite(transaction, account, person.name, actor, inviter=inviter, confirmed=False)

    def confirm(self, login: str, code: str, *, actor: str, confirmer: str) -> PersonRecord:
        """Say that the enrolled person is who the account is for: `code` is what they read out.

        Raises `input.conflict` for an account that is not enrolled, `person.not-permitted` for whoever invited it and
        the person themselves, `input.invalid` for another code.
        """
        with self._store.transaction() as transaction:
            check_normal(transaction, "People")
            account = _get_account(transaction, login)
            if account.state is not AccountState.ENROLLED:
                raise KmsError(Code.CONFLICT, f"The account is {account.state}: only an ENROLLED one is confirmed.")
            inviters = {item.invited_by for item in transaction.invitations.list_for_account(account.id)}
            if confirmer in inviters | {account.person_id}:
                raise KmsError(
                    Code.PERSON_NOT_PERMITTED, "Somebody else than the person and who invited them confirms."
                )
            expected = compute_enrolment_code(transaction.credentials.list_for_account(account.id))
            if not hmac.compare_digest(code.strip().upper().encode(), expected.encode()):
                raise KmsError(Code.INPUT_INVALID, "The code is another one: let the person read it out again.")
            transaction.accounts.save(replace(account, state=AccountState.ACTIVE))
            self._log(transaction, "account.confirm", login, actor, "")
            return _read(transaction, transaction.people.get(account.person_id))

    def _check_nobody(self) -> None:
        with self._store.reading() as reading:
            if reading.people.list(limit=1):
                raise KmsError(Code.CONFLICT, "There are people already: they add others.")

    def _add(self, transaction: Transaction, new: NewPerson, actor: str) -> Account:
        person = Person(self._identifiers.new(), new.name, new.roles, PersonState.ACTIVE, self._clock.now())
        transaction.people.add(person)
        account = self._add_account(transaction, person, new.login)
        self._log(transaction, "person.add", new.login, actor, _say(person))
        return account

    def _add_account(self, transaction: Transaction, person: Person, login: str) -> Account:
        account = Account(self._identifiers.new(), person.id, login, AccountState.INVITED, self._clock.now())
        transaction.accounts.add(account)
        return account

    def _invite(
        self, transaction: Transaction, account: Account, name: str, actor: str, *, inviter: str, confirmed: bool
    ) -> Invited:
        now = self._clock.now()
        secret = self._new_secret()
        transaction.invitations.end_for_account(account.id, now)
        invitation = Invitation(
            compute_session_id(secret), account.id, inviter, confirmed, created_at=now, expires_at=now + VALID_FOR
        )
        transaction.invitations.add(invitation)
        self._log(transaction, "account.invite", account.login, actor, "")
        return Invited(name, account.login, secret, invitation.expires_at)

    def _log(self, transaction: Transaction, what: str, login: str, actor: str, detail: str) -> None:
        event = AuditEvent(
            self._identifiers.new(), self._clock.now(), actor, what, f"account {login}", "done", detail=detail
        )
        transaction.audit.append(event)


def list_people(reading: Transaction) -> Sequence[PersonRecord]:
    """Everybody with their accounts, the oldest first."""
    return [_read(reading, person) for person in reading.people.list(limit=ALL)]


def _read(reading: Transaction, person: Person) -> PersonRecord:
    accounts = reading.accounts.list_for_person(person.id)
    return PersonRecord(
        person, [AccountRecord(account, reading.credentials.list_for_account(account.id)) for account in accounts]
    )


def _get_account(reading: Transaction, login: str) -> Account:
    account = reading.accounts.find_by_login(login)
    if account is None:
        raise KmsError(Code.NOT_FOUND, "There is no account with this login.")
    return account


def _say(person: Person) -> str:
    return f"{person.name}: {', '.join(sorted(person.roles))}"

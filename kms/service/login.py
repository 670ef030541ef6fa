"""Logging in: a password and a second factor, then a secret that stands for both until it is idle or too old.

Rules: every attempt is counted before it is looked at, so that many at once are no more than one after the other; the
count goes back only when a login or an approval is completed. An unknown login takes the same work and gets the same
answer as a wrong password. What the caller holds is a random secret; its SHA-256 is stored. Roles and states are read
anew at each use, so whoever is disabled is out at once. Every login, refusal, lock and logout is an audit event, and
none names what was typed.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NoReturn

from kms.domain.alarms import AlarmSeverity
from kms.domain.audit import AuditEvent
from kms.domain.passwords import check_password, normalise_password
from kms.domain.people import (
    PERSON,
    SECOND_FACTORS,
    Account,
    AccountState,
    Credential,
    CredentialKind,
    LoginSession,
    Person,
    PersonState,
    Principal,
)
from kms.errors import Code, KmsError
from kms.service.alarms import raise_alarm
from kms.service.people_ports import Passwords
from kms.service.ports import Clock, Identifiers, Store, Transaction
from kms.service.requests import Signature
from kms.service.second_factors import Proof, SecondFactors, Shown
from kms.service.visits import until_claimed

REFUSED = "Login, password or second factor is wrong, or this account may not log in now."
NEEDED = "You are not logged in, or your login has ended: log in again."
LOCKED = "account.locked"
KEPT = timedelta(days=30)


@dataclass(frozen=True)
class LoginLimits:
    """`attempts` that fail lock the account for `lock`. A login ends after `idle` without use, and after `absolute`.

    `step`: how long the second factor may take after the password. `touch`: how often the last use is written down.
    """

    attempts: int = 5
    lock: timedelta = timedelta(minutes=15)
    idle: timedelta = timedelta(minutes=15)
    absolute: timedelta = timedelta(hours=12)
    step: timedelta = timedelta(minutes=5)
    touch: timedelta = timedelta(seconds=30)


@dataclass(frozen=True)
class LoginStep:
    """The password was right. `secret`: for `finish`. `options`: for `navigator.credentials.get`, if there is a key."""

    secret: str = field(repr=False)
    factors: frozenset[CredentialKind]
    options: Mapping[str, object] | None
    expires_at: datetime


@dataclass(frozen=True)
class Opened:
    """A completed login. `secret`: the caller keeps it; never in a URL or log. `expires_at`: at the latest."""

    secret: str = field(repr=False)
    principal: Principal
    expires_at: datetime


@dataclass(frozen=True)
class _Known:
    """What is on record of an account that may try."""

    account: Account
    person: Person
    credentials: Sequence[Credential]

    @property
    def factors(self) -> Sequence[Credential]:
        return [item for item in self.credentials if item.kind in SECOND_FACTORS]

    @property
    def password(self) -> bytes | None:
        found = [item.data for item in self.credentials if item.kind is CredentialKind.PASSWORD]
        return found[-1] if found and self.factors else None


class LoginService:
    """Logins and fresh authentication (`kms.service.requests.Authenticator`). `new_secret`: random text, 32 bytes."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        identifiers: Identifiers,
        passwords: Passwords,
        factors: SecondFactors,
        new_secret: Callable[[], str],
        limits: LoginLimits | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._passwords = passwords
        self._factors = factors
        self._new_secret = new_secret
        self._limits = limits or LoginLimits()

    def begin(self, login: str, password: str, *, source: str = "") -> LoginStep:
        """Check the password. `source`: where it came from, for the audit log. Raises `login.refused` alone."""
        now = self._clock.now()
        account, known, why = until_claimed(lambda: self._admit(login, now))
        try:
            self._passwords.check(known.password if known is not None else None, normalise_password(password))
        except KmsError as error:
            self._refuse(account, why or "wrong password", source, error)
        if known is None:  # the check above raises without a stored hash, whatever the password is
            self._refuse(account, why, source, KmsError(Code.LOGIN_REFUSED, REFUSED))
        secret = self._new_secret()
        session = LoginSession(
            id=compute_session_id(secret),
            account_id=known.account.id,
            person_id=known.person.id,
            opened_at=now,
            last_seen_at=now,
            authenticated_at=now,
            second_factor=None,
            challenge=hashlib.sha256(self._new_secret().encode()).digest(),
        )
        until_claimed(lambda: self._add_step(session))
        return LoginStep(
            secret,
            frozenset(item.kind for item in known.factors),
            self._factors.build_options(known.factors, session.challenge),
            now + self._limits.step,
        )

    def finish(self, secret: str, proof: Proof, *, source: str = "") -> Opened:
        """Check the second factor, which opens the login. A wrong code may be mended until the account is locked.

        Raises `login.refused`, `login.locked`, `login.needed` when the password is too long ago.
        """
        now = self._clock.now()
        with self._store.reading() as reading:
            session = reading.login_sessions.find(compute_session_id(secret))
        if session is None or session.ended_at is not None or session.second_factor is not None:
            raise KmsError(Code.LOGIN_NEEDED, NEEDED)
        if now >= session.opened_at + self._limits.step:
            raise KmsError(Code.LOGIN_NEEDED, "The password was given too long ago: begin again.")
        account_id = session.account_id
        known = until_claimed(lambda: self._claim(account_id, now))
        with self._refusing(known.account, "wrong second factor", source):
            shown = self._factors.check(known.factors, session.challenge, proof, now)
            opened = self._new_secret()
            with self._store.transaction() as transaction:
                self._use(transaction, shown, known.account, now)
                if not transaction.login_sessions.end(session.id, now):
                    raise KmsError(Code.LOGIN_REFUSED, REFUSED)
                done = replace(
                    session,
                    id=compute_session_id(opened),
                    opened_at=now,
                    last_seen_at=now,
                    authenticated_at=now,
                    second_factor=shown.credential.kind,
                    challenge=b"",
                )
                transaction.login_sessions.add(done)
                principal = _build_principal(done, known.person)
                detail = _join(f"with {shown.credential.kind}", source)
                self._log(transaction, principal.actor, "login.open", known.account, "done", detail=detail)
        return Opened(opened, principal, now + self._limits.absolute)

    def login(self, login: str, password: str, proof: Proof, *, source: str = "") -> Opened:
        """Both steps at once, for one-time codes. Raises as both."""
        return self.finish(self.begin(login, password, source=source).secret, proof, source=source)

    def authenticate(self, secret: str, *, touch: bool = True) -> Principal:
        """Who holds this secret. `touch`: this is use by a person, not a page that refreshes itself.

        Raises `login.needed` when the login has ended, was idle or is too old, or the person may not log in any more.
        """
        now = self._clock.now()
        with self._store.reading() as reading:
            session = reading.login_sessions.find(compute_session_id(secret))
            if session is None or session.ended_at is not None or session.second_factor is None:
                raise KmsError(Code.LOGIN_NEEDED, NEEDED)
            account, person = reading.accounts.get(session.account_id), reading.people.get(session.person_id)
        too_old = now - session.last_seen_at >= self._limits.idle or now - session.opened_at >= self._limits.absolute
        if too_old or account.state is not AccountState.ACTIVE or person.state is not PersonState.ACTIVE:
            self._end(session, account, person, "login.expire" if too_old else "login.close")
            raise KmsError(Code.LOGIN_NEEDED, NEEDED)
        if touch and now - session.last_seen_at >= self._limits.touch:
            self._touch(session.id, now)
        return _build_principal(session, person)

    def logout(self, secret: str) -> None:
        """End a login; harmless again."""
        with self._store.reading() as reading:
            session = reading.login_sessions.find(compute_session_id(secret))
            if session is None:
                return
            account, person = reading.accounts.get(session.account_id), reading.people.get(session.person_id)
        self._end(session, account, person, "login.close")

    def build_approval_options(self, principal: Principal, digest: bytes) -> Mapping[str, object] | None:
        """What the approver's browser is asked to sign: the request's digest; None without a security key."""
        with self._store.reading() as reading:
            credentials = reading.credentials.list_for_account(principal.account_id)
        return self._factors.build_options([item for item in credentials if item.kind in SECOND_FACTORS], digest)

    def check_approval(self, principal: Principal, digest: bytes, proof: Proof) -> Signature:
        """Check a second factor of the principal's own account, shown now: a security key signs this very digest.

        Raises `login.refused`, `login.locked`. An assertion is of use for this digest alone, about which a person
        decides once; a one-time code is taken once, whatever for.
        """
        now = self._clock.now()
        known = until_claimed(lambda: self._claim(principal.account_id, now))
        with self._refusing(known.account, "approval: wrong second factor", ""):
            shown = self._factors.check(known.factors, digest, proof, now)
            with self._store.transaction() as transaction:
                self._use(transaction, shown, known.account, now)
                session = transaction.login_sessions.find(principal.login_session_id)
                if session is not None:
                    transaction.login_sessions.save(replace(session, authenticated_at=now, last_seen_at=now))
        return Signature(shown.credential.id, shown.credential.kind, shown.evidence)

    def build_change_options(self, principal: Principal) -> Mapping[str, object] | None:
        """What the browser is asked for before a password is changed; None without a security key."""
        with self._store.transaction() as transaction:
            session = transaction.login_sessions.get(principal.login_session_id)
            asked = replace(session, challenge=hashlib.sha256(self._new_secret().encode()).digest())
            transaction.login_sessions.save(asked)
            credentials = transaction.credentials.list_for_account(principal.account_id)
        return self._factors.build_options(
            [item for item in credentials if item.kind in SECOND_FACTORS], asked.challenge
        )

    def change_password(self, principal: Principal, current: str, new: str, proof: Proof) -> None:
        """Put another password in the place of the present one; all logins of the account end, this one too.

        `proof`: for `build_change_options`, or a one-time code. Raises `input.invalid` for a weak password,
        `login.refused`, `login.locked`.
        """
        now = self._clock.now()
        with self._store.reading() as reading:
            session = reading.login_sessions.get(principal.login_session_id)
            check_password(new, login=reading.accounts.get(principal.account_id).login, name=principal.name)
        known = until_claimed(lambda: self._claim(principal.account_id, now))
        with self._refusing(known.account, "password change: wrong password or second factor", ""):
            self._passwords.check(known.password, normalise_password(current))
            shown = self._factors.check(known.factors, session.challenge, proof, now)
            data = self._passwords.hash(normalise_password(new))
            with self._store.transaction() as transaction:
                self._use(transaction, shown, known.account, now)
                for old in known.credentials:
                    if old.kind is CredentialKind.PASSWORD:
                        transaction.credentials.save(replace(old, state=PersonState.DISABLED))
                chosen = Credential(
                    id=self._identifiers.new(),
                    account_id=known.account.id,
                    kind=CredentialKind.PASSWORD,
                    label="",
                    data=data,
                    state=PersonState.ACTIVE,
                    created_at=now,
                )
                transaction.credentials.add(chosen)
                transaction.login_sessions.end_for_account(known.account.id, now)
                self._log(transaction, principal.actor, "account.change-password", known.account, "done")

    def expire(self) -> str:
        """Delete logins of long ago (a job of the scheduler); the audit log keeps them. Says how many."""
        now = self._clock.now()
        with self._store.transaction() as transaction:
            deleted = transaction.login_sessions.delete_older(now - KEPT)
        return f"{deleted} old logins deleted"

    def _admit(self, login: str, now: datetime) -> tuple[Account | None, _Known | None, str]:
        """The account of a login, what is on record of it if it may try, else why not; the attempt is counted."""
        with self._store.transaction() as transaction:
            account = transaction.accounts.find_by_login(login)
            known, why = self._find_known(transaction, account, now)
            if known is not None:
                self._count_attempt(transaction, known.account, now)
        return account, known, why

    def _add_step(self, session: LoginSession) -> None:
        with self._store.transaction() as transaction:
            self._give_back_attempt(transaction, transaction.accounts.get(session.account_id))
            transaction.login_sessions.add(session)

    def _touch(self, session_id: str, now: datetime) -> None:
        try:
            with self._store.transaction() as transaction:
                current = transaction.login_sessions.get(session_id)
                transaction.login_sessions.save(replace(current, last_seen_at=now))
        except KmsError as error:
            # A page asks for several things at once; whoever came first has written the same.
            if error.code is not Code.VISIT_CONFLICT:
                raise

    def _find_known(
        self, transaction: Transaction, account: Account | None, now: datetime
    ) -> tuple[_Known | None, str]:
        """What an account that may try has on record, or why it may not."""
        if account is None:
            return None, "unknown login"
        person = transaction.people.get(account.person_id)
        if account.state is not AccountState.ACTIVE or person.state is not PersonState.ACTIVE:
            return None, "account not active"
        if account.locked_until is not None and now < account.locked_until:
            return None, "account locked"
        return _Known(account, person, transaction.credentials.list_for_account(account.id)), ""

    def _claim(self, account_id: str, now: datetime) -> _Known:
        """Count an attempt of an account that may try. Raises `login.locked`, `login.refused`."""
        with self._store.transaction() as transaction:
            account = transaction.accounts.get(account_id)
            known, why = self._find_known(transaction, account, now)
            if known is not None:
                self._count_attempt(transaction, account, now)
                return known
        if why == "account locked":
            minutes = self._limits.lock // timedelta(minutes=1)
            raise KmsError(Code.LOGIN_LOCKED, f"Too many attempts failed: the account is locked for {minutes} minutes.")
        raise KmsError(Code.LOGIN_REFUSED, REFUSED)

    def _count_attempt(self, transaction: Transaction, account: Account, now: datetime) -> None:
        # A lock that is over gives a whole new set of attempts; one that holds never comes here.
        before = 0 if account.locked_until is not None else account.failed_logins
        locked = now + self._limits.lock if before + 1 >= self._limits.attempts else None
        transaction.accounts.save(replace(account, failed_logins=before + 1, locked_until=locked))

    def _give_back_attempt(self, transaction: Transaction, account: Account) -> None:
        # Not set to zero: else whoever knows the password could try second factors for ever.
        current = transaction.accounts.get(account.id)
        fewer = max(0, current.failed_logins - 1)
        transaction.accounts.save(replace(current, failed_logins=fewer, locked_until=None))

    def _use(self, transaction: Transaction, shown: Shown, account: Account, now: datetime) -> None:
        transaction.credentials.use(shown.credential, shown.used, now)
        current = transaction.accounts.get(account.id)
        transaction.accounts.save(replace(current, failed_logins=0, locked_until=None))

    @contextmanager
    def _refusing(self, account: Account, why: str, source: str) -> Iterator[None]:
        try:
            yield
        except KmsError as error:
            if error.code not in {Code.LOGIN_REFUSED, Code.INPUT_INVALID}:  # an HSM that is away is nobody's attempt
                with self._store.transaction() as transaction:
                    self._give_back_attempt(transaction, account)
                raise
            self._refuse(account, why, source, error, keep=True)

    def _refuse(
        self, account: Account | None, why: str, source: str, error: KmsError, *, keep: bool = False
    ) -> NoReturn:
        """Record a refusal; an account that it locked raises an alarm. `keep`: the error's own text may be told."""
        now = self._clock.now()
        with self._store.transaction() as transaction:
            current = transaction.accounts.get(account.id) if account is not None else None
            self._log(
                transaction, "nobody", "login.refuse", current, f"refused: {error.code}", detail=_join(why, source)
            )
            if current is not None and current.locked_until is not None and why != "account locked":
                self._log(transaction, "system", "account.lock", current, "locked", detail=_join(why, source))
                text = f"{current.failed_logins} attempts to log in as {current.login} failed; locked for a while"
                raise_alarm(
                    transaction,
                    LOCKED,
                    f"account {current.login}",
                    text,
                    AlarmSeverity.WARNING,
                    alarm_id=self._identifiers.new(),
                    at=now,
                )
        raise error if keep else KmsError(Code.LOGIN_REFUSED, REFUSED) from None

    def _end(self, session: LoginSession, account: Account, person: Person, what: str) -> None:
        with self._store.transaction() as transaction:
            if transaction.login_sessions.end(session.id, self._clock.now()):
                self._log(transaction, f"{PERSON}{person.name}", what, account, "done")

    def _log(
        self, transaction: Transaction, actor: str, what: str, account: Account | None, result: str, *, detail: str = ""
    ) -> None:
        # An unknown login is not named: people type passwords there.
        subject = f"account {account.login}" if account is not None else "account unknown"
        event = AuditEvent(self._identifiers.new(), self._clock.now(), actor, what, subject, result, detail=detail)
        transaction.audit.append(event)


def compute_session_id(secret: str) -> str:
    """The id under which a secret is stored: SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _build_principal(session: LoginSession, person: Person) -> Principal:
    return Principal(
        person_id=person.id,
        account_id=session.account_id,
        name=person.name,
        roles=person.roles,
        login_session_id=session.id,
        second_factor=session.second_factor,
        authenticated_at=session.authenticated_at,
    )


def _join(what: str, source: str) -> str:
    return f"{what}, from {source}" if source else what

"""The one way to the token: library, login, lock, connection generation, recovery, and when it last answered.

Rules: every PKCS#11 call happens inside `Gateway.connect`, which holds the process-wide lock, opens the token when
first used (after fork), and turns what went wrong into `KmsError`. A lost connection is not repaired behind the
caller's back: the caller gets `hsm.unavailable`, the next call opens a new connection under a new generation. While the
token is away calls fail at once and one at a time tries to open it. A refused PIN is never tried again in this process
(R36).
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pkcs11 import Session, Token
from pkcs11.exceptions import GeneralError, PKCS11Error, UserAlreadyLoggedIn

from kms.domain.fitness import build_token_name, check_token_allowed
from kms.errors import Code, KmsError
from kms.hsm.breaker import Breaker
from kms.hsm.connection import Connection
from kms.hsm.faults import PIN_REFUSED, ConnectionLostError, build_refusal, build_unavailable, is_lost
from kms.hsm.library import get_library
from kms.hsm.probe import probe_token
from kms.hsm.settings import MAX_ANSWER_AGE_S, HsmSettings

# Processes that open a SoftHSM2 token at the same moment get CKR_GENERAL_ERROR (docs/adr 0021): wait a moment, each its
# own.
OPEN_TRIES = 6
OPEN_PAUSE_S = (0.02, 0.12)


class Gateway:
    """Owner of one token's connection in this process."""

    def __init__(self, settings: HsmSettings) -> None:
        self.settings = settings
        self._library = get_library(settings.module)
        self._breaker = Breaker(settings.first_retry_s, settings.longest_retry_s)
        self._connection: Connection | None = None
        self.generation = 0
        """How many connections were opened: 1 for the first, more after each time the token went away."""
        self._lost_epoch = 0
        self._opening = False
        self._refused_pin = ""
        self._lost_reason = ""
        self._busy_since: float | None = None
        self._answered_at: float | None = None
        self.answered_at: datetime | None = None
        self.observe: Callable[[str, float, datetime | None], None] | None = None
        """Told of each use: what came of it, seconds, when the token last answered."""

    @contextmanager
    def connect(self, generation: int | None = None) -> Iterator[Connection]:
        """Hold the token for a few calls. `generation`: refuse unless the connection is still this one.

        Raises `hsm.unavailable`, `hsm.login`, `hsm.mechanism`, and what the block raises.
        """
        self._check_before_lock()
        if not self._library.lock.acquire(timeout=self.settings.call_timeout_s):
            raise build_unavailable("another call does not come back")
        begun = self._busy_since = time.monotonic()
        outcome = "refused"
        try:
            yield self._get_connection(generation)
            self._record_answer()
            outcome = "answered"
        except ConnectionLostError as error:
            outcome = "lost"
            self._lose(str(error))
            raise build_unavailable(str(error)) from error
        except PKCS11Error as error:
            if not is_lost(error):
                self._record_answer()
                raise build_refusal(error) from error
            outcome = "lost"
            self._lose(type(error).__name__)
            raise build_unavailable(type(error).__name__) from error
        finally:
            self._busy_since = None
            self._library.lock.release()
            if self.observe is not None:
                self.observe(outcome, time.monotonic() - begun, self.answered_at)

    def check(self) -> None:
        """Raise `hsm.login` or `hsm.unavailable` unless the token answered lately. Takes no lock and makes no call."""
        if self._refused_pin:
            raise self._build_login_error()
        if self.get_call_age() > self.settings.call_timeout_s:
            raise build_unavailable("a call does not come back")
        if self._connection is None:
            raise build_unavailable(self._lost_reason or "not opened yet")
        answered_at = self._answered_at
        if answered_at is None or time.monotonic() - answered_at > MAX_ANSWER_AGE_S:
            raise build_unavailable("no answer lately")

    def get_call_age(self) -> float:
        """For how many seconds the call in progress has been running; 0 when none is. Takes no lock."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    @staticmethod
    def now() -> float:
        """Monotonic seconds, as all times of a connection."""
        return time.monotonic()

    def ask_sign_of_life(self) -> None:
        """Make a call that needs the token, unless one is under way. Raises as `connect` does; opens it if need be."""
        if self._busy_since is not None:
            return
        with self.connect() as connection:
            connection.check_alive()

    def lose(self, reason: str) -> None:
        """Give the connection up, so that the next call opens a new one, which ends all of its session objects."""
        if self._library.lock.acquire(timeout=self.settings.call_timeout_s):
            self._lose(reason)
            self._library.lock.release()

    def close(self) -> None:
        """Log out and close the session, when one is open. Errors are left: the process is about to end."""
        connection = self._connection
        if connection is None or not self._library.lock.acquire(timeout=self.settings.call_timeout_s):
            return
        try:
            self._lose("closed")
            if connection.epoch == self._library.epoch:
                connection.hsm_session.close()
        except PKCS11Error:
            return
        finally:
            self._library.lock.release()

    def _check_before_lock(self) -> None:
        self._library.check_process()
        if self._refused_pin:
            raise self._build_login_error()
        if self._connection is not None or not self._breaker.is_tripped:
            return
        # The token is away: whoever comes first after the pause tries to open it, all others fail at once.
        if self._opening or self._breaker.get_pause(time.monotonic()) > 0:
            raise build_unavailable(self._lost_reason)

    def _get_connection(self, generation: int | None) -> Connection:
        connection = self._connection
        if connection is not None and connection.epoch != self._library.epoch:
            self._lose("the library was initialised again")
            connection = None
        if generation is not None and (connection is None or connection.generation != generation):
            raise KmsError(
                Code.HSM_UNAVAILABLE,
                "the connection to the HSM was renewed since this key was made; start the step again",
            )
        return connection or self._open()

    def _open(self) -> Connection:
        if self._refused_pin:  # another thread found out while this one waited for the lock
            raise self._build_login_error()
        self._opening = True
        try:
            connection = self._open_connection()
        except KmsError as error:
            self._record_failure(error.detail)
            raise
        except PKCS11Error as error:
            self._record_failure(type(error).__name__)
            raise (build_unavailable(type(error).__name__) if is_lost(error) else build_refusal(error)) from error
        finally:
            self._opening = False
        self._breaker.record_success()
        self._connection = connection
        return connection

    def _open_connection(self) -> Connection:
        library, settings = self._library, self.settings
        # A token that went away answers "not found" until the library is initialised again (hsm-facts).
        if (
            not library.is_initialised
            or library.epoch == self._lost_epoch
            or library.environment != dict(settings.environment)
        ):
            library.initialise(settings.environment)
        for tries_left in reversed(range(OPEN_TRIES)):
            try:
                return self._connect_once()
            except GeneralError:
                if not tries_left:
                    raise
                time.sleep(random.uniform(*OPEN_PAUSE_S))  # noqa: S311 - spreads processes, guards nothing
        raise build_unavailable("not opened")

    def _connect_once(self) -> Connection:
        library, settings = self._library, self.settings
        # Until the connection stands this epoch counts as lost, so that the next attempt initialises again.
        self._lost_epoch = library.epoch
        token = library.find_token(settings.token_label)
        if token is None:  # made after this process initialised the library, perhaps
            library.initialise(settings.environment)
            self._lost_epoch = library.epoch
            token = library.find_token(settings.token_label)
        if token is None:
            raise build_unavailable(f"there is no token labelled {settings.token_label!r}")
        if settings.allowed_tokens is not None:  # before the PIN is sent: an unknown device is told nothing (R47)
            serial = token.serial.decode("ascii", "replace")
            name = build_token_name(token.manufacturer_id, token.model, serial)
            check_token_allowed(name, token.model, settings.allowed_tokens)
        hsm_session = self._log_in(token)
        found = probe_token(token, hsm_session, settings)
        self._lost_epoch = 0
        self.generation += 1
        return Connection(
            generation=self.generation,
            epoch=library.epoch,
            opened_at=time.monotonic(),
            token=token,
            hsm_session=hsm_session,
            mechanisms=found.mechanisms,
            missing_mechanisms=found.missing_mechanisms,
            plan=found.plan,
            missing_peer_mechanisms=found.missing_peer_mechanisms,
        )

    def _log_in(self, token: Token) -> Session:
        try:
            return token.open(rw=True, user_pin=self.settings.pin)
        except UserAlreadyLoggedIn:
            return token.open(rw=True)  # a login holds for the whole process (PKCS#11 2.40 section 5.6)
        except PIN_REFUSED as error:
            # One wrong PIN counts towards the lock; a second would be ours.
            self._refused_pin = type(error).__name__
            raise self._build_login_error() from error

    def _build_login_error(self) -> KmsError:
        return KmsError(
            Code.HSM_LOGIN,
            f"the HSM refused the PIN ({self._refused_pin}); it is not tried again, since wrong PINs lock the token."
            " Correct the PIN file, then restart",
        )

    def _lose(self, reason: str) -> None:
        if self._connection is not None and self._connection.epoch == self._library.epoch:
            self._lost_epoch = self._library.epoch
        self._connection = None
        self._lost_reason = reason

    def _record_failure(self, reason: str) -> None:
        self._lost_reason = reason
        self._breaker.record_failure(time.monotonic())

    def _record_answer(self) -> None:
        self._answered_at = time.monotonic()
        self.answered_at = datetime.now(UTC)

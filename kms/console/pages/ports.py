"""What the pages ask of the database (`kms.db.console_queries`) and of single-use processes (`kms.single_use`)."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from kms.domain.cards import CardState
from kms.domain.updates import UpdateReason, UpdateState
from kms.service.ports import Store, Transaction

Row = Mapping[str, Any]


class ConsoleQueries(Protocol):
    """Lists for people; `kms.db.console_queries` says what each gives."""

    def search_cards(
        self,
        *,
        begins: bytes = b"",
        state: CardState | None = None,
        batch: str = "",
        in_doubt: bool = False,
        before: str = "",
        limit: int = 50,
    ) -> Sequence[Row]: ...
    def list_key_sets(self, card_id: str) -> Sequence[Row]: ...
    def search_updates(
        self,
        *,
        card_id: str = "",
        states: Collection[UpdateState] = (),
        reason: UpdateReason | None = None,
        campaign: str = "",
        overdue_at: datetime | None = None,
        before: str = "",
        limit: int = 50,
    ) -> Sequence[Row]: ...
    def list_visits(self, *, card_id: str = "", terminal_id: str = "", limit: int = 20) -> Sequence[Row]: ...
    def count_transfers(self) -> Sequence[Row]: ...
    def count_ends(self, bounds: Sequence[datetime]) -> Sequence[int]: ...
    def count_outcomes(self, bounds: Sequence[datetime]) -> Mapping[UpdateState, Sequence[int]]: ...
    def count_dependants(self) -> Mapping[str, Mapping[str, int]]: ...
    def search_audit(
        self,
        *,
        actor: str = "",
        action: str = "",
        subject: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        before: tuple[datetime, str, int] | None = None,
        limit: int = 100,
    ) -> Sequence[Row]: ...


class Reading(Transaction, Protocol):
    """A transaction with the lists for people."""

    @property
    def console(self) -> ConsoleQueries: ...


class ConsoleStore(Store, Protocol):
    """The database."""

    def reading(self) -> AbstractContextManager[Reading]: ...
    def transaction(self) -> AbstractContextManager[Reading]: ...


class StartedEntry(Protocol):
    """Where a component's form is sent, and the ticket that it carries."""

    @property
    def port(self) -> int: ...
    @property
    def ticket(self) -> str: ...


class EntryStarter(Protocol):
    """Starts the process that takes one key component."""

    def start(self, ceremony_id: str, login_secret: str, *, origin: str, back: str) -> StartedEntry: ...

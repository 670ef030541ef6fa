"""People and logins in memory, written from `kms/service/people_ports.py` alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from kms.domain.people import Account, Credential, Invitation, LoginSession, Person, PersonState
from kms.errors import Code, KmsError
from tests.fakes.memory_rows import MemoryRepository


class MemoryPersons(MemoryRepository[Person]):
    noun = "person"

    def unique_values(self, item: Person) -> tuple[object, ...]:
        return (item.name,)


class MemoryAccounts(MemoryRepository[Account]):
    noun = "account"

    def unique_values(self, item: Account) -> tuple[object, ...]:
        return (item.login,)

    def find_by_login(self, login: str) -> Account | None:
        return self._first(lambda row: row.login == login)

    def list_for_person(self, person_id: str) -> Sequence[Account]:
        return self._where(lambda row: row.person_id == person_id)


class MemoryCredentials(MemoryRepository[Credential]):
    noun = "credential"

    def unique_values(self, item: Credential) -> tuple[object, ...]:
        return (item.key_id,)

    def list_for_account(self, account_id: str) -> Sequence[Credential]:
        return self._where(lambda row: row.account_id == account_id and row.state is PersonState.ACTIVE)

    def use(self, credential: Credential, used: int, at: datetime) -> None:
        stored = self._rows.get(credential.id)
        if stored is None or stored.used != credential.used or stored.state is not PersonState.ACTIVE:
            raise KmsError(Code.LOGIN_REFUSED, "Used at the same moment.")
        self._rows[credential.id] = replace(stored, used=used, last_used_at=at)

    def disable_for_account(self, account_id: str) -> int:
        mine = self.list_for_account(account_id)
        for row in mine:
            self._rows[row.id] = replace(row, state=PersonState.DISABLED)
        return len(mine)


class MemoryLoginSessions(MemoryRepository[LoginSession]):
    def end(self, session_id: str, at: datetime) -> bool:
        stored = self._rows.get(session_id)
        if stored is None or stored.ended_at is not None:
            return False
        self._rows[session_id] = replace(stored, ended_at=at)
        return True

    def end_for_account(self, account_id: str, at: datetime) -> int:
        return sum(self.end(row.id, at) for row in self._where(lambda row: row.account_id == account_id))

    def delete_older(self, opened_before: datetime) -> int:
        old = self._where(lambda row: row.opened_at < opened_before)
        for row in old:
            del self._rows[row.id]
        return len(old)


class MemoryInvitations(MemoryRepository[Invitation]):
    def list_for_account(self, account_id: str) -> Sequence[Invitation]:
        return self._where(lambda row: row.account_id == account_id)

    def use(self, invitation: Invitation, at: datetime) -> None:
        stored = self._rows.get(invitation.id)
        if stored is None or stored.used_at is not None or stored.challenge != invitation.challenge:
            raise KmsError(Code.LOGIN_INVITATION, "Used at the same moment.")
        self._rows[invitation.id] = replace(stored, used_at=at)

    def end_for_account(self, account_id: str, at: datetime) -> int:
        mine = self._where(lambda row: row.account_id == account_id and row.used_at is None)
        for row in mine:
            self._rows[row.id] = replace(row, used_at=at)
        return len(mine)


@dataclass
class PeopleTables:
    people: dict[str, Person] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    credentials: dict[str, Credential] = field(default_factory=dict)
    login_sessions: dict[str, LoginSession] = field(default_factory=dict)
    invitations: dict[str, Invitation] = field(default_factory=dict)


class PeopleTransaction:
    def __init__(self, tables: PeopleTables) -> None:
        self.people = MemoryPersons(tables.people)
        self.accounts = MemoryAccounts(tables.accounts)
        self.credentials = MemoryCredentials(tables.credentials)
        self.login_sessions = MemoryLoginSessions(tables.login_sessions)
        self.invitations = MemoryInvitations(tables.invitations)

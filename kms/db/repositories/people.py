"""People, accounts, credentials, logins, invitations."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, update

from kms.db.models import AccountRow, CredentialRow, InvitationRow, LoginSessionRow, PersonRow
from kms.db.repositories.base import SqlRepository
from kms.domain.people import Account, Credential, Invitation, LoginSession, Person, PersonState
from kms.errors import Code, KmsError


class SqlPersonRepository(SqlRepository[Person]):
    """`kms.service.people_ports.PersonRepository`."""

    noun = "person"
    model = PersonRow
    value = Person


class SqlAccountRepository(SqlRepository[Account]):
    """`kms.service.people_ports.AccountRepository`."""

    noun = "account"
    model = AccountRow
    value = Account

    def find_by_login(self, login: str) -> Account | None:
        """Read by login."""
        return self._find_one(self._select().where(AccountRow.login == login))

    def list_for_person(self, person_id: str) -> Sequence[Account]:
        """A person's accounts, the oldest first."""
        return self._list(self._select().where(AccountRow.person_id == person_id).order_by(AccountRow.id))


class SqlCredentialRepository(SqlRepository[Credential]):
    """`kms.service.people_ports.CredentialRepository`."""

    noun = "credential"
    model = CredentialRow
    value = Credential

    def list_for_account(self, account_id: str) -> Sequence[Credential]:
        """The ACTIVE ones, the oldest first."""
        mine = self._select().where(CredentialRow.account_id == account_id, CredentialRow.state == PersonState.ACTIVE)
        return self._list(mine.order_by(CredentialRow.id))

    def use(self, credential: Credential, used: int, at: datetime) -> None:
        """Write `used` where the stored one is ACTIVE and still as in `credential`, else `login.refused`."""
        statement = update(CredentialRow).where(
            CredentialRow.id == credential.id,
            CredentialRow.used == credential.used,
            CredentialRow.state == PersonState.ACTIVE,
        )
        if self._write(statement.values(used=used, last_used_at=at)) == 0:
            raise KmsError(Code.LOGIN_REFUSED, "This second factor was used at the same moment, or is disabled.")

    def disable_for_account(self, account_id: str) -> int:
        """Disable all of an account's; how many were active."""
        mine = update(CredentialRow).where(CredentialRow.account_id == account_id)
        return self._write(mine.where(CredentialRow.state == PersonState.ACTIVE).values(state=PersonState.DISABLED))


class SqlLoginSessionRepository(SqlRepository[LoginSession]):
    """`kms.service.people_ports.LoginSessionRepository`."""

    noun = "login"
    model = LoginSessionRow
    value = LoginSession

    def end(self, session_id: str, at: datetime) -> bool:
        """End one that is open; whether it was."""
        mine = update(LoginSessionRow).where(LoginSessionRow.id == session_id, LoginSessionRow.ended_at.is_(None))
        return self._write(mine.values(ended_at=at)) > 0

    def end_for_account(self, account_id: str, at: datetime) -> int:
        """End all of an account's that are open; how many."""
        mine = update(LoginSessionRow).where(LoginSessionRow.account_id == account_id)
        return self._write(mine.where(LoginSessionRow.ended_at.is_(None)).values(ended_at=at))

    def delete_older(self, opened_before: datetime) -> int:
        """Delete those opened before that; how many."""
        return self._write(delete(LoginSessionRow).where(LoginSessionRow.opened_at < opened_before))


class SqlInvitationRepository(SqlRepository[Invitation]):
    """`kms.service.people_ports.InvitationRepository`."""

    noun = "invitation"
    model = InvitationRow
    value = Invitation

    def list_for_account(self, account_id: str) -> Sequence[Invitation]:
        """All of an account's, in no order."""
        return self._list(self._select().where(InvitationRow.account_id == account_id))

    def use(self, invitation: Invitation, at: datetime) -> None:
        """Mark one as used that is not, and still has this challenge; else `login.invitation`."""
        mine = update(InvitationRow).where(InvitationRow.id == invitation.id, InvitationRow.used_at.is_(None))
        if self._write(mine.where(InvitationRow.challenge == invitation.challenge).values(used_at=at)) == 0:
            raise KmsError(Code.LOGIN_INVITATION, "This invitation was used at the same moment: begin again.")

    def end_for_account(self, account_id: str, at: datetime) -> int:
        """Mark all of an account's that are open as used; how many."""
        mine = update(InvitationRow).where(InvitationRow.account_id == account_id)
        return self._write(mine.where(InvitationRow.used_at.is_(None)).values(used_at=at))

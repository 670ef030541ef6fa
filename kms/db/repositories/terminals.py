"""Terminals."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from kms.db.models import TerminalRow
from kms.db.repositories.base import SqlRepository
from kms.domain.visits import Terminal, TerminalState

_BY_FINGERPRINT = select(TerminalRow.__table__).where(TerminalRow.fingerprint == bindparam("fingerprint")).limit(1)


class SqlTerminalRepository(SqlRepository[Terminal]):
    """`kms.service.ports.TerminalRepository`."""

    noun = "terminal"
    model = TerminalRow
    value = Terminal

    def find_by_fingerprint(self, fingerprint: bytes) -> Terminal | None:
        """Read the terminal with this client certificate."""
        return self._find_prepared(_BY_FINGERPRINT, fingerprint=fingerprint)

    def list_refused(self) -> Sequence[Terminal]:
        """Read all that are suspended or revoked."""
        return self._list(self._select().where(TerminalRow.state != TerminalState.ENROLLED).order_by(TerminalRow.id))

    def find_by_name(self, name: str) -> Terminal | None:
        """Read the terminal with this name."""
        return self._find_one(self._select().where(TerminalRow.name == name))

"""This platform's key pairs, and the signing keys of its peers."""

from kms.db.models import PeerKeyRow, PlatformKeyRow
from kms.db.repositories.base import SqlRepository
from kms.domain.keys import KeyState, PeerKey, PlatformKey, PlatformKeyPurpose


class SqlPlatformKeyRepository(SqlRepository[PlatformKey]):
    """`kms.service.ports.PlatformKeyRepository`."""

    noun = "platform key"
    model = PlatformKeyRow
    value = PlatformKey

    def find_active(self, purpose: PlatformKeyPurpose) -> PlatformKey | None:
        """Read the ACTIVE pair of this purpose."""
        return self._find(purpose, KeyState.ACTIVE)

    def find_planned(self, purpose: PlatformKeyPurpose) -> PlatformKey | None:
        """Read the pair of this purpose whose making was begun and not finished."""
        return self._find(purpose, KeyState.PRE_ACTIVATION)

    def _find(self, purpose: PlatformKeyPurpose, state: KeyState) -> PlatformKey | None:
        statement = self._select().where(PlatformKeyRow.purpose == purpose, PlatformKeyRow.state == state)
        return self._find_one(statement.order_by(PlatformKeyRow.id.desc()))


class SqlPeerKeyRepository(SqlRepository[PeerKey]):
    """`kms.service.ports.PeerKeyRepository`."""

    noun = "peer key"
    model = PeerKeyRow
    value = PeerKey

    def find_active(self, peer: str) -> PeerKey | None:
        """Read the ACTIVE signing key of this peer."""
        return self._find_one(self._select().where(PeerKeyRow.peer == peer, PeerKeyRow.state == KeyState.ACTIVE))

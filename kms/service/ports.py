"""What the use cases need from the outside: storage, keys, time, identifiers, configuration values.

Rules: a transaction is short and never spans an HSM call. Repositories take and return the frozen values of
`kms.domain`; `add` raises `input.conflict` when a unique value is taken, `get` raises `input.not-found`, `find` returns
None, `save` writes all columns of an existing row. Leaving the `with` block commits; an exception rolls back.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from kms.card.keys import KcvMethod, KeyPort, KeyType, MasterRef
from kms.domain.cards import Application, Card, SecurityDomain
from kms.domain.keys import KeySet, MasterKey, MasterKind, PeerKey, PlatformKey, PlatformKeyPurpose
from kms.domain.orders import Report
from kms.domain.pending import PendingCursor, PendingFilter, PendingRows
from kms.domain.recovery import AnchorMark, KeyFinding, PlatformState, RepairOrder
from kms.domain.token_objects import ExpectedObject, ObjectReport
from kms.domain.transfers import Envelope, RelayedOrder, Transfer, TransferAnswer, TransferRequest, TransferState
from kms.domain.updates import KeyUpdate
from kms.domain.visits import Terminal, Visit, VisitEvent
from kms.service.audit_ports import AuditRepository
from kms.service.campaign_ports import CampaignRepository, Compromises
from kms.service.ceremony_ports import CeremonyRepository
from kms.service.people_ports import (
    AccountRepository,
    CredentialRepository,
    InvitationRepository,
    LoginSessionRepository,
    PersonRepository,
)
from kms.service.policy_ports import PolicyRepository, Sweeps
from kms.service.request_ports import RequestRepository
from kms.service.scheduler_ports import AlarmRepository, HousekeepingRepository, LeaseRepository

T = TypeVar("T")


class Repository(Protocol[T]):
    """The five operations every noun has."""

    def add(self, item: T) -> None: ...
    def add_all(self, items: Iterable[T]) -> None: ...
    def get(self, item_id: str) -> T: ...
    def find(self, item_id: str) -> T | None: ...
    def save(self, item: T) -> None: ...
    def list(self, *, limit: int = 100, offset: int = 0) -> Sequence[T]: ...


class CardRepository(Repository[Card], Protocol):
    def find_by_identity(self, identity: bytes) -> Card | None: ...
    def find_by_identities(self, identities: Sequence[bytes]) -> Sequence[Card]: ...
    def list_pending(self, *, limit: int = 100, offset: int = 0) -> Sequence[Card]:
        """Cards in service whose security domains have open updates, oldest first."""
        ...

    def claim(self, card: Card) -> None:
        """Count up the card's version where the stored one is `card.version`, in one statement; else `visit.conflict`.

        Every step of a visit claims its card, so that what two visits write about one card never mixes.
        """
        ...


class SecurityDomainRepository(Repository[SecurityDomain], Protocol):
    def find_by_aid(self, card_id: str, aid: bytes) -> SecurityDomain | None: ...
    def list_for_card(self, card_id: str) -> Sequence[SecurityDomain]: ...
    def list_for_cards(self, card_ids: Sequence[str]) -> Sequence[SecurityDomain]:
        """The security domains of all these cards, in no order (enrolment reads a batch of cards at once)."""
        ...


class KeySetRepository(Repository[KeySet], Protocol):
    def list_for_domain(self, security_domain_id: str) -> Sequence[KeySet]:
        """All key sets of a security domain, oldest first."""
        ...

    def list_for_domains(self, security_domain_ids: Sequence[str]) -> Sequence[KeySet]:
        """The key sets of all these security domains, in no order."""
        ...

    def list_for_card(self, card_id: str) -> Sequence[KeySet]:
        """All key sets of a card's security domains, oldest first, in one statement."""
        ...


class KeyUpdateRepository(Repository[KeyUpdate], Protocol):
    def list_open_for_card(self, card_id: str) -> Sequence[KeyUpdate]:
        """PENDING and RUNNING updates of the card's security domains, the ISD's first, then by due time.

        Of a campaign: PENDING ones only while it runs and has released them (`due_at` <= `released_until`).
        """
        ...

    def list_for_domain(self, security_domain_id: str) -> Sequence[KeyUpdate]: ...

    def count_forced(self, since: datetime) -> int:
        """Updates that people asked for since then by themselves: of no campaign and by no approved request."""
        ...


class PendingRepository(Protocol):
    def list_page(self, wanted: PendingFilter, *, limit: int, after: PendingCursor | None = None) -> PendingRows:
        """A page of the open updates of cards in service, the earliest due first, after a cursor.

        One with fewer rows than `limit` is the last only if its `after` is None.
        """
        ...


class ApplicationRepository(Repository[Application], Protocol):
    def find_by_aid(self, card_id: str, aid: bytes) -> Application | None: ...
    def list_for_card(self, card_id: str) -> Sequence[Application]: ...


class VisitRepository(Repository[Visit], Protocol):
    def find_by_session(self, session_id: str) -> Visit | None: ...
    def list_open_for_card(self, card_id: str) -> Sequence[Visit]: ...
    def list_mismatched(
        self, *, since: datetime, card_id: str | None = None, terminal_id: str | None = None
    ) -> Sequence[Visit]:
        """Visits opened since then, of a card or at a terminal, in which a card cryptogram fitted no known key set."""
        ...

    def add_event(self, event: VisitEvent) -> None: ...
    def list_events(self, visit_id: str) -> Sequence[VisitEvent]: ...


class TerminalRepository(Repository[Terminal], Protocol):
    def find_by_fingerprint(self, fingerprint: bytes) -> Terminal | None: ...
    def find_by_name(self, name: str) -> Terminal | None: ...
    def list_refused(self) -> Sequence[Terminal]:
        """All that are suspended or revoked."""
        ...


class MasterKeyRepository(Repository[MasterKey], Protocol):
    def find_active(self, kind: MasterKind, name: str | None = None) -> MasterKey | None:
        """The newest ACTIVE generation of a kind (vendor keys: of that name)."""
        ...

    def find_by_name(self, name: str) -> MasterKey | None:
        """The newest generation of a name."""
        ...

    def find_generation(self, name: str, generation: int) -> MasterKey | None: ...


class TransferRepository(Repository[Transfer], Protocol):
    def list_for_card(self, card_identity: bytes) -> Sequence[Transfer]:
        """A card's transfers, oldest first."""
        ...

    def count_open(self, peer: str) -> int: ...
    def count_since(self, peer: str, since: datetime) -> int: ...


class PlatformKeyRepository(Repository[PlatformKey], Protocol):
    def find_active(self, purpose: PlatformKeyPurpose) -> PlatformKey | None: ...
    def find_planned(self, purpose: PlatformKeyPurpose) -> PlatformKey | None:
        """The newest PRE_ACTIVATION one: its making was begun and not finished."""
        ...


class PeerKeyRepository(Repository[PeerKey], Protocol):
    def find_active(self, peer: str) -> PeerKey | None: ...


class PlatformStateRepository(Repository[PlatformState], Protocol):
    def find_current(self) -> PlatformState | None:
        """The one row; None while nothing was ever found behind."""
        ...


class RepairOrderRepository(Repository[RepairOrder], Protocol):
    def find_open(self, card_id: str) -> RepairOrder | None: ...
    def find_newest(self, card_id: str) -> RepairOrder | None: ...


class KeyFindingRepository(Repository[KeyFinding], Protocol):
    def list_for_order(self, repair_order_id: str) -> Sequence[KeyFinding]:
        """What a repair order's visits found, oldest first."""
        ...

    def list_of_recovery(self, since: datetime, *, limit: int = 100, offset: int = 0) -> Sequence[KeyFinding]:
        """A page of what recovery found since then, oldest first."""
        ...

    def mark_applied(self, repair_order_id: str, at: datetime) -> None:
        """Record that the records were set to what the order's visits found."""
        ...

    def count_by_kind(self, since: datetime) -> dict[str, int]:
        """How many findings of each kind recovery made since then."""
        ...


class Transaction(Protocol):
    """The repositories of one database transaction."""

    @property
    def cards(self) -> CardRepository: ...
    @property
    def security_domains(self) -> SecurityDomainRepository: ...
    @property
    def key_sets(self) -> KeySetRepository: ...
    @property
    def key_updates(self) -> KeyUpdateRepository: ...
    @property
    def campaigns(self) -> CampaignRepository: ...
    @property
    def compromises(self) -> Compromises: ...
    @property
    def applications(self) -> ApplicationRepository: ...
    @property
    def visits(self) -> VisitRepository: ...
    @property
    def terminals(self) -> TerminalRepository: ...
    @property
    def master_keys(self) -> MasterKeyRepository: ...
    @property
    def transfers(self) -> TransferRepository: ...
    @property
    def platform_keys(self) -> PlatformKeyRepository: ...
    @property
    def peer_keys(self) -> PeerKeyRepository: ...
    @property
    def policies(self) -> PolicyRepository: ...
    @property
    def sweeps(self) -> Sweeps: ...
    @property
    def alarms(self) -> AlarmRepository: ...
    @property
    def leases(self) -> LeaseRepository: ...
    @property
    def housekeeping(self) -> HousekeepingRepository: ...
    @property
    def pending(self) -> PendingRepository: ...
    @property
    def platform_state(self) -> PlatformStateRepository: ...
    @property
    def repair_orders(self) -> RepairOrderRepository: ...
    @property
    def key_findings(self) -> KeyFindingRepository: ...
    @property
    def requests(self) -> RequestRepository: ...
    @property
    def ceremonies(self) -> CeremonyRepository: ...
    @property
    def people(self) -> PersonRepository: ...
    @property
    def accounts(self) -> AccountRepository: ...
    @property
    def credentials(self) -> CredentialRepository: ...
    @property
    def login_sessions(self) -> LoginSessionRepository: ...
    @property
    def invitations(self) -> InvitationRepository: ...
    @property
    def audit(self) -> AuditRepository: ...


class Store(Protocol):
    """The database."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Open a transaction: commit at the end of the block, roll back on an exception."""
        ...

    def reading(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that only reads: it waits for no writer."""
        ...

    def check(self) -> None:
        """Raise `database.unavailable` or `database.schema` unless the database answers with the expected schema."""
        ...


@dataclass(frozen=True)
class NewMaster:
    """What the HSM says of a master key it made or imported.

    `kcv`: by `kcv_method`, the one for people: 5 bytes by CMAC for AES, 3 bytes for triple DES. `attributes`: PKCS#11
    name and value of each, as read back from the token.
    """

    object_id: bytes
    kcv: bytes
    attributes: tuple[tuple[str, str], ...]
    kcv_method: KcvMethod = KcvMethod.AES_CMAC


@dataclass(frozen=True)
class HsmStatus:
    """The token as `kms hsm status` shows it.

    `answered_at`: when it last answered a call. `wrap_strategy`: native, transient or refused, the weaker of triple DES
    and AES; `wrap_reason`: what probing found of each. `missing_peer_mechanisms`: what an exchange of keys with a peer
    would need and the token lacks.
    """

    token_label: str
    manufacturer: str
    model: str
    serial: str
    firmware: str
    mechanisms: tuple[str, ...]
    missing_mechanisms: tuple[str, ...]
    wrap_strategy: str
    answered_at: datetime | None
    wrap_reason: str = ""
    missing_peer_mechanisms: tuple[str, ...] = ()


@dataclass(frozen=True)
class NewKek:
    """A KEK that was just made, and the same wrapped to the peer's transport key (RSA-OAEP, 384 bytes)."""

    master: NewMaster
    wrapped: bytes = field(repr=False)


class Vault(Protocol):
    """The HSM: scopes of key operations for the core, and the making of master keys and of keys between platforms."""

    def open_scope(self) -> AbstractContextManager[KeyPort]:
        """Open a scope of key operations; its session objects are destroyed when it closes."""
        ...

    def random(self, length: int) -> bytes:
        """Random bytes from the token (host challenges)."""
        ...

    def check(self) -> None:
        """Raise `hsm.unavailable` when the token has not answered lately, `hsm.login` when it refused the PIN.

        Reads a timestamp; never waits for the lock.
        """
        ...

    def status(self) -> HsmStatus: ...

    def generate_master(self, object_id: bytes, label: str) -> NewMaster:
        """Generate an AES-256 master: derive-only, sensitive, not extractable, modifiable, copyable or destroyable.

        `object_id`: 16 bytes. The same id again gives the key that is there already, so that a run that was cut off can
        be taken up again. Raises `key.attributes`, `key.ambiguous`, `hsm.*`.
        """
        ...

    def generate_login_key(self, object_id: bytes, label: str) -> NewMaster:
        """Generate an AES-256 key that computes CMACs and nothing else; otherwise as `generate_master`."""
        ...

    def mac(self, ref: MasterRef, data: bytes) -> bytes:
        """AES-CMAC by a login key, 16 bytes. Raises `key.*` as any use of a key, `key.attributes` for another key."""
        ...

    def check_components(
        self, key_type: KeyType, components: Sequence[bytearray], expected_kcv: bytes, kcv_method: KcvMethod
    ) -> None:
        """Raise unless the XOR of the components has this check value; keeps nothing and leaves the components alone.

        Raises `key.kcv-mismatch`; `input.invalid` for components of a wrong number or length or that give single DES.
        """
        ...

    def import_master(
        self,
        object_id: bytes,
        label: str,
        *,
        key_type: KeyType,
        components: Sequence[bytearray],
        expected_kcv: bytes,
        kcv_method: KcvMethod,
    ) -> NewMaster:
        """Make a derive-only master that is the XOR of 1 to 5 key components of its full length.

        The components are overwritten with zeros, whatever happens. The key is kept only if its check value is
        `expected_kcv`; else `key.kcv-mismatch`. The same `object_id` again gives the key that is there already, if its
        check value agrees. Raises `input.invalid` as `check_components` does.
        """
        ...

    def generate_signing_key(self, object_id: bytes, label: str) -> bytes:
        """Generate an EC P-256 key pair whose private half signs and does nothing else; the public half (DER).

        The same `object_id` again gives the pair that is there. Raises `key.attributes`, `key.ambiguous`, `hsm.*`.
        """
        ...

    def sign(self, object_id: bytes, data: bytes) -> bytes:
        """ECDSA over the SHA-256 of `data` by a signing key: r | s, 64 bytes. Raises `key.missing`, `hsm.*`."""
        ...

    def generate_transport_key(self, object_id: bytes, label: str) -> bytes:
        """Generate an RSA key pair of 3072 bits whose private half unwraps and never decrypts; the public half (DER).

        Otherwise as `generate_signing_key`.
        """
        ...

    def check_key_pair(self, object_id: bytes, purpose: PlatformKeyPurpose, public_key_der: bytes) -> None:
        """Raise unless the pair is there as it was made.

        Raises `key.missing`, `key.ambiguous`, `key.attributes`, `key.kcv-mismatch` for another public half.
        """
        ...

    def check_objects(self, expected: Sequence[ExpectedObject]) -> ObjectReport:
        """Look at every lasting object: expected keys by their attributes and check values, and what else is there.

        A key that is not as it was made is refused at its next use, as it would be had it been looked up for the first
        time. Raises `hsm.*`.
        """
        ...

    def generate_kek(self, object_id: bytes, label: str, peer_transport_public: bytes) -> NewKek:
        """Generate an AES-256 KEK that wraps and never unwraps, and wrap it to a peer's transport key (DER).

        `object_id`: never used before, since a KEK that is there cannot be wrapped again: `input.conflict`. Raises
        `input.invalid` for a transport key that is not RSA 3072.
        """
        ...

    def unwrap_kek(
        self, object_id: bytes, label: str, own_transport_object_id: bytes, wrapped: bytes, *, expected_kcv: bytes
    ) -> NewMaster:
        """Make the KEK that a peer generated: it unwraps and never wraps. `expected_kcv`: by CMAC, 5 bytes.

        Nothing is kept of one with another check value (`key.kcv-mismatch`) or that cannot be unwrapped
        (`key.unwrap-refused`). The same `object_id` again gives the key that is there, if its check value agrees.
        """
        ...

    def watch(self, on_hang: Callable[[], None] | None = None) -> None:
        """Open the HSM in this process and keep it under watch; `on_hang` is called when a call does not come back.

        For server workers, after the fork. `check` starts it without `on_hang`.
        """
        ...

    def close(self) -> None:
        """Log out of the HSM and stop watching it."""
        ...


class PeerLine(Protocol):
    """The leased line to one issuer's platform, as an application provider uses it; every call may be repeated.

    Raises `peer.unreachable` (try again later), `peer.untrusted`, `peer.refused` (its one fault names the issuer's own
    code and text), `peer.protocol-violation`; `visit.conflict` as it is: another visit holds the card at the issuer.
    """

    def request(self, request: TransferRequest) -> TransferAnswer:
        """Ask for a security domain, or for new initial keys in one."""
        ...

    def report(self, transfer_id: str, report: Report) -> RelayedOrder:
        """Hand the card's responses on, get the next batch. `answers_order`: the number of the Order they answer."""
        ...

    def hand_over(self, transfer_id: str) -> Envelope:
        """Get the envelope; the issuer makes it anew each time until control is accepted."""
        ...

    def accept_control(self, transfer_id: str) -> TransferState:
        """Tell the issuer that the provider's own keys are proved; the issuer's state, `CLOSED`."""
        ...


class Anchor(Protocol):
    """What stands outside the database and tells whether the database is behind (DESIGN section 4)."""

    def read(self) -> AnchorMark | None:
        """What was written last; None where nothing was. Raises `config.invalid` for what cannot be read."""
        ...

    def write(self, mark: AnchorMark) -> None:
        """Write it, whole or not at all."""
        ...


class Clock(Protocol):
    """Time, so that tests can set it."""

    def now(self) -> datetime:
        """Now, in UTC, with a time zone."""
        ...


class Identifiers(Protocol):
    """New identifiers for rows."""

    def new(self) -> str:
        """A time-ordered UUID (version 7) in lower-case text form."""
        ...

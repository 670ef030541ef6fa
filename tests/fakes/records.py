"""Records to test with: each with every field set to something plausible, changed where a test cares."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from kms.card.keys import DerivationPurpose, Diversification, KcvMethod, KeyType
from kms.domain.alarms import Alarm, AlarmSeverity
from kms.domain.audit import AuditEvent
from kms.domain.cards import (
    Application,
    ApplicationState,
    Card,
    CardState,
    DomainKind,
    DomainState,
    SecurityDomain,
)
from kms.domain.keys import (
    Delivery,
    KeySet,
    KeyState,
    MasterKey,
    MasterKind,
    PeerKey,
    PlatformKey,
    PlatformKeyPurpose,
)
from kms.domain.updates import KeyUpdate, UpdateReason, UpdateState
from kms.domain.visits import Terminal, TerminalState, Visit, VisitEvent, VisitState

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
ISD_AID = bytes.fromhex("A000000151000000")
SSD_AID = bytes.fromhex("A0000001510001")


class TickingClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def move(self, **step: float) -> None:
        self.time += timedelta(**step)


class CountingIdentifiers:
    """Identifiers in order: 00000000-0000-7000-8000-000000000001, ..."""

    def __init__(self, first: int = 1) -> None:
        self._numbers = count(first)

    def new(self) -> str:
        return build_id(next(self._numbers))


def build_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012d}"


def build_card(number: int = 1, **changes: Any) -> Card:  # noqa: ANN401 - any field of the record
    card = Card(
        id=build_id(1000 + number),
        identity=bytes.fromhex("4292") + number.to_bytes(4, "big"),
        kdd=bytes(10),
        scp02_i=0x55,
        scp03_i=None,
        profile="default",
        diversification=Diversification.VISA2,
        state=CardState.ENROLLED,
        enrolled_at=NOW,
    )
    return replace(card, **changes)


def build_domain(number: int = 1, **changes: Any) -> SecurityDomain:  # noqa: ANN401 - any field of the record
    domain = SecurityDomain(
        id=build_id(2000 + number),
        card_id=build_id(1001),
        parent_id=None,
        aid=SSD_AID + bytes([number]),
        kind=DomainKind.SSD,
        state=DomainState.KEYED,
        managed_by="issuer",
        privileges=b"\x80",
        last_generation=-1,
        created_at=NOW,
    )
    return replace(domain, **changes)


def build_isd(number: int = 1, **changes: Any) -> SecurityDomain:  # noqa: ANN401 - any field of the record
    return build_domain(
        number, **({"aid": ISD_AID, "kind": DomainKind.ISD, "privileges": b"", "last_generation": 0} | changes)
    )


def build_master(number: int = 1, **changes: Any) -> MasterKey:  # noqa: ANN401 - any field of the record
    master = MasterKey(
        id=build_id(3000 + number),
        name=f"vendor-{number}",
        kind=MasterKind.VENDOR,
        generation=1,
        key_type=KeyType.DES2,
        object_id=number.to_bytes(16, "big"),
        kcv=b"\x8b\xaf\x47",
        kcv_method=KcvMethod.DES_ZERO,
        state=KeyState.ACTIVE,
        created_at=NOW,
        activated_at=NOW,
    )
    return replace(master, **changes)


def build_platform_key(number: int = 1, **changes: Any) -> PlatformKey:  # noqa: ANN401 - any field of the record
    key = PlatformKey(
        id=build_id(10_000 + number),
        name="issuer-signing",
        purpose=PlatformKeyPurpose.SIGNING,
        object_id=(100 + number).to_bytes(16, "big"),
        public_key_der=b"public",
        state=KeyState.ACTIVE,
        created_at=NOW,
    )
    return replace(key, **changes)


def build_peer_key(number: int = 1, **changes: Any) -> PeerKey:  # noqa: ANN401 - any field of the record
    key = PeerKey(build_id(11_000 + number), f"peer-{number}", b"public", KeyState.ACTIVE, NOW)
    return replace(key, **changes)


def build_key_set(number: int = 1, **changes: Any) -> KeySet:  # noqa: ANN401 - any field of the record
    key_set = KeySet(
        id=build_id(4000 + number),
        security_domain_id=build_id(2001),
        kvn=0x20 + number,
        key_type=KeyType.DES2,
        purpose=DerivationPurpose.SSD,
        master_id=build_id(3001),
        generation=number,
        delivery=Delivery.PROVED,
        state=KeyState.ACTIVE,
        kcvs=(b"\x01\x02\x03", b"\x04\x05\x06", b"\x00\x00\x00"),
        kcv_method=KcvMethod.DES_ZERO,
        created_at=NOW,
        proved_at=NOW + timedelta(seconds=1),
        expires_at=NOW + timedelta(days=365),
    )
    return replace(key_set, **changes)


def build_update(number: int = 1, **changes: Any) -> KeyUpdate:  # noqa: ANN401 - any field of the record
    update = KeyUpdate(
        id=build_id(5000 + number),
        security_domain_id=build_id(2001),
        reason=UpdateReason.FORCED,
        state=UpdateState.PENDING,
        requested_at=NOW,
        requested_by="cli:operator",
        due_at=NOW + timedelta(days=number),
    )
    return replace(update, **changes)


def build_application(number: int = 1, **changes: Any) -> Application:  # noqa: ANN401 - any field of the record
    application = Application(
        id=build_id(6000 + number),
        card_id=build_id(1001),
        aid=bytes.fromhex("A0000000041010"),
        security_domain_id=build_id(2001),
        state=ApplicationState.REQUESTED,
        requested_at=NOW + timedelta(minutes=number),
    )
    return replace(application, **changes)


def build_terminal(number: int = 1, **changes: Any) -> Terminal:  # noqa: ANN401 - any field of the record
    terminal = Terminal(
        id=build_id(7000 + number),
        name=f"counter-{number}",
        fingerprint=number.to_bytes(32, "big"),
        state=TerminalState.ENROLLED,
        enrolled_at=NOW,
    )
    return replace(terminal, **changes)


def build_visit(number: int = 1, **changes: Any) -> Visit:  # noqa: ANN401 - any field of the record
    visit = Visit(
        id=build_id(8000 + number),
        session_id=f"session-{number}",
        terminal_id=build_id(7001),
        card_id=build_id(1001),
        state=VisitState.OPEN,
        opened_at=NOW + timedelta(minutes=number),
        deadline=NOW + timedelta(minutes=number + 5),
    )
    return replace(visit, **changes)


def build_visit_event(number: int = 1, **changes: Any) -> VisitEvent:  # noqa: ANN401 - any field of the record
    event = VisitEvent(build_id(8001), number, NOW + timedelta(seconds=number), "opened", f"line {number}")
    return replace(event, **changes)


def build_audit_event(number: int = 1, **changes: Any) -> AuditEvent:  # noqa: ANN401 - any field of the record
    event = AuditEvent(build_id(9000 + number), NOW, "cli:operator", "card.enrol", f"card {number}", "done")
    return replace(event, **changes)


def build_alarm(number: int = 1, **changes: Any) -> Alarm:  # noqa: ANN401 - any field of the record
    alarm = Alarm(
        id=build_id(9000 + number),
        kind="card.quarantined",
        subject="card 0102",
        text="look at it",
        severity=AlarmSeverity.WARNING,
        raised_at=NOW,
        last_at=NOW,
    )
    return replace(alarm, **changes)

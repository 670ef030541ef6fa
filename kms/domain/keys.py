"""Key sets, master keys and the keys of platforms as records: what is where, in which state. Never a secret value."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kms.card.keys import DerivationPurpose, KcvMethod, KeyType


class KeyState(StrEnum):
    """Key states of NIST SP 800-57 part 1 section 7."""

    PRE_ACTIVATION = "PRE_ACTIVATION"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    DEACTIVATED = "DEACTIVATED"
    COMPROMISED = "COMPROMISED"
    DESTROYED = "DESTROYED"


class Delivery(StrEnum):
    """Whether a key set is known to be on its card."""

    PLANNED = "PLANNED"  # recorded and not sent, or sent and not seen in force
    IN_FLIGHT = "IN_FLIGHT"  # written ahead; a batch that installs it may have left
    IN_DOUBT = "IN_DOUBT"  # no proof by the visit's end; the next visit reconciles
    PROVED = "PROVED"  # a valid card cryptogram under it was seen
    REPLACED = "REPLACED"  # a later set took its place
    FACTORY = "FACTORY"  # delivered by the manufacturer, not yet proved by us


class MasterKind(StrEnum):
    """What a master key derives.

    Three derive nothing: a peer's KEK (by the peer's name) wraps, or unwraps; the backup key wraps; the login key
    computes MACs.
    """

    VENDOR = "vendor"
    ISD = "isd"
    SSD_INITIAL = "ssd-initial"
    SSD = "ssd"
    PEER_KEK = "peer-kek"
    BACKUP = "backup"  # wraps backups of masters
    LOGIN = "login"  # computes CMACs: the secrets of one-time codes follow from it


class PlatformKeyPurpose(StrEnum):
    """What one of this platform's own key pairs is for; it does nothing else."""

    SIGNING = "signing"  # EC P-256: signs hand-overs and key exchange files
    TRANSPORT = "transport"  # RSA 3072: a peer wraps a KEK to it, and its private part unwraps it, never decrypts
    AUDIT = "audit"  # EC P-256: signs checkpoints of the audit log


@dataclass(frozen=True)
class MasterKey:
    """A master key in the HSM. `object_id`: its CKA_ID, 16 bytes. `generation`: of this name, from 1.

    `kcv`: by `kcv_method`, shown to people and compared each time the key is looked up; empty until the key is made.
    """

    id: str
    name: str
    kind: MasterKind
    generation: int
    key_type: KeyType
    object_id: bytes
    kcv: bytes
    kcv_method: KcvMethod
    state: KeyState
    created_at: datetime
    activated_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class KeySet:
    """One secure channel key set of a security domain: how it is derived, where it stands, and its check values.

    `kvn`: key version number on the card. `purpose` None: the vendor's own keys (diversified from `master_id`).
    `generation`: derivation generation (0 for vendor keys). `kcvs`: ENC, MAC, DEK, 3 bytes each, empty until derived.
    `policy_id`: the policy version that its dates follow from. `rotate_at`: when an expiry update of it becomes due.
    `noticed_days`: the shortest notice given of its end, in days before it.
    """

    id: str
    security_domain_id: str
    kvn: int
    key_type: KeyType
    purpose: DerivationPurpose | None
    master_id: str
    generation: int
    delivery: Delivery
    state: KeyState
    kcvs: tuple[bytes, ...]
    kcv_method: KcvMethod
    created_at: datetime
    proved_at: datetime | None = None
    replaced_at: datetime | None = None
    expires_at: datetime | None = None
    policy_id: str | None = None
    rotate_at: datetime | None = None
    noticed_days: int | None = None


@dataclass(frozen=True)
class PlatformKey:
    """One of this platform's key pairs in the HSM. `object_id`: CKA_ID of both halves, 16 bytes.

    `public_key_der`: SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), empty until the pair is made.
    """

    id: str
    name: str
    purpose: PlatformKeyPurpose
    object_id: bytes
    public_key_der: bytes
    state: KeyState
    created_at: datetime


@dataclass(frozen=True)
class PeerKey:
    """A peer's signing key, pinned after people compared its fingerprint. `public_key_der`: SubjectPublicKeyInfo.

    One per peer is ACTIVE; what it was replaced by made it DEACTIVATED.
    """

    id: str
    peer: str
    public_key_der: bytes
    state: KeyState
    pinned_at: datetime

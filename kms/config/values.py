"""The configuration's values, a frozen class per section of the file, each field with its limits.

Rules: a class checks one field at a time; rules that join fields stand in `kms.config.cross_checks`. Byte strings are
written as hex, paths are absolute once loaded (`base_dir` comes as the validation context).
"""

import platform
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic.dataclasses import dataclass

from kms.card.keys import KeyType
from kms.card.profile import CardProfile
from kms.config.peers import CardRangeEntry, PeerConfig
from kms.config.schema import STRICT, Aid, PlatformName, Privileges, ResolvedPath, find_base_dir
from kms.domain.card_ranges import CardRange

SQLITE_PREFIX = "sqlite:///"
# An origin has no path; browsers give security keys to https and, for developers, to localhost.
ORIGIN = r"^(https://[a-z0-9.-]+|http://localhost)(:[0-9]{1,5})?$"
_POSTGRESQL_PREFIXES = ("postgresql://", "postgresql+psycopg://")  # the same: psycopg is the only driver here


def _resolve_url(url: str, info: ValidationInfo) -> str:
    if url.startswith(_POSTGRESQL_PREFIXES):
        return url
    if not url.startswith(SQLITE_PREFIX):
        raise ValueError(f"Must begin with {SQLITE_PREFIX} or {_POSTGRESQL_PREFIXES[0]}")
    path = url.removeprefix(SQLITE_PREFIX)
    if not path or path == ":memory:":
        raise ValueError("Must name a file: each worker process opens the database by itself")
    return f"{SQLITE_PREFIX}{find_base_dir(info) / path}"


class PlatformRole(StrEnum):
    """Which of the two platforms this installation is."""

    ISSUER = "issuer"
    PROVIDER = "provider"
    BOTH = "both"


class PlatformMode(StrEnum):
    """Whether test keys and transient wrapping may be used."""

    LAB = "lab"
    PRODUCTION = "production"


@dataclass(frozen=True, config=STRICT)
class PlatformConfig:
    """Who this installation is. `name` is part of every key derivation: another name means other keys, for ever.

    `node`: this machine's name in the audit log, by default its host name.
    """

    name: PlatformName
    role: PlatformRole
    mode: PlatformMode
    node: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = field(default_factory=platform.node)


@dataclass(frozen=True, config=STRICT)
class DatabaseConfig:
    """The database: `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`.

    `url` may hold a password, so it never shows in a repr.
    """

    url: Annotated[str, AfterValidator(_resolve_url)] = field(repr=False)


@dataclass(frozen=True, config=STRICT)
class HsmConfig:
    """The token. Exactly one of `pin_file` (mode 0600) and `pin_env` says where the PIN is: see `read_pin`.

    `module`: the PKCS#11 library. `softhsm2_conf`: exported as SOFTHSM2_CONF before the library is loaded.
    `p11_kit_modules`: a folder of p11-kit module files, used in place of the machine's, for a token behind p11-kit.
    `allow_transient_plaintext`: the gate of DESIGN section 4, lab mode only. `call_timeout_s`: after it a call hangs.
    `allowed_tokens`: the tokens that production mode takes, each as `MANUFACTURER:MODEL:SERIAL` (`kms doctor`).
    """

    module: ResolvedPath
    token_label: Annotated[str, Field(min_length=1, max_length=32)]  # CK_TOKEN_INFO.label is 32 bytes
    pin_file: ResolvedPath | None = None
    pin_env: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None
    softhsm2_conf: ResolvedPath | None = None
    p11_kit_modules: ResolvedPath | None = None
    allow_transient_plaintext: bool = False
    call_timeout_s: Annotated[float, Field(gt=0, le=120, strict=False)] = 10.0
    allowed_tokens: tuple[Annotated[str, Field(pattern=r"^[^:\n]+:[^:\n]+:[^:\n]+$")], ...] = ()


@dataclass(frozen=True, config=STRICT)
class ServerConfig:
    """The API's listener: address, certificate files (PEM), and processes. Each worker opens the token by itself."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=0, le=65535)]
    certificate: ResolvedPath
    private_key: ResolvedPath
    client_ca: ResolvedPath
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    threads: Annotated[int, Field(ge=1, le=256)] = 8


@dataclass(frozen=True, config=STRICT)
class VisitsConfig:
    """Limits of a card visit. SERAM lets an agent reconnect for 5 minutes: the default deadline.

    `max_reconciliations`: how often one visit may start over. `max_attempts`: after how many visits an update that the
    card refuses is given up.
    """

    deadline_seconds: Annotated[int, Field(ge=10, le=3600)] = 300
    max_reconciliations: Annotated[int, Field(ge=1, le=20)] = 3
    delay_ms: Annotated[int, Field(ge=0, le=60_000)] = 0
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3


@dataclass(frozen=True, config=STRICT)
class RecoveryConfig:
    """How a restored database is told. `anchor_file`: outside the database and its backups; None: it is not told."""

    anchor_file: ResolvedPath | None = None


@dataclass(frozen=True, config=STRICT)
class CardsConfig:
    """How cards are handled. `take_over_isd`: replace the vendor's ISD keys at a card's first visit."""

    profiles_dir: ResolvedPath
    take_over_isd: bool = True


@dataclass(frozen=True, config=STRICT)
class KeysConfig:
    """Master keys. `master_valid_days`: how long a new generation issues key sets (those live by their policies)."""

    master_valid_days: Annotated[int, Field(ge=1, le=3660)] = 365


@dataclass(frozen=True, config=STRICT)
class AuditConfig:
    """Where checkpoints of the audit log are anchored outside the database.

    `anchor_file`: appended to; keep it on another disk, best on another machine. `syslog`: also to syslog(3).
    """

    anchor_file: ResolvedPath | None = None
    syslog: bool = False


@dataclass(frozen=True, config=STRICT)
class ApprovalsConfig:
    """Dual control. `force_without`: updates that people may force within 24 hours without another's approval.

    `valid_hours`: how long a request waits for approvals.
    """

    force_without: Annotated[int, Field(ge=0, le=10_000)] = 10
    valid_hours: Annotated[int, Field(ge=1, le=720)] = 72


@dataclass(frozen=True, config=STRICT)
class ConsoleConfig:
    """The console's listener for people, and their logins.

    `origin`: how browsers reach it, scheme, host and port; security keys answer for it alone. `rp_id`: the domain that
    security keys are registered for, by default the origin's host; another one loses all of them. `certificate`,
    `private_key`: PEM; without them it speaks plain HTTP, for `localhost` alone. `idle_minutes`, `hours`: after so long
    without use, or in all, a login ends. `ca`: of the authority by which `kms` as a client checks the console's
    certificate; None: the system's.
    """

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8445
    origin: Annotated[str, Field(pattern=ORIGIN)] = "http://localhost:8445"
    rp_id: Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,253}$")] | None = None
    certificate: ResolvedPath | None = None
    private_key: ResolvedPath | None = None
    ca: ResolvedPath | None = None
    idle_minutes: Annotated[int, Field(ge=1, le=15)] = 15
    hours: Annotated[int, Field(ge=1, le=12)] = 12
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    threads: Annotated[int, Field(ge=1, le=256)] = 8

    @property
    def site(self) -> str:
        """The domain that security keys are registered for."""
        return self.rp_id or self.origin.partition("://")[2].partition(":")[0]


@dataclass(frozen=True, config=STRICT)
class CeremoniesConfig:
    """Ceremonies. `folder`: of the reviewed scripts. The HSMs have fields as `[hsm]` has.

    `rehearsal_hsm`: a scratch token on which ceremonies are rehearsed. `recovery_hsm`: another token, in which backups
    are proved and from which they would be restored. `entry_port`: where the console's single-use process takes a
    component; 0: any free one.
    """

    folder: ResolvedPath
    rehearsal_hsm: HsmConfig | None = None
    recovery_hsm: HsmConfig | None = None
    entry_port: Annotated[int, Field(ge=0, le=65535)] = 0


@dataclass(frozen=True, config=STRICT)
class SchedulerConfig:
    """The scheduler. All times in seconds but `retention_days`.

    `lease_seconds`: after so long without a sign of life another node takes over. `clock_tolerance`: the largest jump,
    and difference from the database's clock, that does not stop scheduling. `require_synchronised_clock`: ask the
    kernel too; unless told, in production mode alone. `late_report`: how long after its deadline a visit may still be
    reported. `retention_days`: how long visits that are over stay, with their journals.
    """

    lease_seconds: Annotated[int, Field(ge=3, le=3600)] = 30
    clock_tolerance: Annotated[int, Field(ge=1, le=3600)] = 300
    require_synchronised_clock: bool | None = None
    late_report: Annotated[int, Field(ge=0, le=86_400)] = 900
    retention_days: Annotated[int, Field(ge=8, le=3660)] = 400
    visits_every: Annotated[int, Field(ge=1, le=86_400)] = 60
    overdue_every: Annotated[int, Field(ge=1, le=86_400)] = 300
    sweep_every: Annotated[int, Field(ge=1, le=86_400)] = 300
    campaigns_every: Annotated[int, Field(ge=1, le=86_400)] = 60
    audit_every: Annotated[int, Field(ge=1, le=86_400)] = 30
    tokens_every: Annotated[int, Field(ge=60, le=604_800)] = 86_400
    retention_every: Annotated[int, Field(ge=60, le=604_800)] = 86_400


@dataclass(frozen=True, config=STRICT)
class MetricsConfig:
    """Where Prometheus may ask: a listener of its own, without TLS, for this machine.

    `port`: of the server, `scheduler_port`: of the scheduler; without one there is no listener.
    """

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    scheduler_port: Annotated[int, Field(ge=1, le=65535)] | None = None


@dataclass(frozen=True, config=STRICT)
class CatalogueEntry:
    """An application that card users may apply for, and the security domain it needs.

    `aid`, `ssd_aid`: 5-16 bytes. `privileges`: of the SSD, 1 or 3 bytes. `managed_by`: `issuer`, where this platform
    owns the card and manages the SSD itself; `provider`, where this platform manages an SSD on a card that a peer
    issued. `ssd_key_type`: of the SSD's keys on cards that speak SCP03; on others they are DES2.
    """

    aid: Aid
    name: Annotated[str, Field(min_length=1, max_length=64)]
    ssd_aid: Aid
    privileges: Privileges
    ssd_key_type: Literal[KeyType.DES2, KeyType.AES128, KeyType.AES192, KeyType.AES256] = KeyType.AES128
    managed_by: Literal["issuer", "provider"] = "issuer"


@dataclass(frozen=True, config=STRICT)
class Sections:
    """The file as it is written: every section of TOML by its name."""

    platform: PlatformConfig
    database: DatabaseConfig
    hsm: HsmConfig
    server: ServerConfig
    cards: CardsConfig
    keys: KeysConfig = field(default_factory=KeysConfig)
    visits: VisitsConfig = field(default_factory=VisitsConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    approvals: ApprovalsConfig = field(default_factory=ApprovalsConfig)
    console: ConsoleConfig = field(default_factory=ConsoleConfig)
    ceremonies: CeremoniesConfig | None = None
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    applications: tuple[CatalogueEntry, ...] = ()
    peers: tuple[PeerConfig, ...] = ()
    card_ranges: tuple[CardRangeEntry, ...] = ()
    base_dir: str = "."


@dataclass(frozen=True)
class Config:
    """The whole configuration. `source`: the file it came from. `profiles`: card profiles by name.

    `peers`: the platforms at the leased lines. `card_ranges`: whose cards a provider meets.
    """

    source: Path
    platform: PlatformConfig
    database: DatabaseConfig
    hsm: HsmConfig
    server: ServerConfig
    visits: VisitsConfig
    cards: CardsConfig
    keys: KeysConfig
    applications: tuple[CatalogueEntry, ...]
    profiles: Mapping[str, CardProfile]
    peers: tuple[PeerConfig, ...] = ()
    card_ranges: tuple[CardRange, ...] = ()
    ceremonies: CeremoniesConfig | None = None
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    approvals: ApprovalsConfig = field(default_factory=ApprovalsConfig)
    console: ConsoleConfig = field(default_factory=ConsoleConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)

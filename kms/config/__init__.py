"""The platform's configuration: one TOML file, read once at start into frozen values.

Rules: no secret stands in the file (PINs are named by file or environment variable and read when they are needed).
Unknown keys are refused, every fault is reported at once, with its file and field. A relative path is taken from
`base_dir`, which is itself relative to the folder that holds the configuration file and defaults to that folder.
"""

from kms.config.loader import load_config
from kms.config.peers import PeerConfig, PeerRole, read_fingerprint
from kms.config.pin import read_pin
from kms.config.values import (
    ApprovalsConfig,
    AuditConfig,
    CardsConfig,
    CatalogueEntry,
    Config,
    ConsoleConfig,
    DatabaseConfig,
    HsmConfig,
    KeysConfig,
    MetricsConfig,
    PlatformConfig,
    PlatformMode,
    PlatformRole,
    SchedulerConfig,
    ServerConfig,
    VisitsConfig,
)

__all__ = [
    "ApprovalsConfig",
    "AuditConfig",
    "CardsConfig",
    "CatalogueEntry",
    "Config",
    "ConsoleConfig",
    "DatabaseConfig",
    "HsmConfig",
    "KeysConfig",
    "MetricsConfig",
    "PeerConfig",
    "PeerRole",
    "PlatformConfig",
    "PlatformMode",
    "PlatformRole",
    "SchedulerConfig",
    "ServerConfig",
    "VisitsConfig",
    "load_config",
    "read_fingerprint",
    "read_pin",
]

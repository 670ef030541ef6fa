"""What in the configuration, and in the files that it names, is nothing for production.

Rules: neither HSM nor database is opened. A file that is not there is its program's to tell: here only what a file
holds is looked at. Passwords are compared with known defaults and shown nowhere.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from kms.config import Config, PlatformMode, read_pin
from kms.domain.fitness import Finding, Severity
from kms.errors import KmsError

IsDevelopment = Callable[[Path], bool]

# What tokens and databases are delivered with, or what their manuals set up.
DEFAULT_SECRETS = frozenset(
    {
        *("0000", "00000000", "1111", "11111111", "1234", "12345", "123456", "1234567", "12345678", "123456789"),
        *("1234567890", "4321", "5678", "654321", "admin", "changeme", "default", "hsm", "kms", "password", "postgres"),
        *("safenet", "secret", "sopin", "test", "user", "userpin", "utimaco"),
    }
)
_LOCAL_HOSTS = ("localhost", "127.0.0.1")


def find_setting_findings(config: Config, is_development: IsDevelopment) -> Iterator[Finding]:
    """Everything in the configuration that is nothing for production. `is_development`: of a certificate file."""
    if config.platform.mode is not PlatformMode.PRODUCTION:
        yield Finding(
            "platform.mode",
            Severity.REFUSED,
            f"the mode is {config.platform.mode}",
            "Test keys and the development login are taken in it",
            'When nothing else is listed: mode = "production"',
        )
    yield from _find_hsm_findings(config)
    yield from _find_database_findings(config)
    yield from _find_console_findings(config)
    yield from _find_outside_findings(config)
    yield from _find_certificate_findings(config, is_development)


def _find_hsm_findings(config: Config) -> Iterator[Finding]:
    if config.hsm.allow_transient_plaintext:
        yield Finding(
            "hsm.allow_transient_plaintext",
            Severity.REFUSED,
            "new keys may be read for the moment of wrapping",
            "A card key is then in the server's memory in clear",
            "Take the line away; the token must wrap keys itself",
        )
    if not config.hsm.allowed_tokens:
        yield Finding(
            "hsm.allowed_tokens",
            Severity.REFUSED,
            "the site's list of tokens is empty",
            "Any device with the right label would be given the PIN and trusted with keys",
            'List the site\'s tokens, each as "MANUFACTURER:MODEL:SERIAL": `kms hsm status` shows all three',
        )
    if _is_default_pin(config):
        yield Finding(
            "hsm.pin_file" if config.hsm.pin_env is None else "hsm.pin_env",
            Severity.REFUSED,
            "the token's PIN is one that everybody tries first",
            "Whoever reaches the token uses every key in it",
            "Set a PIN that a generator made, by the token's own tool",
        )
    ceremonies = config.ceremonies
    recovery = ceremonies.recovery_hsm if ceremonies is not None else None
    rehearsal = ceremonies.rehearsal_hsm if ceremonies is not None else None
    if recovery is None:
        yield Finding(
            "ceremonies.recovery_hsm",
            Severity.WEAKNESS,
            "no second token is configured in which backups are proved",
            "A backup that was never opened elsewhere is a hope",
            "Configure [ceremonies.recovery_hsm]",
        )
    elif not recovery.allowed_tokens:
        yield Finding(
            "ceremonies.recovery_hsm.allowed_tokens",
            Severity.REFUSED,
            "the list of recovery tokens is empty",
            "Backups of master keys would be opened in any device with the right label",
            "List the recovery token as in hsm.allowed_tokens",
        )
    place = (config.hsm.module, config.hsm.token_label, config.hsm.softhsm2_conf, config.hsm.p11_kit_modules)
    for name, other in (("rehearsal_hsm", rehearsal), ("recovery_hsm", recovery)):
        if other and (other.module, other.token_label, other.softhsm2_conf, other.p11_kit_modules) == place:
            yield Finding(
                f"ceremonies.{name}.token_label",
                Severity.REFUSED,
                "it is the platform's own token",
                "Rehearsals and recovery have tokens of their own, apart from the keys in use",
                "Name another token",
            )


def _find_database_findings(config: Config) -> Iterator[Finding]:
    url = urlsplit(config.database.url)
    if url.scheme == "sqlite":
        yield Finding(
            "database.url",
            Severity.REFUSED,
            "the database is SQLite",
            "It is one file on one machine, without users and rights of its own and without a second copy at hand",
            "Use PostgreSQL: `kms db upgrade` makes the tables",
        )
    elif url.password is not None and _is_default(url.password, url.username or ""):
        yield Finding(
            "database.url",
            Severity.REFUSED,
            "the database's password is a default",
            "Whoever reaches the database changes what is on record",
            "Set another password, best in ~/.pgpass",
        )


def _find_console_findings(config: Config) -> Iterator[Finding]:
    origin = urlsplit(config.console.origin)
    if origin.scheme != "https" or origin.hostname in _LOCAL_HOSTS:
        yield Finding(
            "console.origin",
            Severity.REFUSED,
            f"the console's origin is {config.console.origin}",
            "Security keys are bound to the origin, and logins travel in clear without https",
            "Name the https address by which people reach the console",
        )


def _find_outside_findings(config: Config) -> Iterator[Finding]:
    if config.audit.anchor_file is None and not config.audit.syslog:
        yield Finding(
            "audit",
            Severity.REFUSED,
            "the audit log has no anchor outside the database",
            "Whoever owns the database could cut the end off the log, and nobody could tell",
            "Set audit.anchor_file on another disk, or audit.syslog with a log server",
        )
    if config.recovery.anchor_file is None:
        yield Finding(
            "recovery.anchor_file",
            Severity.WEAKNESS,
            "a restored database would not be noticed",
            "Cards would be sent keys that they have left behind",
            "Set recovery.anchor_file outside the database and its backups",
        )
    if config.scheduler.require_synchronised_clock is False:
        yield Finding(
            "scheduler.require_synchronised_clock",
            Severity.REFUSED,
            "the clock need not be synchronised",
            "Expiry, approvals and the audit log hang on the time",
            "Take the line away and run an NTP client",
        )


def _find_certificate_findings(config: Config, is_development: IsDevelopment) -> Iterator[Finding]:
    server, console = config.server, config.console
    files = {
        "server.client_ca": server.client_ca,
        "server.certificate": server.certificate,
        "console.certificate": console.certificate,
        **{f"peers.{peer.name}.ca": peer.ca for peer in config.peers},
        **{f"peers.{peer.name}.client_certificate": peer.client_certificate for peer in config.peers},
    }
    for where, path in files.items():
        if path is not None and _is_marked(path, is_development):
            yield Finding(
                where,
                Severity.REFUSED,
                f"{path} is of a development authority",
                "Its key lies on a disk, made by `kms pki`",
                "Bring your own authority's",
            )


def _is_marked(path: Path, is_development: IsDevelopment) -> bool:
    try:
        return is_development(path)
    except (OSError, ValueError):
        return False  # not there, or no certificate: the program that needs it says so


def _is_default_pin(config: Config) -> bool:
    try:
        return _is_default(read_pin(config.hsm), config.hsm.token_label)
    except KmsError:
        return False  # unreadable: who opens the token says so


def _is_default(secret: str, name: str) -> bool:
    return secret.lower() in DEFAULT_SECRETS or secret.lower() == name.lower()

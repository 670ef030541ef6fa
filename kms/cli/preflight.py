"""What must be there before the server starts, all of it looked at first, one line for each missing piece.

Rules: this runs in the process that will fork the workers, which must not load the PKCS#11 library. So database and HSM
are opened in a process of their own that ends before the server starts.
"""

import multiprocessing
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from kms.config import (
    Config,
    ConsoleConfig,
    PeerConfig,
    PeerRole,
    PlatformMode,
    load_config,
    read_fingerprint,
    read_pin,
)
from kms.config.digest import compute_digest
from kms.errors import Code, Fault, KmsError
from kms.peer import build_peer_context
from kms.pki import is_development
from kms.serve import build_console_context, build_tls_context
from kms.service.fitness.settings import find_setting_findings
from kms.service.starts import record_start

if TYPE_CHECKING:
    from kms.bootstrap import Platform

CONSOLE = "console"
_PLATFORM_CHECK_SECONDS = 60
_TOKEN_FAULTS = ("hsm.module", "hsm.softhsm2_conf", "hsm.p11_kit_modules", "hsm.pin_file", "hsm.pin_env")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PEER_FILES = {
    "certificate": "bring the peer's certificate, or give certificate_fingerprint; in a lab `kms pki peer` makes it",
    "ca": "bring the certificate of the authority that the peer's server certificate is of",
    "client_certificate": "bring the certificate that the peer gave us; in a lab `kms pki peer` at the issuer makes it",
    "client_key": "bring the key of client_certificate; in a lab `kms pki peer` at the issuer makes it",
}


def check_ready_to_serve(config: Config) -> None:
    """Raise `platform.not-ready` with everything that is missing."""
    server = config.server
    _check_ready(
        config,
        "server",
        *_find_tls_faults(config),
        *_find_peer_faults(config),
        *_find_address_faults("server", server.host, server.port),
    )


def check_ready_for_console(config: Config) -> None:
    """Raise `platform.not-ready` with everything that the console's server misses."""
    console = config.console
    faults = (*_find_console_faults(console), *_find_address_faults("console", console.host, console.port))
    _check_ready(config, CONSOLE, *faults)


def check_ready_to_schedule(config: Config) -> None:
    """Raise `platform.not-ready` with everything for which production mode refuses to schedule."""
    if config.platform.mode is PlatformMode.PRODUCTION:
        faults = (*_find_setting_faults(config), *_find_fitness_faults(config, "scheduler"))
        if faults:
            raise KmsError(Code.NOT_READY, "The scheduler cannot start yet", faults=faults)


def _check_ready(config: Config, program: str, *found: Fault) -> None:
    faults = [*found, *_find_hsm_faults(config), *_find_setting_faults(config)]
    if not any(fault.where in _TOKEN_FAULTS for fault in faults):
        faults.extend(_find_platform_faults(config.source, program))
    if faults:
        raise KmsError(Code.NOT_READY, "The server cannot start yet", faults=tuple(faults))


def _find_tls_faults(config: Config) -> Iterator[Fault]:
    server = config.server
    files = {"certificate": server.certificate, "private_key": server.private_key, "client_ca": server.client_ca}
    missing = [name for name, path in files.items() if not path.is_file()]
    for name in missing:
        yield Fault(f"server.{name}", f"{files[name]} is not there: bring your own, or `kms pki init` for development")
    if missing:
        return
    try:
        build_tls_context(server)
    except ssl.SSLError as error:
        yield Fault("server.certificate", f"Certificate, key and authority are not usable together ({error.reason})")
    except (OSError, ValueError) as error:
        yield Fault("server.certificate", f"Certificate, key or authority cannot be read ({type(error).__name__})")


def _find_peer_faults(config: Config) -> Iterator[Fault]:
    for peer in config.peers:
        missing = False
        for name in ("certificate", "ca", "client_certificate", "client_key"):
            path: Path | None = getattr(peer, name)
            if path is not None and not path.is_file():
                missing = True
                yield Fault(f"peers.{peer.name}.{name}", f"{path} is not there: {_PEER_FILES[name]}")
        if not missing:
            yield from _find_line_faults(peer)


def _find_line_faults(peer: PeerConfig) -> Iterator[Fault]:
    """What is wrong with a peer's files, all of which are there."""
    try:
        read_fingerprint(peer)
        if peer.role is PeerRole.ISSUER:
            build_peer_context(peer)
    except KmsError as error:
        yield from error.faults


def _find_console_faults(console: ConsoleConfig) -> Iterator[Fault]:
    files = {"certificate": console.certificate, "private_key": console.private_key}
    missing = [name for name, path in files.items() if path is not None and not path.is_file()]
    for name in missing:
        yield Fault(f"console.{name}", f"{files[name]} is not there: bring your own, or `kms pki init` for development")
    if missing:
        return
    if console.certificate is None and console.host not in _LOOPBACK:
        yield Fault("console.certificate", "Without a certificate the console listens on this machine's loopback alone")
    try:
        build_console_context(console)
    except (OSError, ValueError) as error:
        yield Fault("console.certificate", f"Certificate and key are not usable together ({type(error).__name__})")


def _find_address_faults(section: str, host: str, port: int) -> Iterator[Fault]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "the name is unknown"
            yield Fault(f"{section}.port", f"{host}:{port} cannot be served: {reason}")


def _find_hsm_faults(config: Config) -> Iterator[Fault]:
    if not config.hsm.module.is_file():
        yield Fault("hsm.module", f"{config.hsm.module} is not there: install the token's PKCS#11 library")
    conf = config.hsm.softhsm2_conf
    if conf is not None and not conf.is_file():
        yield Fault("hsm.softhsm2_conf", f"{conf} is not there: set the SoftHSM2 token up first")
    modules = config.hsm.p11_kit_modules
    if modules is not None and not modules.is_dir():
        yield Fault("hsm.p11_kit_modules", f"{modules} is not there: set the token behind p11-kit up first")
    try:
        read_pin(config.hsm)
    except KmsError as error:
        yield from error.faults


def _find_setting_faults(config: Config) -> tuple[Fault, ...]:
    """What the rules of production mode say of the settings; the lab starts with all of it."""
    if config.platform.mode is not PlatformMode.PRODUCTION:
        return ()
    findings = find_setting_findings(config, is_development)
    return tuple(item.build_fault() for item in findings if item.is_in_the_way)


def _find_fitness_faults(config: Config, program: str) -> tuple[Fault, ...]:
    """What they say of token and database; the console starts with what people mend in it."""
    from kms.bootstrap_doctor import open_doctor  # noqa: PLC0415 - it loads the PKCS#11 library

    with open_doctor(config) as doctor:
        findings = [item for item in doctor.examine_parts() if item.is_in_the_way]
    return tuple(item.build_fault() for item in findings if not (program == CONSOLE and item.mended_in_console))


def _find_platform_faults(config_file: Path, program: str) -> tuple[Fault, ...]:
    """Open database and HSM in a fresh process; a forked one would share what the PKCS#11 library must not."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_check_platform, args=(str(config_file), program, sender), daemon=True)
    process.start()
    sender.close()
    try:
        found: tuple[Fault, ...] = receiver.recv() if receiver.poll(_PLATFORM_CHECK_SECONDS) else _silent()
    except EOFError:  # it died before it could answer
        found = _silent()
    process.join(timeout=1)
    process.kill()
    return found


def _silent() -> tuple[Fault, ...]:
    return (Fault("platform", "Database and HSM could not be checked: `kms hsm status` says more"),)


def _check_platform(config_file: str, program: str, sender: Connection) -> None:
    """Open the platform and send what is wrong with it (runs in the process of its own); the start is recorded."""
    from kms.bootstrap import open_platform  # noqa: PLC0415 - it loads the PKCS#11 library, here and nowhere before

    try:
        config = load_config(Path(config_file))
        production = config.platform.mode is PlatformMode.PRODUCTION
        if production and (unfit := _find_fitness_faults(config, program)):
            sender.send(unfit)
            return
        platform = open_platform(config)
        # The status opens the token and waits for it; a check would only read when it last answered.
        database = _find_part_faults("database", platform.store.check)
        hsm = _find_part_faults("hsm", platform.vault.status)
        # What the HSM holds is looked at here and each day; a key that is not as it was made is an alarm and refused at
        # its use, which is no reason to keep the other cards waiting.
        objects = () if database or hsm else _find_part_faults("hsm", platform.token_check.check)
        # People apply the first policies through the console: outside the lab there is no other way.
        needs_policy = not database and program != CONSOLE
        faults = (
            *database,
            *(_find_part_faults("policies", platform.policies.check_in_force) if needs_policy else ()),
            *hsm,
            *objects,
        )
        if not faults:
            faults = _find_part_faults("database", lambda: record_platform_start(platform, program))
        platform.vault.close()
    except KmsError as error:
        faults = error.faults or (Fault(str(error.code), error.detail),)
    sender.send(faults)


def record_platform_start(platform: "Platform", program: str) -> None:
    """Record in the audit log that a program of this platform starts, and under which configuration."""
    from kms.bootstrap import SystemClock, TimeOrderedIdentifiers  # noqa: PLC0415 - as above

    config = platform.config
    node, configuration = config.platform.node, compute_digest(config)
    record_start(
        platform.store,
        SystemClock(),
        TimeOrderedIdentifiers(),
        program=program,
        node=node,
        configuration=configuration,
    )


def _find_part_faults(name: str, look: Callable[[], object]) -> tuple[Fault, ...]:
    try:
        look()
    except KmsError as error:
        return (Fault(name, error.detail),)
    return ()

"""The API as a WSGI application: configuration in, application out. Called in each worker, after the fork."""

import logging
import os
import threading
import time
from collections.abc import Callable

from flask import Flask

from kms.api import create_api
from kms.api.services import PeerAccess
from kms.bootstrap import open_platform
from kms.config import Config, PeerRole, read_fingerprint
from kms.errors import KmsError
from kms.metrics.exporter import build_exporter
from kms.metrics.listener import MetricsListener
from kms.service.metrics import FigureReader

ANCHOR_SECONDS = 30.0  # a database that is behind by less goes unnoticed
ANCHOR_RETRY_SECONDS = 2.0
EXIT_HANG = 75  # EX_TEMPFAIL of sysexits.h; gunicorn starts another worker (it gives up on 3 and 4 only)

_LOG = logging.getLogger("kms.wsgi")


def create_app(config: Config) -> Flask:
    """Open the platform, have its token and database watched, and build the API over it. Raises `config.invalid`."""
    platform = open_platform(config)
    platform.vault.watch(on_hang=end_worker)

    def keep() -> None:
        platform.recovery.keep_anchor()
        platform.hsm_connections.record(platform.vault.connections)

    threading.Thread(target=keep_on_record, args=(keep,), name="record", daemon=True).start()
    platform.store.watch()
    providers = [peer for peer in config.peers if peer.role is PeerRole.PROVIDER]
    names = {read_fingerprint(peer): peer.name for peer in providers}
    peer_access = PeerAccess(names, platform.transfers) if providers else None
    if config.metrics.port is None:
        return create_api(platform, peer_access=peer_access)
    exporter = build_exporter(FigureReader(store=platform.store, monotonic=time.monotonic).find_figures)
    platform.vault.observe(exporter.instruments.observe_hsm)
    MetricsListener(config.metrics.host, config.metrics.port, exporter.registry).start()
    return create_api(platform, peer_access=peer_access, observe_request=exporter.instruments.observe_request)


def keep_on_record(keep: Callable[[], None], wait: Callable[[float], None] = time.sleep) -> None:
    """Write the database's anchor and new connections to the HSM, now and from then on, for ever.

    `wait`: raises to end it (tests).
    """
    while True:
        try:
            keep()
            wait(ANCHOR_SECONDS)
        except KmsError as error:
            _LOG.warning("the database's anchor or a connection to the HSM is not on record: %s", error.code)
            wait(ANCHOR_RETRY_SECONDS)


def end_worker() -> None:
    """End this process at once: a call that hangs in the PKCS#11 library cannot be taken back, and no other can run."""
    _LOG.critical("a PKCS#11 call hangs: this worker ends, another takes its place")
    os._exit(EXIT_HANG)

"""Joins the parts of the doctor: token and database, opened as production mode opens them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from kms.bootstrap import build_hsm_settings
from kms.config import Config
from kms.db.store import open_store
from kms.errors import KmsError
from kms.hsm.vault import TokenVault, open_vault
from kms.pki import is_development
from kms.service.doctor import Doctor


@contextmanager
def open_doctor(config: Config) -> Iterator[Doctor]:
    """Open what is looked at; connects at first use, and closes it."""
    with ExitStack() as opened:
        store = open_store(config.database.url, config.platform.node)
        opened.callback(store.dispose)
        vault = _open_token(config)
        if vault is not None:
            opened.callback(vault.close)
        yield Doctor(config=config, store=store, vault=vault, is_development=is_development)


def _open_token(config: Config) -> TokenVault | None:
    try:
        settings = build_hsm_settings(config)
    except KmsError:
        return None
    # In production mode a device that is not on the site's list is not logged in to here either.
    return open_vault(replace(settings, production=True))

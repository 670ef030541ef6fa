"""What one invocation of `kms` carries: the configuration and the platform, each made when first asked for.

Rules: commands take what they need through `get_config`, `get_store` and `get_platform`; a command that only reads the
database works while the HSM is away, and one that needs neither (`kms pki`) opens neither.
"""

import os
import pwd
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kms.config import Config, load_config
from kms.db.store import SqlStore, open_store
from kms.errors import KmsError

if TYPE_CHECKING:
    from kms.bootstrap import Platform

DEFAULT_CONFIG = Path("config/issuer.toml")

F = TypeVar("F", bound=Callable[..., Any])


class Invocation:
    """The state of one command line: how to answer, and the parts opened so far."""

    def __init__(self) -> None:
        self.config_file = DEFAULT_CONFIG
        self.server = ""
        self.as_json = False
        self.debug = False
        self.resources = ExitStack()
        self.config: Config | None = None
        self.store: SqlStore | None = None
        self.platform: Platform | None = None

    def close(self) -> None:
        """Close what the command opened, newest first."""
        self.resources.close()


def get_invocation(ctx: click.Context) -> Invocation:
    """Get the invocation that `ctx` belongs to."""
    return ctx.ensure_object(Invocation)


def get_config(ctx: click.Context) -> Config:
    """Load the configuration file once. Raises `config.invalid` with every fault of the file."""
    invocation = get_invocation(ctx)
    if invocation.config is None:
        invocation.config = load_config(invocation.config_file)
    return invocation.config


def find_server(ctx: click.Context) -> str:
    """The console's address: `--server`, else the configuration's."""
    return get_invocation(ctx).server or get_config(ctx).console.origin


def get_store(ctx: click.Context) -> SqlStore:
    """Open the database alone, once, for commands that only read."""
    invocation = get_invocation(ctx)
    if invocation.store is None:
        config = get_config(ctx)
        invocation.store = open_store(config.database.url, config.platform.node)
        invocation.resources.callback(invocation.store.dispose)
    return invocation.store


def get_actor() -> str:
    """Say who runs the command, for the audit log: the operating system's user (not the environment's word for it)."""
    uid = os.getuid()
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"cli:uid-{uid}"


def get_platform(ctx: click.Context) -> "Platform":
    """Open the platform (database, HSM, services) once."""
    from kms.bootstrap import open_platform  # noqa: PLC0415 - `kms serve` must not load the PKCS#11 library and fork

    invocation = get_invocation(ctx)
    if invocation.platform is None:
        invocation.platform = open_platform(get_config(ctx))
        invocation.resources.callback(invocation.platform.store.dispose)
        invocation.resources.callback(invocation.platform.vault.close)
        with suppress(KmsError):  # a database that is away or not made yet: the command itself will say so
            invocation.platform.recovery.detect()
    return invocation.platform


def json_option(command: F) -> F:
    """Add `--json` to a command: the parameter `as_json`, which makes its errors JSON too."""

    def remember(ctx: click.Context, _parameter: click.Parameter, value: bool) -> bool:
        get_invocation(ctx).as_json = value
        return value

    # Eager: a fault in the other options must already know how to answer.
    option = click.option(
        "--json", "as_json", is_flag=True, is_eager=True, callback=remember, help="Answer in JSON, for programs."
    )
    return option(command)


def page_options(command: F) -> F:
    """Add `--limit` and `--offset` to a list command."""
    limit = click.option(
        "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Most rows to show."
    )
    offset = click.option("--offset", type=click.IntRange(0), default=0, show_default=True, help="Rows to skip.")
    return limit(offset(command))

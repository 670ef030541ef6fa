"""The console as a WSGI application: configuration in, application out. Called in each worker, after the fork."""

from typing import TYPE_CHECKING

from flask import Flask

from kms.bootstrap import open_platform
from kms.bootstrap_console import open_actions, open_requests
from kms.config import Config
from kms.console import ConsoleServices, create_console
from kms.wsgi import end_worker

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def create_console_app(config: Config) -> "WSGIApplication":
    """Open the platform, have token and database watched, build the console over it. Raises `config.invalid`."""
    platform = open_platform(config)
    platform.vault.watch(on_hang=end_worker)
    platform.store.watch()
    services = ConsoleServices(
        platform=config.platform.name,
        logins=platform.logins,
        actions=open_actions(platform),
        requests=open_requests(platform, platform.logins),
    )

    def install_pages(_app: Flask) -> None:
        """The admin API alone."""

    return create_console(services, install_pages)

"""The console as a WSGI application: configuration in, application out. Called in each worker, after the fork."""

import secrets
from typing import TYPE_CHECKING

from flask import Flask

from kms.bootstrap import Platform, SystemClock, TimeOrderedIdentifiers, open_platform
from kms.bootstrap_console import open_actions, open_requests
from kms.config import Config
from kms.console import ConsoleServices, create_console
from kms.console.pages import PageServices, install_pages
from kms.single_use.starter import EntryStarter
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

    def add_pages(app: Flask) -> None:
        install_pages(app, build_page_services(platform, services))

    return create_console(services, add_pages)


def build_page_services(platform: Platform, services: ConsoleServices) -> PageServices:
    """What the pages work with."""
    return PageServices(
        config=platform.config,
        store=platform.store,
        vault=platform.vault,
        clock=SystemClock(),
        identifiers=TimeOrderedIdentifiers(),
        logins=platform.logins,
        enrolment=platform.enrolment,
        people=platform.people,
        policies=platform.policies,
        campaigns=platform.campaigns,
        actions=services.actions,
        requests=services.requests,
        ceremonies=platform.ceremonies,
        ceremony_records=platform.ceremony_records,
        entry_starter=EntryStarter(platform.config.source),
        new_secret=secrets.token_urlsafe,
    )

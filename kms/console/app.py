"""The console as one WSGI application: the admin API below /admin, pages everywhere else.

Rules: the two are applications of their own, because they differ in all that protects them: bearer secret or cookie,
problem documents or pages, size limits, content security policies.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from kms.console.admin_api import create_admin_api
from kms.console.services import ConsoleServices

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def create_console(services: ConsoleServices, install_pages: Callable[[Flask], None]) -> "WSGIApplication":
    """Build the console. `install_pages`: puts the pages, their protection and their errors into an application."""
    pages = Flask("kms.console")
    install_pages(pages)
    return DispatcherMiddleware(pages, {"/admin": create_admin_api(services)})

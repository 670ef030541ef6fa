"""The API as a WSGI application: configuration in, application out. Called in each worker, after the fork."""

from flask import Flask

from kms.api import create_api
from kms.bootstrap import open_platform
from kms.config import Config


def create_app(config: Config) -> Flask:
    """Open the platform (database, HSM) and build the API over it."""
    return create_api(open_platform(config))

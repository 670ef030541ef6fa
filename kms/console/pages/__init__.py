"""The console's pages, made on the server."""

from kms.console.pages.install import install_pages
from kms.console.pages.services import PageServices

__all__ = ["PageServices", "install_pages"]

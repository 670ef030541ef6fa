"""The console: people's pages and the admin API, on a listener of its own without client certificates."""

from kms.console.app import create_console
from kms.console.services import ConsoleServices

__all__ = ["ConsoleServices", "create_console"]

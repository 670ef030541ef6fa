"""A card in the second slot of the virtual reader, which other programs on this host may be using at the moment."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from terminal.virtual_card import VpcdConnection, VpcdError

WAIT_SECONDS = 60.0
PAUSE_SECONDS = 2.0
NOTICED_SECONDS = 0.5  # pcscd polls its readers every 0.4 s


@contextmanager
def in_reader(connection: VpcdConnection) -> Iterator[VpcdConnection]:
    """Put the card in, waiting for the slot to become free."""
    put_in(connection)
    try:
        yield connection
    finally:
        connection.detach()


def put_in(connection: VpcdConnection) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            connection.attach()
            break
        except VpcdError as error:
            if "start pcscd" in str(error):
                pytest.skip(str(error))
            if time.monotonic() > end:
                raise
            time.sleep(PAUSE_SECONDS)
    time.sleep(NOTICED_SECONDS)

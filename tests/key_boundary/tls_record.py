"""Records what TLS connections of this process carry, in the clear: every HTTP request and response, both ways.

Rules: beneath HTTP, so that no header, body or chunk is missed, whoever made the connection; one file per connection
and direction, so that what was sent in pieces is whole again.
"""

import itertools
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

_NUMBERS = itertools.count(1)


@contextmanager
def recording(folder: Path) -> Iterator[None]:
    """Record all connections of this process and of those forked from it until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        patch.object(ssl.SSLSocket, "send", _watch_send(ssl.SSLSocket.send, folder)),
        patch.object(ssl.SSLSocket, "read", _watch_read(ssl.SSLSocket.read, folder)),
    ):
        yield


def _watch_send(send: Callable[..., int], folder: Path) -> Callable[..., int]:
    def watched(connection: ssl.SSLSocket, data: Any, flags: int = 0) -> int:  # noqa: ANN401 - any buffer
        sent = send(connection, data, flags)
        _append(folder, connection, "sent", bytes(memoryview(data).cast("B")[:sent]))
        return sent

    return watched


def _watch_read(read: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    def watched(connection: ssl.SSLSocket, length: int = 1024, buffer: Any = None) -> Any:  # noqa: ANN401 - as in ssl
        if buffer is None:
            received = read(connection, length)
            _append(folder, connection, "received", received)
            return received
        count = read(connection, length, buffer)
        _append(folder, connection, "received", bytes(memoryview(buffer).cast("B")[:count]))
        return count

    return watched


def _append(folder: Path, connection: ssl.SSLSocket, direction: str, data: bytes) -> None:
    number = vars(connection).setdefault("recorded_as", f"{os.getpid()}-{next(_NUMBERS)}")
    with (folder / f"{number}-{direction}").open("ab") as file:
        file.write(data)

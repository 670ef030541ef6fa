"""A virtual reader made of a plain socket: what vsmartcard's vpcd does at its end of the line."""

import socket

SEND_ATR = b"\x04"


class VpcdReader:
    """Listens on a free port of this machine, takes one card at a time and sends it what it is told."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(10)
        self._card: socket.socket | None = None
        self.port: int = self._server.getsockname()[1]

    def take_card(self) -> bytes:
        """Wait for the next card and return its ATR."""
        if self._card is not None:
            self._card.close()
        self._card, _address = self._server.accept()
        self._card.settimeout(10)
        return self.transmit(SEND_ATR)

    def transmit(self, command: bytes) -> bytes:
        """Return the answer, nothing when the card is gone."""
        self.send(command)
        return self.receive()

    def send(self, payload: bytes) -> None:
        assert self._card is not None
        self._card.sendall(len(payload).to_bytes(2, "big") + payload)

    def receive(self) -> bytes:
        assert self._card is not None
        header = self._card.recv(2)
        return self._card.recv(int.from_bytes(header, "big")) if header else b""

    def close(self) -> None:
        if self._card is not None:
            self._card.close()
        self._server.close()

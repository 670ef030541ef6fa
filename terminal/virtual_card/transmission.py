"""What T=0 and T=1 do to a response (ISO 7816-3 section 12.2): 61xx and GET RESPONSE, 6Cxx."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from terminal.virtual_card.apdu import CommandApdu, ResponseApdu
from terminal.virtual_card.status import CONDITIONS_NOT_SATISFIED

INS_GET_RESPONSE: Final = 0xC0
SW1_BYTES_WAITING: Final = 0x61
SW1_WRONG_LE: Final = 0x6C


class TransmissionProtocol(StrEnum):
    """The protocol that the card and the reader agreed on."""

    T0 = "T0"
    T1 = "T1"


def _status(sw1: int, length: int) -> ResponseApdu:
    return ResponseApdu(b"", sw1 << 8 | min(length, 256) % 256)


@dataclass
class Transmission:
    """The last stage of an answer; with T=0 it keeps data until GET RESPONSE fetches them."""

    protocol: TransmissionProtocol
    waiting: ResponseApdu | None = None

    def reset(self) -> None:
        """Forget data that wait."""
        self.waiting = None

    def is_get_response(self, command: CommandApdu) -> bool:
        """Whether this stage answers the command by itself, whatever its class byte."""
        return self.protocol is TransmissionProtocol.T0 and command.ins == INS_GET_RESPONSE

    def get_response(self, command: CommandApdu) -> ResponseApdu:
        """Hand out data that wait, as many as Le asks for."""
        waiting = self.waiting
        if waiting is None:
            return ResponseApdu(b"", CONDITIONS_NOT_SATISFIED)
        length = len(waiting.data)
        wanted = command.le or 256
        if wanted > length and wanted != 256:
            return _status(SW1_WRONG_LE, length)
        if wanted >= length:
            self.waiting = None
            return waiting
        self.waiting = ResponseApdu(waiting.data[wanted:], waiting.sw)
        return ResponseApdu(waiting.data[:wanted], _status(SW1_BYTES_WAITING, length - wanted).sw)

    def deliver(self, command: CommandApdu, response: ResponseApdu, *, is_case_4: bool) -> ResponseApdu:
        """Shape the answer for the protocol.

        `is_case_4`: the instruction takes data and answers data, so that with T=0 its P3 is Lc even when it is zero.
        """
        self.waiting = None
        length = len(response.data)
        if not length:
            return response
        if self.protocol is TransmissionProtocol.T0 and (command.data or command.le is None or is_case_4):
            self.waiting = response
            return _status(SW1_BYTES_WAITING, length)
        if command.data or command.le is None or command.le in {256, length}:
            # T=1 carries more than Le asked for; hosts that leave Le out of case 4 rely on it.
            return response
        if command.le < length or self.protocol is TransmissionProtocol.T0:
            return _status(SW1_WRONG_LE, length)
        return response

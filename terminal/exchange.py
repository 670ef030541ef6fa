"""One command and its whole response over a reader: GET RESPONSE, wrong Le, and T=0's missing Le. No I/O of its own.

Rules: sans-I/O over `send`, which moves one TPDU or APDU and returns what came back. A command is issued again only on
6Cxx, by which the card says that it did not execute it (ISO/IEC 7816-3 section 10.3.3).
"""

from collections.abc import Callable

from terminal.errors import TerminalCode, TerminalError, card_gone

LONGEST_RESPONSE = 65536 + 2  # bytes; ISO/IEC 7816-3 section 12.1: 65536 data bytes at most
_MORE_DATA = 0x61
_WRONG_LE = 0x6C


def transmit_whole(send: Callable[[bytes], bytes], command: bytes, *, t0: bool) -> bytes:
    """Send a command APDU and return data of all parts, then the last status word.

    Raises `card.gone` when no byte comes back, which is how some readers' drivers tell that the card left;
    `card.protocol-violation` when the card answers half a status word or never comes to an end.
    """
    response = _check_response(send(_drop_le(command) if t0 else command))
    if response[-2] == _WRONG_LE and len(response) == 2:
        response = _check_response(send(_with_le(command, response[-1])))
    while response[-2] == _MORE_DATA:
        # GET RESPONSE on the command's logical channel (ISO/IEC 7816-4 section 5.4.1), secure messaging bits clear
        part = _check_response(send(bytes((command[0] & 0x03, 0xC0, 0x00, 0x00, response[-1]))))
        if part[-2] == _WRONG_LE and len(part) == 2:
            part = _check_response(send(bytes((command[0] & 0x03, 0xC0, 0x00, 0x00, part[-1]))))
        if part[-2] == _MORE_DATA and len(part) == 2:
            raise _violation("announces a response and never gives it")
        response = response[:-2] + part
        if len(response) > LONGEST_RESPONSE:
            raise _violation("gave a response that does not end")
    return response


def _drop_le(command: bytes) -> bytes:
    """Leave the Le of a case 4 command away: a T=0 TPDU has none (ISO/IEC 7816-3 section 12.2.5)."""
    is_case_4 = len(command) > 5 and len(command) == 5 + command[4] + 1
    return command[:-1] if is_case_4 else command


def _with_le(command: bytes, le: int) -> bytes:
    """Build the same command with the Le that the card asks for."""
    if len(command) <= 5:
        return command[:4] + bytes((le,))
    return command[: 5 + command[4]] + bytes((le,))


def _check_response(response: bytes) -> bytes:
    if not response:
        raise card_gone()
    if len(response) < 2:
        raise _violation("answered without a status word")
    return response


def _violation(what: str) -> TerminalError:
    return TerminalError(
        TerminalCode.CARD_PROTOCOL,
        f"The card {what}.",
        "Present it again; if that stays so, the card or the reader is broken.",
    )

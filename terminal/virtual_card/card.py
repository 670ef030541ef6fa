"""The card: one command in, one answer out. It finds the instruction, applies the secure channel, and keeps the order.

The card does no I/O. Whoever wants its state to survive passes `on_commit`, which is called with the new state before
the answer to the command that changed it is returned: what the host saw answered has been committed.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from terminal.virtual_card.apdu import SECURE_MESSAGING_BIT, CommandApdu, ResponseApdu, parse_command
from terminal.virtual_card.authentication import (
    begin_r_mac_session,
    end_r_mac_session,
    external_authenticate,
    initialize_update,
)
from terminal.virtual_card.delete import delete
from terminal.virtual_card.get_data import get_data
from terminal.virtual_card.install import install
from terminal.virtual_card.model import TERMINATED, CardState
from terminal.virtual_card.personality import Personality
from terminal.virtual_card.put_key import put_key
from terminal.virtual_card.registry import get_status, set_status
from terminal.virtual_card.select import select
from terminal.virtual_card.session import CardRuntime, SecureChannel
from terminal.virtual_card.status import (
    CHANNEL_NOT_SUPPORTED,
    CLA_NOT_SUPPORTED,
    CONDITIONS_NOT_SATISFIED,
    INS_NOT_SUPPORTED,
    SECURE_MESSAGING_NOT_SUPPORTED,
    SECURITY_STATUS_NOT_SATISFIED,
    SUCCESS,
    CardError,
    SecureMessagingError,
)
from terminal.virtual_card.store_data import store_data
from terminal.virtual_card.transmission import Transmission, TransmissionProtocol
from terminal.virtual_card.uicc import read_record

ISO: Final = 0x00
GP: Final = 0x80
INS_GET_DATA: Final = 0xCA


@dataclass(frozen=True)
class Instruction:
    """How one instruction is served. `classes` are its class bytes without the secure messaging bit."""

    handler: Callable[[CardRuntime, CommandApdu], bytes | tuple[bytes, int]]
    classes: frozenset[int] = frozenset({GP})
    needs_authentication: bool = True
    # Never wrapped, and served whatever became of the session before: each begins something new.
    is_fresh_start: bool = False
    is_case_4: bool = False


INSTRUCTIONS: Final = {
    0xA4: Instruction(select, frozenset({ISO}), needs_authentication=False, is_fresh_start=True, is_case_4=True),
    0x50: Instruction(initialize_update, needs_authentication=False, is_fresh_start=True, is_case_4=True),
    0xB2: Instruction(read_record, frozenset({ISO}), needs_authentication=False),
    INS_GET_DATA: Instruction(get_data, frozenset({ISO, GP}), needs_authentication=False),
    0xD8: Instruction(put_key),
    0xE2: Instruction(store_data),
    0xE4: Instruction(delete),
    0xE6: Instruction(install),
    0xF0: Instruction(set_status),
    0xF2: Instruction(get_status),
    0x7A: Instruction(begin_r_mac_session),
    0x78: Instruction(end_r_mac_session),
}
INS_EXTERNAL_AUTHENTICATE: Final = 0x82


class VirtualCard:
    """A GlobalPlatform card that speaks SCP02, SCP03 or both.

    `on_commit` is called with each new state; `random_bytes` makes card challenges (a recording can be played by
    handing out its own).
    """

    def __init__(
        self,
        state: CardState,
        personality: Personality | None = None,
        *,
        protocol: TransmissionProtocol = TransmissionProtocol.T1,
        on_commit: Callable[[CardState], None] | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._runtime = CardRuntime(personality or Personality(), state, state.isd.aid, random_bytes)
        self._transmission = Transmission(protocol)
        self._on_commit = on_commit

    @property
    def state(self) -> CardState:
        """What the card would remember if power went now."""
        return self._runtime.state

    @property
    def protocol(self) -> TransmissionProtocol:
        """The transmission protocol that the answers are shaped for."""
        return self._transmission.protocol

    def reset(self) -> None:
        """Power on: the ISD is selected, no session, nothing waits."""
        self._runtime.select(self._runtime.state.isd.aid)
        self._transmission.reset()

    def transmit(self, command: bytes) -> bytes:
        """Serve one command APDU and return data ‖ SW; never raises for anything the bytes may be."""
        try:
            parsed = parse_command(command)
        except CardError as error:
            self._transmission.reset()
            return ResponseApdu(b"", error.sw).to_bytes()
        if self._transmission.is_get_response(parsed):
            return self._transmission.get_response(parsed).to_bytes()
        before = self._runtime.state
        response = self._serve(parsed)
        if self._runtime.state != before and self._on_commit is not None:
            self._on_commit(self._runtime.state)
        instruction = INSTRUCTIONS.get(parsed.ins)
        is_case_4 = instruction is not None and instruction.is_case_4
        return self._transmission.deliver(parsed, response, is_case_4=is_case_4).to_bytes()

    def _serve(self, command: CommandApdu) -> ResponseApdu:
        try:
            return self._route(command)
        except SecureMessagingError as error:
            # GP231 section 10.2.3: the session is over, and nothing is served that could rely on it.
            if self._runtime.channel is not None:
                self._runtime.abort_session()
            return ResponseApdu(b"", error.sw)
        except CardError as error:
            return ResponseApdu(b"", error.sw)

    def _route(self, command: CommandApdu) -> ResponseApdu:
        """Send a command to the session, or past it; raise CardError."""
        runtime = self._runtime
        _check_class(command)
        instruction = INSTRUCTIONS.get(command.ins)
        if instruction is not None and instruction.is_fresh_start:
            return self._execute(command)
        if command.ins == INS_EXTERNAL_AUTHENTICATE:
            if command.cla != GP | SECURE_MESSAGING_BIT:
                raise CardError(CLA_NOT_SUPPORTED)
            return ResponseApdu(external_authenticate(runtime, command), SUCCESS)
        if runtime.is_aborted:
            raise CardError(CONDITIONS_NOT_SATISFIED)
        if runtime.channel is not None:
            return self._serve_in_session(runtime.channel, command)
        if command.is_secured:
            raise CardError(CONDITIONS_NOT_SATISFIED)
        return self._execute(command)

    def _serve_in_session(self, channel: SecureChannel, command: CommandApdu) -> ResponseApdu:
        """Unwrap, execute, and protect the answer, errors included."""
        if command.is_secured:
            command = channel.unwrap(command)
        elif channel.requires_c_mac:
            raise SecureMessagingError
        # Whether the answer is protected is settled before the command: BEGIN R-MAC acts from the next command on,
        # END R-MAC answers under the protection that it ends.
        level = channel.response_level
        try:
            response = self._execute(command)
        except CardError as error:
            response = ResponseApdu(b"", error.sw)
        if not level:
            return response
        return ResponseApdu(channel.wrap_response(command, response.data, response.sw, level), response.sw)

    def _execute(self, command: CommandApdu) -> ResponseApdu:
        """Run a plain command; raise CardError when it is refused."""
        instruction = INSTRUCTIONS.get(command.ins)
        if instruction is None:
            raise CardError(INS_NOT_SUPPORTED)
        if command.cla not in instruction.classes:
            raise CardError(CLA_NOT_SUPPORTED)
        # GP231 section 5.1.1.6: a terminated card tells who it was, and no more.
        if self._runtime.state.isd.life_cycle == TERMINATED and command.ins != INS_GET_DATA:
            raise CardError(CONDITIONS_NOT_SATISFIED)
        if instruction.needs_authentication and self._runtime.channel is None:
            raise CardError(SECURITY_STATUS_NOT_SATISFIED)
        answer = instruction.handler(self._runtime, command)
        if isinstance(answer, bytes):
            return ResponseApdu(answer, SUCCESS)
        return ResponseApdu(*answer)


def _check_class(command: CommandApdu) -> None:
    """Raise CardError for class bytes that the card does not serve: one logical channel, GlobalPlatform's messaging."""
    cla = command.cla
    if cla in {ISO, GP, ISO | SECURE_MESSAGING_BIT, GP | SECURE_MESSAGING_BIT}:
        return
    family = cla & 0x70
    if family == 0 and cla & 0x08:
        raise CardError(SECURE_MESSAGING_NOT_SUPPORTED)
    if (family == 0 and cla & 0x03) or cla & 0x40:
        raise CardError(CHANNEL_NOT_SUPPORTED)
    raise CardError(CLA_NOT_SUPPORTED)

"""A card that lies: its answers differ from the truth in one thing, for one key version or for all.

The lie is told before the answer is protected (but for the R-MAC itself), so that the host takes it for the card's own
word.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from terminal.virtual_card.apdu import CommandApdu, ResponseApdu
from tests.fakes.scene import LoggingCard

INITIALIZE_UPDATE = 0x50
PUT_KEY = 0xD8
KVN_OFFSET = 10
SCP_OFFSET = 11


class Lie(StrEnum):
    """What the card says wrongly."""

    CRYPTOGRAM = "card cryptogram"
    COUNTER = "sequence counter"
    R_MAC = "R-MAC"
    KCV = "check value in the answer to PUT KEY"
    KVN = "key version in the answer to INITIALIZE UPDATE"


@dataclass(frozen=True)
class Told:
    """A lie and when it is told: `kvn` of the command concerned (None: any), and not before `after` such commands."""

    lie: Lie
    kvn: int | None = None
    after: int = 0


class LyingCard(LoggingCard):
    """`told` may be set at any time; None is the honest card. `lies` counts those told."""

    told: Told | None = None
    lies = 0

    def _execute(self, command: CommandApdu) -> ResponseApdu:
        response = super()._execute(command)
        told = self.told
        if told is None or response.sw != 0x9000:
            return response
        if command.ins == INITIALIZE_UPDATE and told.lie in {Lie.CRYPTOGRAM, Lie.COUNTER, Lie.KVN}:
            kvn = response.data[KVN_OFFSET]
            return replace(response, data=_change(response.data, told.lie)) if self._tells(kvn) else response
        if command.ins == PUT_KEY and told.lie is Lie.KCV and self._tells(response.data[0]):
            return replace(response, data=_flip(response.data, -1))
        return response

    def transmit(self, command: bytes) -> bytes:
        answer = super().transmit(command)
        told = self.told
        # Protected answers are longer than their status word; EXTERNAL AUTHENTICATE has none to protect.
        is_protected = len(command) > 1 and command[0] & 0x04 and len(answer) > 2
        if told is not None and told.lie is Lie.R_MAC and is_protected and self._tells(None):
            return _flip(answer, -3)
        return answer

    def _tells(self, kvn: int | None) -> bool:
        """Tell whether the lie is due for a command about this key version, and count it."""
        if self.told is None or (kvn is not None and self.told.kvn not in {None, kvn}):
            return False
        if self.told.after:
            self.told = replace(self.told, after=self.told.after - 1)
            return False
        self.lies += 1
        return True


def _change(data: bytes, lie: Lie) -> bytes:
    """Change the answer to INITIALIZE UPDATE of either protocol."""
    is_scp03 = data[SCP_OFFSET] == 0x03
    size = 16 if is_scp03 and data[12] & 0x01 else 8
    if lie is Lie.KVN:
        return _flip(data, KVN_OFFSET)
    if lie is Lie.CRYPTOGRAM:
        return _flip(data, 13 + size if is_scp03 else 20)
    # The counter: SCP02's stands before the challenge, SCP03's at the end, if there is one.
    if not is_scp03:
        return _flip(data, 13)
    return _flip(data, -1) if len(data) > 13 + 2 * size else data


def _flip(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 0x01
    return bytes(changed)

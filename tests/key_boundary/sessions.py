"""The session keys of every channel that a card opened, computed from what crossed between card and reader.

Rules: an implementation of its own, from the specifications (SCP02: GlobalPlatform 2.3.1 section E.4.1; SCP03:
Amendment D 1.2 sections 4.1.5 and 6.2): neither the server's nor the virtual card's. Of the sets that the card ever
held, exactly one must give the cryptogram that the card answered; so what is returned are the keys that were in use.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from terminal.virtual_card import VirtualCard
from terminal.virtual_card.model import CardState, KeySet

INITIALIZE_UPDATE = 0x50
OK = b"\x90\x00"
_SCP02_CONSTANTS = {"C-MAC": 0x0101, "R-MAC": 0x0102, "data encryption": 0x0181, "ENC": 0x0182}
_SCP03_CONSTANTS = {"S-ENC": 0x04, "S-MAC": 0x06, "S-RMAC": 0x07}
_CARD_CRYPTOGRAM = 0x00


@dataclass(frozen=True)
class Opening:
    """INITIALIZE UPDATE and its answer."""

    command: bytes = field(repr=False)
    answer: bytes = field(repr=False)

    @property
    def kvn(self) -> int:
        return self.answer[10]

    @property
    def scp(self) -> int:
        return self.answer[11]

    @property
    def host_challenge(self) -> bytes:
        return self.command[5 : 5 + self.command[4]]


class RecordedCard(VirtualCard):
    """A card that keeps the openings of its channels and all states it was ever in."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, on_commit=self._keep, **options)  # type: ignore[arg-type] # passed on as they are
        self.states: list[CardState] = [self.state]
        self.openings: list[Opening] = []

    def _keep(self, state: CardState) -> None:
        self.states.append(state)

    def transmit(self, command: bytes) -> bytes:
        answer = super().transmit(command)
        if command[1] == INITIALIZE_UPDATE and answer[-2:] == OK:
            self.openings.append(Opening(command, answer[:-2]))
        return answer


def list_session_keys(card: RecordedCard) -> Iterator[tuple[str, bytes]]:
    """Name and value of every session key, the S-RMAC and R-MAC too where the channel's option has none."""
    sets = {item: None for state in card.states for domain in state.domains for item in domain.key_sets}
    for number, opening in enumerate(card.openings, start=1):
        for name, value in _find_keys(opening, (item for item in sets if item.kvn == opening.kvn)):
            yield f"{name} of session {number} (set {opening.kvn:02X})", value


def _find_keys(opening: Opening, sets: Iterable[KeySet]) -> list[tuple[str, bytes]]:
    found = {}
    for key_set in sets:
        keys = [key.value for key in key_set.scp_keys]
        if (len(keys) == 3) and key_set.keys[0].is_aes is (opening.scp == 3):
            made = _open_scp03(opening, keys) if opening.scp == 3 else _open_scp02(opening, keys)
            if made is not None:
                found[tuple(keys)] = made
    if len(found) != 1:
        raise ValueError(f"{len(found)} sets of version {opening.kvn:02X} give the card's cryptogram")
    return list(found.popitem()[1].items())


def _open_scp02(opening: Opening, keys: list[bytes]) -> dict[str, bytes] | None:
    counter, challenge, cryptogram = opening.answer[12:14], opening.answer[14:20], opening.answer[20:28]
    static = {"ENC": keys[0], "C-MAC": keys[1], "R-MAC": keys[1], "data encryption": keys[2]}
    made = {
        name: _encrypt_des_cbc(static[name], constant.to_bytes(2, "big") + counter + bytes(12))
        for name, constant in _SCP02_CONSTANTS.items()
    }
    proof = _encrypt_des_cbc(made["ENC"], opening.host_challenge + counter + challenge + b"\x80" + bytes(7))
    return made if proof[-8:] == cryptogram else None


def _open_scp03(opening: Opening, keys: list[bytes]) -> dict[str, bytes] | None:
    size = 16 if opening.answer[12] & 1 else 8  # S16 is told by bit 1 of i
    challenge, cryptogram = opening.answer[13 : 13 + size], opening.answer[13 + size : 13 + 2 * size]
    context = opening.host_challenge + challenge
    static = {"S-ENC": keys[0], "S-MAC": keys[1], "S-RMAC": keys[1]}
    made = {
        name: _derive(static[name], constant, context, len(static[name])) for name, constant in _SCP03_CONSTANTS.items()
    }
    return made if _derive(made["S-MAC"], _CARD_CRYPTOGRAM, context, size) == cryptogram else None


def _derive(key: bytes, constant: int, context: bytes, length: int) -> bytes:
    made = b""
    for counter in range(1, -(-length // 16) + 1):
        mac = CMAC(AES(key))
        mac.update(bytes(11) + bytes([constant, 0]) + (length * 8).to_bytes(2, "big") + bytes([counter]) + context)
        made += mac.finalize()
    return made[:length]


def _encrypt_des_cbc(key: bytes, data: bytes) -> bytes:
    return Cipher(TripleDES(key + key[:8]), modes.CBC(bytes(8))).encryptor().update(data)

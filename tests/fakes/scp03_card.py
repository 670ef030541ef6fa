"""The card's end of an SCP03 channel, written from Amendment D without a look at the product: keys in, plain bytes out.

Rules: it imports nothing of what it checks. A command that is not protected as it should be is an AssertionError.
"""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC


def aes_cmac(key: bytes, data: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(data)
    return mac.finalize()


def kdf(key: bytes, constant: int, context: bytes, bits: int) -> bytes:
    """SP 800-108 counter mode as Amendment D 4.1.5 lays it out."""
    output = b""
    for number in range(1, (bits + 127) // 128 + 1):
        output += aes_cmac(key, b"\x00" * 11 + bytes([constant, 0x00, bits >> 8, bits & 0xFF, number]) + context)
    return output[: bits // 8]


def cbc(key: bytes, icv_block: bytes, data: bytes, *, encrypt: bool) -> bytes:
    """CBC whose ICV is the encrypted counter block."""
    icv = Cipher(AES(key), modes.ECB()).encryptor().update(icv_block)  # noqa: S305 - Amendment D 6.2.6
    cipher = Cipher(AES(key), modes.CBC(icv))
    return (cipher.encryptor() if encrypt else cipher.decryptor()).update(data)


def unpad(data: bytes) -> bytes:
    end = data.rindex(b"\x80")
    assert data[end + 1 :] == bytes(len(data) - end - 1)
    assert len(data) - end <= 16
    return data[:end]


@dataclass
class Scp03Card:
    """A card with one key set in the middle of a channel. `counter`: of commands since EXTERNAL AUTHENTICATE."""

    static_keys: tuple[bytes, bytes, bytes]
    i: int
    host_challenge: bytes
    card_challenge: bytes
    sequence_counter: int = 0
    level: int = 0
    chaining: bytes = field(default=bytes(16))
    counter: int = 0

    def __post_init__(self) -> None:
        context = self.host_challenge + self.card_challenge
        bits = 8 * len(self.static_keys[0])
        self.s_enc = kdf(self.static_keys[0], 0x04, context, bits)
        self.s_mac = kdf(self.static_keys[1], 0x06, context, bits)
        self.s_rmac = kdf(self.static_keys[1], 0x07, context, bits)
        self.size = 16 if self.i & 1 else 8

    def cryptogram(self, constant: int) -> bytes:
        return kdf(self.s_mac, constant, self.host_challenge + self.card_challenge, 8 * self.size)

    def initialize_update(self, kdd: bytes, kvn: int) -> bytes:
        """The data of the answer to INITIALIZE UPDATE."""
        counter = self.sequence_counter.to_bytes(3, "big") if self.i & 0x10 else b""
        return kdd + bytes([kvn, 3, self.i]) + self.card_challenge + self.cryptogram(0x00) + counter

    def authenticate(self, command: bytes) -> None:
        """Take EXTERNAL AUTHENTICATE."""
        assert command[:2] == b"\x84\x82"
        self.level = command[2]
        assert self._check_mac(command) == self.cryptogram(0x01)

    def receive(self, command: bytes) -> bytes:
        """Take a command of this channel; returns it without its protection: header, Lc and data if there are any."""
        self.counter += 1
        if self.level == 0:
            return command
        data = self._check_mac(command)
        if self.level & 0x02 and data:
            data = unpad(cbc(self.s_enc, self.counter.to_bytes(16, "big"), data, encrypt=False))
        header = bytes([command[0] & ~0x04]) + command[1:4]
        return header + (bytes([len(data)]) + data if data else b"")

    def answer(self, data: bytes, sw: int) -> bytes:
        """Protect the answer to the last command."""
        status = sw.to_bytes(2, "big")
        if not self.level & 0x10 or sw >> 8 not in (0x90, 0x62, 0x63):
            return data + status
        if self.level & 0x20 and data:
            padded = data + b"\x80" + bytes(15 - len(data) % 16)
            block = b"\x80" + self.counter.to_bytes(15, "big")
            data = cbc(self.s_enc, block, padded, encrypt=True)
        return data + aes_cmac(self.s_rmac, self.chaining + data + status)[: self.size] + status

    def _check_mac(self, command: bytes) -> bytes:
        """The command's data without its C-MAC. There is no Le in these tests."""
        data, mac = command[5 : -self.size], command[-self.size :]
        assert command[4] == len(command) - 5
        header = bytes([command[0] & 0xFC]) + command[1:5]
        self.chaining = aes_cmac(self.s_mac, self.chaining + header + data)
        assert mac == self.chaining[: self.size]
        return data

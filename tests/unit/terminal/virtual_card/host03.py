"""The host's side of SCP03 for these tests, written from Amendment D without the card's code."""

from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from terminal.virtual_card import KEY_TYPE_AES, Personality, VirtualCard, build_factory_state
from tests.unit.terminal.virtual_card.host import ISD_AID, Keys, Transmits, aes_kcv, apdu, des_kcv, sw_of

HOST_CHALLENGE = bytes(range(0x10, 0x20))
CardT = TypeVar("CardT", bound=Transmits)


def make_keys(length: int, first: int = 0x40) -> Keys:
    enc, mac, dek = (bytes((first + 7 * role + number) % 256 for number in range(length)) for role in range(3))
    return enc, mac, dek


FACTORY_KEYS = make_keys(16)
NEW_KEYS = make_keys(16, 0x90)


def make_card(
    scp03_i: int = 0x70,
    length: int = 16,
    *,
    kvn: int = 0x30,
    scp02_i: int | None = None,
    personality: Personality | None = None,
    sequence_counter: int = 0,
) -> VirtualCard:
    state = build_factory_state(
        make_keys(length),
        key_type=KEY_TYPE_AES,
        scp02_i=scp02_i,
        scp03_i=scp03_i,
        kvn=kvn,
        sequence_counter=sequence_counter,
    )
    return VirtualCard(state, personality)


def kdf(key: bytes, constant: int, context: bytes, length: int) -> bytes:
    """SP 800-108 in counter mode; the counter stands between length and context (Amendment D 4.1.5)."""
    fixed = bytes(11) + bytes([constant, 0]) + (8 * length).to_bytes(2, "big") + context
    return KBKDFCMAC(
        algorithms.AES,
        Mode.CounterMode,
        length,
        rlen=1,
        llen=None,
        location=CounterLocation.MiddleFixed,
        label=None,
        context=None,
        fixed=fixed,
        break_location=15,
    ).derive(key)


def cmac(key: bytes, data: bytes) -> bytes:
    context = CMAC(algorithms.AES(key))
    context.update(data)
    return context.finalize()


def cbc(key: bytes, data: bytes, iv: bytes = bytes(16)) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def decrypt(key: bytes, data: bytes, iv: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def padded(data: bytes) -> bytes:
    return data + b"\x80" + bytes(15 - len(data) % 16)


@dataclass
class Host03(Generic[CardT]):
    """One session with a card. `size`: 8 for S8, 16 for S16; `keys` are the static keys that the host believes in."""

    card: CardT
    keys: Keys = FACTORY_KEYS
    size: int = 8
    level: int = 0
    response: bytes = b""
    s_enc: bytes = b""
    s_mac: bytes = b""
    s_rmac: bytes = b""
    chaining: bytes = bytes(16)
    counter: int = 0

    @property
    def host_challenge(self) -> bytes:
        return HOST_CHALLENGE[: self.size]

    @property
    def card_challenge(self) -> bytes:
        return self.response[13 : 13 + self.size]

    @property
    def card_cryptogram(self) -> bytes:
        return self.response[13 + self.size : 13 + 2 * self.size]

    @property
    def sequence_counter(self) -> int:
        return int.from_bytes(self.response[13 + 2 * self.size :], "big")

    @property
    def context(self) -> bytes:
        return self.host_challenge + self.card_challenge

    def select(self, aid: bytes) -> str:
        return sw_of(self.card.transmit(apdu(0x00, 0xA4, 0x04, 0x00, aid)))

    def initialize(self, kvn: int = 0) -> str:
        answer = self.card.transmit(apdu(0x80, 0x50, kvn, 0, self.host_challenge))
        self.response = answer[:-2]
        if sw_of(answer) == "9000":
            enc, mac, _dek = self.keys
            self.s_enc = kdf(enc, 4, self.context, len(enc))
            self.s_mac = kdf(mac, 6, self.context, len(mac))
            self.s_rmac = kdf(mac, 7, self.context, len(mac))
        return sw_of(answer)

    def expect_cryptogram(self) -> bytes:
        return kdf(self.s_mac, 0, self.context, self.size)

    def authenticate(self, level: int, *, spoil_mac: bool = False, spoil_cryptogram: bool = False) -> str:
        cryptogram = kdf(self.s_mac, 1, self.context, self.size)
        if spoil_cryptogram:
            cryptogram = bytes(self.size)
        self.level, self.chaining, self.counter = level, bytes(16), 0
        command = self.add_mac(0x82, level, 0, cryptogram)
        if spoil_mac:
            command = command[:-1] + bytes([command[-1] ^ 1])
        return sw_of(self.card.transmit(command))

    def open(self, level: int = 0x33, kvn: int = 0, aid: bytes = ISD_AID) -> Self:
        assert self.select(aid) == "9000"
        assert self.initialize(kvn) == "9000"
        assert self.card_cryptogram == self.expect_cryptogram()
        assert self.authenticate(level) == "9000"
        return self

    def add_mac(self, ins: int, p1: int, p2: int, data: bytes) -> bytes:
        header = bytes([0x84, ins, p1, p2, len(data) + self.size])
        self.chaining = cmac(self.s_mac, self.chaining + header + data)
        return header + data + self.chaining[: self.size]

    def icv(self, first: int) -> bytes:
        return cbc(self.s_enc, bytes([first]) + self.counter.to_bytes(15, "big"))

    def wrap(self, ins: int, p1: int, p2: int, data: bytes = b"") -> bytes:
        if not self.level & 0x01:
            return apdu(0x80, ins, p1, p2, data)
        self.counter += 1
        if self.level & 0x02 and data:
            data = cbc(self.s_enc, padded(data), self.icv(0x00))
        return self.add_mac(ins, p1, p2, data) + b"\x00"

    def unwrap(self, answer: bytes) -> tuple[bytes, str]:
        body, sw = answer[:-2], answer[-2:]
        if self.level & 0x10 and sw[0] in {0x90, 0x62, 0x63}:
            body, mac = body[: -self.size], body[-self.size :]
            assert mac == cmac(self.s_rmac, self.chaining + body + sw)[: self.size]
            if self.level & 0x20 and body:
                plain = decrypt(self.s_enc, body, self.icv(0x80)).rstrip(b"\x00")
                assert plain.endswith(b"\x80")
                body = plain[:-1]
        return body, sw_of(answer)

    def send(self, ins: int, p1: int, p2: int, data: bytes = b"") -> tuple[bytes, str]:
        return self.unwrap(self.card.transmit(self.wrap(ins, p1, p2, data)))

    def sw(self, ins: int, p1: int, p2: int, data: bytes = b"") -> str:
        return self.send(ins, p1, p2, data)[1]

    def aes_field(self, key: bytes, *, short: bool = False, kcv: bytes | None = None) -> bytes:
        """One AES key: type, block (with the key's length in front, unless short), check value."""
        block = cbc(self.keys[2], key + bytes(-len(key) % 16))
        block = block if short else bytes([len(key)]) + block
        return b"\x88" + bytes([len(block)]) + block + b"\x03" + (aes_kcv(key) if kcv is None else kcv)

    def des_field(self, key: bytes) -> bytes:
        return b"\x80\x10" + cbc(self.keys[2], key) + b"\x03" + des_kcv(key)

    def put_keys(self, old: int, new: int, fields: list[bytes]) -> tuple[bytes, str]:
        return self.send(0xD8, old, 0x81, bytes([new]) + b"".join(fields))

    def put_aes(self, old: int, new: int, keys: Keys = NEW_KEYS, *, short: bool = False) -> tuple[bytes, str]:
        return self.put_keys(old, new, [self.aes_field(key, short=short) for key in keys])

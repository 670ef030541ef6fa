"""The host's side of SCP02 for these tests, written from GP231 appendix E without the card's code."""

from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

KEY = bytes.fromhex("404142434445464748494A4B4C4D4E4F")
FACTORY_KEYS = (KEY, KEY, KEY)
NEW_KEYS = (
    bytes.fromhex("505152535455565758595A5B5C5D5E5F"),
    bytes.fromhex("606162636465666768696A6B6C6D6E6F"),
    bytes.fromhex("707172737475767778797A7B7C7D7E7F"),
)
HOST_CHALLENGE = bytes.fromhex("0102030405060708")
ISD_AID = bytes.fromhex("A000000151000000")
SSD_AID = bytes.fromhex("A00000055910100102")
PACKAGE_AID = bytes.fromhex("A0000001515350")
MODULE_AID = bytes.fromhex("A000000151535041")

Keys = tuple[bytes, bytes, bytes]


def cbc(key: bytes, data: bytes, iv: bytes = bytes(8)) -> bytes:
    encryptor = Cipher(TripleDES(key + key[: 24 - len(key)]), modes.CBC(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def ecb(key: bytes, data: bytes) -> bytes:
    mode = modes.ECB()  # noqa: S305 - GlobalPlatform wraps DES key material with ECB
    encryptor = Cipher(TripleDES(key + key[: 24 - len(key)]), mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def padded(data: bytes) -> bytes:
    return data + b"\x80" + bytes(7 - len(data) % 8)


def retail_mac(key: bytes, data: bytes, icv: bytes) -> bytes:
    single = key[:8] * 3
    for start in range(0, len(message := padded(data)), 8):
        block = bytes(a ^ b for a, b in zip(message[start : start + 8], icv, strict=True))
        icv = ecb(key if start + 8 == len(message) else single, block)
    return icv


def des_kcv(key: bytes) -> bytes:
    return ecb(key, bytes(8))[:3]


def aes_kcv(key: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - check values are defined by ECB
    return encryptor.update(b"\x01" * 16)[:3]


def apdu(cla: int, ins: int, p1: int, p2: int, data: bytes = b"", *, le: bool = True) -> bytes:
    return bytes([cla, ins, p1, p2]) + (bytes([len(data)]) + data if data else b"") + (b"\x00" if le else b"")


def sw_of(response: bytes) -> str:
    return response[-2:].hex().upper()


class Transmits(Protocol):
    """A card, or whatever carries commands to one."""

    def transmit(self, command: bytes) -> bytes: ...


@dataclass
class Host:
    """One session with a card. `keys` are the static keys that the host believes in."""

    card: Transmits
    keys: Keys = FACTORY_KEYS
    level: int = 0
    session_keys: dict[str, bytes] = field(default_factory=dict)
    icv: bytes = bytes(8)
    last_mac: bytes = bytes(8)
    r_icv: bytes = bytes(8)
    initialize_response: bytes = b""

    def select(self, aid: bytes) -> str:
        return sw_of(self.card.transmit(apdu(0x00, 0xA4, 0x04, 0x00, aid)))

    def initialize(self, kvn: int = 0) -> str:
        response = self.card.transmit(apdu(0x80, 0x50, kvn, 0, HOST_CHALLENGE))
        self.initialize_response = response[:-2]
        if sw_of(response) == "9000":
            counter = response[12:14]
            names = (("S-ENC", "0182", 0), ("C-MAC", "0101", 1), ("R-MAC", "0102", 1), ("DEK", "0181", 2))
            self.session_keys = {
                name: cbc(self.keys[index], bytes.fromhex(constant) + counter + bytes(12))
                for name, constant, index in names
            }
        return sw_of(response)

    @property
    def card_cryptogram(self) -> bytes:
        response = self.initialize_response
        return cbc(self.session_keys["S-ENC"], padded(HOST_CHALLENGE + response[12:20]))[-8:]

    def authenticate(self, level: int = 1, *, spoil_mac: bool = False, spoil_cryptogram: bool = False) -> str:
        cryptogram = cbc(self.session_keys["S-ENC"], padded(self.initialize_response[12:20] + HOST_CHALLENGE))[-8:]
        if spoil_cryptogram:
            cryptogram = bytes(8)
        header = bytes([0x84, 0x82, level, 0x00, 0x10])
        mac = retail_mac(self.session_keys["C-MAC"], header + cryptogram, bytes(8))
        self.level, self.last_mac, self.r_icv = level, mac, mac
        return sw_of(self.card.transmit(header + cryptogram + (bytes(8) if spoil_mac else mac)))

    def open(self, level: int = 1, kvn: int = 0, aid: bytes = ISD_AID) -> "Host":
        assert self.select(aid) == "9000"
        assert self.initialize(kvn) == "9000"
        assert self.card_cryptogram == self.initialize_response[20:28]
        assert self.authenticate(level) == "9000"
        return self

    def wrap(self, ins: int, p1: int, p2: int, data: bytes = b"") -> bytes:
        if not self.level & 0x01:
            return apdu(0x80, ins, p1, p2, data)
        icv = ecb(self.session_keys["C-MAC"][:8] * 3, self.last_mac)
        mac = retail_mac(self.session_keys["C-MAC"], bytes([0x84, ins, p1, p2, len(data) + 8]) + data, icv)
        self.last_mac = mac
        if self.level & 0x02 and data:
            data = cbc(self.session_keys["S-ENC"], padded(data))
        return apdu(0x84, ins, p1, p2, data + mac)

    def send(self, ins: int, p1: int, p2: int, data: bytes = b"") -> tuple[bytes, str]:
        response = self.card.transmit(self.wrap(ins, p1, p2, data))
        body = response[:-2]
        if self.level & 0x10:
            body, r_mac = body[:-8], body[-8:]
            covered = bytes([0x80, ins, p1, p2, len(data)]) + data + bytes([len(body)]) + body + response[-2:]
            self.r_icv = retail_mac(self.session_keys["R-MAC"], covered, self.r_icv)
            assert r_mac == self.r_icv
        return body, sw_of(response)

    def sw(self, ins: int, p1: int, p2: int, data: bytes = b"") -> str:
        return self.send(ins, p1, p2, data)[1]

    def key_field(self, key: bytes) -> bytes:
        return b"\x80\x10" + ecb(self.session_keys["DEK"], key) + b"\x03" + des_kcv(key)

    def put_keys(self, old: int, new: int, keys: Keys = NEW_KEYS) -> tuple[bytes, str]:
        return self.send(0xD8, old, 0x81, bytes([new]) + b"".join(self.key_field(key) for key in keys))

    def install_ssd(
        self, aid: bytes = SSD_AID, *, p1: int = 0x0C, privileges: str = "80", parameters: str = "C900"
    ) -> str:
        names = b"".join(
            bytes([len(name)]) + name for name in (PACKAGE_AID, MODULE_AID, aid, bytes.fromhex(privileges))
        )
        blob = bytes.fromhex(parameters)
        return self.sw(0xE6, p1, 0, names + bytes([len(blob)]) + blob + b"\x00")

    def begin_personalization(self, aid: bytes = SSD_AID) -> str:
        return self.sw(0xE6, 0x20, 0, b"\x00\x00" + bytes([len(aid)]) + aid + b"\x00\x00\x00")

    def key_groups(self, kvn: int, keys: Keys = NEW_KEYS) -> bytes:
        templates = b""
        values = b""
        for kid, (key, usage) in enumerate(zip(keys, ("38", "34", "C8"), strict=True), start=1):
            fields = f"9501{usage}960100800180810110 8201{kid:02X} 8301{kvn:02X} 8403{des_kcv(key).hex()}"
            template = bytes.fromhex(fields)
            templates += b"\xb9" + bytes([len(template)]) + template
            value = ecb(self.session_keys["DEK"], key)
            values += bytes.fromhex("8113") + bytes([len(value)]) + value
        return bytes.fromhex("00B9") + bytes([len(templates)]) + templates + values

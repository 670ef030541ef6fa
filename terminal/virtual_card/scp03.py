"""SCP03 as a card speaks it (GPC 2.3 Amendment D): AES keys of 16, 24 or 32 bytes, S8 and S16.

The bits of i: 01 S16 (challenges, cryptograms and MACs of 16 bytes, else 8), 10 pseudo-random card challenge, 20 R-MAC
offered, 40 R-ENCRYPTION offered, which needs 20 (Amendment D Table 5-1; S16 by version 1.2).
"""

import hmac
from dataclasses import dataclass, field
from typing import Final

from terminal.virtual_card.apdu import SECURE_MESSAGING_BIT, CommandApdu
from terminal.virtual_card.crypto import (
    AES_BLOCK,
    AES_ZERO_IV,
    check_equal,
    compute_cmac,
    decrypt_aes_cbc,
    encrypt_aes_block,
    encrypt_aes_cbc,
    pad,
    unpad,
)
from terminal.virtual_card.model import KeySet
from terminal.virtual_card.status import (
    AUTHENTICATION_FAILED,
    CONDITIONS_NOT_SATISFIED,
    WRONG_DATA,
    WRONG_LENGTH,
    WRONG_P1P2,
    CardError,
    SecureMessagingError,
)

SCP_IDENTIFIER: Final = 0x03
I_S16: Final = 0x01
I_PSEUDO_RANDOM: Final = 0x10
I_R_MAC: Final = 0x20
I_R_ENCRYPTION: Final = 0x40
LEVEL_C_MAC: Final = 0x01
LEVEL_C_DECRYPTION: Final = 0x02
LEVEL_R_MAC: Final = 0x10
LEVEL_R_ENCRYPTION: Final = 0x20
LEVELS: Final = frozenset({0x00, 0x01, 0x03, 0x11, 0x13, 0x33})
COUNTER_LENGTH: Final = 3

# Derivation constants, Amendment D Table 4-1.
CARD_CRYPTOGRAM: Final = 0x00
HOST_CRYPTOGRAM: Final = 0x01
CARD_CHALLENGE: Final = 0x02
S_ENC: Final = 0x04
S_MAC: Final = 0x06
S_RMAC: Final = 0x07


def get_size(scp_i: int) -> int:
    """Return the bytes of challenges, cryptograms and MACs on the wire: 8 or 16."""
    return 16 if scp_i & I_S16 else 8


def derive(key: bytes, constant: int, context: bytes, length: int) -> bytes:
    """Return `length` bytes by SP 800-108 in counter mode with AES-CMAC (Amendment D 4.1.5)."""
    label = bytes(11) + bytes([constant])
    fixed = label + b"\x00" + (length * 8).to_bytes(2, "big")
    blocks = (compute_cmac(key, fixed + bytes([number]) + context) for number in (1, 2))
    return b"".join(blocks)[:length]


def compute_card_challenge(key_set: KeySet, scp_i: int, aid: bytes) -> bytes:
    """Return the pseudo-random card challenge of the set's counter for a domain (Amendment D 6.2.2)."""
    counter = key_set.sequence_counter.to_bytes(COUNTER_LENGTH, "big")
    return derive(key_set.scp_keys[0].value, CARD_CHALLENGE, counter + aid, get_size(scp_i))


def is_level_offered(scp_i: int, level: int) -> bool:
    """Tell whether a security level exists and this i has what it takes (Amendment D 7.1.2)."""
    has_r_mac = bool(scp_i & I_R_MAC)
    has_r_encryption = has_r_mac and bool(scp_i & I_R_ENCRYPTION)
    return (
        level in LEVELS
        and (has_r_mac or not level & LEVEL_R_MAC)
        and (has_r_encryption or not level & LEVEL_R_ENCRYPTION)
    )


@dataclass(frozen=True)
class SessionKeys:
    """The three session keys, as long as the static ones; the data encryption key is the static one."""

    s_enc: bytes = field(repr=False)
    s_mac: bytes = field(repr=False)
    s_rmac: bytes = field(repr=False)
    dek: bytes = field(repr=False)


def derive_session_keys(key_set: KeySet, context: bytes) -> SessionKeys:
    """Derive the session keys; context is host challenge ‖ card challenge (Amendment D 6.2.1)."""
    enc, mac, dek = (key.value for key in key_set.scp_keys)
    length = len(enc)
    return SessionKeys(
        s_enc=derive(enc, S_ENC, context, length),
        s_mac=derive(mac, S_MAC, context, length),
        s_rmac=derive(mac, S_RMAC, context, length),
        dek=dek,
    )


@dataclass(frozen=True)
class Scp03Handshake:
    """The answer to INITIALIZE UPDATE and the check of EXTERNAL AUTHENTICATE (Amendment D 7.1.1 and 7.1.2).

    Raise CardError 6700 for a host challenge of the other size than i says.
    """

    owner_aid: bytes
    key_set: KeySet = field(repr=False)
    scp_i: int
    host_challenge: bytes
    card_challenge: bytes

    # The counter moved at INITIALIZE UPDATE already.
    counts_first_mac = False

    def __post_init__(self) -> None:
        if len(self.host_challenge) != get_size(self.scp_i):
            raise CardError(WRONG_LENGTH)

    @property
    def kvn(self) -> int:
        """Version number of the key set in use."""
        return self.key_set.kvn

    @property
    def authentication_length(self) -> int:
        """Bytes of EXTERNAL AUTHENTICATE: host cryptogram and MAC."""
        return 2 * get_size(self.scp_i)

    @property
    def _context(self) -> bytes:
        return self.host_challenge + self.card_challenge

    @property
    def _keys(self) -> SessionKeys:
        return derive_session_keys(self.key_set, self._context)

    def _compute_cryptogram(self, constant: int) -> bytes:
        return derive(self._keys.s_mac, constant, self._context, get_size(self.scp_i))

    def build_response(self, kdd: bytes) -> bytes:
        """Return the data of the response: 29 (S16: 45) bytes, 3 more with the sequence counter."""
        counter = self.key_set.sequence_counter.to_bytes(COUNTER_LENGTH, "big")
        return (
            kdd
            + bytes([self.kvn, SCP_IDENTIFIER, self.scp_i])
            + self.card_challenge
            + self._compute_cryptogram(CARD_CRYPTOGRAM)
            + (counter if self.scp_i & I_PSEUDO_RANDOM else b"")
        )

    def check_level(self, level: int) -> None:
        """Raise CardError 6A86 for a level that this i does not offer."""
        if not is_level_offered(self.scp_i, level):
            raise CardError(WRONG_P1P2)

    def check_mac(self, command: CommandApdu) -> None:
        """Verify the C-MAC of EXTERNAL AUTHENTICATE, the first link of the chain."""
        self._begin_channel(command).unwrap_mac(command)

    def open_channel(self, command: CommandApdu) -> "Scp03Channel":
        """Verify the host cryptogram; P1 of the command is the security level."""
        expected = self._compute_cryptogram(HOST_CRYPTOGRAM)
        if not hmac.compare_digest(expected, command.data[: get_size(self.scp_i)]):
            raise CardError(AUTHENTICATION_FAILED)
        channel = self._begin_channel(command)
        channel.unwrap_mac(command)
        return channel

    def _begin_channel(self, command: CommandApdu) -> "Scp03Channel":
        return Scp03Channel(self._keys, self.scp_i, security_level=command.p1)


@dataclass
class Scp03Channel:
    """An open SCP03 session. `chaining` is the last full C-MAC, `counter` that of the last command."""

    keys: SessionKeys = field(repr=False)
    scp_i: int
    security_level: int
    chaining: bytes = field(default=AES_ZERO_IV, repr=False)
    counter: int = 0
    # What BEGIN R-MAC SESSION raised the level from.
    level_before: int | None = None

    @property
    def requires_c_mac(self) -> bool:
        """Whether the level set at EXTERNAL AUTHENTICATE asks for a C-MAC on every command."""
        return bool(self.security_level & LEVEL_C_MAC)

    @property
    def response_level(self) -> int:
        """The security level as far as it concerns responses."""
        return self.security_level & (LEVEL_R_MAC | LEVEL_R_ENCRYPTION)

    def unwrap_mac(self, command: CommandApdu) -> bytes:
        """Check the C-MAC and return the data before it; the chain goes on from here (Amendment D 6.2.4)."""
        size = get_size(self.scp_i)
        if len(command.data) < size:
            raise SecureMessagingError
        data, mac = command.data[:-size], command.data[-size:]
        header = bytes([command.cla | SECURE_MESSAGING_BIT, command.ins, command.p1, command.p2, len(command.data)])
        full_mac = compute_cmac(self.keys.s_mac, self.chaining + header + data)
        check_equal(full_mac[:size], mac)
        self.chaining = full_mac
        return data

    def unwrap(self, command: CommandApdu) -> CommandApdu:
        """Check the C-MAC, decrypt if the level says so, and return the command as it was before wrapping."""
        data = self.unwrap_mac(command)
        # Amendment D 6.2.6: the counter moves with every command, also with one that has no data to decrypt.
        self.counter += 1
        if self.security_level & LEVEL_C_DECRYPTION and data:
            if len(data) % AES_BLOCK:
                raise SecureMessagingError
            data = unpad(decrypt_aes_cbc(self.keys.s_enc, data, self._build_icv(0x00)), AES_BLOCK)
        plain_cla = command.cla & ~SECURE_MESSAGING_BIT
        return CommandApdu(plain_cla, command.ins, command.p1, command.p2, data, command.le)

    def _build_icv(self, first_byte: int) -> bytes:
        """Return the encrypted counter block; its first byte tells command (00) from response (80)."""
        return encrypt_aes_block(self.keys.s_enc, bytes([first_byte]) + self.counter.to_bytes(15, "big"))

    def wrap_response(self, _command: CommandApdu, data: bytes, sw: int, level: int) -> bytes:
        """Encrypt the response data and append the R-MAC, as `level` says; an error answer has neither (6.2.5, 6.2.7).

        Anything but 9000 and the warnings 62xx and 63xx is an error.
        """
        if sw != 0x9000 and sw >> 8 not in {0x62, 0x63}:
            return b""
        if level & LEVEL_R_ENCRYPTION and data:
            data = encrypt_aes_cbc(self.keys.s_enc, pad(data, AES_BLOCK), self._build_icv(0x80))
        r_mac = compute_cmac(self.keys.s_rmac, self.chaining + data + sw.to_bytes(2, "big"))
        return data + r_mac[: get_size(self.scp_i)]

    def begin_r_mac(self, protection: int) -> None:
        """Raise the protection of responses to R-MAC (10) or R-MAC with R-ENCRYPTION (30) (Amendment D 7.1.3)."""
        if protection not in {LEVEL_R_MAC, LEVEL_R_MAC | LEVEL_R_ENCRYPTION}:
            raise CardError(WRONG_P1P2)
        raised = self.security_level | protection
        if not self.requires_c_mac or raised == self.security_level or not is_level_offered(self.scp_i, raised):
            raise CardError(CONDITIONS_NOT_SATISFIED)
        self.level_before = self.security_level if self.level_before is None else self.level_before
        self.security_level = raised

    def end_r_mac(self, mode: int) -> None:
        """Lower the protection to what EXTERNAL AUTHENTICATE set (mode 03, the only one; Amendment D 7.1.4)."""
        if mode != 0x03:
            raise CardError(WRONG_P1P2)
        if self.level_before is None:
            raise CardError(CONDITIONS_NOT_SATISFIED)
        self.security_level, self.level_before = self.level_before, None

    def decrypt_sensitive(self, data: bytes) -> bytes:
        """Decrypt with AES-CBC and a zero IV under the static Key-DEK (Amendment D 6.2.8)."""
        if not data or len(data) % AES_BLOCK:
            raise CardError(WRONG_DATA)
        return decrypt_aes_cbc(self.keys.dek, data, AES_ZERO_IV)

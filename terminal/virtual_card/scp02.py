"""SCP02 as a card speaks it: explicit initiation, C-MAC on the modified APDU, three keys, ICV encryption (i=x5).

Source: GP231 appendix E. The bits of i that differ here: 20 R-MAC offered, 40 well-known pseudo-random card challenge.
"""

import hmac
from dataclasses import dataclass, field
from typing import Final

from terminal.virtual_card.apdu import SECURE_MESSAGING_BIT, CommandApdu
from terminal.virtual_card.crypto import (
    BLOCK,
    ZERO_IV,
    check_equal,
    compute_full_mac,
    compute_retail_mac,
    decrypt_cbc,
    decrypt_ecb,
    encrypt_cbc,
    encrypt_ecb,
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

SCP_IDENTIFIER: Final = 0x02
I_R_MAC: Final = 0x20
I_PSEUDO_RANDOM: Final = 0x40
LEVEL_C_MAC: Final = 0x01
LEVEL_C_DECRYPTION: Final = 0x02
LEVEL_R_MAC: Final = 0x10
LEVELS: Final = frozenset({0x00, 0x01, 0x03})
MAC_LENGTH: Final = 8
CHALLENGE_LENGTH: Final = 8  # of the host; the card's is 6, behind 2 bytes of counter


@dataclass(frozen=True)
class SessionKeys:
    """The four session keys, 16 bytes each."""

    s_enc: bytes = field(repr=False)
    c_mac: bytes = field(repr=False)
    r_mac: bytes = field(repr=False)
    dek: bytes = field(repr=False)


def derive_session_keys(key_set: KeySet) -> SessionKeys:
    """Derive the session keys from a set's static keys and its sequence counter (GP231 E.4.1)."""
    enc, mac, dek = (key.value for key in key_set.scp_keys)
    counter = key_set.sequence_counter.to_bytes(2, "big")

    def derive(static_key: bytes, constant: int) -> bytes:
        return encrypt_cbc(static_key, constant.to_bytes(2, "big") + counter + bytes(12))

    return SessionKeys(
        s_enc=derive(enc, 0x0182), c_mac=derive(mac, 0x0101), r_mac=derive(mac, 0x0102), dek=derive(dek, 0x0181)
    )


def compute_card_challenge(key_set: KeySet, aid: bytes) -> bytes:
    """Return the 6-byte pseudo-random card challenge of a domain (GP231 E.4.2.3): repeats until the counter moves."""
    return compute_retail_mac(derive_session_keys(key_set).c_mac, aid, ZERO_IV)[:6]


def _mac_input(command: CommandApdu, data: bytes) -> bytes:
    """Return what a C-MAC covers: the class byte with the SM bit, and Lc with the MAC counted in (GP231 E.4.4)."""
    header = bytes([command.cla | SECURE_MESSAGING_BIT, command.ins, command.p1, command.p2, len(data) + MAC_LENGTH])
    return header + data


@dataclass(frozen=True)
class Scp02Handshake:
    """The answer to INITIALIZE UPDATE and the check of EXTERNAL AUTHENTICATE (GP231 E.5.1 and E.5.2).

    Raise CardError 6700 for a host challenge that does not have 8 bytes.
    """

    owner_aid: bytes
    key_set: KeySet = field(repr=False)
    scp_i: int
    host_challenge: bytes
    card_challenge: bytes

    # GP231 E.1.2.3: the first C-MAC that verifies in a session moves the counter, whatever comes next.
    counts_first_mac = True
    authentication_length = 2 * MAC_LENGTH

    def __post_init__(self) -> None:
        if len(self.host_challenge) != CHALLENGE_LENGTH:
            raise CardError(WRONG_LENGTH)

    @property
    def kvn(self) -> int:
        """Version number of the key set in use."""
        return self.key_set.kvn

    @property
    def _counter(self) -> bytes:
        return self.key_set.sequence_counter.to_bytes(2, "big")

    def build_response(self, kdd: bytes) -> bytes:
        """Return the 28 bytes of the INITIALIZE UPDATE response."""
        return (
            kdd
            + bytes([self.kvn, SCP_IDENTIFIER])
            + self._counter
            + self.card_challenge
            + self._compute_cryptogram(self.host_challenge + self._counter + self.card_challenge)
        )

    def _compute_cryptogram(self, data: bytes) -> bytes:
        return compute_full_mac(derive_session_keys(self.key_set).s_enc, pad(data))

    def check_level(self, level: int) -> None:
        """Raise CardError 6A86 for a level that this i does not offer (GP231 Table E-9)."""
        base = level & ~LEVEL_R_MAC if self.scp_i & I_R_MAC else level
        if base not in LEVELS:
            raise CardError(WRONG_P1P2)

    def check_mac(self, command: CommandApdu) -> None:
        """Verify the C-MAC of EXTERNAL AUTHENTICATE: zero ICV, data never encrypted."""
        data, mac = command.data[:-MAC_LENGTH], command.data[-MAC_LENGTH:]
        keys = derive_session_keys(self.key_set)
        check_equal(compute_retail_mac(keys.c_mac, _mac_input(command, data), ZERO_IV), mac)

    def open_channel(self, command: CommandApdu) -> "Scp02Channel":
        """Verify the host cryptogram; P1 of the command is the security level."""
        expected = self._compute_cryptogram(self._counter + self.card_challenge + self.host_challenge)
        if not hmac.compare_digest(expected, command.data[:8]):
            raise CardError(AUTHENTICATION_FAILED)
        return Scp02Channel(
            derive_session_keys(self.key_set), self.scp_i, security_level=command.p1, last_c_mac=command.data[-8:]
        )


@dataclass
class Scp02Channel:
    """An open SCP02 session."""

    keys: SessionKeys = field(repr=False)
    scp_i: int
    security_level: int
    last_c_mac: bytes = field(repr=False)
    last_r_mac: bytes = field(default=b"", repr=False)
    is_r_mac_by_command: bool = False

    def __post_init__(self) -> None:
        # The first R-MAC of a session chains to the C-MAC of EXTERNAL AUTHENTICATE (GP231 E.4.5).
        self.last_r_mac = self.last_c_mac

    @property
    def requires_c_mac(self) -> bool:
        """Whether the level set at EXTERNAL AUTHENTICATE asks for a C-MAC on every command."""
        return bool(self.security_level & LEVEL_C_MAC)

    @property
    def response_level(self) -> int:
        """The security level as far as it concerns responses."""
        return self.security_level & LEVEL_R_MAC

    def unwrap(self, command: CommandApdu) -> CommandApdu:
        """Check the C-MAC, decrypt if the level says so, and return the command as it was before wrapping."""
        if len(command.data) < MAC_LENGTH:
            raise SecureMessagingError
        data, mac = command.data[:-MAC_LENGTH], command.data[-MAC_LENGTH:]
        # No data, no encryption: GP231 E.4.6 leaves it open, SCP03 prescribes it. A host that encrypts the empty
        # string sends one block, which decrypts to padding alone: taken too.
        if self.security_level & LEVEL_C_DECRYPTION and data:
            if len(data) % BLOCK:
                raise SecureMessagingError
            data = unpad(decrypt_cbc(self.keys.s_enc, data))
        # GP231 E.3.4: the ICV is the previous C-MAC, encrypted with single DES under the left half of the key.
        icv = encrypt_ecb(self.keys.c_mac[:8], self.last_c_mac)
        check_equal(compute_retail_mac(self.keys.c_mac, _mac_input(command, data), icv), mac)
        self.last_c_mac = mac
        plain_cla = command.cla & ~SECURE_MESSAGING_BIT
        return CommandApdu(plain_cla, command.ins, command.p1, command.p2, data, command.le)

    def wrap_response(self, command: CommandApdu, data: bytes, sw: int, _level: int) -> bytes:
        """Append the R-MAC over stripped command, response data and status word (GP231 E.4.5).

        Error answers carry it too, with a length byte of 00: E.4.5 gives that value for them, so they are covered.
        """
        stripped = bytes([command.cla, command.ins, command.p1, command.p2, len(command.data)]) + command.data
        covered = stripped + bytes([len(data) % 256]) + data + sw.to_bytes(2, "big")
        self.last_r_mac = compute_retail_mac(self.keys.r_mac, covered, self.last_r_mac)
        return data + self.last_r_mac

    def begin_r_mac(self, protection: int) -> None:
        """Raise the level by R-MAC (GP231 E.5.3); the chain starts from the last C-MAC."""
        if protection != LEVEL_R_MAC:
            raise CardError(WRONG_P1P2)
        if not self.scp_i & I_R_MAC or self.response_level:
            raise CardError(CONDITIONS_NOT_SATISFIED)
        self.security_level |= LEVEL_R_MAC
        self.is_r_mac_by_command = True
        self.last_r_mac = self.last_c_mac

    def end_r_mac(self, mode: int) -> None:
        """Lower the level again (mode 03; GP231 E.5.4), or only ask for one more R-MAC (mode 01).

        A level set at EXTERNAL AUTHENTICATE stays to the end of the session.
        """
        if mode not in {0x01, 0x03}:
            raise CardError(WRONG_P1P2)
        if not self.response_level:
            raise CardError(CONDITIONS_NOT_SATISFIED)
        if mode == 0x01:
            return
        if not self.is_r_mac_by_command:
            raise CardError(CONDITIONS_NOT_SATISFIED)
        self.security_level &= ~LEVEL_R_MAC
        self.is_r_mac_by_command = False

    def decrypt_sensitive(self, data: bytes) -> bytes:
        """Decrypt with 3DES-ECB under the session DEK (GP231 E.4.7, explicit initiation)."""
        if not data or len(data) % BLOCK:
            raise CardError(WRONG_DATA)
        return decrypt_ecb(self.keys.dek, data)

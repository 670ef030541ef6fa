"""Values of a secure channel that hold for every protocol: the card's answer, the parameters, the resumable state.

Rules: everything here is public on the wire or names a key; no key value, no session key. So a state may be saved as
JSON (its fields are integers, bytes, enums, tuples and frozen values of these) and any process can go on from it.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from kms.card.keys import KeySetRef


class SecurityLevel(IntEnum):
    """What EXTERNAL AUTHENTICATE asks for in P1, named by what is protected (GP 2.3.1 Table E-11; Amendment D)."""

    NONE = 0x00
    C_MAC = 0x01
    C_MAC_C_DEC = 0x03
    R_MAC = 0x10
    C_MAC_R_MAC = 0x11
    C_MAC_C_DEC_R_MAC = 0x13
    C_MAC_C_DEC_R_MAC_R_ENC = 0x33

    @property
    def has_c_mac(self) -> bool:
        """Whether commands carry a C-MAC."""
        return bool(self & 0x01)

    @property
    def has_c_decryption(self) -> bool:
        """Whether command data is encrypted."""
        return bool(self & 0x02)

    @property
    def has_r_mac(self) -> bool:
        """Whether responses carry an R-MAC."""
        return bool(self & 0x10)

    @property
    def has_r_encryption(self) -> bool:
        """Whether response data is encrypted."""
        return bool(self & 0x20)


@dataclass(frozen=True)
class Handshake:
    """INITIALIZE UPDATE and the card's answer. Nothing in it is authentic before `check_card_cryptogram`.

    The cryptogram covers the challenges and, in SCP02, the counter; never `kdd` and `kvn`, which a terminal can forge.
    `host_challenge`: 8 bytes (SCP03 S16: 16). `kdd`: key diversification data, 10 bytes. `scp`: 2 or 3. `i`: as the
    card says in SCP03, None in SCP02, whose answer has no such field. `sequence_counter`: of the key set (SCP03 with
    random challenges has none: 0). `card_challenge`: 6 bytes, SCP03 8 or 16. `card_cryptogram`: 8 bytes (S16: 16).
    """

    host_challenge: bytes
    kdd: bytes
    kvn: int
    scp: int
    i: int | None
    sequence_counter: int
    card_challenge: bytes
    card_cryptogram: bytes


@dataclass(frozen=True)
class ChannelParameters:
    """How a channel is run. `scp` and `i`: as on the card's record. `aid`: of the security domain, 5 to 16 bytes."""

    scp: int
    i: int
    level: SecurityLevel
    aid: bytes


@dataclass(frozen=True)
class ChannelState:
    """Where a channel stands: with the key port of any later scope it goes on as if it had never stopped.

    `mac_chaining`: the last C-MAC (SCP02: 8 bytes; SCP03: the 16-byte chaining value), empty before EXTERNAL
    AUTHENTICATE. `r_mac_chaining`: the last R-MAC (SCP02; empty without R-MAC). `commands`: how many were built,
    EXTERNAL AUTHENTICATE included. `unanswered`: only at levels with R-MAC, oldest first, what verifying the answer to
    each command takes: in SCP02 the stripped command (its keys are wrapped already), empty for EXTERNAL AUTHENTICATE;
    in SCP03 the chaining value that the command's C-MAC left.
    """

    handshake: Handshake
    parameters: ChannelParameters
    key_set: KeySetRef
    mac_chaining: bytes = b""
    r_mac_chaining: bytes = b""
    commands: int = 0
    unanswered: tuple[bytes, ...] = field(default=(), repr=False)

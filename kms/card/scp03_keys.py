"""SCP03 session keys and what they compute, all inside the HSM (Amendment D sections 4.1.5 and 6.2).

Rules: a key is derived when first needed and never leaves the token. Each call of the key port may cost a millisecond,
so an ICV is encrypted on the way of the CBC chain that it begins, and a cryptogram is one CMAC. There is no session
DEK: key material goes under the static Key-DEK.
"""

from functools import cached_property

from kms.card.key_sets import derive_static_key
from kms.card.keys import CipherMode, KeyHandle, KeyPort, KeyRole, KeySetRef, KeyUse
from kms.errors import Code, KmsError

BLOCK = 16

# Derivation constants, Amendment D Table 4-1.
CARD_CRYPTOGRAM = 0x00
HOST_CRYPTOGRAM = 0x01
CARD_CHALLENGE = 0x02
S_ENC = 0x04
S_MAC = 0x06
S_RMAC = 0x07

RESPONSE_ICV = 0x80  # first byte of the counter block of a response (Amendment D section 6.2.7)


class Scp03Keys:
    """The session keys that a key set makes of two challenges, bound to a key scope.

    `context`: host challenge and card challenge; `mac_length`: 8 (S8) or 16 (S16) bytes of a cryptogram. Raises
    `input.invalid` for a key set that is not of AES.
    """

    def __init__(self, keys: KeyPort, ref: KeySetRef, context: bytes, mac_length: int) -> None:
        if not ref.key_type.is_aes:
            raise KmsError(
                Code.INPUT_INVALID, f"SCP03 runs under AES keys, not {ref.key_type}: check the card's profile"
            )
        self._keys = keys
        self._ref = ref
        self._context = context
        self._mac_length = mac_length

    def make_card_cryptogram(self) -> bytes:
        """Compute the card cryptogram (Amendment D section 6.2.2.2)."""
        return self._make_cryptogram(CARD_CRYPTOGRAM)

    def make_host_cryptogram(self) -> bytes:
        """Compute the host cryptogram (Amendment D section 6.2.2.3)."""
        return self._make_cryptogram(HOST_CRYPTOGRAM)

    def make_card_challenge(self, sequence_counter: int, aid: bytes) -> bytes:
        """Compute the pseudo-random card challenge, under the static Key-ENC (Amendment D section 6.2.2.1).

        `sequence_counter`: as the card answered with it, 3 bytes; `aid`: of the security domain that was selected.
        """
        static = derive_static_key(self._keys, self._ref, KeyRole.ENC, KeyUse.MAC)
        data = build_kdf_block(CARD_CHALLENGE, self._mac_length, 1) + sequence_counter.to_bytes(3, "big") + aid
        return self._keys.cmac(static, data)[: self._mac_length]

    def mac_command(self, data: bytes) -> bytes:
        """Compute the next MAC chaining value, 16 bytes; `data` begins with the last one."""
        return self._keys.cmac(self._s_mac, data)

    def mac_response(self, data: bytes) -> bytes:
        """Compute an R-MAC in full, 16 bytes; `data` begins with the chaining value of the command."""
        return self._keys.cmac(self._s_rmac, data)

    def encrypt_command(self, counter: int, padded: bytes) -> bytes:
        """Encrypt the padded data of the command of this counter: CBC, ICV = the encrypted counter (section 6.2.6).

        The counter block as the first of a CBC chain from zero becomes the ICV on the way, without a call of its own.
        """
        return self._keys.encrypt(self._s_enc, CipherMode.CBC, counter.to_bytes(BLOCK, "big") + padded)[BLOCK:]

    def decrypt_response(self, counter: int, data: bytes) -> bytes:
        """Decrypt the answer to the command of this counter, padding included (section 6.2.7)."""
        block = bytes([RESPONSE_ICV]) + counter.to_bytes(BLOCK - 1, "big")
        icv = self._keys.encrypt(self._s_enc, CipherMode.ECB, block)
        return self._keys.decrypt(self._s_enc, CipherMode.CBC, data, icv)

    def wrap(self, key: KeyHandle) -> bytes:
        """Encrypt key material under the static Key-DEK, CBC with IV zero (Amendment D section 6.2.8)."""
        return self._keys.wrap(self._dek, key, CipherMode.CBC)

    def derive_session_key(self, static: KeyHandle, constant: int, use: KeyUse) -> KeyHandle:
        """Make a session key of the static key's length (Amendment D section 6.2.1)."""
        length = self._ref.key_type.length
        blocks = range(1, -(-length // BLOCK) + 1)
        messages = tuple(build_kdf_block(constant, length, number) + self._context for number in blocks)
        return self._keys.derive_cmac(static, messages, self._ref.key_type, use)

    def _make_cryptogram(self, constant: int) -> bytes:
        block = build_kdf_block(constant, self._mac_length, 1)
        return self._keys.cmac(self._s_mac, block + self._context)[: self._mac_length]

    @cached_property
    def _static_mac(self) -> KeyHandle:
        return derive_static_key(self._keys, self._ref, KeyRole.MAC, KeyUse.DERIVE)

    @cached_property
    def _s_enc(self) -> KeyHandle:
        static = derive_static_key(self._keys, self._ref, KeyRole.ENC, KeyUse.DERIVE)
        return self.derive_session_key(static, S_ENC, KeyUse.ENCRYPT)

    @cached_property
    def _s_mac(self) -> KeyHandle:
        return self.derive_session_key(self._static_mac, S_MAC, KeyUse.MAC)

    @cached_property
    def _s_rmac(self) -> KeyHandle:
        return self.derive_session_key(self._static_mac, S_RMAC, KeyUse.MAC)

    @cached_property
    def _dek(self) -> KeyHandle:
        return derive_static_key(self._keys, self._ref, KeyRole.DEK, KeyUse.WRAP)


def build_kdf_block(constant: int, length: int, number: int) -> bytes:
    """Build what precedes the context: label 12, separator 00, L 2 in bits, counter 1 (Amendment D section 4.1.5).

    `length`: of what is derived, in bytes. It is one CMAC block, so the PRF input is whole blocks for session keys.
    """
    return bytes(11) + bytes([constant, 0]) + (length * 8).to_bytes(2, "big") + bytes([number])

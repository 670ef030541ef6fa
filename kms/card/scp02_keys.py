"""SCP02 session keys and what they compute, all inside the HSM (GP 2.3.1 appendix E.4).

Rules: a key is derived when first needed and never leaves the token. Each call of the key port may cost a millisecond,
so values that one call can give are had by one: a MAC is two calls (CBC over all blocks but the last by single DES,
then triple DES over the last), the encryption of its ICV included; both cryptograms are one.
"""

from functools import cached_property

from kms.card.key_sets import derive_static_key
from kms.card.keys import CipherMode, KeyHandle, KeyPort, KeyRole, KeySetRef, KeyType, KeyUse
from kms.card.secure_messaging import pad, xor
from kms.errors import Code, KmsError

BLOCK = 8

# Derivation constants, GP 2.3.1 section E.4.1.
C_MAC = bytes.fromhex("0101")
R_MAC = bytes.fromhex("0102")
DEK = bytes.fromhex("0181")
ENC = bytes.fromhex("0182")


class Scp02Keys:
    """The session keys of one key set at one sequence counter, bound to a key scope.

    Raises `input.invalid` for a key set that is not of two-key triple DES (GP 2.3.1 Table E-3).
    """

    def __init__(self, keys: KeyPort, ref: KeySetRef, sequence_counter: int) -> None:
        if ref.key_type is not KeyType.DES2:
            raise KmsError(
                Code.INPUT_INVALID, f"SCP02 runs under DES2 keys, not {ref.key_type}: check the card's profile"
            )
        self._keys = keys
        self._ref = ref
        self._counter = sequence_counter.to_bytes(2, "big")

    def mac_cryptogram(self, data: bytes) -> bytes:
        """Compute a full triple DES CBC-MAC of padded data with S-ENC, 8 bytes (GP 2.3.1 section E.4.2)."""
        return self._keys.encrypt(self._s_enc, CipherMode.CBC, data)[-BLOCK:]

    def mac_both_cryptograms(self, card_data: bytes, card_cryptogram: bytes, host_data: bytes) -> tuple[bytes, bytes]:
        """Compute the card cryptogram and, if the given one equals it, the host cryptogram; 8 bytes each, in one call.

        The CBC chain runs on from the card's data into the host's. The given card cryptogram, mixed into the host's
        first block, takes the chain's value out again, so the host's MAC starts as from an IV of zero. If the given one
        is wrong the second value means nothing: compare first.
        """
        first = xor(host_data[:BLOCK], card_cryptogram)
        blocks = self._keys.encrypt(self._s_enc, CipherMode.CBC, card_data + first + host_data[BLOCK:])
        return blocks[len(card_data) - BLOCK : len(card_data)], blocks[-BLOCK:]

    def encrypt_data(self, data: bytes) -> bytes:
        """Encrypt padded command data with S-ENC: CBC, IV always zero (GP 2.3.1 section E.4.6)."""
        return self._keys.encrypt(self._s_enc, CipherMode.CBC, data)

    def mac_command(self, data: bytes, previous_mac: bytes = b"") -> bytes:
        """Compute a C-MAC of unpadded data, 8 bytes. `previous_mac`: empty for an ICV of zero.

        The ICV is the previous C-MAC under single DES (i bit 10, GP 2.3.1 section E.3.4): as the first block of a CBC
        chain from zero it is encrypted on the way, without a call of its own.
        """
        return self._mac(self._c_mac, self._c_mac_des, previous_mac + pad(data, BLOCK), bytes(BLOCK))

    def mac_response(self, data: bytes, icv: bytes) -> bytes:
        """Compute an R-MAC of unpadded data, 8 bytes; its ICV is not encrypted (GP 2.3.1 section E.3.4)."""
        return self._mac(self._r_mac, self._r_mac_des, pad(data, BLOCK), icv)

    def wrap(self, key: KeyHandle) -> bytes:
        """Encrypt key material under the session DEK, ECB (explicit initiation, GP 2.3.1 section E.4.7)."""
        return self._keys.wrap(self._dek, key, CipherMode.ECB)

    def derive_session_key(self, static: KeyHandle, constant: bytes, use: KeyUse) -> KeyHandle:
        """Make a session key: constant, sequence counter and zeros under the static key, CBC (GP 2.3.1 E.4.1)."""
        data = constant + self._counter + bytes(12)
        return self._keys.derive_des(static, CipherMode.CBC, data, KeyType.DES2, use)

    def _mac(self, key: KeyHandle, des_key: KeyHandle, blocks: bytes, icv: bytes) -> bytes:
        # ISO 9797-1 MAC algorithm 3: single DES under the left half up to the last block, triple DES over the last.
        head, last = blocks[:-BLOCK], blocks[-BLOCK:]
        chained = self._keys.encrypt(des_key, CipherMode.CBC, head, icv)[-BLOCK:] if head else icv
        return self._keys.encrypt(key, CipherMode.ECB, xor(last, chained))

    @cached_property
    def _static_mac(self) -> KeyHandle:
        return derive_static_key(self._keys, self._ref, KeyRole.MAC, KeyUse.DERIVE)

    @cached_property
    def _s_enc(self) -> KeyHandle:
        static = derive_static_key(self._keys, self._ref, KeyRole.ENC, KeyUse.DERIVE)
        return self.derive_session_key(static, ENC, KeyUse.ENCRYPT)

    @cached_property
    def _dek(self) -> KeyHandle:
        static = derive_static_key(self._keys, self._ref, KeyRole.DEK, KeyUse.DERIVE)
        return self.derive_session_key(static, DEK, KeyUse.WRAP)

    @cached_property
    def _c_mac(self) -> KeyHandle:
        return self.derive_session_key(self._static_mac, C_MAC, KeyUse.ENCRYPT)

    @cached_property
    def _c_mac_des(self) -> KeyHandle:
        return self._derive_single_des(C_MAC)

    @cached_property
    def _r_mac(self) -> KeyHandle:
        return self.derive_session_key(self._static_mac, R_MAC, KeyUse.ENCRYPT)

    @cached_property
    def _r_mac_des(self) -> KeyHandle:
        return self._derive_single_des(R_MAC)

    def _derive_single_des(self, constant: bytes) -> KeyHandle:
        # Single DES with K is triple DES with K|K|K, and K, the left half of the session key, is the first CBC block:
        # ECB over that block three times makes exactly this key, with no single DES and no key outside the token.
        block = constant + self._counter + bytes(4)
        return self._keys.derive_des(self._static_mac, CipherMode.ECB, block * 3, KeyType.DES3, KeyUse.ENCRYPT)

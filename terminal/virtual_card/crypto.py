"""The DES and AES primitives that the card needs; DES keys are 16 bytes unless a docstring says otherwise."""

import hmac
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from terminal.virtual_card.status import SecureMessagingError

BLOCK: Final = 8
ZERO_IV: Final = bytes(BLOCK)
AES_BLOCK: Final = 16
AES_ZERO_IV: Final = bytes(AES_BLOCK)


def pad(data: bytes, block: int = BLOCK) -> bytes:
    """Append 80 and zeros up to a multiple of the block; always appends (ISO 9797-1 padding method 2)."""
    return data + b"\x80" + bytes(-(len(data) + 1) % block)


def unpad(data: bytes, block: int = BLOCK) -> bytes:
    """Remove what `pad` appended; raise SecureMessagingError when it is not there."""
    stripped = data.rstrip(b"\x00")
    if not stripped.endswith(b"\x80") or len(data) - len(stripped) >= block:
        raise SecureMessagingError
    return stripped[:-1]


def _triple_des(key: bytes) -> TripleDES:
    """Two-key 3DES is K1 K2 K1; an 8-byte key gives single DES, as three equal keys do."""
    if len(key) == 16:
        return TripleDES(key + key[:8])
    return TripleDES(key * 3 if len(key) == 8 else key)


def encrypt_cbc(key: bytes, data: bytes, iv: bytes = ZERO_IV) -> bytes:
    """DES-CBC (8-byte key) or 3DES-CBC (16 or 24 bytes); data in whole blocks."""
    encryptor = Cipher(_triple_des(key), modes.CBC(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def decrypt_cbc(key: bytes, data: bytes) -> bytes:
    """3DES-CBC with a zero IV; data in whole blocks."""
    decryptor = Cipher(_triple_des(key), modes.CBC(ZERO_IV)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def encrypt_ecb(key: bytes, data: bytes) -> bytes:
    """DES-ECB (8-byte key) or 3DES-ECB (16 or 24 bytes); data in whole blocks."""
    return b"".join(encrypt_cbc(key, data[start : start + BLOCK]) for start in range(0, len(data), BLOCK))


def decrypt_ecb(key: bytes, data: bytes) -> bytes:
    """3DES-ECB; data in whole blocks."""
    return b"".join(decrypt_cbc(key, data[start : start + BLOCK]) for start in range(0, len(data), BLOCK))


def compute_full_mac(key: bytes, data: bytes) -> bytes:
    """Full 3DES-CBC MAC of 8 bytes over whole blocks (ISO 9797-1 algorithm 1; GP231 B.1.2.1)."""
    return encrypt_cbc(key, data)[-BLOCK:]


def compute_retail_mac(key: bytes, data: bytes, iv: bytes) -> bytes:
    """Single DES plus final 3DES MAC of 8 bytes, padding included (ISO 9797-1 algorithm 3; GP231 B.1.2.2)."""
    padded = pad(data)
    last = padded[-BLOCK:]
    if len(padded) > BLOCK:
        iv = encrypt_cbc(key[:8], padded[:-BLOCK], iv)[-BLOCK:]
    return encrypt_cbc(key, last, iv)


def check_equal(left: bytes, right: bytes) -> None:
    """Compare in constant time; raise SecureMessagingError when they differ."""
    if not hmac.compare_digest(left, right):
        raise SecureMessagingError


def compute_des_kcv(key: bytes) -> bytes:
    """First 3 bytes of eight zero bytes under the key (GP231 B.5)."""
    return encrypt_ecb(key, bytes(BLOCK))[:3]


def compute_aes_kcv(key: bytes) -> bytes:
    """First 3 bytes of sixteen 01 bytes under the key of 16, 24 or 32 bytes (GP231 B.6)."""
    return encrypt_aes_block(key, b"\x01" * AES_BLOCK)[:3]


def encrypt_aes_block(key: bytes, block: bytes) -> bytes:
    """One block of 16 bytes under an AES key of 16, 24 or 32 bytes."""
    return encrypt_aes_cbc(key, block, AES_ZERO_IV)  # of a single block and a zero IV CBC makes what ECB does


def encrypt_aes_cbc(key: bytes, data: bytes, iv: bytes) -> bytes:
    """AES-CBC under a key of 16, 24 or 32 bytes; data in whole blocks of 16."""
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def decrypt_aes_cbc(key: bytes, data: bytes, iv: bytes) -> bytes:
    """AES-CBC under a key of 16, 24 or 32 bytes; data in whole blocks of 16."""
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def compute_cmac(key: bytes, data: bytes) -> bytes:
    """AES-CMAC of 16 bytes under a key of 16, 24 or 32 bytes (NIST SP 800-38B)."""
    cmac = CMAC(algorithms.AES(key))
    cmac.update(data)
    return cmac.finalize()

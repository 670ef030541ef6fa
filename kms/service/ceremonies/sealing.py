"""A key component on its way into a ceremony: its check value, and the component wrapped to the ceremony's key pair.

Rules: done in a single-use process, which needs the pair's public half and no HSM (docs/adr/0117). The component is
overwritten here whatever happens; what libraries copied goes with the process.
"""

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from kms.card.keys import KcvMethod, KeyType
from kms.domain.public_keys import parse_transport_key
from kms.errors import Code, KmsError

_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303 - docs/adr/0025
KCV_LENGTHS = {KcvMethod.DES_ZERO: 3, KcvMethod.AES_CMAC: 5}  # bytes


def seal_component(component: bytearray, key_type: KeyType, public_key_der: bytes) -> tuple[bytes, KcvMethod, bytes]:
    """The component's check value, its method, and the component wrapped (384 bytes); overwrites the component.

    Raises `input.invalid` for a component of another length, and for one of zeros, which adds nothing to the key.
    """
    try:
        if len(component) != key_type.length:
            raise KmsError(Code.INPUT_INVALID, f"a component of a {key_type} key has {key_type.length} bytes")
        if not any(component):
            raise KmsError(Code.INPUT_INVALID, "a component of zeros adds nothing to the key: is it the right paper?")
        method = KcvMethod.AES_CMAC if key_type.is_aes else KcvMethod.DES_ZERO
        kcv = _compute_check_value(bytes(component), method)
        return kcv, method, parse_transport_key(public_key_der).public_key().encrypt(bytes(component), _OAEP)
    finally:
        component[:] = bytes(len(component))


def _compute_check_value(component: bytes, method: KcvMethod) -> bytes:
    if method is KcvMethod.AES_CMAC:
        mac = CMAC(AES(component))
        mac.update(bytes(16))  # ANSI X9.24-1: CMAC of a block of zeros
        return mac.finalize()[: KCV_LENGTHS[method]]
    value = component + component[: 24 - len(component)]
    # One block of zeros is what a triple DES check value is: no mode is involved.
    return Cipher(TripleDES(value), modes.ECB()).encryptor().update(bytes(8))[: KCV_LENGTHS[method]]  # noqa: S305

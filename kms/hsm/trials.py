"""Known answers for every mechanism that card keys need, each tried on throw-away session objects.

Rules: every value here is published; what a token answers is compared, and a wrong answer raises `hsm.mechanism` (R48).
`probe.py` runs them at each opening, `self_check.py` for people who look at a new token.
"""

import hmac
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from pkcs11 import SecretKey, Session

from kms.card.keys import CipherMode, KeyType, KeyUse
from kms.errors import Code, KmsError
from kms.hsm.operations import compute_cmac, decrypt, derive, encrypt
from kms.hsm.templates import build_value_template, get_session_template
from kms.hsm.wrapping import WrapStrategy

# Published values: FIPS 197 appendix C.1; RFC 4493 section 4 example 2; GlobalPlatform's test key 404142…4F, whose
# check value is the well-known 8BAF47. tests/unit/hsm/test_probe.py computes all of them by `cryptography`.
AES_KEY = bytes(range(16))
AES_PLAIN = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
AES_CIPHER = bytes.fromhex("69C4E0D86A7B0430D8CDB78070B4C55A")
AES_DERIVED_ZERO = bytes.fromhex("BC0AF62CF89B3A9379B55D589F96B00B")  # zeros under the key AES_CIPHER
CMAC_KEY = bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C")
CMAC_MESSAGE = bytes.fromhex("6BC1BEE22E409F96E93D7E117393172A")
CMAC_VALUE = bytes.fromhex("070A16B46B4D4144F79BDD9DD04A287C")
DES_KEY = bytes(range(0x40, 0x50))
DES_ZERO_CIPHER = bytes.fromhex("8BAF473F2F8FD094")
DES_CBC_CIPHER = bytes.fromhex("8BAF473F2F8FD094B2B7CCAB3D02916F")  # 16 zeros under DES_KEY, from IV zero
DES_CBC_DERIVED_ZERO = bytes.fromhex("00D4AE092B063707")  # zeros under the key that CBC over 16 zeros makes
DES3_CBC_CIPHER = bytes.fromhex("FDDAF85ACD23AA31F56B0BE98297CCA2")  # 16 zeros under DES_ZERO_CIPHER three times


@dataclass(frozen=True)
class Trial:
    """One mechanism and how it is tried. `name`: PKCS#11's, without CKM_. `why`: what this server does with it.

    `run` makes its objects in the given session and leaves their destruction to the stack.
    """

    name: str
    why: str
    run: Callable[[Session, ExitStack], None]


def make_session_key(hsm_session: Session, made: ExitStack, key_type: KeyType, value: bytes, use: KeyUse) -> SecretKey:
    """A session object of a published value, destroyed when `made` ends. Two calls with python-pkcs11."""
    template = get_session_template(use, key_type, WrapStrategy.NATIVE)
    key = hsm_session.create_object(build_value_template(template, key_type, value))
    made.callback(key.destroy)
    if not isinstance(key, SecretKey):
        raise KmsError(Code.HSM_MECHANISM, "the HSM made something else than a secret key")
    return key


def check_answer(what: str, found: bytes, expected: bytes) -> None:
    """Raise `hsm.mechanism` unless the token gave the known answer."""
    if not hmac.compare_digest(found, expected):
        raise KmsError(Code.HSM_MECHANISM, f"the HSM's self-test failed: {what} gave a wrong answer; it is not used")


def _try_aes_ecb(hsm_session: Session, made: ExitStack) -> None:
    key = make_session_key(hsm_session, made, KeyType.AES128, AES_KEY, KeyUse.ENCRYPT)
    check_answer("AES_ECB", encrypt(key, KeyType.AES128, CipherMode.ECB, AES_PLAIN, None), AES_CIPHER)


def _try_aes_cbc(hsm_session: Session, made: ExitStack) -> None:
    key = make_session_key(hsm_session, made, KeyType.AES128, AES_KEY, KeyUse.ENCRYPT)
    check_answer("AES_CBC", encrypt(key, KeyType.AES128, CipherMode.CBC, AES_PLAIN, None), AES_CIPHER)
    check_answer("AES_CBC decryption", decrypt(key, KeyType.AES128, CipherMode.CBC, AES_CIPHER, None), AES_PLAIN)


def _try_aes_cmac(hsm_session: Session, made: ExitStack) -> None:
    key = make_session_key(hsm_session, made, KeyType.AES128, CMAC_KEY, KeyUse.MAC)
    check_answer("AES_CMAC", compute_cmac(key, CMAC_MESSAGE), CMAC_VALUE)


def _try_aes_derivation(hsm_session: Session, made: ExitStack) -> None:
    key = _derive(
        hsm_session, made, CipherMode.ECB, AES_PLAIN, parent=(KeyType.AES128, AES_KEY), made_type=KeyType.AES128
    )
    answer = encrypt(key, KeyType.AES128, CipherMode.ECB, bytes(16), None)
    check_answer("AES_ECB_ENCRYPT_DATA", answer, AES_DERIVED_ZERO)


def _try_des_ecb(hsm_session: Session, made: ExitStack) -> None:
    key = make_session_key(hsm_session, made, KeyType.DES2, DES_KEY, KeyUse.ENCRYPT)
    check_answer("DES3_ECB", encrypt(key, KeyType.DES2, CipherMode.ECB, bytes(8), None), DES_ZERO_CIPHER)


def _try_des_cbc(hsm_session: Session, made: ExitStack) -> None:
    key = make_session_key(hsm_session, made, KeyType.DES2, DES_KEY, KeyUse.ENCRYPT)
    check_answer("DES3_CBC", encrypt(key, KeyType.DES2, CipherMode.CBC, bytes(16), None), DES_CBC_CIPHER)


def _try_des_cbc_derivation(hsm_session: Session, made: ExitStack) -> None:
    key = _derive(hsm_session, made, CipherMode.CBC, bytes(16), parent=(KeyType.DES2, DES_KEY), made_type=KeyType.DES2)
    answer = encrypt(key, KeyType.DES2, CipherMode.ECB, bytes(8), None)
    check_answer("DES3_CBC_ENCRYPT_DATA", answer, DES_CBC_DERIVED_ZERO)


def _try_des_ecb_derivation(hsm_session: Session, made: ExitStack) -> None:
    key = _derive(hsm_session, made, CipherMode.ECB, bytes(24), parent=(KeyType.DES2, DES_KEY), made_type=KeyType.DES3)
    answer = encrypt(key, KeyType.DES3, CipherMode.CBC, bytes(16), None)
    check_answer("DES3_ECB_ENCRYPT_DATA", answer, DES3_CBC_CIPHER)


def _derive(
    hsm_session: Session,
    made: ExitStack,
    mode: CipherMode,
    data: bytes,
    *,
    parent: tuple[KeyType, bytes],
    made_type: KeyType,
) -> SecretKey:
    parent_key = make_session_key(hsm_session, made, *parent, KeyUse.DERIVE)
    template = get_session_template(KeyUse.ENCRYPT, made_type, WrapStrategy.NATIVE)
    derived = derive(parent_key, parent[0], mode, data, key_type=made_type, template=template)
    made.callback(derived.destroy)
    return derived


TRIALS = (
    Trial("AES_ECB_ENCRYPT_DATA", "derives card keys, AES session keys and check values", _try_aes_derivation),
    Trial("AES_ECB", "check values of AES keys", _try_aes_ecb),
    Trial("AES_CBC", "enciphers commands, deciphers answers, wraps AES keys (SCP03)", _try_aes_cbc),
    Trial("AES_CMAC", "cryptograms and MACs (SCP03), check values for people", _try_aes_cmac),
    Trial("DES3_CBC_ENCRYPT_DATA", "derives session keys (SCP02)", _try_des_cbc_derivation),
    Trial("DES3_ECB_ENCRYPT_DATA", "derives vendors' card keys, and MAC keys (SCP02)", _try_des_ecb_derivation),
    Trial("DES3_ECB", "check values of triple DES keys, MACs, wraps triple DES keys (SCP02)", _try_des_ecb),
    Trial("DES3_CBC", "cryptograms, MACs, enciphers commands (SCP02)", _try_des_cbc),
)
"""What the server cannot work without, in the order in which it is shown."""

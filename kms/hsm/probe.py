"""What a token can do, found out by trying: known answers for every mechanism used, and native wrapping.

Rules: runs each time a connection is opened, on throw-away session objects with published key values; a wrong answer
closes the token (R48). That a mechanism is listed proves nothing: SoftHSM2 lists DES3_ECB and refuses to wrap with it.
"""

import hmac
from contextlib import ExitStack
from dataclasses import dataclass

from pkcs11 import SecretKey, Session, Token
from pkcs11.exceptions import PKCS11Error

from kms.card.keys import CipherMode, KeyType, KeyUse
from kms.errors import Code, KmsError
from kms.hsm.faults import is_lost
from kms.hsm.key_wrap import wrap_by_aes
from kms.hsm.mechanisms import PEER, REQUIRED, get_name
from kms.hsm.operations import compute_cmac, decrypt, derive, encrypt, wrap
from kms.hsm.settings import HsmSettings
from kms.hsm.templates import PROBE_KEK, build_value_template, get_session_template
from kms.hsm.wrapping import WrapPlan, WrapStrategy, build_plan

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
DES_CBC_DERIVED_ZERO = bytes.fromhex("00D4AE092B063707")  # zeros under the key that CBC over 16 zeros makes
DES3_CBC_CIPHER = bytes.fromhex("FDDAF85ACD23AA31F56B0BE98297CCA2")  # 16 zeros under DES_ZERO_CIPHER three times
PAYLOAD = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")  # odd parity, as tokens set it
DES_WRAPPED = bytes.fromhex("FF3E0B17BD60FE2CE0C8AA582DAB10BA")
# PAYLOAD twice, so that chaining and the IV show
AES_WRAPPED = bytes.fromhex("868D79BD49A5681CFAE908AD51300BA073AC0867615C0384827F3B5180BA49C2")

# RFC 3394 section 4.6: 256 bits of key data under a 256-bit KEK
KEK = bytes(range(32))
KEK_PAYLOAD = bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
KEK_WRAPPED = bytes.fromhex("28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21")


@dataclass(frozen=True)
class ProbeResult:
    """What the token lists, what it lacks of what we need, and how it wraps.

    `missing_peer_mechanisms`: of those that only an exchange of keys with a peer needs.
    """

    mechanisms: tuple[str, ...]
    missing_mechanisms: tuple[str, ...]
    plan: WrapPlan
    missing_peer_mechanisms: tuple[str, ...] = ()


def probe_token(token: Token, hsm_session: Session, settings: HsmSettings) -> ProbeResult:
    """Probe a token that was just opened. Raises `hsm.mechanism` when it answers a known question wrongly."""
    listed = token.slot.get_mechanisms()
    missing_for_peers = tuple(mechanism.name for mechanism in PEER if mechanism not in listed)
    missing = tuple(mechanism.name for mechanism in REQUIRED if mechanism not in listed)
    if settings.has_peers:
        missing += missing_for_peers
    names = tuple(sorted(get_name(mechanism) for mechanism in listed))
    if missing:
        # `kms hsm status` shall say what is missing; operations are refused by Connection.check_mechanisms.
        plan = build_plan(settings, "nothing, not tried", "nothing, not tried")
        return ProbeResult(names, missing, plan, missing_for_peers)
    with ExitStack() as made:
        _check_aes(hsm_session, made)
        _check_des(hsm_session, made)
        des_refusal = _try_wrap(hsm_session, made, (KeyType.DES2, DES_KEY), (KeyType.DES2, PAYLOAD), DES_WRAPPED)
        aes_refusal = _try_wrap(
            hsm_session, made, (KeyType.AES128, AES_KEY), (KeyType.AES256, PAYLOAD * 2), AES_WRAPPED
        )
        if not missing_for_peers:
            _check_key_wrap(hsm_session, made)
    return ProbeResult(names, missing, build_plan(settings, des_refusal, aes_refusal), missing_for_peers)


def _check_aes(hsm_session: Session, made: ExitStack) -> None:
    aes = KeyType.AES128
    ciphering = _make(hsm_session, made, aes, AES_KEY, KeyUse.ENCRYPT)
    _check_answer("AES_ECB", encrypt(ciphering, aes, CipherMode.ECB, AES_PLAIN, None), AES_CIPHER)
    _check_answer("AES_CBC", encrypt(ciphering, aes, CipherMode.CBC, AES_PLAIN, None), AES_CIPHER)
    _check_answer("AES_CBC decryption", decrypt(ciphering, aes, CipherMode.CBC, AES_CIPHER, None), AES_PLAIN)
    macing = _make(hsm_session, made, aes, CMAC_KEY, KeyUse.MAC)
    _check_answer("AES_CMAC", compute_cmac(macing, CMAC_MESSAGE), CMAC_VALUE)
    parent = _make(hsm_session, made, aes, AES_KEY, KeyUse.DERIVE)
    template = get_session_template(KeyUse.ENCRYPT, aes, WrapStrategy.NATIVE)
    derived = derive(parent, aes, CipherMode.ECB, AES_PLAIN, key_type=aes, template=template)
    made.callback(derived.destroy)
    _check_answer("AES_ECB_ENCRYPT_DATA", encrypt(derived, aes, CipherMode.ECB, bytes(16), None), AES_DERIVED_ZERO)


def _check_des(hsm_session: Session, made: ExitStack) -> None:
    ciphering = _make(hsm_session, made, KeyType.DES2, DES_KEY, KeyUse.ENCRYPT)
    _check_answer("DES3_ECB", encrypt(ciphering, KeyType.DES2, CipherMode.ECB, bytes(8), None), DES_ZERO_CIPHER)
    parent = _make(hsm_session, made, KeyType.DES2, DES_KEY, KeyUse.DERIVE)
    template = get_session_template(KeyUse.ENCRYPT, KeyType.DES2, WrapStrategy.NATIVE)
    by_cbc = derive(parent, KeyType.DES2, CipherMode.CBC, bytes(16), key_type=KeyType.DES2, template=template)
    made.callback(by_cbc.destroy)
    answer = encrypt(by_cbc, KeyType.DES2, CipherMode.ECB, bytes(8), None)
    _check_answer("DES3_CBC_ENCRYPT_DATA", answer, DES_CBC_DERIVED_ZERO)
    by_ecb = derive(parent, KeyType.DES2, CipherMode.ECB, bytes(24), key_type=KeyType.DES3, template=template)
    made.callback(by_ecb.destroy)
    answer = encrypt(by_ecb, KeyType.DES3, CipherMode.CBC, bytes(16), None)
    _check_answer("DES3_ECB_ENCRYPT_DATA and DES3_CBC", answer, DES3_CBC_CIPHER)


def _check_key_wrap(hsm_session: Session, made: ExitStack) -> None:
    kek = hsm_session.create_object(build_value_template(PROBE_KEK, KeyType.AES256, KEK))
    made.callback(kek.destroy)
    payload = _make(hsm_session, made, KeyType.AES256, KEK_PAYLOAD, KeyUse.PAYLOAD)
    if not isinstance(kek, SecretKey):
        raise KmsError(Code.HSM_MECHANISM, "the HSM made something else than a secret key")
    _check_answer("AES_KEY_WRAP", wrap_by_aes(kek, payload, KeyType.AES256.length), KEK_WRAPPED)


def _try_wrap(
    hsm_session: Session,
    made: ExitStack,
    wrapping: tuple[KeyType, bytes],
    payload: tuple[KeyType, bytes],
    expected: bytes,
) -> str:
    """Wrap natively; returns the empty string, or what the token answered instead."""
    mode = CipherMode.CBC if wrapping[0].is_aes else CipherMode.ECB
    try:
        wrapping_key = _make(hsm_session, made, *wrapping, KeyUse.WRAP)
        payload_key = _make(hsm_session, made, *payload, KeyUse.PAYLOAD)
        wrapped = wrap(
            wrapping_key,
            wrapping[0],
            payload=payload_key,
            length=payload[0].length,
            mode=mode,
            strategy=WrapStrategy.NATIVE,
        )
    except PKCS11Error as error:
        if is_lost(error):
            raise
        return type(error).__name__
    _check_answer(f"C_WrapKey of {payload[0]} keys", wrapped, expected)
    return ""


def _make(hsm_session: Session, made: ExitStack, key_type: KeyType, value: bytes, use: KeyUse) -> SecretKey:
    template = get_session_template(use, key_type, WrapStrategy.NATIVE)
    key = hsm_session.create_object(build_value_template(template, key_type, value))
    made.callback(key.destroy)
    if not isinstance(key, SecretKey):
        raise KmsError(Code.HSM_MECHANISM, "the HSM made something else than a secret key")
    return key


def _check_answer(what: str, found: bytes, expected: bytes) -> None:
    if not hmac.compare_digest(found, expected):
        raise KmsError(Code.HSM_MECHANISM, f"the HSM's self-test failed: {what} gave a wrong answer; it is not used")

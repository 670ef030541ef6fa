"""What a token can do, found out by trying: known answers for every mechanism used, and native wrapping.

Rules: runs each time a connection is opened, on throw-away session objects with published key values; a wrong answer
closes the token (R48). That a mechanism is listed proves nothing, nor that it is not: SoftHSM2 lists DES3_ECB and
refuses to wrap with it, NSS softokn derives by mechanisms that it does not list. So what can be tried is tried; only
key generation is believed from the list, where trying would cost seconds.
"""

from contextlib import ExitStack
from dataclasses import dataclass

from pkcs11 import Mechanism, SecretKey, Session, Token
from pkcs11.exceptions import PKCS11Error

from kms.card.keys import CipherMode, KeyType, KeyUse
from kms.errors import Code, KmsError
from kms.hsm.enforcement import find_leaks
from kms.hsm.faults import is_lost
from kms.hsm.key_wrap import wrap_by_aes
from kms.hsm.mechanisms import PEER, get_name
from kms.hsm.operations import wrap
from kms.hsm.settings import HsmSettings
from kms.hsm.templates import PROBE_KEK, build_value_template
from kms.hsm.trials import AES_KEY, DES_KEY, TRIALS, Trial, check_answer, make_session_key
from kms.hsm.wrapping import WrapPlan, WrapStrategy, build_plan

PAYLOAD = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")  # odd parity, as tokens set it
# PAYLOAD under the trials' DES_KEY by ECB, and under their AES_KEY by CBC: once, and twice so that chaining shows.
WRAPPED = {
    (KeyType.DES2, KeyType.DES2): bytes.fromhex("FF3E0B17BD60FE2CE0C8AA582DAB10BA"),
    (KeyType.DES2, KeyType.AES128): bytes.fromhex("FF3E0B17BD60FE2CE0C8AA582DAB10BA"),
    (KeyType.AES128, KeyType.DES2): bytes.fromhex("868D79BD49A5681CFAE908AD51300BA0"),
    (KeyType.AES128, KeyType.AES256): bytes.fromhex("868D79BD49A5681CFAE908AD51300BA073AC0867615C0384827F3B5180BA49C2"),
}

# RFC 3394 section 4.6: 256 bits of key data under a 256-bit KEK
KEK = bytes(range(32))
KEK_PAYLOAD = bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
KEK_WRAPPED = bytes.fromhex("28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21")


@dataclass(frozen=True)
class ProbeResult:
    """What the token lists, what it lacks of what we need (in production: what it does not keep), and how it wraps.

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
    names = tuple(sorted(get_name(mechanism) for mechanism in listed))
    with ExitStack() as made:
        missing = tuple(trial.name for trial in TRIALS if _is_refused(trial, hsm_session, made))
        missing += () if Mechanism.AES_KEY_GEN in listed else (Mechanism.AES_KEY_GEN.name,)
        if settings.has_peers:
            missing += missing_for_peers
        if settings.production and not missing:
            missing += find_leaks(token, hsm_session)
        if missing:
            # `kms hsm check` shall say what is missing; operations are refused by Connection.check_mechanisms.
            plan = build_plan(settings, "nothing, not tried", "nothing, not tried")
            return ProbeResult(names, missing, plan, missing_for_peers)
        des_refusal = try_wrap(hsm_session, made, (KeyType.DES2, DES_KEY), KeyType.DES2)
        aes_refusal = try_wrap(hsm_session, made, (KeyType.AES128, AES_KEY), KeyType.AES256)
        if not missing_for_peers:
            check_key_wrap(hsm_session, made)
    return ProbeResult(names, missing, build_plan(settings, des_refusal, aes_refusal), missing_for_peers)


def _is_refused(trial: Trial, hsm_session: Session, made: ExitStack) -> bool:
    """Try a mechanism; raises `hsm.mechanism` for a wrong answer, PKCS11Error when the token is away."""
    try:
        trial.run(hsm_session, made)
    except PKCS11Error as error:
        if is_lost(error):
            raise
        return True
    return False


def check_key_wrap(hsm_session: Session, made: ExitStack) -> None:
    """Raise `hsm.mechanism` unless AES key wrap gives the known answer; PKCS11Error when the token refuses it."""
    kek = hsm_session.create_object(build_value_template(PROBE_KEK, KeyType.AES256, KEK))
    made.callback(kek.destroy)
    payload = make_session_key(hsm_session, made, KeyType.AES256, KEK_PAYLOAD, KeyUse.PAYLOAD)
    if not isinstance(kek, SecretKey):
        raise KmsError(Code.HSM_MECHANISM, "the HSM made something else than a secret key")
    check_answer("AES_KEY_WRAP", wrap_by_aes(kek, payload, KeyType.AES256.length), KEK_WRAPPED)


def try_wrap(hsm_session: Session, made: ExitStack, wrapping: tuple[KeyType, bytes], payload: KeyType) -> str:
    """Wrap `PAYLOAD` natively; the empty string, or what the token answered instead.

    Raises `hsm.mechanism` for a wrong answer, PKCS11Error when the token is away.
    """
    mode = CipherMode.CBC if wrapping[0].is_aes else CipherMode.ECB
    value = PAYLOAD * (payload.length // len(PAYLOAD))
    try:
        wrapping_key = make_session_key(hsm_session, made, *wrapping, KeyUse.WRAP)
        payload_key = make_session_key(hsm_session, made, payload, value, KeyUse.PAYLOAD)
        wrapped = wrap(
            wrapping_key,
            wrapping[0],
            payload=payload_key,
            length=payload.length,
            mode=mode,
            strategy=WrapStrategy.NATIVE,
        )
    except PKCS11Error as error:
        if is_lost(error):
            raise
        return type(error).__name__
    check_answer(f"C_WrapKey of {payload} keys", wrapped, WRAPPED[wrapping[0], payload])
    return ""

"""`kms hsm check`: every mechanism and attribute this server relies on, tried on session objects that are cleaned up.

Rules: for anyone with another HSM, so nothing is believed from a list, no step keeps the others from running, and no
lasting object is made. A step that a token refuses is told by the PKCS#11 error's name. What the server itself does
with a token (`probe.py`) follows the same trials.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum

from pkcs11 import Attribute, Mechanism, PrivateKey, PublicKey, Session
from pkcs11 import KeyType as TokenKeyType
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import SignMixin

from kms.card.keys import KeyType
from kms.errors import Code, KmsError
from kms.hsm.connection import Connection
from kms.hsm.enforcement import ATTACKS, COPYING, Attack, generate_session_key, is_enforced
from kms.hsm.key_pairs import P256, RSA_BITS, RSA_EXPONENT
from kms.hsm.key_wrap import unwrap, wrap_by_aes, wrap_by_rsa
from kms.hsm.probe import check_key_wrap, try_wrap
from kms.hsm.templates import FERRY, NEW_KEK, TRIAL, TRIAL_KEK
from kms.hsm.trials import AES_KEY, DES_KEY, TRIALS
from kms.hsm.wrapping import WrapStrategy

_SESSION = {Attribute.TOKEN: False, Attribute.PRIVATE: True}


class Need(StrEnum):
    """Who needs a step to work."""

    ALWAYS = "always"
    PEERS = "peers"  # platforms that exchange keys with another
    PRODUCTION = "production"  # without it whoever is logged in gets at the keys themselves: a token to test with
    STRATEGY = "strategy"  # without it keys of that kind need `hsm.allow_transient_plaintext`
    ADVICE = "advice"  # without it the token's own access rules must do the same


@dataclass(frozen=True)
class Step:
    """One thing that was tried. `refusal`: empty when it works, else what the token answered."""

    name: str
    why: str
    need: Need
    refusal: str


@dataclass(frozen=True)
class SelfCheck:
    """All steps, and what follows. `des`, `aes`: the strategy by which such keys wrap for a card."""

    steps: tuple[Step, ...]
    des: WrapStrategy
    aes: WrapStrategy

    def list_missing(self, *, has_peers: bool, production: bool) -> tuple[str, ...]:
        """What this server cannot do without and the token does not do."""
        needed = {Need.ALWAYS} | ({Need.PEERS} if has_peers else set()) | ({Need.PRODUCTION} if production else set())
        return tuple(step.name for step in self.steps if step.refusal and step.need in needed)


def run_self_check(connection: Connection) -> SelfCheck:
    """Try everything. Raises PKCS11Error when the token went away on the way."""
    steps = tuple(_run(connection, *item) for item in _list_steps())
    return SelfCheck(steps, connection.plan.des, connection.plan.aes)


Try = Callable[[Connection, ExitStack], None]


def _run(connection: Connection, name: str, why: str, need: Need, attempt: Try) -> Step:
    refusal = ""
    try:
        with ExitStack() as made:
            attempt(connection, made)
    except PKCS11Error as error:
        connection.token.slot.get_token()  # raises when the token is away; a refusal has many codes
        refusal = type(error).__name__
    except KmsError as error:
        refusal = error.detail
    return Step(name, why, need, refusal)


def _list_steps() -> Iterator[tuple[str, str, Need, Try]]:
    yield "C_GenerateRandom", "random bytes from the HSM", Need.ALWAYS, lambda connection, _: _try_random(connection)
    yield "AES_KEY_GEN", "generates master keys", Need.ALWAYS, _try_aes_key_gen
    for trial in TRIALS:
        yield trial.name, trial.why, Need.ALWAYS, _adapt(trial.run)
    for name, why, wrapping, payload in (
        ("C_WrapKey, 3DES of 3DES", "PUT KEY of triple DES keys over SCP02", (KeyType.DES2, DES_KEY), KeyType.DES2),
        ("C_WrapKey, 3DES of AES", "PUT KEY of AES keys over SCP02", (KeyType.DES2, DES_KEY), KeyType.AES128),
        ("C_WrapKey, AES of AES", "PUT KEY of AES keys over SCP03", (KeyType.AES128, AES_KEY), KeyType.AES256),
        ("C_WrapKey, AES of 3DES", "PUT KEY of triple DES keys over SCP03", (KeyType.AES128, AES_KEY), KeyType.DES2),
    ):
        yield name, why, Need.STRATEGY, _try_native_wrap(wrapping, payload)
    yield "AES_KEY_WRAP", "wraps and unwraps keys for peers", Need.PEERS, _try_aes_key_wrap
    yield "RSA_PKCS_OAEP", "generates RSA 3072, wraps and unwraps KEKs", Need.PEERS, _try_rsa
    yield "ECDSA", "generates EC P-256, signs for peers and the audit log", Need.PEERS, _try_ecdsa
    for attack in ATTACKS:
        yield attack.attribute, attack.why, Need.PRODUCTION, _try_to_break(attack)
    yield COPYING.attribute, COPYING.why, Need.ADVICE, _try_to_break(COPYING)


def _adapt(run: Callable[[Session, ExitStack], None]) -> Try:
    return lambda connection, made: run(connection.hsm_session, made)


def _try_random(connection: Connection) -> None:
    if connection.hsm_session.generate_random(256) == connection.hsm_session.generate_random(256):
        raise KmsError(Code.HSM_MECHANISM, "gave the same random bytes twice")


def _try_aes_key_gen(connection: Connection, made: ExitStack) -> None:
    generate_session_key(connection.hsm_session, made, TRIAL)


def _try_native_wrap(wrapping: tuple[KeyType, bytes], payload: KeyType) -> Try:
    def attempt(connection: Connection, made: ExitStack) -> None:
        refusal = try_wrap(connection.hsm_session, made, wrapping, payload)
        if refusal:
            raise KmsError(Code.HSM_MECHANISM, refusal)

    return attempt


def _try_aes_key_wrap(connection: Connection, made: ExitStack) -> None:
    check_key_wrap(connection.hsm_session, made)
    ferry, payload = (generate_session_key(connection.hsm_session, made, item) for item in (FERRY, NEW_KEK))
    wrapped = wrap_by_aes(ferry, payload, KeyType.AES256.length)
    mechanism = Mechanism.AES_KEY_WRAP
    back = unwrap(connection, ferry, wrapped, key_type=KeyType.AES256, template=TRIAL_KEK, mechanism=mechanism)
    made.callback(back.destroy)


def _try_rsa(connection: Connection, made: ExitStack) -> None:
    public, private = connection.hsm_session.generate_keypair(
        TokenKeyType.RSA,
        RSA_BITS,
        store=False,
        capabilities=FERRY.capabilities,
        mechanism=Mechanism.RSA_PKCS_KEY_PAIR_GEN,
        public_template={Attribute.PUBLIC_EXPONENT: RSA_EXPONENT, **_SESSION},
        private_template={**_SESSION, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    )
    made.callback(public.destroy)
    made.callback(private.destroy)
    if not isinstance(public, PublicKey) or not isinstance(private, PrivateKey):
        raise KmsError(Code.HSM_MECHANISM, "made something else than a key pair")
    wrapped = wrap_by_rsa(public, generate_session_key(connection.hsm_session, made, NEW_KEK), RSA_BITS // 8)
    mechanism = Mechanism.RSA_PKCS_OAEP
    back = unwrap(connection, private, wrapped, key_type=KeyType.AES256, template=TRIAL_KEK, mechanism=mechanism)
    made.callback(back.destroy)


def _try_ecdsa(connection: Connection, made: ExitStack) -> None:
    curve = connection.hsm_session.create_domain_parameters(TokenKeyType.EC, {Attribute.EC_PARAMS: P256}, local=True)
    public, private = curve.generate_keypair(
        store=False,
        mechanism=Mechanism.EC_KEY_PAIR_GEN,
        public_template=dict(_SESSION),
        private_template={**_SESSION, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    )
    made.callback(public.destroy)
    made.callback(private.destroy)
    if not isinstance(private, SignMixin):
        raise KmsError(Code.HSM_MECHANISM, "made a private key that may not sign")
    private.sign(bytes(32), mechanism=Mechanism.ECDSA)


def _try_to_break(attack: Attack) -> Try:
    def attempt(connection: Connection, _made: ExitStack) -> None:
        if not is_enforced(connection.token, connection.hsm_session, attack):
            raise KmsError(Code.KEY_ATTRIBUTES, "not enforced")

    return attempt

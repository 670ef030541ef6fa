"""Whether a token keeps what a template says of a key: each attribute is tried as an attacker with a login would.

Rules: on session objects alone. A token that tells a sensitive key, changes a fixed one or wraps one that cannot be
extracted is none to keep production keys in, whatever it lists: NSS softokn wraps keys with CKA_EXTRACTABLE=false.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from pkcs11 import Attribute, Mechanism, SecretKey, Session, Token
from pkcs11 import KeyType as TokenKeyType
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import WrapMixin

from kms.card.keys import KeyType, KeyUse
from kms.hsm.templates import TRIAL, Template
from kms.hsm.trials import AES_KEY, make_session_key


@dataclass(frozen=True)
class Attack:
    """What should fail. `attribute`: the one that forbids it; `why`: what it keeps."""

    attribute: str
    why: str
    run: Callable[[SecretKey, Session, ExitStack], object]


def _wrap_away(key: SecretKey, hsm_session: Session, made: ExitStack) -> None:
    wrapping = make_session_key(hsm_session, made, KeyType.AES128, AES_KEY, KeyUse.WRAP)
    if isinstance(wrapping, WrapMixin):
        wrapping.wrap_key(key, mechanism=Mechanism.AES_CBC, mechanism_param=bytes(16))


ATTACKS = (
    Attack("CKA_SENSITIVE", "a key cannot be read", lambda key, _, __: key[Attribute.VALUE]),
    Attack(
        "CKA_MODIFIABLE=false",
        "a key's rights cannot be changed",
        lambda key, _, __: key.__setitem__(Attribute.LABEL, "changed"),
    ),
    Attack("CKA_EXTRACTABLE=false", "a key cannot be wrapped", _wrap_away),
)

# Not every token knows the attribute at all (`lasting.py`), so production does not hang on it.
COPYING = Attack(
    "CKA_COPYABLE=false",
    "a key cannot be copied with other rights",
    lambda key, _, made: made.callback(key.copy({Attribute.LABEL: "copy"}).destroy),
)


def is_enforced(token: Token, hsm_session: Session, attack: Attack) -> bool:
    """Whether the token refused. Raises PKCS11Error when it is away."""
    with ExitStack() as made:
        key = generate_session_key(hsm_session, made, TRIAL)
        try:
            attack.run(key, hsm_session, made)
        except PKCS11Error:
            token.slot.get_token()  # raises when the token is away; a refusal has many codes
            return True
    return False


def find_leaks(token: Token, hsm_session: Session) -> tuple[str, ...]:
    """The attributes that the token does not keep; empty for one to trust with production keys."""
    return tuple(attack.attribute for attack in ATTACKS if not is_enforced(token, hsm_session, attack))


def generate_session_key(hsm_session: Session, made: ExitStack, template: Template) -> SecretKey:
    """An AES-256 session key, destroyed when `made` ends."""
    key = hsm_session.generate_key(
        TokenKeyType.AES,
        256,
        store=False,
        capabilities=template.capabilities,
        mechanism=Mechanism.AES_KEY_GEN,
        template=dict(template.attributes),
    )
    made.callback(key.destroy)
    return key

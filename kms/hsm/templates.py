"""The one module of PKCS#11 templates: every attribute of every key this product makes is written here.

Rules: nothing is left to a default of the library or the token. DERIVE on a master is the right to learn whatever it
derives (a template may ask for a readable result), so no other module builds a template. What a token made is checked:
masters attribute by attribute each time they are looked up; session keys' capabilities at each derivation
(python-pkcs11 reads them anyway) and their other attributes once per template and connection (docs/adr 0020).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pkcs11 import Attribute, Key, MechanismFlag, ObjectClass
from pkcs11.types import DecryptMixin, DeriveMixin, EncryptMixin, SignMixin, UnwrapMixin, VerifyMixin, WrapMixin

from kms.card.keys import KeyType, KeyUse
from kms.errors import Code, KmsError
from kms.hsm.mechanisms import TOKEN_TYPES
from kms.hsm.wrapping import WrapStrategy

NO_CAPABILITY = MechanismFlag(0)

CAPABILITY_ATTRIBUTES = {
    Attribute.ENCRYPT: (MechanismFlag.ENCRYPT, EncryptMixin),
    Attribute.DECRYPT: (MechanismFlag.DECRYPT, DecryptMixin),
    Attribute.SIGN: (MechanismFlag.SIGN, SignMixin),
    Attribute.VERIFY: (MechanismFlag.VERIFY, VerifyMixin),
    Attribute.WRAP: (MechanismFlag.WRAP, WrapMixin),
    Attribute.UNWRAP: (MechanismFlag.UNWRAP, UnwrapMixin),
    Attribute.DERIVE: (MechanismFlag.DERIVE, DeriveMixin),
}

# New in PKCS#11 2.40; a token that does not keep them on lasting objects does not show them (`lasting.py`).
OPTIONAL_ATTRIBUTES = (Attribute.COPYABLE, Attribute.DESTROYABLE)

# CKA_MODIFIABLE comes last: SoftHSM2 sets a derived key's attributes one by one and refuses what follows it.
_SESSION_ATTRIBUTES: Mapping[Attribute, bool] = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.COPYABLE: False,
    Attribute.MODIFIABLE: False,
}


_LASTING_ATTRIBUTES: Mapping[Attribute, bool] = {
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.COPYABLE: False,
    Attribute.DESTROYABLE: False,
    Attribute.MODIFIABLE: False,
}

_PUBLIC_ATTRIBUTES: Mapping[Attribute, bool] = {
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,  # nobody without the PIN can put another beside it
    Attribute.VERIFY_RECOVER: False,
    Attribute.COPYABLE: False,
    Attribute.DESTROYABLE: False,
    Attribute.MODIFIABLE: False,
}


class MasterUse(StrEnum):
    """What a lasting secret key does: one of these and nothing else."""

    DERIVE = "derive"
    WRAP_FOR_PEER = "wrap for a peer"
    UNWRAP_FROM_PEER = "unwrap what a peer wrapped"
    MAC = "compute MACs for logins"


@dataclass(frozen=True)
class Template:
    """What a new object may do and how it is kept. `name`: for the once-per-connection check and errors."""

    name: str
    capabilities: MechanismFlag
    attributes: Mapping[Attribute, bool]


# R19: a master is derive-only, and nothing about it can be changed, copied, read or destroyed by the service's login.
MASTER = Template("master", MechanismFlag.DERIVE, _LASTING_ATTRIBUTES)

# The same for the moment in which an imported value's check value is found out, before it becomes a token object.
TRIAL = Template("trial", MechanismFlag.DERIVE, _SESSION_ATTRIBUTES)

# A check value or CMAC subkey on its way out: a generic secret without any capability, read and destroyed at once.
READABLE = Template(
    "readable",
    NO_CAPABILITY,
    {**_SESSION_ATTRIBUTES, Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True},
)

# The 32 bytes that are wrapped by AES in place of a 24-byte key (`scope.py`), and the same where the token cannot wrap.
PADDED_PAYLOAD = Template("padded-payload", NO_CAPABILITY, {**_SESSION_ATTRIBUTES, Attribute.EXTRACTABLE: True})
PADDED_READABLE = Template("padded-readable", NO_CAPABILITY, {**PADDED_PAYLOAD.attributes, Attribute.SENSITIVE: False})

# A peer's KEK either wraps or unwraps, by side, and never encrypts. SIGN is for its check value, a CMAC: it gives
# nobody more than wrapping does (docs/adr/0026).
WRAPPING_KEK = Template("wrapping KEK", MechanismFlag.WRAP | MechanismFlag.SIGN, _LASTING_ATTRIBUTES)
UNWRAPPING_KEK = Template("unwrapping KEK", MechanismFlag.UNWRAP | MechanismFlag.SIGN, _LASTING_ATTRIBUTES)

# The login key computes CMACs and nothing else: the secrets of one-time codes follow from it.
LOGIN = Template("login", MechanismFlag.SIGN, _LASTING_ATTRIBUTES)

# The KEK for the moment in which it is made and wrapped for its two lasting places: it can do nothing but be wrapped.
NEW_KEK = Template("new KEK", NO_CAPABILITY, {**_SESSION_ATTRIBUTES, Attribute.EXTRACTABLE: True})
# What carries it into this token's lasting object. It wraps and unwraps, and dies within the same call of the vault.
FERRY = Template("ferry", MechanismFlag.WRAP | MechanismFlag.UNWRAP, _SESSION_ATTRIBUTES)
# A KEK of a published value, to try the token with.
PROBE_KEK = Template("probe KEK", MechanismFlag.WRAP, _SESSION_ATTRIBUTES)
# A KEK that a peer sent, while its check value is compared.
TRIAL_KEK = Template("trial KEK", MechanismFlag.SIGN, _SESSION_ATTRIBUTES)
# The peer's public transport key, for one wrapping.
PEER_TRANSPORT = Template(
    "peer's transport",
    MechanismFlag.WRAP,
    {
        Attribute.TOKEN: False,
        Attribute.PRIVATE: True,
        Attribute.VERIFY_RECOVER: False,
        Attribute.COPYABLE: False,
        Attribute.MODIFIABLE: False,
    },
)

# Key pairs of this platform. SoftHSM2 sets CKA_SIGN_RECOVER and CKA_VERIFY_RECOVER unless they are refused by name.
SIGNING_PRIVATE = Template(
    "private signing", MechanismFlag.SIGN, {Attribute.SIGN_RECOVER: False, **_LASTING_ATTRIBUTES}
)
# NSS softokn gives public EC keys CKA_DERIVE unless it is refused by name.
SIGNING_PUBLIC = Template("public signing", MechanismFlag.VERIFY, {Attribute.DERIVE: False, **_PUBLIC_ATTRIBUTES})
TRANSPORT_PRIVATE = Template(
    "private transport", MechanismFlag.UNWRAP, {Attribute.SIGN_RECOVER: False, **_LASTING_ATTRIBUTES}
)
TRANSPORT_PUBLIC = Template("public transport", MechanismFlag.WRAP, _PUBLIC_ATTRIBUTES)

# A ceremony's own pair: as a transport key, but the service's login destroys it when the ceremony is over.
CEREMONY_PRIVATE = Template(
    "private ceremony", MechanismFlag.UNWRAP, {**TRANSPORT_PRIVATE.attributes, Attribute.DESTROYABLE: True}
)
CEREMONY_PUBLIC = Template("public ceremony", MechanismFlag.WRAP, {**_PUBLIC_ATTRIBUTES, Attribute.DESTROYABLE: True})

MASTER_TEMPLATES = {
    MasterUse.DERIVE: MASTER,
    MasterUse.WRAP_FOR_PEER: WRAPPING_KEK,
    MasterUse.UNWRAP_FROM_PEER: UNWRAPPING_KEK,
    MasterUse.MAC: LOGIN,
}


def get_session_template(use: KeyUse, key_type: KeyType, strategy: WrapStrategy) -> Template:
    """The template of a derived session object of one use. `strategy`: how keys of this type are wrapped."""
    attributes = dict(_SESSION_ATTRIBUTES)
    if use is KeyUse.PAYLOAD:
        attributes[Attribute.EXTRACTABLE] = True  # C_WrapKey asks for it; under `transient`, reading does
        attributes[Attribute.SENSITIVE] = strategy is WrapStrategy.NATIVE
    return Template(f"{use}/{key_type}/{strategy}", _get_capabilities(use, key_type, strategy), attributes)


def _get_capabilities(use: KeyUse, key_type: KeyType, strategy: WrapStrategy) -> MechanismFlag:
    match use:
        case KeyUse.DERIVE:
            return MechanismFlag.DERIVE
        case KeyUse.ENCRYPT:
            # Only SCP03 answers are deciphered (R-ENCRYPTION); SCP02 has none.
            return MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT if key_type.is_aes else MechanismFlag.ENCRYPT
        case KeyUse.MAC:
            return MechanismFlag.SIGN
        case KeyUse.PAYLOAD:
            return MechanismFlag.ENCRYPT  # one block, for its check value
        case KeyUse.WRAP:
            # Never with DECRYPT: wrap, then decrypt, and the wrapped key is out.
            return MechanismFlag.WRAP if strategy is WrapStrategy.NATIVE else MechanismFlag.ENCRYPT


def get_unwrapped_template(use: KeyUse, key_type: KeyType, strategy: WrapStrategy) -> Template:
    """The template of a session object that is unwrapped, not derived: the same, checked apart."""
    template = get_session_template(use, key_type, strategy)
    return replace(template, name=f"unwrapped {template.name}")


def build_public_template(template: Template, values: Mapping[Attribute, object]) -> dict[Attribute, object]:
    """The template of C_CreateObject for a public key. `values`: type and numbers of the key."""
    rights = (Attribute.ENCRYPT, Attribute.VERIFY, Attribute.WRAP)
    capabilities = {name: bool(CAPABILITY_ATTRIBUTES[name][0] & template.capabilities) for name in rights}
    return {**values, **capabilities, **template.attributes}


def build_value_template(
    template: Template, key_type: KeyType, value: bytes, object_id: bytes = b"", label: str = ""
) -> dict[Attribute, object]:
    """The template of C_CreateObject for a key of a given value."""
    capabilities = {name: bool(flag & template.capabilities) for name, (flag, _) in CAPABILITY_ATTRIBUTES.items()}
    return {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: TOKEN_TYPES[key_type],
        Attribute.ID: object_id,
        Attribute.LABEL: label,
        Attribute.VALUE: value,
        **capabilities,
        **template.attributes,
    }


def find_master_use(key: Key) -> MasterUse:
    """What a lasting secret key is for, by the rights the token gave it; its template decides whether that is all."""
    if isinstance(key, WrapMixin):
        return MasterUse.WRAP_FOR_PEER
    if isinstance(key, UnwrapMixin):
        return MasterUse.UNWRAP_FROM_PEER
    return MasterUse.MAC if isinstance(key, SignMixin) and not isinstance(key, DeriveMixin) else MasterUse.DERIVE


def check_capabilities(key: Key, template: Template) -> None:
    """Raise `key.attributes` unless the token gave exactly the capabilities asked for. Makes no call.

    python-pkcs11 reads the capability attributes of each new object and gives it one mixin class for each that is set.
    """
    for name, (flag, mixin) in CAPABILITY_ATTRIBUTES.items():
        if isinstance(key, mixin) != bool(flag & template.capabilities):
            raise KmsError(Code.KEY_ATTRIBUTES, f"the HSM made a {template.name} key with the wrong CKA_{name.name}")


def check_attributes(key: Key, template: Template) -> None:
    """Raise `key.attributes` unless the object has exactly the template's attributes. One or two calls.

    Of `OPTIONAL_ATTRIBUTES` a lasting object may lack what its token does not know; a wrong value is refused like any.
    """
    check_capabilities(key, template)
    found = key.get_attributes(list(template.attributes))
    for name, wanted in template.attributes.items():
        if name not in found and name in OPTIONAL_ATTRIBUTES and template.attributes[Attribute.TOKEN]:
            continue
        if found.get(name) is not wanted:
            raise KmsError(
                Code.KEY_ATTRIBUTES, f"the {template.name} key in the HSM does not have CKA_{name.name}={wanted}"
            )

"""What a token keeps of lasting objects: found out on a throw-away object before the first one is made.

Rules: CKA_COPYABLE and CKA_DESTROYABLE came with PKCS#11 2.40 and not every token keeps them for lasting objects (NSS
softokn refuses a template that names them). A template is narrowed by what the token itself said it does not keep, by
nothing else, and `kms hsm check` shows it. CKA_LOCAL means "made in the token" only where the token sets it; elsewhere
that a key was never readable says so (PKCS#11 2.40 section 4.10: both are false for a key that was created by value).
"""

from dataclasses import dataclass, replace

from pkcs11 import Attribute, Key, Mechanism, Session, Token
from pkcs11 import KeyType as TokenKeyType
from pkcs11.exceptions import PKCS11Error

from kms.errors import Code, KmsError
from kms.hsm.templates import NO_CAPABILITY, OPTIONAL_ATTRIBUTES, Template

LABEL = "kms-probe"

_LASTING_PROBE = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
# Destroyable, so that the probe itself can be removed again.
_WANTED = {Attribute.COPYABLE: False, Attribute.DESTROYABLE: True}


@dataclass(frozen=True)
class LastingTraits:
    """`unknown`: the attributes that the token refuses. `marks_local`: whether it sets CKA_LOCAL on what it made."""

    unknown: frozenset[Attribute]
    marks_local: bool

    def fit(self, template: Template) -> Template:
        """The template without what the token does not keep."""
        kept = {name: value for name, value in template.attributes.items() if name not in self.unknown}
        return replace(template, attributes=kept)


def find_traits(token: Token, hsm_session: Session) -> LastingTraits:
    """Make a throw-away key without any right and destroy it; up to five calls more where attributes are refused."""
    try:
        return LastingTraits(frozenset(), _try(hsm_session, frozenset(OPTIONAL_ATTRIBUTES)))
    except PKCS11Error:
        token.slot.get_token()  # raises when the token is away; a refusal has many codes
    unknown = set()
    marks_local = False
    for name in OPTIONAL_ATTRIBUTES:
        try:
            marks_local = _try(hsm_session, frozenset({name}))
        except PKCS11Error:
            token.slot.get_token()
            unknown.add(name)
    if unknown == set(OPTIONAL_ATTRIBUTES):
        marks_local = _try(hsm_session, frozenset())
    return LastingTraits(frozenset(unknown), marks_local)


def _try(hsm_session: Session, names: frozenset[Attribute]) -> bool:
    """Raises PKCS11Error when the token refuses the attributes; returns whether CKA_LOCAL is set."""
    key = hsm_session.generate_key(
        TokenKeyType.AES,
        128,
        label=LABEL,
        store=True,
        capabilities=NO_CAPABILITY,
        mechanism=Mechanism.AES_KEY_GEN,
        template={**_LASTING_PROBE, **{name: _WANTED[name] for name in OPTIONAL_ATTRIBUTES if name in names}},
    )
    try:
        if not isinstance(key, Key):
            raise KmsError(Code.HSM_MECHANISM, "the HSM made something else than a key")
        return key.get_attributes([Attribute.LOCAL]).get(Attribute.LOCAL) is True
    finally:
        key.destroy()

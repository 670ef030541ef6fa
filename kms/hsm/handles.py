"""Handles of keys in the token: tagged with the connection generation that made them, and silent about values."""

from dataclasses import dataclass, field

from pkcs11 import SecretKey

from kms.card.keys import CipherMode, KeyType, KeyUse
from kms.hsm.templates import MasterUse


@dataclass(frozen=True)
class Recipe:
    """What a key was derived from, so that the same value can be had in another form: padded, or for one reading."""

    parent: "TokenKey"
    mode: CipherMode
    data: bytes


@dataclass(frozen=True, eq=False)
class TokenKey:
    """A key in the token, valid in the scope and the connection generation that made it.

    A master's `use` is DERIVE, a KEK's one of `MasterUse`: that is all it may do. `object_id`: CKA_ID of either, empty
    for session objects.
    `recipe`: how a PAYLOAD key was made. `is_readable`: whether the token would tell its value (strategy `transient`).
    """

    key_type: KeyType
    use: KeyUse | MasterUse
    generation: int
    scope: object = field(repr=False)
    secret: SecretKey = field(repr=False)
    object_id: bytes = b""
    recipe: "Recipe | None" = field(default=None, repr=False)
    is_readable: bool = False

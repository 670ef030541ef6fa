"""Handles of keys in the token: tagged with the connection generation that made them, and silent about values."""

from dataclasses import dataclass, field

from pkcs11 import SecretKey

from kms.card.keys import KeyType, KeyUse
from kms.hsm.templates import MasterUse


@dataclass(frozen=True, eq=False)
class TokenKey:
    """A key in the token, valid in the scope and the connection generation that made it.

    A master's `use` is DERIVE, a KEK's one of `MasterUse`: that is all it may do. `object_id`: CKA_ID of either, empty
    for session objects.
    `padded`: the 32-byte object that is wrapped in place of a 24-byte AES key.
    """

    key_type: KeyType
    use: KeyUse | MasterUse
    generation: int
    scope: object = field(repr=False)
    secret: SecretKey = field(repr=False)
    object_id: bytes = b""
    padded: SecretKey | None = field(default=None, repr=False)

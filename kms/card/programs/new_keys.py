"""A new key set made ready for a card: derived in the HSM, wrapped for the open channel, with its check values."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from kms.card.channel import SecureChannel
from kms.card.commands import InitialKey, KeyDataField, build_key_data, get_key_usage
from kms.card.key_sets import compute_kcv, derive_static_key, gp_kcv_method
from kms.card.keys import KeyPort, KeyRole, KeySetRef, KeyUse
from kms.card.programs.base import Installs


@dataclass(frozen=True)
class WrappedKey:
    """One key under the channel's DEK. `block`: its bytes on the wire; `kcv`: 3 bytes."""

    role: KeyRole
    block: bytes = field(repr=False)
    kcv: bytes


def wrap_key_set(keys: KeyPort, channel: SecureChannel, ref: KeySetRef) -> tuple[WrappedKey, ...]:
    """Derive ENC, MAC and DEK of a set and wrap each under the channel's DEK. Raises `key.*`, `hsm.*`."""
    method = gp_kcv_method(ref.key_type)
    wrapped = []
    for role in KeyRole:
        key = derive_static_key(keys, ref, role, KeyUse.PAYLOAD)
        wrapped.append(WrappedKey(role, channel.wrap_key(key), compute_kcv(keys, key, method)))
    return tuple(wrapped)


def _installs(ref: KeySetRef, label: str, wrapped: Sequence[WrappedKey]) -> Installs:
    return Installs(label, tuple(key.kcv for key in wrapped), gp_kcv_method(ref.key_type))


def build_put_key_fields(
    keys: KeyPort, channel: SecureChannel, ref: KeySetRef, label: str, aes_block_form: Literal["long", "short"]
) -> tuple[tuple[KeyDataField, ...], Installs]:
    """The key data fields of a PUT KEY of the whole set (GP 2.3.1 section 11.8.2.3), and what it installs."""
    wrapped = wrap_key_set(keys, channel, ref)
    fields = tuple(build_key_data(ref.key_type, key.block, key.kcv, aes_block_form=aes_block_form) for key in wrapped)
    return fields, _installs(ref, label, wrapped)


def build_initial_keys(
    keys: KeyPort, channel: SecureChannel, ref: KeySetRef, label: str
) -> tuple[tuple[InitialKey, ...], Installs]:
    """The keys for STORE DATA's DGIs 00B9 and 8113 (card-facts 5.4), and what they install."""
    wrapped = wrap_key_set(keys, channel, ref)
    initial = tuple(
        InitialKey(
            kid=key.role.kid,
            kvn=ref.kvn,
            key_type=ref.key_type,
            usage=get_key_usage(key.role),
            wrapped=key.block,
            kcv=key.kcv,
        )
        for key in wrapped
    )
    return initial, _installs(ref, label, wrapped)

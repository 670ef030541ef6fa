"""Rules that every way of loading keys into a security domain shares (GP231 section 7.5.1)."""

import hmac
from dataclasses import replace

from terminal.virtual_card.crypto import compute_aes_kcv, compute_des_kcv
from terminal.virtual_card.model import (
    DES_KEY_TYPES,
    KEY_TYPE_AES,
    KVN_FACTORY,
    PERSONALIZED,
    SELECTABLE,
    CardState,
    KeySet,
    SecurityDomain,
    StaticKey,
)
from terminal.virtual_card.personality import Personality
from terminal.virtual_card.status import NO_ROOM, SECURITY_STATUS_NOT_SATISFIED, WRONG_DATA, CardError


def check_key_shape(key_type: int, length: int) -> None:
    """Raise CardError 6A80 unless the card can hold a key of this type and length in bytes."""
    sizes = {16, 24} if key_type in DES_KEY_TYPES else {16, 24, 32} if key_type == KEY_TYPE_AES else set()
    if length not in sizes:
        raise CardError(WRONG_DATA)


def compute_kcv(key: StaticKey) -> bytes:
    """Return the 3-byte key check value by the method of the key's type."""
    return compute_des_kcv(key.value) if key.is_des else compute_aes_kcv(key.value)


def check_kcv(key: StaticKey, kcv: bytes) -> None:
    """Raise CardError 6A80 for a missing check value and 6982 for a wrong one (GP231 sections 11.8.2.3 and 11.11)."""
    if len(kcv) != 3:
        raise CardError(WRONG_DATA)
    if not hmac.compare_digest(compute_kcv(key), kcv):
        raise CardError(SECURITY_STATUS_NOT_SATISFIED)


def check_kvn(kvn: int) -> None:
    """Raise CardError 6A80 unless the number can name a key set that is being loaded: 01 to 7F."""
    if not 0x01 <= kvn <= 0x7F:
        raise CardError(WRONG_DATA)


def put_keys(domain: SecurityDomain, kvn: int, keys: tuple[StaticKey, ...]) -> SecurityDomain:
    """Return the domain with the keys of one command under this version number, new or in the place of those there."""
    current = domain.find_key_set(kvn)
    changed = (current or KeySet(kvn, ())).with_keys(keys)
    if current is not None:
        return domain.with_key_set(changed)
    return replace(domain, key_sets=(*domain.key_sets, changed))


def take_keys(domain: SecurityDomain, kvn: int, kids: frozenset[int]) -> SecurityDomain:
    """Return the domain without these keys; a set that has none left goes."""
    key_sets = []
    for key_set in domain.key_sets:
        if key_set.kvn != kvn:
            key_sets.append(key_set)
        elif rest := tuple(key for key in key_set.keys if key.kid not in kids):
            key_sets.append(replace(key_set, keys=rest))
    return replace(domain, key_sets=tuple(key_sets))


def settle_keys(state: CardState, domain: SecurityDomain, personality: Personality) -> CardState:
    """Return the state with a domain whose keys changed, after the card's own housekeeping; raise CardError 6A84.

    The first complete set beside a factory set FF makes the factory set go, unless the product keeps it. A
    supplementary domain that has what a channel needs is PERSONALIZED.
    """
    has_own = any(key_set.has_scp_keys for key_set in domain.key_sets if key_set.kvn != KVN_FACTORY)
    if has_own and not personality.keep_factory_set:
        domain = replace(domain, key_sets=tuple(item for item in domain.key_sets if item.kvn != KVN_FACTORY))
    if len(domain.key_sets) > personality.max_key_sets:
        raise CardError(NO_ROOM)
    if domain.aid != state.isd.aid and domain.life_cycle == SELECTABLE and domain.has_scp_key_set:
        domain = replace(domain, life_cycle=PERSONALIZED)
    return state.with_domain(domain)

"""A ceremony's keys on each make of token: nothing lasting before the end, nothing of it left after."""

import secrets

import pytest

from kms.card.keys import KeyType
from kms.domain.token_objects import ExpectedObject
from kms.errors import Code
from kms.hsm.vault import TokenVault
from kms.service.ceremonies.ports import LastingUse
from kms.service.ceremonies.sealing import seal_component
from tests.contract.conftest import refer, refused
from tests.fakes.software_keys import check_value

PAIR, KEY, OTHER = b"P" * 16, b"K" * 16, b"O" * 16


def count_objects(vault: TokenVault) -> int:
    expected: list[ExpectedObject] = []
    return len(vault.check_objects(expected).unexpected)


def test_generated_key_is_made_lasting_once(vault: TokenVault) -> None:
    keys = vault.ceremony_keys
    public = keys.make_pair(PAIR, "ceremony")
    assert keys.make_pair(PAIR, "ceremony") == public
    before = count_objects(vault)
    sealed = keys.generate(public, PAIR)
    assert count_objects(vault) == before  # the key exists wrapped alone
    made = keys.create(sealed, PAIR, KEY, "ssd-1", use=LastingUse.MASTER)
    assert (made.kcv, made.kcv_method) == (sealed.kcv, sealed.kcv_method)
    assert keys.create(sealed, PAIR, KEY, "ssd-1", use=LastingUse.MASTER) == made
    keys.remove_pair(PAIR)
    keys.remove_pair(PAIR)
    assert count_objects(vault) == 1
    with refused(Code.KEY_MISSING):
        keys.create(sealed, PAIR, OTHER, "ssd-1", use=LastingUse.MASTER)
    with vault.open_scope() as scope:
        scope.get_master(refer(made))


@pytest.mark.parametrize("key_type", [KeyType.DES2, KeyType.DES3, KeyType.AES128, KeyType.AES192, KeyType.AES256])
def test_components_become_the_key(vault: TokenVault, key_type: KeyType) -> None:
    keys = vault.ceremony_keys
    public = keys.make_pair(PAIR, "ceremony")
    components = [secrets.token_bytes(key_type.length) for _ in range(3)]
    value = bytes(a ^ b ^ c for a, b, c in zip(*components, strict=True))
    sealed_components = [seal_component(bytearray(item), key_type, public) for item in components]
    for component, (kcv, method, _) in zip(components, sealed_components, strict=True):
        assert kcv == check_value(component, key_type, method)
    wrapped = [item for _, _, item in sealed_components]
    method = sealed_components[0][1]
    with refused(Code.KEY_KCV_MISMATCH):
        keys.combine(public, PAIR, key_type, wrapped, (method, bytes(5 if key_type.is_aes else 3)))
    sealed = keys.combine(public, PAIR, key_type, wrapped, (method, check_value(value, key_type, method)))
    made = keys.create(sealed, PAIR, KEY, "vendor-1", use=LastingUse.MASTER)
    assert made.kcv == check_value(value, key_type, method)
    keys.remove_pair(PAIR)
    with vault.open_scope() as scope:
        scope.get_master(refer(made, key_type))
    assert count_objects(vault) == 1

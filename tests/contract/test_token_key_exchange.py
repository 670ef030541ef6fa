"""Keys between two HSMs of each make: attributes as the token has them, nothing left behind, no key readable."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
from pkcs11 import Attribute, MechanismFlag, ObjectClass
from pkcs11 import KeyType as TokenKeyType
from pkcs11.exceptions import PKCS11Error
from pkcs11.mechanisms import Mechanism

from kms.card.hand_over_keys import check_wrapped_keys, wrap_initial_keys
from kms.card.keys import DerivationPurpose, DerivedKeys, KeySetRef, KeyType, KeyUse, WrappedKeys
from kms.domain.keys import PlatformKeyPurpose
from kms.errors import Code
from kms.hsm.gateway import Gateway
from kms.hsm.keks import generate_kek, unwrap_kek
from kms.hsm.key_pairs import generate_key_pair
from kms.hsm.scope import TokenScope
from kms.hsm.templates import MasterUse
from kms.hsm.vault import open_vault
from kms.service.ports import NewKek, NewMaster
from tests.contract.conftest import refer, refused
from tests.contract.tokens import FreshToken

KEK_ID, TRANSPORT_ID, SIGNING_ID, MASTER_ID = b"K" * 16, b"T" * 16, b"S" * 16, b"M" * 16
RIGHTS = ("ENCRYPT", "DECRYPT", "SIGN", "SIGN_RECOVER", "VERIFY", "VERIFY_RECOVER", "WRAP", "UNWRAP", "DERIVE")
KEPT = ("TOKEN", "PRIVATE", "SENSITIVE", "EXTRACTABLE", "MODIFIABLE", "COPYABLE", "DESTROYABLE", "LOCAL")


@pytest.fixture
def other(make_token: Callable[[], FreshToken]) -> Iterator[Gateway]:
    """The provider's token; `gateway` is the issuer's."""
    opened = Gateway(make_token().settings)
    yield opened
    opened.close()


def make_transport_key(gateway: Gateway) -> bytes:
    with gateway.connect() as connection:
        return generate_key_pair(connection, TRANSPORT_ID, "transport", PlatformKeyPurpose.TRANSPORT)


def send_kek(issuer: Gateway, provider: Gateway) -> NewKek:
    public = make_transport_key(provider)
    with issuer.connect() as connection:
        return generate_kek(connection, KEK_ID, "provider-1", public)


def take_kek(provider: Gateway, sent: NewKek) -> NewMaster:
    with provider.connect() as connection:
        return unwrap_kek(
            connection,
            KEK_ID,
            "issuer-1",
            transport_object_id=TRANSPORT_ID,
            wrapped=sent.wrapped,
            expected_kcv=sent.master.kcv,
            now=provider.now(),
        )


def list_true(made: NewMaster) -> set[str]:
    return {name.removeprefix("CKA_") for name, value in made.attributes if value == "true"}


def read_true(gateway: Gateway, object_class: ObjectClass, object_id: bytes) -> set[str]:
    with gateway.connect() as connection:
        (key,) = connection.hsm_session.get_objects({Attribute.CLASS: object_class, Attribute.ID: object_id})
        found = key.get_attributes([Attribute[name] for name in RIGHTS + KEPT])
    return {Attribute(name).name for name, value in found.items() if value}


def count_session_objects(gateway: Gateway) -> int:
    with gateway.connect() as connection:
        return len(list(connection.hsm_session.get_objects({Attribute.TOKEN: False})))


def test_each_side_has_its_part_of_the_kek_and_neither_can_read_it(
    gateway: Gateway, other: Gateway, token: FreshToken
) -> None:
    sent = send_kek(gateway, other)
    kept = {"TOKEN", "PRIVATE", "SENSITIVE"}
    assert list_true(sent.master) == kept | {"WRAP", "SIGN"}
    assert list_true(take_kek(other, sent)) == kept | {"UNWRAP", "SIGN"}
    for side in (gateway, other):
        assert count_session_objects(side) == 0
        with side.connect() as connection:
            (kek,) = connection.hsm_session.get_objects({Attribute.ID: KEK_ID})
            attacks: list[Callable[[], object]] = [
                partial(kek.__getitem__, Attribute.VALUE),
                partial(kek.__setitem__, Attribute.EXTRACTABLE, True),
            ]
            if token.make.keeps_optional:
                attacks += [partial(kek.copy, {Attribute.EXTRACTABLE: True}), kek.destroy]
            for attack in attacks:
                with pytest.raises(PKCS11Error):
                    attack()


def test_key_pairs_do_one_thing_each(gateway: Gateway, token: FreshToken) -> None:
    make_transport_key(gateway)
    with gateway.connect() as connection:
        generate_key_pair(connection, SIGNING_ID, "signing", PlatformKeyPurpose.SIGNING)
    kept = {"TOKEN", "PRIVATE"} | ({"LOCAL"} if token.make.marks_local else set())
    private = kept | {"SENSITIVE"}
    assert read_true(gateway, ObjectClass.PRIVATE_KEY, TRANSPORT_ID) == private | {"UNWRAP"}
    assert read_true(gateway, ObjectClass.PRIVATE_KEY, SIGNING_ID) == private | {"SIGN"}
    assert read_true(gateway, ObjectClass.PUBLIC_KEY, TRANSPORT_ID) == kept | {"WRAP"}
    assert read_true(gateway, ObjectClass.PUBLIC_KEY, SIGNING_ID) == kept | {"VERIFY"}


def test_what_fails_leaves_no_session_object_behind(gateway: Gateway, other: Gateway) -> None:
    sent = send_kek(gateway, other)
    with refused(Code.KEY_KCV_MISMATCH):
        take_kek(other, replace(sent, master=replace(sent.master, kcv=bytes(5))))
    with refused(Code.KEY_UNWRAP_REFUSED):
        take_kek(other, replace(sent, wrapped=bytes(384)))
    assert count_session_objects(other) == 0
    take_kek(other, sent)


def test_a_kek_with_more_rights_than_its_side_has_is_not_used(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        connection.hsm_session.generate_key(
            TokenKeyType.AES,
            256,
            id=KEK_ID,
            store=True,
            capabilities=MechanismFlag.WRAP | MechanismFlag.DECRYPT | MechanismFlag.SIGN,
            mechanism=Mechanism.AES_KEY_GEN,
        )
    scope = TokenScope(gateway)
    with refused(Code.KEY_ATTRIBUTES):
        scope.get_master(refer(NewMaster(KEK_ID, bytes(5), ())))
    scope.close()


def test_a_transport_key_that_could_decrypt_is_not_used(gateway: Gateway, other: Gateway) -> None:
    sent = send_kek(gateway, other)
    with gateway.connect() as connection:
        connection.hsm_session.generate_keypair(TokenKeyType.RSA, 3072, id=TRANSPORT_ID, store=True)
    with refused(Code.KEY_ATTRIBUTES):
        take_kek(gateway, replace(sent, master=replace(sent.master, object_id=b"X" * 16)))


def test_an_unwrapped_session_key_has_the_attributes_of_its_use_and_is_destroyed(
    gateway: Gateway, other: Gateway, token: FreshToken
) -> None:
    sent = send_kek(gateway, other)
    kek = refer(take_kek(other, sent))
    # Where keys may not be read for wrapping, AES keys are handed over all the same: the token wraps by itself.
    vault = open_vault(replace(token.settings, allow_transient_plaintext=False))
    made = vault.generate_master(MASTER_ID, "ssd-initial-1")
    source = DerivedKeys(refer(made), "issuer", DerivationPurpose.SSD_INITIAL, b"card", bytes(5), 0)
    with vault.open_scope() as keys:
        wrapped, kcvs = wrap_initial_keys(keys, refer(sent.master), KeySetRef(0x30, KeyType.AES128, source))
    vault.close()
    scope = TokenScope(other)
    check_wrapped_keys(scope, KeySetRef(0x30, KeyType.AES128, WrappedKeys(kek, wrapped)), kcvs)
    key = scope.unwrap(scope.get_master(kek), wrapped[0], KeyType.AES128, KeyUse.DERIVE)
    with other.connect():
        found = key.secret.get_attributes([Attribute[name] for name in RIGHTS + KEPT])
    assert {Attribute(name).name for name, value in found.items() if value} == {
        "DERIVE",
        "PRIVATE",
        "SENSITIVE",
        *(("DESTROYABLE",) if token.make.keeps_optional else ()),
    }
    scope.close()
    assert count_session_objects(other) == 0


def test_status_names_what_a_token_lacks_for_peers(gateway: Gateway, token: FreshToken) -> None:
    with gateway.connect() as connection:
        assert connection.missing_peer_mechanisms == ()
    vault = open_vault(replace(token.settings, has_peers=True))
    assert vault.status().missing_peer_mechanisms == ()
    assert vault.status().missing_mechanisms == ()
    vault.close()


def test_a_kek_is_found_again_after_the_connection_is_renewed(gateway: Gateway, other: Gateway) -> None:
    kek = refer(take_kek(other, send_kek(gateway, other)))
    other.lose("the test says so")
    scope = TokenScope(other)
    assert scope.get_master(kek).use is MasterUse.UNWRAP_FROM_PEER
    with refused(Code.KEY_KCV_MISMATCH):
        scope.get_master(replace(kek, kcv=bytes(5)))
    scope.close()

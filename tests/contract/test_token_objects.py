"""The token's objects held against the record, on each make: deviations are named and refused, others seen."""

from dataclasses import replace

from pkcs11 import Attribute, MechanismFlag
from pkcs11 import KeyType as TokenKeyType
from pkcs11.mechanisms import Mechanism

from kms.card.keys import KeyType
from kms.domain.keys import PlatformKeyPurpose
from kms.domain.token_objects import ExpectedObject
from kms.errors import Code
from kms.hsm.gateway import Gateway
from kms.hsm.masters import RECHECK_S, find_object, generate_master, get_master
from kms.hsm.objects import check_objects
from kms.hsm.vault import TokenVault
from tests.contract.conftest import refer, refused
from tests.contract.tokens import FreshToken

MASTER_ID, SIGNING_ID, KEK_ID, TRANSPORT_ID, OTHER_ID = (letter * 16 for letter in (b"M", b"S", b"K", b"T", b"O"))


def put_key(gateway: Gateway, object_id: bytes, capabilities: MechanismFlag, label: str = "other") -> None:
    with gateway.connect() as connection:
        connection.hsm_session.generate_key(
            TokenKeyType.AES,
            256,
            id=object_id,
            label=label,
            store=True,
            capabilities=capabilities,
            mechanism=Mechanism.AES_KEY_GEN,
            template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False},
        )


def test_all_kinds_of_keys_as_they_were_made(vault: TokenVault) -> None:
    made = vault.generate_master(MASTER_ID, "ssd-1")
    public = vault.generate_signing_key(SIGNING_ID, "signing")
    transport = vault.generate_transport_key(TRANSPORT_ID, "transport")
    kek = vault.generate_kek(KEK_ID, "provider-1", transport)
    report = vault.check_objects(
        [
            ExpectedObject("ssd-1", MASTER_ID, master=refer(made)),
            ExpectedObject("signing", SIGNING_ID, pair=(PlatformKeyPurpose.SIGNING, public)),
            ExpectedObject("transport", TRANSPORT_ID, pair=(PlatformKeyPurpose.TRANSPORT, transport)),
            ExpectedObject("provider-1", KEK_ID, master=refer(kek.master)),
            ExpectedObject("planned", OTHER_ID),
        ]
    )
    assert [finding.code for finding in report.findings] == [None] * 4
    assert report.unexpected == ()


def test_missing_other_and_unexpected_keys_are_told_apart(vault: TokenVault, gateway: Gateway) -> None:
    made = vault.generate_master(MASTER_ID, "ssd-1")
    vault.close()
    put_key(gateway, OTHER_ID, MechanismFlag.WRAP | MechanismFlag.DECRYPT, "attack")
    put_key(gateway, KEK_ID, MechanismFlag.WRAP | MechanismFlag.SIGN, "whose")
    gateway.close()
    report = vault.check_objects(
        [
            ExpectedObject("ssd-1", MASTER_ID, master=replace(refer(made), kcv=bytes(5))),
            ExpectedObject("gone", b"G" * 16, master=replace(refer(made), object_id=b"G" * 16)),
            ExpectedObject("pair", SIGNING_ID, pair=(PlatformKeyPurpose.SIGNING, b"")),
        ]
    )
    assert [finding.code for finding in report.findings] == [
        Code.KEY_KCV_MISMATCH,
        Code.KEY_MISSING,
        Code.KEY_MISSING,
    ]
    seen = {(found.label, found.kind, found.dangerous) for found in report.unexpected}
    assert seen == {("attack", "secret key", True), ("whose", "secret key", False)}


def test_a_master_with_a_right_too_many_is_named_and_its_use_refused(vault: TokenVault, gateway: Gateway) -> None:
    put_key(gateway, MASTER_ID, MechanismFlag.DERIVE | MechanismFlag.ENCRYPT)
    gateway.close()
    made = vault.generate_master(OTHER_ID, "ssd-1")
    wrong = replace(refer(made), object_id=MASTER_ID)
    (finding,) = vault.check_objects([ExpectedObject("wrong", MASTER_ID, master=wrong)]).findings
    assert finding.code is Code.KEY_ATTRIBUTES
    with vault.open_scope() as keys, refused(Code.KEY_ATTRIBUTES):
        keys.get_master(wrong)


def test_a_master_that_changed_is_refused_after_the_check_and_by_every_process_within_minutes(
    gateway: Gateway, token: FreshToken
) -> None:
    with gateway.connect() as connection:
        ref = refer(generate_master(connection, MASTER_ID, "ssd-1"))
        now = gateway.now()
        assert get_master(connection, ref, now) is get_master(connection, ref, now)
        known = connection.masters[MASTER_ID]
        # Another process looks for itself once the last look is old enough.
        assert get_master(connection, ref, now + RECHECK_S + 1) is not known
        # What a token's officer could do, as far as this make allows it: another key under the same id.
        if not token.make.keeps_optional:
            secret = find_object(connection, MASTER_ID)
            assert secret is not None
            secret.destroy()
            generate_master(connection, MASTER_ID, "ssd-1")
            (finding,) = check_objects(connection, [ExpectedObject("ssd-1", MASTER_ID, master=ref)], now).findings
            assert finding.code is Code.KEY_KCV_MISMATCH
            assert MASTER_ID not in connection.masters


def test_looking_changes_nothing(vault: TokenVault) -> None:
    made = vault.generate_master(MASTER_ID, "ssd-1")
    expected = [ExpectedObject("ssd-1", MASTER_ID, master=refer(made))]
    assert vault.check_objects(expected) == vault.check_objects(expected)
    with vault.open_scope() as keys:
        assert keys.get_master(refer(made)).key_type is KeyType.AES256

"""Keys between two HSMs: what the vault promises of them, kept by the software vault and by two tokens of each make."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kms.card.hand_over_keys import check_wrapped_keys, wrap_initial_keys
from kms.card.key_sets import derive_static_key
from kms.card.keys import (
    CipherMode,
    DerivationPurpose,
    DerivedKeys,
    KcvMethod,
    KeyRole,
    KeySetRef,
    KeyType,
    KeyUse,
    MasterRef,
    WrappedKeys,
)
from kms.card.scp03_keys import Scp03Keys
from kms.domain.keys import PlatformKeyPurpose
from kms.domain.signatures import check_signature
from kms.errors import Code, KmsError
from kms.hsm.vault import open_vault
from kms.service.ports import NewKek, Vault
from tests.contract.conftest import refer, refused
from tests.contract.tokens import MAKES, TokenFactory, TokenMake
from tests.fakes.master_vault import MasterVault

_IDS = count(1)


def new_id() -> bytes:
    return next(_IDS).to_bytes(16, "big")


@dataclass(frozen=True)
class Exchanged:
    """Two vaults that hold one KEK, and a master at the issuer's."""

    issuer: Vault
    provider: Vault
    transport_id: bytes
    transport_key: bytes
    sent: NewKek
    issuer_kek: MasterRef
    provider_kek: MasterRef
    master: MasterRef


def exchange(issuer: Vault, provider: Vault) -> Exchanged:
    transport_id = new_id()
    transport_key = provider.generate_transport_key(transport_id, "provider-transport")
    sent = issuer.generate_kek(new_id(), "provider-1", transport_key)
    kcv = sent.master.kcv
    made = provider.unwrap_kek(new_id(), "issuer-1", transport_id, sent.wrapped, expected_kcv=kcv)
    master = refer(issuer.generate_master(new_id(), "ssd-initial-1"))
    return Exchanged(
        issuer, provider, transport_id, transport_key, sent, refer(sent.master), refer(made), master=master
    )


@pytest.fixture(scope="module", params=["software", *MAKES])
def pair(request: pytest.FixtureRequest, factories: Callable[[TokenMake], TokenFactory]) -> Iterator[Exchanged]:
    if request.param == "software":
        yield exchange(MasterVault(), MasterVault())
        return
    make_token = factories(MAKES[request.param])
    vaults = [open_vault(make_token().settings) for _ in range(2)]
    yield exchange(vaults[0], vaults[1])
    for vault in vaults:
        vault.close()


def build_ref(pair: Exchanged, key_type: KeyType) -> KeySetRef:
    source = DerivedKeys(
        pair.master, "issuer", DerivationPurpose.SSD_INITIAL, b"card", bytes.fromhex("A000000151"), generation=0
    )
    return KeySetRef(0x20, key_type, source)


def hand_over(pair: Exchanged, key_type: KeyType) -> tuple[KeySetRef, tuple[bytes, bytes, bytes]]:
    with pair.issuer.open_scope() as keys:
        wrapped, kcvs = wrap_initial_keys(keys, pair.issuer_kek, build_ref(pair, key_type))
    return KeySetRef(0x20, key_type, WrappedKeys(pair.provider_kek, wrapped)), kcvs


def own_set(vault: Vault, key_type: KeyType) -> KeySetRef:
    """A set that this vault derives from a master of its own."""
    master = refer(vault.generate_master(new_id(), "ssd-1"))
    return KeySetRef(0x30, key_type, DerivedKeys(master, "own", DerivationPurpose.SSD, b"card", b"\xa0" * 5, 1))


def change_last(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


class TestKek:
    def test_both_sides_hold_the_same_key_by_the_check_value_for_people(self, pair: Exchanged) -> None:
        assert pair.issuer_kek.kcv == pair.provider_kek.kcv
        assert len(pair.issuer_kek.kcv) == 5
        assert pair.sent.master.kcv_method is KcvMethod.AES_CMAC
        assert pair.sent.master.kcv.hex() not in repr(pair.sent.wrapped)

    @pytest.mark.parametrize("tampered", [change_last, lambda data: data[:-1], lambda _: b"", lambda _: bytes(384)])
    def test_what_was_changed_on_the_way_is_refused(self, pair: Exchanged, tampered: Callable[[bytes], bytes]) -> None:
        with refused(Code.KEY_UNWRAP_REFUSED):
            pair.provider.unwrap_kek(
                new_id(), "bad", pair.transport_id, tampered(pair.sent.wrapped), expected_kcv=pair.issuer_kek.kcv
            )

    def test_what_was_wrapped_to_another_hsm_is_refused(self, pair: Exchanged) -> None:
        other = new_id()
        pair.provider.generate_transport_key(other, "other-transport")
        with refused(Code.KEY_UNWRAP_REFUSED):
            pair.provider.unwrap_kek(new_id(), "bad", other, pair.sent.wrapped, expected_kcv=pair.issuer_kek.kcv)

    def test_another_check_value_than_announced_keeps_nothing(self, pair: Exchanged) -> None:
        object_id, kcv = new_id(), pair.issuer_kek.kcv
        with refused(Code.KEY_KCV_MISMATCH):
            pair.provider.unwrap_kek(object_id, "bad", pair.transport_id, pair.sent.wrapped, expected_kcv=bytes(5))
        with pair.provider.open_scope() as keys, refused(Code.KEY_MISSING):
            keys.get_master(MasterRef(object_id, KeyType.AES256, kcv, KcvMethod.AES_CMAC))

    def test_unwrapping_again_gives_the_kek_that_is_there(self, pair: Exchanged) -> None:
        again = pair.provider.unwrap_kek(
            pair.provider_kek.object_id,
            "issuer-1",
            pair.transport_id,
            pair.sent.wrapped,
            expected_kcv=pair.issuer_kek.kcv,
        )
        assert refer(again) == pair.provider_kek

    def test_a_kek_that_is_there_is_not_wrapped_again(self, pair: Exchanged) -> None:
        with refused(Code.CONFLICT):
            pair.issuer.generate_kek(pair.issuer_kek.object_id, "provider-1", pair.transport_key)

    @pytest.mark.parametrize("bits", [2048, 4096])
    def test_a_transport_key_of_another_size_is_refused(self, pair: Exchanged, bits: int) -> None:
        key = rsa.generate_private_key(65537, bits).public_key()
        with refused(Code.INPUT_INVALID):
            pair.issuer.generate_kek(new_id(), "bad", key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def test_the_check_value_of_a_kek_is_by_cmac_alone(self, pair: Exchanged) -> None:
        with pair.issuer.open_scope() as keys, refused(Code.KEY_KCV_MISMATCH):
            keys.get_master(replace(pair.issuer_kek, kcv_method=KcvMethod.AES_GP, kcv=bytes(3)))


class TestHandOver:
    @pytest.mark.parametrize("key_type", list(KeyType))
    def test_the_provider_gets_the_keys_that_the_issuer_derived(self, pair: Exchanged, key_type: KeyType) -> None:
        ref, kcvs = hand_over(pair, key_type)
        assert isinstance(ref.source, WrappedKeys)
        assert [len(blob) for blob in ref.source.wrapped] == [key_type.length + 8] * 3
        assert len(set(kcvs)) == 3
        with pair.provider.open_scope() as keys:
            check_wrapped_keys(keys, ref, kcvs)

    def test_an_unwrapped_key_derives_as_the_derived_one_does(self, pair: Exchanged) -> None:
        ref, _ = hand_over(pair, KeyType.DES2)
        data = bytes.fromhex("0182") + bytes(14)
        answers = []
        for vault, own in ((pair.issuer, build_ref(pair, KeyType.DES2)), (pair.provider, ref)):
            with vault.open_scope() as keys:
                enc = derive_static_key(keys, own, KeyRole.ENC, KeyUse.DERIVE)
                s_enc = keys.derive_des(enc, CipherMode.CBC, data, KeyType.DES2, KeyUse.ENCRYPT)
                answers.append(keys.encrypt(s_enc, CipherMode.ECB, bytes(8)))
        assert answers[0] == answers[1]

    @pytest.mark.parametrize("key_type", [KeyType.AES128, KeyType.AES192, KeyType.AES256])
    def test_an_unwrapped_aes_set_does_all_that_scp03_asks_of_it(self, pair: Exchanged, key_type: KeyType) -> None:
        ref, _ = hand_over(pair, key_type)
        answers = []
        for vault, own in ((pair.issuer, build_ref(pair, key_type)), (pair.provider, ref)):
            with vault.open_scope() as keys:
                session = Scp03Keys(keys, own, bytes(range(16)), 8)
                made = (
                    session.make_card_cryptogram(),
                    session.make_card_challenge(1, b"\xa0" * 5),
                    session.encrypt_command(1, bytes(16)),
                    session.mac_response(bytes(18)),
                )
                answers.append(made)
                payload = derive_static_key(keys, own_set(vault, key_type), KeyRole.ENC, KeyUse.PAYLOAD)
                assert len(session.wrap(payload)) == -(-key_type.length // 16) * 16
        assert answers[0] == answers[1]

    @pytest.mark.parametrize("key_type", [KeyType.DES2, KeyType.AES128])
    def test_a_key_changed_cut_or_lengthened_is_refused_and_the_hsm_stays(
        self, pair: Exchanged, key_type: KeyType
    ) -> None:
        ref, kcvs = hand_over(pair, key_type)
        assert isinstance(ref.source, WrappedKeys)
        enc, mac, dek = ref.source.wrapped
        with pair.provider.open_scope() as keys:
            for bad in (change_last(dek), dek[:-8], dek[:-1], b"", dek + bytes(8)):
                changed = replace(ref, source=replace(ref.source, wrapped=(enc, mac, bad)))
                with refused(Code.KEY_UNWRAP_REFUSED):
                    check_wrapped_keys(keys, changed, kcvs)
            # The scope's other keys live on: a bad blob is no lost connection.
            check_wrapped_keys(keys, ref, kcvs)

    def test_keys_in_another_order_are_found_by_their_check_values(self, pair: Exchanged) -> None:
        ref, kcvs = hand_over(pair, KeyType.DES2)
        assert isinstance(ref.source, WrappedKeys)
        enc, mac, dek = ref.source.wrapped
        swapped = replace(ref, source=replace(ref.source, wrapped=(mac, enc, dek)))
        with pair.provider.open_scope() as keys, refused(Code.KEY_KCV_MISMATCH):
            check_wrapped_keys(keys, swapped, kcvs)

    def test_keys_under_another_kek_are_refused(self, pair: Exchanged) -> None:
        sent = pair.issuer.generate_kek(new_id(), "provider-2", pair.transport_key)
        with pair.issuer.open_scope() as keys:
            wrapped, kcvs = wrap_initial_keys(keys, refer(sent.master), build_ref(pair, KeyType.AES128))
        ref = KeySetRef(0x20, KeyType.AES128, WrappedKeys(pair.provider_kek, wrapped))
        with pair.provider.open_scope() as keys, refused(Code.KEY_UNWRAP_REFUSED):
            check_wrapped_keys(keys, ref, kcvs)

    def test_what_was_handed_over_never_leaves_again(self, pair: Exchanged) -> None:
        ref, _ = hand_over(pair, KeyType.DES2)
        with pair.provider.open_scope() as keys, refused(Code.KEY_ATTRIBUTES):
            derive_static_key(keys, ref, KeyRole.ENC, KeyUse.PAYLOAD)

    def test_a_kek_does_nothing_but_its_sides_part(self, pair: Exchanged) -> None:
        ref, _ = hand_over(pair, KeyType.AES128)
        assert isinstance(ref.source, WrappedKeys)
        with pair.provider.open_scope() as keys:
            kek = keys.get_master(pair.provider_kek)
            tries: list[Callable[[], object]] = [
                lambda: keys.wrap_for_peer(kek, kek),
                lambda: keys.encrypt(kek, CipherMode.ECB, bytes(16)),
                lambda: keys.decrypt(kek, CipherMode.ECB, bytes(16)),
                lambda: keys.cmac(kek, bytes(16)),
                lambda: keys.derive_cmac(kek, (bytes(16),), KeyType.AES128, KeyUse.MAC),
                lambda: keys.wrap(kek, kek, CipherMode.CBC),
            ]
            for attempt in tries:
                with refused(Code.KEY_ATTRIBUTES):
                    attempt()
        with pair.issuer.open_scope() as keys:
            kek = keys.get_master(pair.issuer_kek)
            master = keys.get_master(pair.master)
            payload = derive_static_key(keys, build_ref(pair, KeyType.AES128), KeyRole.ENC, KeyUse.PAYLOAD)
            deriving = derive_static_key(keys, build_ref(pair, KeyType.AES128), KeyRole.ENC, KeyUse.DERIVE)
            wrapped = ref.source.wrapped[0]
            tries = [
                lambda: keys.unwrap(kek, wrapped, KeyType.AES128, KeyUse.ENCRYPT),
                lambda: keys.unwrap(master, wrapped, KeyType.AES128, KeyUse.ENCRYPT),
                lambda: keys.wrap_for_peer(master, payload),
                lambda: keys.wrap_for_peer(kek, deriving),
                lambda: keys.wrap_for_peer(kek, master),
                lambda: keys.wrap(kek, payload, CipherMode.CBC),
            ]
            for attempt in tries:
                with refused(Code.KEY_ATTRIBUTES):
                    attempt()


class TestKeyPairs:
    def test_a_signature_verifies_under_the_public_half(self, pair: Exchanged) -> None:
        object_id = new_id()
        public = pair.issuer.generate_signing_key(object_id, "issuer-signing")
        signature = pair.issuer.sign(object_id, b"hand-over")
        check_signature(public, b"hand-over", signature)
        with pytest.raises(KmsError):
            check_signature(public, b"hand-0ver", signature)

    def test_the_same_object_id_gives_the_same_pair_again(self, pair: Exchanged) -> None:
        object_id = new_id()
        public = pair.issuer.generate_signing_key(object_id, "issuer-signing")
        assert pair.issuer.generate_signing_key(object_id, "issuer-signing") == public
        assert pair.provider.generate_transport_key(pair.transport_id, "again") == pair.transport_key

    def test_a_pair_is_checked_by_its_public_half_and_purpose(self, pair: Exchanged) -> None:
        transport = PlatformKeyPurpose.TRANSPORT
        pair.provider.check_key_pair(pair.transport_id, transport, pair.transport_key)
        with refused(Code.KEY_KCV_MISMATCH):
            pair.provider.check_key_pair(pair.transport_id, transport, change_last(pair.transport_key))
        with refused(Code.KEY_ATTRIBUTES):
            pair.provider.check_key_pair(pair.transport_id, PlatformKeyPurpose.SIGNING, pair.transport_key)
        with refused(Code.KEY_MISSING):
            pair.provider.check_key_pair(new_id(), transport, pair.transport_key)

    def test_what_is_no_signing_key_signs_nothing(self, pair: Exchanged) -> None:
        for object_id in (pair.transport_id, new_id()):
            with pytest.raises(KmsError) as failure:
                pair.provider.sign(object_id, b"data")
            assert failure.value.code in {Code.KEY_MISSING, Code.KEY_ATTRIBUTES}

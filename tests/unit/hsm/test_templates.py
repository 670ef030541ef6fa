import pytest
from pkcs11 import Attribute, Key, MechanismFlag
from pkcs11.types import DeriveMixin, EncryptMixin, UnwrapMixin, WrapMixin

from kms.card.keys import KeyType, KeyUse
from kms.errors import Code, KmsError
from kms.hsm.templates import (
    CAPABILITY_ATTRIBUTES,
    FERRY,
    MASTER,
    MASTER_TEMPLATES,
    NEW_KEK,
    OPTIONAL_ATTRIBUTES,
    PEER_TRANSPORT,
    READABLE,
    TRIAL,
    TRIAL_KEK,
    UNWRAPPING_KEK,
    WRAPPING_KEK,
    MasterUse,
    build_public_template,
    build_value_template,
    check_attributes,
    check_capabilities,
    find_master_use,
    get_session_template,
    get_unwrapped_template,
)
from kms.hsm.wrapping import WrapStrategy

EVERY = [(use, key_type, strategy) for use in KeyUse for key_type in KeyType for strategy in WrapStrategy]


class DerivingKey(DeriveMixin, Key):
    """What python-pkcs11 makes of an object with CKA_DERIVE."""

    def __init__(self, **attributes: bool) -> None:
        self.attributes = {Attribute[name]: value for name, value in attributes.items()}

    def get_attributes(self, keys: list[Attribute]) -> dict[Attribute, bool]:
        return {key: self.attributes[key] for key in keys if key in self.attributes}


class GreedyKey(EncryptMixin, DerivingKey):
    """The same with one right too many."""


class WrappingKey(WrapMixin, Key):
    """What python-pkcs11 makes of an object with CKA_WRAP."""


class UnwrappingKey(UnwrapMixin, Key):
    """The same with CKA_UNWRAP."""


MASTER_VALUES = {name.name: value for name, value in MASTER.attributes.items()}


@pytest.mark.parametrize(("use", "key_type", "strategy"), EVERY)
def test_no_key_both_wraps_and_decrypts_or_derives_and_encrypts(
    use: KeyUse, key_type: KeyType, strategy: WrapStrategy
) -> None:
    rights = get_session_template(use, key_type, strategy).capabilities
    assert rights
    assert not (rights & MechanismFlag.WRAP and rights & MechanismFlag.DECRYPT)
    assert not (rights & MechanismFlag.DERIVE and rights & ~MechanismFlag.DERIVE)
    assert not rights & (MechanismFlag.UNWRAP | MechanismFlag.VERIFY)


@pytest.mark.parametrize(("use", "key_type", "strategy"), EVERY)
def test_only_a_payload_can_leave_and_only_a_transient_one_can_be_read(
    use: KeyUse, key_type: KeyType, strategy: WrapStrategy
) -> None:
    attributes = get_session_template(use, key_type, strategy).attributes
    assert attributes[Attribute.EXTRACTABLE] is (use is KeyUse.PAYLOAD)
    readable = use is KeyUse.PAYLOAD and strategy is not WrapStrategy.NATIVE
    assert attributes[Attribute.SENSITIVE] is not readable
    assert attributes[Attribute.TOKEN] is False


def test_templates_of_different_content_have_different_names() -> None:
    made = [get_session_template(*each) for each in EVERY]
    by_name = {template.name: (template.capabilities, template.attributes) for template in made}
    assert all(by_name[template.name] == (template.capabilities, template.attributes) for template in made)


def test_modifiable_is_the_last_attribute() -> None:
    for template in (get_session_template(*EVERY[0]), READABLE, TRIAL, NEW_KEK, TRIAL_KEK, *MASTER_TEMPLATES.values()):
        assert list(template.attributes)[-1] is Attribute.MODIFIABLE


def test_a_master_is_derive_only_and_stays_as_it_is() -> None:
    assert MASTER.capabilities is MechanismFlag.DERIVE
    assert {name.name for name, value in MASTER.attributes.items() if value} == {"TOKEN", "PRIVATE", "SENSITIVE"}


def test_an_imported_master_has_every_capability_spelled_out() -> None:
    template = build_value_template(MASTER, KeyType.DES2, bytes(16), b"id", "vendor")
    assert {name: template[name] for name in CAPABILITY_ATTRIBUTES} == {
        name: name is Attribute.DERIVE for name in CAPABILITY_ATTRIBUTES
    }
    assert Attribute.VALUE_LEN not in template


def test_a_master_as_it_should_be_is_accepted() -> None:
    check_attributes(DerivingKey(**MASTER_VALUES), MASTER)


@pytest.mark.parametrize("name", sorted(MASTER_VALUES))
def test_a_master_with_any_other_attribute_is_refused(name: str) -> None:
    without = {key: value for key, value in MASTER_VALUES.items() if key != name}
    optional = Attribute[name] in OPTIONAL_ATTRIBUTES  # a token that does not know it does not show it
    for changed in (MASTER_VALUES | {name: not MASTER_VALUES[name]}, *(() if optional else (without,))):
        with pytest.raises(KmsError, match=f"CKA_{name}") as failure:
            check_attributes(DerivingKey(**changed), MASTER)
        assert failure.value.code is Code.KEY_ATTRIBUTES


@pytest.mark.parametrize("name", OPTIONAL_ATTRIBUTES, ids=lambda name: name.name)
def test_a_master_may_lack_what_its_token_does_not_know_and_a_session_key_may_not(name: Attribute) -> None:
    check_attributes(DerivingKey(**{key: value for key, value in MASTER_VALUES.items() if key != name.name}), MASTER)
    session = {key.name: value for key, value in TRIAL.attributes.items() if key is not name}
    if name in TRIAL.attributes:
        with pytest.raises(KmsError, match=f"CKA_{name.name}"):
            check_attributes(DerivingKey(**session), TRIAL)


def test_a_right_too_many_or_too_few_is_refused() -> None:
    with pytest.raises(KmsError, match="CKA_ENCRYPT"):
        check_attributes(GreedyKey(**MASTER_VALUES), MASTER)
    with pytest.raises(KmsError, match="CKA_DERIVE"):
        check_capabilities(DerivingKey(), READABLE)


def test_a_kek_wraps_or_unwraps_and_stays_as_it_is() -> None:
    assert WRAPPING_KEK.capabilities == MechanismFlag.WRAP | MechanismFlag.SIGN
    assert UNWRAPPING_KEK.capabilities == MechanismFlag.UNWRAP | MechanismFlag.SIGN
    for template in (WRAPPING_KEK, UNWRAPPING_KEK):
        assert {name.name for name, value in template.attributes.items() if value} == {"TOKEN", "PRIVATE", "SENSITIVE"}


def test_only_a_kek_that_is_just_made_can_be_wrapped_and_it_can_do_nothing() -> None:
    assert NEW_KEK.attributes[Attribute.EXTRACTABLE] is True
    assert not NEW_KEK.capabilities
    for template in (FERRY, TRIAL_KEK):
        assert template.attributes[Attribute.EXTRACTABLE] is False
    for template in (NEW_KEK, FERRY, TRIAL_KEK):
        assert template.attributes[Attribute.TOKEN] is False
        assert template.attributes[Attribute.SENSITIVE] is True


def test_what_is_unwrapped_is_made_as_what_is_derived_and_checked_apart() -> None:
    for each in EVERY:
        derived, unwrapped = get_session_template(*each), get_unwrapped_template(*each)
        assert (unwrapped.capabilities, unwrapped.attributes) == (derived.capabilities, derived.attributes)
        assert unwrapped.name != derived.name


def test_a_lasting_key_is_told_by_its_rights() -> None:
    assert find_master_use(DerivingKey()) is MasterUse.DERIVE
    assert find_master_use(WrappingKey()) is MasterUse.WRAP_FOR_PEER
    assert find_master_use(UnwrappingKey()) is MasterUse.UNWRAP_FROM_PEER


def test_a_public_key_has_every_right_spelled_out() -> None:
    template = build_public_template(PEER_TRANSPORT, {Attribute.MODULUS: b"n"})
    rights = {name: template[name] for name in (Attribute.ENCRYPT, Attribute.VERIFY, Attribute.WRAP)}
    assert rights == {Attribute.ENCRYPT: False, Attribute.VERIFY: False, Attribute.WRAP: True}
    assert template[Attribute.MODULUS] == b"n"

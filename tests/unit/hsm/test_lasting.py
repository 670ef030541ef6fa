from pkcs11 import Attribute

from kms.hsm.lasting import LastingTraits
from kms.hsm.templates import MASTER, OPTIONAL_ATTRIBUTES


def test_a_template_keeps_all_that_the_token_knows() -> None:
    assert LastingTraits(frozenset(), marks_local=True).fit(MASTER) == MASTER


def test_only_what_the_token_refused_is_left_out() -> None:
    fitted = LastingTraits(frozenset({Attribute.COPYABLE}), marks_local=True).fit(MASTER)
    assert set(MASTER.attributes) - set(fitted.attributes) == {Attribute.COPYABLE}
    assert fitted.capabilities == MASTER.capabilities


def test_attributes_that_keep_a_key_in_the_token_are_never_optional() -> None:
    assert not {Attribute.SENSITIVE, Attribute.EXTRACTABLE, Attribute.MODIFIABLE, Attribute.PRIVATE} & set(
        OPTIONAL_ATTRIBUTES
    )

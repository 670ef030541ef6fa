from kms.hsm.enforcement import ATTACKS, COPYING


def test_reading_changing_and_wrapping_are_tried_and_copying_is_no_reason_to_refuse() -> None:
    assert [attack.attribute for attack in ATTACKS] == [
        "CKA_SENSITIVE",
        "CKA_MODIFIABLE=false",
        "CKA_EXTRACTABLE=false",
    ]
    assert COPYING not in ATTACKS

"""How audit records write check values."""

from kms.card.keys import KcvMethod
from kms.domain.audit import build_kcv_text


def test_check_values_stand_behind_their_method_and_none_is_empty() -> None:
    assert build_kcv_text(KcvMethod.DES_ZERO, [b"\x8b\xaf\x47", b"\x00\x01\x02"]) == "3des-ecb-zero:8BAF47,000102"
    assert build_kcv_text(KcvMethod.AES_GP, []) == ""

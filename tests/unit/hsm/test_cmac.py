import pytest

from kms.hsm.cmac import build_k1, split_blocks, xor


@pytest.mark.parametrize(
    ("zero_block", "k1"),
    [
        # RFC 4493 section 4; NIST SP 800-38B appendix D.1 gives the same.
        ("7df76b0c1ab899b33e42f047b91b546f", "fbeed618357133667c85e08f7236a8de"),
        # the top bit set: reduced by 87 (NIST SP 800-38B appendix D.3, AES-256)
        ("e568f68194cf76d6174d4cc04310a854", "cad1ed03299eedac2e9a99808621502f"),
    ],
)
def test_k1_is_that_of_the_published_examples(zero_block: str, k1: str) -> None:
    assert build_k1(bytes.fromhex(zero_block)).hex() == k1


def test_xor_combines_bit_by_bit_and_refuses_unequal_lengths() -> None:
    assert xor(b"\x0f\xf0", b"\xff\xff") == b"\xf0\x0f"
    with pytest.raises(ValueError, match="argument"):
        xor(b"\x00", b"\x00\x00")


def test_a_message_is_split_into_blocks_of_16() -> None:
    assert split_blocks(bytes(16) + b"\x01" * 16) == (bytes(16), b"\x01" * 16)

from uuid import UUID

import pytest

from kms.domain.identifiers import build_uuid7


def test_the_example_of_the_specification() -> None:
    # RFC 9562 appendix A.6: rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F, time 0x017F22E279B0.
    random = bytes.fromhex("0cc3") + bytes.fromhex("18c4dc0c0c07398f")
    assert build_uuid7(0x017F22E279B0, random) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@pytest.mark.parametrize("random", [bytes(10), b"\xff" * 10])
def test_version_and_variant_are_fixed_whatever_the_random(random: bytes) -> None:
    identifier = UUID(build_uuid7(1, random))
    assert identifier.version == 7
    assert identifier.variant == "specified in RFC 4122"


def test_later_sorts_after_earlier() -> None:
    assert build_uuid7(1_000, b"\xff" * 10) < build_uuid7(1_001, bytes(10))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="48 bits"):
        build_uuid7(1 << 48, bytes(10))
    with pytest.raises(ValueError, match="48 bits"):
        build_uuid7(-1, bytes(10))
    with pytest.raises(ValueError, match="10 random bytes"):
        build_uuid7(1, bytes(9))

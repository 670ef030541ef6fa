from kms.domain.card_ranges import CardRange, find_issuer

RANGES = (CardRange(b"\x47\x10", b"\x47\x20", "bank"), CardRange(b"\x47\x21", b"\x47\x21", "other"))


def test_both_ends_are_inside() -> None:
    assert find_issuer(RANGES, b"\x47\x10") == find_issuer(RANGES, b"\x47\x20") == "bank"
    assert find_issuer(RANGES, b"\x47\x21") == "other"


def test_outside_nobody_is_the_issuer() -> None:
    for identity in (b"\x47\x0f", b"\x47\x22", b"\x47", b"\x47\x15\x00", b""):
        assert find_issuer(RANGES, identity) is None

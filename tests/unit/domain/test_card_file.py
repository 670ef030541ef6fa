import pytest

from kms.card.keys import Diversification
from kms.domain.card_file import HEADER, MAX_LINE, CardLine, parse_card_file

GOOD = "4292AABB01,00010203040506070809,A000000151000000,FF,55,70,acme,visa2,default"
SCP03_OPTIONS = "is no supported option of SCP03: 00, 01, 10, 11, 20, 21, 30, 31, 60, 61, 70, 71, or empty"


def build_file(*lines: str) -> bytes:
    return "\n".join((HEADER, *lines, "")).encode()


def change(column: str, value: str) -> str:
    fields = dict(zip(HEADER.split(","), GOOD.split(","), strict=True))
    return ",".join((fields | {column: value}).values())


def list_faults(content: bytes) -> list[tuple[str, str]]:
    return [(fault.where, fault.what) for fault in parse_card_file(content).faults]


def test_a_line_becomes_a_card() -> None:
    file = parse_card_file(build_file(GOOD))
    assert file.faults == ()
    assert file.lines == (
        CardLine(
            line=2,
            identity=bytes.fromhex("4292AABB01"),
            kdd=bytes(range(10)),
            isd_aid=bytes.fromhex("A000000151000000"),
            isd_kvn=0xFF,
            scp02_i=0x55,
            scp03_i=0x70,
            vendor_master="acme",
            diversification=Diversification.VISA2,
            profile="default",
        ),
    )


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + build_file(GOOD),
        build_file(GOOD).replace(b"\n", b"\r\n"),
        build_file("", GOOD, "   ", ""),
        b"\n" + build_file(GOOD),
        build_file(GOOD).rstrip(),
        build_file(GOOD.lower()),
        build_file(change("vendor_master", '"acme"')),
    ],
    ids=["byte order mark", "CRLF", "blank lines", "blank first line", "no last line end", "lower case", "quoted"],
)
def test_spellings_that_mean_the_same(content: bytes) -> None:
    file = parse_card_file(content)
    assert file.faults == ()
    assert [card.identity.hex() for card in file.lines] == ["4292aabb01"]
    assert file.lines[0].vendor_master == "acme"


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("identity", "", "has 0 bytes; 1 to 32 are needed"),
        ("identity", "AB" * 33, "has 33 bytes; 1 to 32 are needed"),
        ("identity", "4292A", "is not hex (two digits a byte, no spaces)"),
        ("identity", "42 92", "is not hex (two digits a byte, no spaces)"),
        ("identity", " 4292", "is not hex (two digits a byte, no spaces)"),
        ("identity", "4\uff1292", "is not hex (two digits a byte, no spaces)"),
        ("kdd", "0001", "has 2 bytes; 10 are needed"),
        ("isd_aid", "A0000001", "has 4 bytes; 5 to 16 are needed"),
        ("isd_aid", "A0" * 17, "has 17 bytes; 5 to 16 are needed"),
        ("isd_kvn", "00", "is no key version: 01 to 7F, or FF for a factory set"),
        ("isd_kvn", "80", "is no key version: 01 to 7F, or FF for a factory set"),
        ("isd_kvn", "0101", "has 2 bytes; 1 is needed"),
        ("scp02_i", "05", "is no supported option of SCP02: 15, 35, 55, 75, or empty"),
        ("scp02_i", "5555", "has 2 bytes; 1 is needed"),
        ("scp03_i", "40", SCP03_OPTIONS),
        ("scp03_i", "55", SCP03_OPTIONS),
        ("scp03_i", "7", "is not hex (two digits a byte, no spaces)"),
        ("vendor_master", "", "is no name: letters, digits, dot, dash and underscore, at most 64"),
        ("vendor_master", "a b", "is no name: letters, digits, dot, dash and underscore, at most 64"),
        ("diversification", "VISA2", "is none of: none, visa2, emv-cps-1.1, kdf3"),
        ("profile", "../x", "is no name: letters, digits, dot, dash and underscore, at most 64"),
    ],
)
def test_a_wrong_field_is_named_with_line_and_column(column: str, value: str, what: str) -> None:
    assert list_faults(build_file(GOOD, change(column, value))) == [(f"line 3, column {column}", what)]


@pytest.mark.parametrize(
    ("scp02_i", "scp03_i", "given"), [("55", "", True), ("", "70", True), ("15", "01", True), ("", "", False)]
)
def test_a_protocol_may_be_left_out_and_with_both_the_card_is_recognized_later(
    scp02_i: str, scp03_i: str, given: bool
) -> None:
    line = GOOD.replace("FF,55,70", f"FF,{scp02_i},{scp03_i}")
    (card,) = parse_card_file(build_file(line)).lines
    assert (card.scp02_i, card.scp03_i) == tuple(int(option, 16) if option else None for option in (scp02_i, scp03_i))
    assert (card.find_i(2), card.find_i(3)) == (card.scp02_i, card.scp03_i)
    assert card.is_given is given


@pytest.mark.parametrize("kvn", ["01", "7f", "FF"])
def test_key_versions_at_the_limits(kvn: str) -> None:
    assert parse_card_file(build_file(change("isd_kvn", kvn))).lines[0].isd_kvn == int(kvn, 16)


def test_every_fault_shows_at_once_in_order() -> None:
    content = build_file(
        change("kdd", "xx").replace("visa2", "other"),
        '4292,"broken',
        "1,2,3",
        "A" * (MAX_LINE + 1),
        GOOD,
        GOOD.lower(),
    )
    assert list_faults(content) == [
        ("line 2, column kdd", "is not hex (two digits a byte, no spaces)"),
        ("line 2, column diversification", "is none of: none, visa2, emv-cps-1.1, kdf3"),
        ("line 3", "is no valid CSV; check its quotation marks"),
        ("line 4", "has 3 fields; 9 are needed"),
        ("line 5", f"is longer than {MAX_LINE} characters"),
        ("line 7, column identity", "the same card stands on line 6"),
    ]


def test_a_quote_does_not_swallow_the_lines_after_it() -> None:
    file = parse_card_file(build_file('"' + GOOD, GOOD))
    assert [fault.where for fault in file.faults] == ["line 2"]
    assert [card.line for card in file.lines] == [3]


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"", "line 1"),
        (b"\n\n", "line 1"),
        (GOOD.encode(), "line 1"),
        (b"\n" + HEADER.replace(",", ";").encode(), "line 2"),
        (HEADER.upper().encode(), "line 1"),
        (build_file(GOOD).replace(b"\n", b"\r"), "line 1"),
        (build_file(), "line 1"),
        (build_file(GOOD).decode().encode("utf-16"), "line 1"),
        (build_file(GOOD) + b"\xff\xfe", "line 3"),
    ],
    ids=["empty", "blank", "no header", "semicolons", "upper case", "CR only", "no cards", "UTF-16", "latin-1"],
)
def test_a_file_that_is_none_has_one_fault(content: bytes, where: str) -> None:
    file = parse_card_file(content)
    assert file.lines == ()
    assert [fault.where for fault in file.faults] == [where]

"""Who a card is, in every form that cards tell it."""

import pytest

from terminal.config import IdentitySource
from terminal.errors import TerminalCode, TerminalError
from terminal.identity import (
    CSV_HEADER,
    KeyInfo,
    build_csv,
    parse_key_information,
    parse_protocols,
    read_details,
    read_identity,
)
from tests.fakes.scripted_card import ScriptedCard

BOTH = (IdentitySource.IIN_CIN, IdentitySource.CPLC)
FCI = "6F108408A000000151000000A5049F6501FF9000"
CPLC = "479051684791234501002345" + "00010203" + "0405" + "00" * 24
CPLC_IDENTITY = bytes.fromhex("47905168" + "00010203" + "0405")
RECOGNITION = "664B" + "7349" + "06072A864886FC6B01" + "600B06092A864886FC6B020203" + "630906072A864886FC6B03"
RECOGNITION += "640B06092A864886FC6B040255" + "650B06092B8510864864020103" + "660C060A2B060104012A026E0102"


def make_card(**answers: str) -> ScriptedCard:
    known = {"00A40400": FCI, **{name.removeprefix("c"): answer for name, answer in answers.items()}}
    return ScriptedCard(known, default="6A88")


@pytest.mark.parametrize(("iin", "cin"), [("42034155669000", "4504AABBCCDD9000"), ("4155669000", "AABBCCDD9000")])
def test_iin_and_cin_wrapped_or_bare(iin: str, cin: str) -> None:
    card = make_card(c80CA0042=iin, c80CA0045=cin)
    assert read_identity(card, BOTH) == bytes.fromhex("415566AABBCCDD")


@pytest.mark.parametrize("cplc", ["9F7F2A" + CPLC + "9000", CPLC + "9000"])
def test_cplc_wrapped_or_bare(cplc: str) -> None:
    assert read_identity(make_card(c80CA9F7F=cplc), BOTH) == CPLC_IDENTITY


def test_the_first_source_in_the_order_counts() -> None:
    card = make_card(c80CA0042="4155669000", c80CA0045="AABB9000", c80CA9F7F=CPLC + "9000")
    assert read_identity(card, (IdentitySource.CPLC, IdentitySource.IIN_CIN)) == CPLC_IDENTITY


def test_a_source_that_is_not_asked_for_is_not_used() -> None:
    with pytest.raises(TerminalError) as caught:
        read_identity(make_card(c80CA9F7F=CPLC + "9000"), (IdentitySource.IIN_CIN,))
    assert caught.value.code is TerminalCode.CARD_IDENTITY


def test_iin_alone_is_no_identity() -> None:
    assert read_identity(make_card(c80CA0042="4155669000", c80CA9F7F=CPLC + "9000"), BOTH) == CPLC_IDENTITY


def test_interindustry_class_is_tried_too() -> None:
    assert read_identity(make_card(c00CA9F7F=CPLC + "9000"), BOTH) == CPLC_IDENTITY


@pytest.mark.parametrize("answers", [{}, {"c80CA9F7F": "9000"}, {"c80CA9F7F": "479051689000"}, {"c80CA9F7F": ""}])
def test_a_card_that_tells_nothing_is_named(answers: dict[str, str]) -> None:
    with pytest.raises(TerminalError) as caught:
        read_identity(make_card(**answers), BOTH)
    assert caught.value.code is TerminalCode.CARD_IDENTITY


def test_a_card_without_issuer_security_domain_is_named() -> None:
    with pytest.raises(TerminalError) as caught:
        read_identity(ScriptedCard(default="6A82"), BOTH)
    assert "Issuer Security Domain" in caught.value.problem


def make_full_card() -> ScriptedCard:
    return make_card(
        c80CA0042="4155669000",
        c80CA0045="AABB9000",
        c80CA9F7F=CPLC + "9000",
        c80CA0066=RECOGNITION + "9000",
        c80CA00E0="E012C00401FF8010C00402FF8010C00403FF80109000",
        c80500000="00007295713236006868" + "FF02" + "00" * 16 + "9000",
    )


def test_all_that_an_operator_needs_is_read() -> None:
    details = read_details(make_full_card(), BOTH, b"\x3b\x00")
    assert details.identity == bytes.fromhex("415566AABB")
    assert details.candidates == ((BOTH[0], bytes.fromhex("415566AABB")), (BOTH[1], CPLC_IDENTITY))
    assert details.isd_aid == bytes.fromhex("A000000151000000")
    assert (details.scp02_i, details.scp03_i, details.kvn) == (0x55, None, 0xFF)
    assert details.kdd == bytes.fromhex("00007295713236006868")
    assert details.keys[0] == KeyInfo(0xFF, 1, ((0x80, 0x10),))


def test_reading_changes_nothing_on_the_card() -> None:
    card = make_full_card()
    read_details(card, BOTH)
    assert {command[2:4] for command in card.received} == {"A4", "CA", "50"}


def test_the_csv_row_is_what_enrols_the_card() -> None:
    text = build_csv(
        read_details(make_full_card(), BOTH), vendor_master="acme", diversification="emv", profile="strict"
    )
    header, row = text.splitlines()
    assert header == ",".join(CSV_HEADER)
    assert row == "415566AABB,00007295713236006868,A000000151000000,FF,55,,acme,emv,strict"


def test_what_a_card_does_not_say_stays_empty_in_the_row() -> None:
    details = read_details(make_card(c80CA9F7F=CPLC + "9000"), BOTH)
    assert build_csv(details).splitlines()[1] == f"{CPLC_IDENTITY.hex()},,A000000151000000,,,,,,"


@pytest.mark.parametrize("text", ["", "73", "7300", "730264 00", "73076405060361626", "730B6409060755555555555555"])
def test_no_protocol_is_found_in_other_data(text: str) -> None:
    data = bytes.fromhex(text) if len(text.replace(" ", "")) % 2 == 0 else b"\x73"
    assert parse_protocols(data) == {}


def test_a_card_of_both_protocols_says_both() -> None:
    data = bytes.fromhex("731A" + "640B06092A864886FC6B040255" + "640B06092A864886FC6B040370")
    assert parse_protocols(data) == {2: 0x55, 3: 0x70}
    several = bytes.fromhex("731A" + "640B06092A864886FC6B040255" + "640B06092A864886FC6B040215")
    assert parse_protocols(several) == {}


def test_scp03_without_recognition_data_says_its_i_itself() -> None:
    answer = bytes(10).hex() + "300370" + "00" * 16 + "9000"
    details = read_details(make_card(c80CA9F7F=CPLC + "9000", c80500000=answer), BOTH)
    assert (details.scp02_i, details.scp03_i, details.kvn) == (None, 0x70, 0x30)


def test_an_i_of_two_arc_bytes() -> None:
    assert parse_protocols(bytes.fromhex("730E640C060A2A864886FC6B04038100")) == {3: 0x80}


@pytest.mark.parametrize("text", ["C0", "C00101", "E0", "C0050101"])
def test_ill_formed_key_information_is_empty(text: str) -> None:
    assert parse_key_information(bytes.fromhex(text)) == ()

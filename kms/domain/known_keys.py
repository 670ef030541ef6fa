"""Check values of keys that everybody knows: development, test and transport keys of cards (R12).

Rules: a key with one of these check values is refused outside lab mode. The list is by check value, so that it can be
applied before a key exists in the HSM; a false alarm is one in 400,000 for the 3-byte values, and ends with other
components. The values behind it, of all lengths: 404142…, 00…, FF…, 01…, 11…, 000102…, 0123456789ABCDEF…,
0123…CDEFFEDC…3210, 00112233…, 11223344… and "GEMXPRESSOSAMPLE" (computed in
tests/unit/domain/test_known_keys.py).
"""

from kms.card.keys import KcvMethod
from kms.errors import Code, KmsError

_DES = """
08D7B4 110D81 82E136 894BC3 8BAF47 8CA64D B4692B CAAAAF D5D44F DDADA1 E2573C FB0975
"""

_AES_GP = """
05D2B6 098542 19CFBB 26F428 3544E0 38FCB6 4B978E 504A77 5E77E5 63D6AB 754C13 75E208 786CB5 7963F5 7BC302 8289B3 872964
93E6DB 98B895 9CAC94 A2EE98 ADE189 BE4A52 C35280 CDFBF8 CEF432 CF1ECE D26086 D483E8 D8D687 DA9574 E14D5D E50AE5 ECDCD8
FFCD73
"""

_AES_CMAC = """
0B50E605FA 16AF1E7190 1DF6563A8C 2090A67375 28BF04EC66 30E00F7B5C 347FA09C2D 377822C093 53E107B36E 5955E940D3
5B0ABB0A36 6F2F9BE174 730016DD4D 74CB4D6AEB 763CBCDE81 7CF7A49CFF 8B98028C00 8BD7E00BA9 9211053C55 97E8EF8EF2
9D61CA4E40 A1A7BBEEED A2CBB143F3 A88FCA3470 ACA3722B7E AF9C537DE1 B290FA2EA7 BE7ED6AE78 D4FFB80EBF E01A5F4A7D
E125CD8145 E252AACCD7 EE23D81C34 FD4555A366 FE1B058031
"""

TEST_KEY_KCVS: dict[KcvMethod, frozenset[bytes]] = {
    method: frozenset(bytes.fromhex(value) for value in text.split())
    for method, text in (
        (KcvMethod.DES_ZERO, _DES),
        (KcvMethod.AES_GP, _AES_GP),
        (KcvMethod.AES_CMAC, _AES_CMAC),
    )
}


def check_not_test_key(kcv: bytes, method: KcvMethod) -> None:
    """Raise `key.test-value` when a key of this check value is publicly known."""
    if kcv in TEST_KEY_KCVS[method]:
        raise KmsError(
            Code.KEY_TEST_VALUE,
            f"a key with check value {kcv.hex().upper()} ({method}) is publicly known and is taken in lab mode alone;"
            " use key components of your own",
        )

"""Hashes as words: the first 132 bits, and whatever differs there is heard."""

import hashlib

from kms.service.ceremonies.words import build_words


def test_words_of_known_hashes() -> None:
    # 00... and FF... are the first and the last word of BIP-39's English list.
    assert build_words(bytes(32)) == ("abandon",) * 12
    assert build_words(b"\xff" * 32) == ("zoo",) * 12
    assert build_words(b"\x00\x20" + bytes(30))[0] == "ability"


def test_another_file_has_other_words() -> None:
    assert build_words(hashlib.sha256(b"a").digest()) != build_words(hashlib.sha256(b"b").digest())

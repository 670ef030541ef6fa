"""Components as they are written, and who may hold which."""

import pytest

from kms.card.keys import KeyType
from kms.domain.key_components import parse_component
from kms.errors import Code, KmsError


def test_component_is_hex_as_people_write_it() -> None:
    assert parse_component("00 11:22 33 4455667788 99AABBccDDeeFF\n", KeyType.AES128) == bytes(range(0, 256, 17))


@pytest.mark.parametrize("text", ["", "00" * 15, "00" * 17, "0G" * 16, "é" * 32, " " * 200, "0" * 31])
def test_what_is_none_is_refused_without_saying_it(text: str) -> None:
    with pytest.raises(KmsError) as caught:
        parse_component(text, KeyType.AES128)
    assert caught.value.code is Code.INPUT_INVALID
    assert not text.strip() or text not in caught.value.detail
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None

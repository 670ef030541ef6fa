import pytest

from kms.card.keys import KeyType
from kms.domain.cards import SCP02, SCP03, choose_key_type, get_scp
from kms.errors import Code, KmsError
from tests.fakes.records import build_card

DES_ONLY = build_card(scp02_i=0x55)
AES_ONLY = build_card(scp02_i=None, scp03_i=0x70)
BOTH = build_card(scp02_i=0x55, scp03_i=0x70)
UNKNOWN = build_card(scp02_i=None)


def test_the_type_of_a_key_says_which_protocol_it_opens() -> None:
    assert {key_type: get_scp(key_type) for key_type in KeyType} == {
        KeyType.DES2: SCP02,
        KeyType.DES3: SCP02,
        KeyType.AES128: SCP03,
        KeyType.AES192: SCP03,
        KeyType.AES256: SCP03,
    }


@pytest.mark.parametrize(
    ("card", "wanted", "chosen"),
    [
        (DES_ONLY, KeyType.AES256, KeyType.DES2),
        (DES_ONLY, KeyType.DES2, KeyType.DES2),
        (AES_ONLY, KeyType.AES192, KeyType.AES192),
        (BOTH, KeyType.AES128, KeyType.AES128),
        (BOTH, KeyType.DES2, KeyType.DES2),
    ],
)
def test_aes_where_the_card_can_and_triple_des_where_it_cannot(card: object, wanted: KeyType, chosen: KeyType) -> None:
    assert choose_key_type(card, wanted) is chosen  # type: ignore[arg-type] # parametrize hands objects


@pytest.mark.parametrize(
    ("card", "wanted"),
    [(AES_ONLY, KeyType.DES2), (UNKNOWN, KeyType.AES128), (UNKNOWN, KeyType.DES2), (BOTH, KeyType.DES3)],
)
def test_what_a_card_cannot_take_is_refused_by_name(card: object, wanted: KeyType) -> None:
    with pytest.raises(KmsError) as error:
        choose_key_type(card, wanted)  # type: ignore[arg-type] # parametrize hands objects
    assert error.value.code is Code.KEY_STATE


def test_a_claim_is_known_and_not_fixed() -> None:
    claimed = build_card(scp02_i=0x55, scp02_claimed=True)
    assert (claimed.is_known, claimed.is_fixed(SCP02), claimed.is_recognized) == (True, False, False)
    assert (BOTH.is_known, BOTH.is_fixed(SCP03), BOTH.is_recognized) == (True, True, True)
    assert (UNKNOWN.is_known, UNKNOWN.is_fixed(SCP02), UNKNOWN.is_recognized) == (False, False, False)
    assert (DES_ONLY.find_i(SCP03), BOTH.get_i(SCP03)) == (None, 0x70)

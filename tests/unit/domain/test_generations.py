import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.card.profile import CardProfile
from kms.domain.generations import next_generation
from kms.errors import Code, KmsError

PROFILE = CardProfile(name="default")


@given(st.integers(-1, 10_000), st.sets(st.integers(0x20, 0x2F), max_size=15), st.sampled_from([2, 3]))
def test_generations_only_go_up_and_their_version_is_free(last: int, avoid: set[int], scp: int) -> None:
    generation = next_generation(PROFILE, scp, last, avoid)
    assert last < generation <= last + 16
    assert PROFILE.get_kvn(scp, generation) not in avoid


def test_the_first_is_zero_and_the_versions_go_round() -> None:
    assert next_generation(PROFILE, 2, -1, set()) == 0
    assert PROFILE.get_kvn(2, next_generation(PROFILE, 2, 15, set())) == 0x20
    assert next_generation(PROFILE, 2, 0, {0x21, 0x22}) == 3


def test_sixteen_taken_versions_are_refused() -> None:
    with pytest.raises(KmsError) as caught:
        next_generation(PROFILE, 2, 4, set(range(0x20, 0x30)))
    assert caught.value.code is Code.CONFLICT

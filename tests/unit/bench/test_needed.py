import pytest

from bench.needed import CALLS, NEEDS
from bench.rotations import NEEDED
from tests.contract.test_calls_per_visit import EXPECTED


@pytest.mark.parametrize(
    ("needs", "counted"),
    [
        ("scp02-i15", "scp02-i15"),
        ("scp02-i55", "scp02-i55"),
        ("scp03-s8", "scp03-aes128"),
        ("scp03-s16", "scp03-aes128-s16"),
    ],
)
def test_the_list_has_the_calls_that_a_rotation_makes_on_a_token_that_wraps_by_itself(needs: str, counted: str) -> None:
    assert sum(need.calls for need in NEEDS[needs]) == EXPECTED[counted][True]


def test_every_need_is_an_operation_with_a_reason_and_every_protocol_has_its_list() -> None:
    assert all(need.operation in CALLS and need.why for needs in NEEDS.values() for need in needs)
    assert set(NEEDED.values()) == set(NEEDS)

"""The bench's sweep over a small table: what is measured is what it says, on both databases."""

import pytest

from bench.run import sweep
from tests.fakes.stores import DATABASES


@pytest.mark.parametrize("kind", DATABASES)
def test_a_tenth_is_asked_for_and_pages_are_fetched(kind: str) -> None:
    swept = sweep(kind, 200, fetches=8)
    assert (swept.size, swept.due, len(swept.fetches)) == (200, 20, 8)
    assert swept.sweep > 0
    assert swept.bare > 0

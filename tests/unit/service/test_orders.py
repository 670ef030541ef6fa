import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.orders import Order
from kms.service.orders import dump_order, find_order

orders = st.builds(
    Order,
    number=st.integers(1, 99),
    card_identity=st.binary(min_size=1, max_size=32),
    commands=st.lists(st.binary(min_size=4, max_size=261), max_size=6).map(tuple),
    stop=st.booleans(),
    notification=st.text(max_size=40),
    delay_ms=st.integers(0, 60_000),
)


@given(orders)
def test_an_order_comes_back_as_it_was(order: Order) -> None:
    assert find_order(dump_order(order)) == order


@pytest.mark.parametrize("text", [None, "", "{}", "null", '{"order": {"number": "many"}}', '{"order": {}, "later": 1}'])
def test_anything_else_is_no_order(text: str | None) -> None:
    assert find_order(text) is None

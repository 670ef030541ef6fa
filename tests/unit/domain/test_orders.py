"""Orders and Reports as values: what begins a visit, and what never shows."""

from kms.domain.orders import AgentStatus, Order, Report


def test_the_first_order_of_a_visit_and_no_other_begins_with_start() -> None:
    assert Order(1, b"\x42", stop=True).start
    assert not Order(2, b"\x42").start


def test_no_apdu_is_in_a_repr() -> None:
    assert "84d8" not in repr(Order(1, b"\x42", (bytes.fromhex("84D8"),))).lower()
    assert "d8" not in repr(Report(AgentStatus.PROCESSED, 1, (b"\xd8\x01",))).lower().replace("processed", "")

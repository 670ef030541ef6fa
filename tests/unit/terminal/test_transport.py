"""Answers of the server keep their body to themselves."""

from terminal.transport import Answer


def test_a_body_does_not_show_in_a_repr() -> None:
    assert "84D8" not in repr(Answer(b"84D8", {"kms-order": "1"}))

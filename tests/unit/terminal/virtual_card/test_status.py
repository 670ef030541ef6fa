"""The card's errors carry their status word and nothing else."""

from terminal.virtual_card.status import REFERENCED_DATA_NOT_FOUND, CardError, SecureMessagingError


def test_an_error_is_its_status_word() -> None:
    error = CardError(REFERENCED_DATA_NOT_FOUND)
    assert (error.sw, str(error)) == (0x6A88, "6A88")


def test_a_secure_messaging_fault_is_6982() -> None:
    assert SecureMessagingError().sw == 0x6982

"""Names of commands."""

import pytest

from terminal.instructions import find_name


@pytest.mark.parametrize(
    ("command", "name"),
    [("84D80181", "PUT KEY"), ("80500000", "INITIALIZE UPDATE"), ("00A40400", "SELECT"), ("80FE0000", "INS FE")],
)
def test_commands_are_named_by_their_instruction(command: str, name: str) -> None:
    assert find_name(bytes.fromhex(command)) == name

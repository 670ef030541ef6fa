"""Says at the end of a test run what of the fault campaign it ran, and what it left out."""

import pytest

SUMMARY = pytest.StashKey[list[str]]()


@pytest.fixture
def summary(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the end of the test run."""
    return pytestconfig.stash.setdefault(SUMMARY, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(SUMMARY, [])
    if lines:
        terminalreporter.section("fault campaign, a sample of it")
        for line in lines:
            terminalreporter.write_line(line)

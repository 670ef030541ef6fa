"""Calls that may block for ever, on a thread of their own."""

import threading

import pytest

from terminal.errors import TerminalCode, TerminalError
from terminal.pcsc_thread import CallThread


def test_results_and_errors_come_back() -> None:
    calls = CallThread(5)
    assert calls.call(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        calls.call(lambda: 1 // 0)
    assert calls.call(lambda: threading.current_thread().name) == "pcsc"
    calls.close()


def test_a_time_out_of_the_call_itself_is_handed_on() -> None:
    def fail() -> None:
        raise TimeoutError("mine")

    calls = CallThread(5)
    with pytest.raises(TimeoutError, match="mine"):
        calls.call(fail)
    calls.close()


def test_a_call_that_does_not_come_back_is_given_up_and_all_after_it_refused() -> None:
    release = threading.Event()
    calls = CallThread(0.05)
    for _ in range(2):
        with pytest.raises(TerminalError) as caught:
            calls.call(lambda: release.wait(5))
        assert caught.value.code is TerminalCode.READER_STUCK
    release.set()
    calls.close()

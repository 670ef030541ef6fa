import ctypes

import pytest

from kms.scheduler.kernel_clock import STA_UNSYNC, read_synchronised


def test_the_kernel_says_one_of_two_things() -> None:
    assert read_synchronised() in {True, False}


class FakeLibc:
    def __init__(self, status: int, answer: int = 0) -> None:
        self._status = status
        self._answer = answer

    def adjtimex(self, reference: object) -> int:
        timex = reference._obj  # type: ignore[attr-defined]  # noqa: SLF001 - what byref() points to
        assert timex.modes == 0
        timex.status = self._status
        return self._answer


@pytest.mark.parametrize(("status", "synchronised"), [(0, True), (0x2001, True), (STA_UNSYNC, False), (0x41, False)])
def test_the_status_bit_decides(monkeypatch: pytest.MonkeyPatch, status: int, synchronised: bool) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_options: FakeLibc(status))
    assert read_synchronised() is synchronised


def test_a_kernel_that_cannot_be_asked_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_options: FakeLibc(0, -1))
    with pytest.raises(OSError, match="Errno"):
        read_synchronised()

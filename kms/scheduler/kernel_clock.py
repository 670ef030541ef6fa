"""What the kernel says of this machine's clock: whether something keeps it synchronised (adjtimex(2)).

Rules: asks and sets nothing; glibc's call, since Python has none.
"""

import ctypes
import os

STA_UNSYNC = 0x40  # linux/timex.h
_STRUCT_BYTES = 512  # more than struct timex has on any machine


class _Timex(ctypes.Structure):
    """The beginning of `struct timex` (adjtimex(2)); `modes` 0 sets nothing."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * _STRUCT_BYTES),
    )


def read_synchronised() -> bool:
    """Whether the kernel calls the clock synchronised. Raises `OSError` where it cannot be asked."""
    timex = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(timex)) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return not timex.status & STA_UNSYNC

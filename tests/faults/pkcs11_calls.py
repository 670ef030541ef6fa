"""Every PKCS#11 call of this process, counted and made to fail where a test says: between the adapter and the module.

Rules: the module's own function list (PKCS#11 2.40 section 5.1, C_GetFunctionList) is changed in place, so whoever
loaded the module before calls through here too. A call is either passed on, or answered with an error before or after
the module acted. `restore` puts the list back as it was.
"""

import ctypes
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

CKR_DEVICE_ERROR = 0x30
CKR_TOKEN_NOT_PRESENT = 0xE0
CKR_SESSION_HANDLE_INVALID = 0xB3
CKR_CRYPTOKI_NOT_INITIALIZED = 0x190

# Functions of CK_FUNCTION_LIST in their order, with the number of their arguments (PKCS#11 2.40, pkcs11f.h).
FUNCTIONS = (
    "Initialize 1, Finalize 1, GetInfo 1, GetFunctionList 1, GetSlotList 3, GetSlotInfo 2, GetTokenInfo 2,"
    " GetMechanismList 3, GetMechanismInfo 3, InitToken 4, InitPIN 3, SetPIN 5, OpenSession 5, CloseSession 1,"
    " CloseAllSessions 1, GetSessionInfo 2, GetOperationState 3, SetOperationState 5, Login 4, Logout 1,"
    " CreateObject 4, CopyObject 5, DestroyObject 2, GetObjectSize 3, GetAttributeValue 4, SetAttributeValue 4,"
    " FindObjectsInit 3, FindObjects 4, FindObjectsFinal 1, EncryptInit 3, Encrypt 5, EncryptUpdate 5,"
    " EncryptFinal 3, DecryptInit 3, Decrypt 5, DecryptUpdate 5, DecryptFinal 3, DigestInit 2, Digest 5,"
    " DigestUpdate 3, DigestKey 2, DigestFinal 3, SignInit 3, Sign 5, SignUpdate 3, SignFinal 3, SignRecoverInit 3,"
    " SignRecover 5, VerifyInit 3, Verify 5, VerifyUpdate 3, VerifyFinal 3, VerifyRecoverInit 3, VerifyRecover 5,"
    " DigestEncryptUpdate 5, DecryptDigestUpdate 5, SignEncryptUpdate 5, DecryptVerifyUpdate 5, GenerateKey 5,"
    " GenerateKeyPair 8, WrapKey 6, UnwrapKey 8, DeriveKey 6, SeedRandom 3, GenerateRandom 3, GetFunctionStatus 1,"
    " CancelFunction 1, WaitForSlotEvent 3"
)
_POINTER = ctypes.sizeof(ctypes.c_void_p)
_PROT_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE


class CallFault(StrEnum):
    """What becomes of one call."""

    NONE = "none"
    LOST = "lost"  # the module never hears of it
    ANSWER_LOST = "answer lost"  # the module acts, the caller is told of an error


Watcher = Callable[[str], CallFault]


@dataclass
class Pkcs11Calls:
    """The calls of one module. `watch`: asked before each call, by its name (`C_Sign`).

    `away`: the error that every call is answered with while the token is away; None: it is there.
    """

    module: Path
    watch: Watcher = lambda name: CallFault.NONE  # noqa: ARG005 - nothing happens by default
    away: int | None = None
    lost_sessions: bool = False
    count: int = 0
    _saved: list[tuple[int, int]] = field(default_factory=list)
    _kept: list[object] = field(default_factory=list)

    def install(self) -> None:
        """Stand between the module and its callers from now on."""
        library = ctypes.CDLL(str(self.module))
        found = ctypes.c_void_p()
        if library.C_GetFunctionList(ctypes.byref(found)) != 0 or found.value is None:
            raise RuntimeError(f"{self.module} gives no function list")
        entries = [entry.split() for entry in FUNCTIONS.split(",")]
        first = found.value + _POINTER  # CK_VERSION, padded
        _make_writable(found.value, _POINTER * (len(entries) + 1))
        for index, (name, arguments) in enumerate(entries):
            slot = first + index * _POINTER
            original = ctypes.c_size_t.from_address(slot).value
            shape = ctypes.CFUNCTYPE(ctypes.c_ulong, *[ctypes.c_size_t] * int(arguments))
            callback = shape(self._build(f"C_{name}", shape(original)))
            self._kept.append(callback)
            self._saved.append((slot, original))
            ctypes.c_size_t.from_address(slot).value = ctypes.cast(callback, ctypes.c_void_p).value or 0

    def restore(self) -> None:
        """Let the callers reach the module again; the callbacks stay in memory, for a call may be under way."""
        for slot, original in self._saved:
            ctypes.c_size_t.from_address(slot).value = original
        self._saved.clear()

    def _build(self, name: str, original: Callable[..., int]) -> Callable[..., int]:
        def call(*arguments: int) -> int:
            return self._call(name, original, arguments)

        return call

    def _call(self, name: str, original: Callable[..., int], arguments: Sequence[int]) -> int:
        self.count += 1
        if name == "C_Finalize":  # takes the old sessions with it, wherever the token is
            return original(*arguments)
        if name == "C_Initialize" and self.away is None:
            self.lost_sessions = False
        fault = self.watch(name)
        if self.away is not None:
            return self.away
        if self.lost_sessions:
            return CKR_SESSION_HANDLE_INVALID
        if fault is CallFault.LOST:
            return CKR_DEVICE_ERROR
        answer = original(*arguments)
        return CKR_DEVICE_ERROR if fault is CallFault.ANSWER_LOST else answer


def _make_writable(address: int, length: int) -> None:
    """A module may keep its list in memory that the loader has made read-only (RELRO)."""
    start = address - address % mmap.PAGESIZE
    whole = address + length - start
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(whole), _PROT_READ_WRITE) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")

"""Accounts for the values that crossed between a program and its token: which keys, by which call, of which object.

Rules: three ways are documented in which the value of an object crosses, and each has a list of its own here.
- A *transient read* (docs/adr/0022): C_GetAttributeValue reads a session key that is to be written into a card, and
  C_Encrypt takes it in again under a triple DES key of the card, at once: asked for the length first, so twice.
- A *readable derivation* (`kms/hsm/readable.py`): a generic secret without any right, derived to be read: a block of a
  master, or a chaining value of a card's AES key that derives (`is_chain`).
- A *creation*: C_CreateObject of the self-test's published values, or of a vendor's master that is imported.
Every other CKA_VALUE is `unexplained`. Where documented values stand in the log is blanked, so that a search of what is
left must find nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.key_boundary.spy_log import Buffer, Call, SpyLogError, parse_spy_log

RIGHTS = ("ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP", "DERIVE")
ENCRYPT_CALLS = 2  # python-pkcs11 asks for the length with the data, then for the result
_MAKERS = {"C_CreateObject": "phObject", "C_GenerateKey": "hKey", "C_DeriveKey": "hKey", "C_UnwrapKey": "hKey"}

# Of the self-test and of nothing else. FIPS 197 appendix C.1 (AES-128); RFC 4493 section 4; the GlobalPlatform test key
# 40…4F; 0123456789ABCDEF FEDCBA9876543210, and that twice; RFC 3394 section 4.6 (KEK and key data).
PUBLISHED_VALUES = frozenset(
    bytes.fromhex(text)
    for text in (
        "000102030405060708090A0B0C0D0E0F",
        "2B7E151628AED2A6ABF7158809CF4F3C",
        "404142434445464748494A4B4C4D4E4F",
        "0123456789ABCDEFFEDCBA9876543210",
        "0123456789ABCDEFFEDCBA98765432100123456789ABCDEFFEDCBA9876543210",
        "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
        "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
    )
)


@dataclass
class TokenObject:
    """An object that the program holds a handle of. `parent`: what it was derived from; `object_id`: of one found."""

    maker: str
    attributes: dict[str, str]
    parent: "TokenObject | None" = None
    object_id: bytes = b""

    @property
    def lasts(self) -> bool:
        return not self.maker or self.attributes.get("CKA_TOKEN") == "True"

    @property
    def rights(self) -> set[str]:
        return {right for right in RIGHTS if self.attributes.get(f"CKA_{right}") == "True"}

    def has(self, **wanted: str) -> bool:
        return all(self.attributes.get(f"CKA_{name}") == value for name, value in wanted.items())

    @property
    def is_readable_derivation(self) -> bool:
        """As `kms/hsm/templates.py` makes them: READABLE."""
        kind = self.has(KEY_TYPE="CKK_GENERIC_SECRET", TOKEN="False", SENSITIVE="False", EXTRACTABLE="True")
        return self.maker == "C_DeriveKey" and kind and not self.rights

    @property
    def is_transient_payload(self) -> bool:
        """As `kms/hsm/templates.py` makes them: PAYLOAD under the transient strategy, of any type."""
        kind = self.has(TOKEN="False", SENSITIVE="False", EXTRACTABLE="True")
        typed = self.attributes.get("CKA_KEY_TYPE") in {"CKK_DES2", "CKK_AES"}
        return self.maker == "C_DeriveKey" and typed and kind and self.rights == {"ENCRYPT"}

    @property
    def encrypts_by_des(self) -> bool:
        """As a triple DES session key of a card is made where the token cannot wrap: WRAP under the same strategy."""
        kind = self.has(KEY_TYPE="CKK_DES2", TOKEN="False", SENSITIVE="True", EXTRACTABLE="False")
        return self.maker == "C_DeriveKey" and kind and self.rights == {"ENCRYPT"}

    @property
    def is_chain(self) -> bool:
        """Whether this is read of a card's own AES key, which lives for a visit and can do nothing but derive."""
        parent = self.parent
        made = parent is not None and parent.maker in {"C_DeriveKey", "C_UnwrapKey"} and not parent.lasts
        return parent is not None and made and parent.has(KEY_TYPE="CKK_AES") and parent.rights == {"DERIVE"}


@dataclass(frozen=True)
class Crossing:
    """A value that crossed in a documented way. `call`: its number in the log."""

    call: int
    value: bytes = field(repr=False)
    of: TokenObject


@dataclass
class Account:
    """What crossed in one log. `rest`: the log with the documented values blanked; `left`: objects never destroyed."""

    calls: int = 0
    transient: list[Crossing] = field(default_factory=list)
    readable: list[Crossing] = field(default_factory=list)
    imported: list[Crossing] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    left: list[TokenObject] = field(default_factory=list)
    rest: bytes = field(default=b"", repr=False)
    buffers: list[tuple[str, bytes]] = field(default_factory=list, repr=False)


def account_for(text: str) -> Account:
    """Account for a log from a program's start. Raises SpyLogError when it does not hang together."""
    return _Accountant(parse_spy_log(text)).account(text)


class _Accountant:
    """Follows the objects of a program through its calls."""

    def __init__(self, calls: list[Call]) -> None:
        self._calls = calls
        self._account = Account(len(calls))
        self._objects: dict[str, TokenObject] = {}
        self._searched: bytes = b""
        self._encrypting: bytes = b""  # the value of a transient read on its way back into the token
        self._encrypts: TokenObject | None = None
        self._times = 0
        self._documented: set[int] = set()  # lines

    def account(self, text: str) -> Account:
        for call in self._calls:
            self._follow(call)
            self._take_values(call)
        self._end_transient_read(len(self._calls))
        account = self._account
        account.left = [item for item in self._objects.values() if not item.lasts]
        lines = text.splitlines()
        account.rest = "\n".join(line for number, line in enumerate(lines) if number not in self._documented).encode()
        account.buffers = [
            (f"call {call.number}, {call.name}: {buffer.name}", buffer.value)
            for call in self._calls
            for buffer in call.buffers
            if not self._documented.intersection(buffer.lines)
        ]
        return account

    def _follow(self, call: Call) -> None:
        """Keep track of handles."""
        if call.result != "CKR_OK":
            return
        if call.name in _MAKERS:
            attributes = {name: value for (way, name), value in call.attributes.items() if way == "in"}
            parent = self._objects.get(call.get_argument("hBaseKey"))
            self._objects[self._get_handle(call, _MAKERS[call.name])] = TokenObject(call.name, attributes, parent)
        elif call.name == "C_FindObjectsInit":
            searched = call.find_buffer("in", "CKA_ID")
            self._searched = searched.value if searched else b""
        elif call.name == "C_FindObjects":
            for handle in call.matches:
                self._objects[handle] = TokenObject("", {}, object_id=self._searched)
        elif call.name == "C_EncryptInit":
            self._encrypts = self._objects.get(self._get_handle(call, "hKey"))
        elif call.name == "C_DestroyObject":
            self._objects.pop(self._get_handle(call, "hObject"), None)

    @staticmethod
    def _get_handle(call: Call, name: str) -> str:
        handle = call.get_argument(name)
        if not handle:
            raise SpyLogError(f"call {call.number}, {call.name}, has no {name}")
        return handle

    def _take_values(self, call: Call) -> None:
        for buffer in call.buffers:
            if buffer.name == "CKA_VALUE":
                self._take_value(call, buffer)
            elif self._takes_in(call, buffer):
                self._documented.update(buffer.lines)
                self._times += 1
        if call.name in {"C_EncryptFinal", "C_DestroyObject", "C_DeriveKey", "C_CloseSession"}:
            self._end_transient_read(call.number)

    def _takes_in(self, call: Call, buffer: Buffer) -> bool:
        """Whether this is the second half of a transient read."""
        is_read = call.name == "C_Encrypt" and buffer.direction == "in" and buffer.value == self._encrypting
        return is_read and self._encrypts is not None and self._encrypts.encrypts_by_des

    def _take_value(self, call: Call, buffer: Buffer) -> None:
        account = self._account
        if call.name == "C_CreateObject" and buffer.direction == "in":
            if buffer.value not in PUBLISHED_VALUES:
                made = self._objects[self._get_handle(call, "phObject")]
                account.imported.append(Crossing(call.number, buffer.value, made))
            self._documented.update(buffer.lines)
            return
        read = self._objects.get(call.get_argument("hObject"))
        if call.name == "C_GetAttributeValue" and buffer.direction == "out" and read is not None:
            if read.is_readable_derivation:
                account.readable.append(Crossing(call.number, buffer.value, read))
                self._documented.update(buffer.lines)
                return
            if read.is_transient_payload:
                self._end_transient_read(call.number)
                account.transient.append(Crossing(call.number, buffer.value, read))
                self._encrypting, self._times = buffer.value, 0
                self._documented.update(buffer.lines)
                return
        account.unexplained.append(f"call {call.number}, {call.name}: CKA_VALUE, {len(buffer.value)} bytes")

    def _end_transient_read(self, number: int) -> None:
        if self._encrypting and self._times != ENCRYPT_CALLS:
            told = f"before call {number}: a value read for C_Encrypt was given to it {self._times} times"
            self._account.unexplained.append(told)
        self._encrypting = b""


def count_blocks_read(accounts: Iterable[Account]) -> dict[bytes, int]:
    """How many different blocks of each lasting master were ever read, by its CKA_ID."""
    blocks: dict[bytes, set[bytes]] = {}
    for account in accounts:
        for crossing in account.readable:
            parent = crossing.of.parent
            if parent is not None and parent.object_id:
                blocks.setdefault(parent.object_id, set()).add(crossing.value)
    return {object_id: len(values) for object_id, values in blocks.items()}

"""How one virtual card differs from another: what the factory put in, and habits that products differ in."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from terminal.virtual_card.model import (
    KEY_TYPE_AES,
    KEY_TYPE_DES,
    OP_READY,
    CardState,
    KeySet,
    SecurityDomain,
    StaticKey,
)

DEFAULT_ISD_AID: Final = bytes.fromhex("A000000151000000")
DEFAULT_KVN: Final = 0x01
DEFAULT_SCP02_I: Final = 0x55
DEFAULT_SCP03_I: Final = 0x70
DEFAULT_KDD: Final = bytes.fromhex("00010203040506070809")
DEFAULT_IIN: Final = bytes.fromhex("4999999999")
DEFAULT_CIN: Final = bytes.fromhex("00010203040506070809")
DEFAULT_CPLC: Final = bytes.fromhex(
    "47905168 4791 2345 0100 2345 00010203 0405 4812 2345 4813 2345 4814 2345 00000001 4815 2345 00000002"
)
# The key that every document of the trade uses: public, worth nothing, on every deny list.
PUBLIC_TEST_KEY: Final = bytes(range(0x40, 0x50))
# SD, card lock and terminate, card reset, CVM; everything of byte 2 but global service; receipt generation.
ISD_PRIVILEGES: Final = bytes.fromhex("9EFE80")
SUPPORTED_SCP02_I: Final = (0x15, 0x35, 0x55, 0x75)
# S8, and the same with the bit of S16.
SUPPORTED_SCP03_I: Final = (0x00, 0x10, 0x20, 0x30, 0x60, 0x70, 0x01, 0x11, 0x21, 0x31, 0x61, 0x71)


class AesKeyForm(StrEnum):
    """Which coding of an AES key PUT KEY takes: behind its length (long), bare (short), or either."""

    EITHER = "either"
    LONG = "long"
    SHORT = "short"

    def allows(self, *, has_length: bool) -> bool:
        """Tell whether a key that comes with, or without, its length is taken."""
        return self is AesKeyForm.EITHER or (self is AesKeyForm.LONG) == has_length


@dataclass(frozen=True)
class Personality:
    """Product habits that the specification leaves open.

    `keep_factory_set`: a key set FF stays when the first other complete set comes (some products drop it).
    `max_key_sets`: key sets that fit into one security domain. `max_failed_authentications`: failed EXTERNAL
    AUTHENTICATE in a row after which a domain's keys are blocked, 0 for never (GP231 section 7.5.1: policy).
    `max_domains`: supplementary security domains that fit on the card. `aes_key_form`: the coding of AES keys that
    PUT KEY takes. `replaces_other_lengths`: AES keys may be replaced by AES keys of another length (GP231 section
    7.5.1 forbids it, some products do it).
    """

    keep_factory_set: bool = False
    max_key_sets: int = 8
    max_failed_authentications: int = 0
    max_domains: int = 16
    aes_key_form: AesKeyForm = AesKeyForm.EITHER
    replaces_other_lengths: bool = False


def build_factory_state(
    keys: tuple[bytes, bytes, bytes] = (PUBLIC_TEST_KEY, PUBLIC_TEST_KEY, PUBLIC_TEST_KEY),
    *,
    isd_aid: bytes = DEFAULT_ISD_AID,
    kvn: int = DEFAULT_KVN,
    key_type: int = KEY_TYPE_DES,
    scp02_i: int | None = DEFAULT_SCP02_I,
    scp03_i: int | None = None,
    kdd: bytes = DEFAULT_KDD,
    iin: bytes = DEFAULT_IIN,
    cin: bytes = DEFAULT_CIN,
    cplc: bytes = DEFAULT_CPLC,
    sequence_counter: int = 0,
) -> CardState:
    """Return the state of a card as it leaves the factory: one ISD with one set of ENC, MAC, DEK.

    The keys are of `key_type` (DES 80 of 16 bytes, AES 88 of 16, 24 or 32). The card speaks SCP02 with DES sets where
    `scp02_i` is given, SCP03 with AES sets where `scp03_i` is; a new SCP03 card is
    `build_factory_state(keys, key_type=KEY_TYPE_AES, scp02_i=None, scp03_i=0x70)`.

    Raise ValueError for sizes and numbers that no card has.
    """
    if not 5 <= len(isd_aid) <= 16:
        raise ValueError("an AID has 5 to 16 bytes")
    _check_keys(keys, key_type)
    if not (1 <= kvn <= 0x7F or kvn == 0xFF):
        raise ValueError("a key version number is 01 to 7F, or FF for a factory set")
    if scp02_i not in {None, *SUPPORTED_SCP02_I}:
        raise ValueError("SCP02 parameter i is 15, 35, 55 or 75")
    if scp03_i not in {None, *SUPPORTED_SCP03_I}:
        raise ValueError("SCP03 parameter i is 00, 10, 20, 30, 60 or 70, or 01 to 71 for S16")
    if (scp02_i if key_type == KEY_TYPE_DES else scp03_i) is None:
        raise ValueError("DES keys need SCP02 and AES keys SCP03: give the protocol's parameter i")
    if len(kdd) != 10 or len(cplc) != 42:
        raise ValueError("the key diversification data has 10 bytes and the CPLC 42")
    key_set = KeySet(
        kvn, tuple(StaticKey(kid, key_type, key) for kid, key in enumerate(keys, start=1)), sequence_counter
    )
    isd = SecurityDomain(isd_aid, isd_aid, OP_READY, ISD_PRIVILEGES, (key_set,))
    return CardState(scp02_i, scp03_i, kdd, iin, cin, cplc, (isd,))


def _check_keys(keys: tuple[bytes, bytes, bytes], key_type: int) -> None:
    lengths = {len(key) for key in keys}
    if key_type == KEY_TYPE_DES and lengths != {16}:
        raise ValueError("SCP02 takes three keys of 16 bytes")
    if key_type == KEY_TYPE_AES and (len(lengths) != 1 or not lengths <= {16, 24, 32}):
        raise ValueError("SCP03 takes three keys of one length: 16, 24 or 32 bytes")
    if len(keys) != 3 or key_type not in {KEY_TYPE_DES, KEY_TYPE_AES}:
        raise ValueError("a factory puts in three keys of type DES (80) or AES (88)")

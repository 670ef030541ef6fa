"""How one virtual card differs from another: what the factory put in, and habits that products differ in."""

from dataclasses import dataclass
from typing import Final

from terminal.virtual_card.model import KEY_TYPE_DES, OP_READY, CardState, KeySet, SecurityDomain, StaticKey

DEFAULT_ISD_AID: Final = bytes.fromhex("A000000151000000")
DEFAULT_KVN: Final = 0x01
DEFAULT_SCP_I: Final = 0x55
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
SUPPORTED_SCP_I: Final = (0x15, 0x35, 0x55, 0x75)


@dataclass(frozen=True)
class Personality:
    """Product habits that the specification leaves open.

    `keep_factory_set`: a key set FF stays when the first other complete set comes (some products drop it).
    `max_key_sets`: key sets that fit into one security domain. `max_failed_authentications`: failed EXTERNAL
    AUTHENTICATE in a row after which a domain's keys are blocked, 0 for never (GP231 section 7.5.1: policy).
    `max_domains`: supplementary security domains that fit on the card.
    """

    keep_factory_set: bool = False
    max_key_sets: int = 8
    max_failed_authentications: int = 0
    max_domains: int = 16


def build_factory_state(
    keys: tuple[bytes, bytes, bytes] = (PUBLIC_TEST_KEY, PUBLIC_TEST_KEY, PUBLIC_TEST_KEY),
    *,
    isd_aid: bytes = DEFAULT_ISD_AID,
    kvn: int = DEFAULT_KVN,
    scp_i: int = DEFAULT_SCP_I,
    kdd: bytes = DEFAULT_KDD,
    iin: bytes = DEFAULT_IIN,
    cin: bytes = DEFAULT_CIN,
    cplc: bytes = DEFAULT_CPLC,
    sequence_counter: int = 0,
) -> CardState:
    """Return the state of a card as it leaves the factory: one ISD with one set of ENC, MAC, DEK of 16 bytes each.

    Raise ValueError for sizes and numbers that no card has.
    """
    if not 5 <= len(isd_aid) <= 16:
        raise ValueError("an AID has 5 to 16 bytes")
    if len(keys) != 3 or any(len(key) != 16 for key in keys):
        raise ValueError("SCP02 takes three keys of 16 bytes")
    if not (1 <= kvn <= 0x7F or kvn == 0xFF):
        raise ValueError("a key version number is 01 to 7F, or FF for a factory set")
    if scp_i not in SUPPORTED_SCP_I:
        raise ValueError("SCP02 parameter i is 15, 35, 55 or 75")
    if len(kdd) != 10 or len(cplc) != 42:
        raise ValueError("the key diversification data has 10 bytes and the CPLC 42")
    key_set = KeySet(
        kvn, tuple(StaticKey(kid, KEY_TYPE_DES, key) for kid, key in enumerate(keys, start=1)), sequence_counter
    )
    isd = SecurityDomain(isd_aid, isd_aid, OP_READY, ISD_PRIVILEGES, (key_set,))
    return CardState(scp_i, kdd, iin, cin, cplc, (isd,))

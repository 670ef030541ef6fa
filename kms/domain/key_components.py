"""Key components: how they are written, their check values, and who may hold which.

Rules: every component has the key's full length and the key is the XOR of all of them (R4), so whoever lacks one knows
nothing. A person holds one component of a key over its whole life (R8): what was ever entered or given out under the
key's name counts, in aborted ceremonies and earlier generations, too. Within a ceremony each component comes from
another person, account and login (R5).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kms.card.keys import KcvMethod, KeyType
from kms.domain.people import Principal
from kms.errors import Code, KmsError

MIN_COMPONENTS = 2
MAX_COMPONENTS = 5
MAX_TEXT = 128  # characters: 32 bytes in hex, with spaces


@dataclass(frozen=True)
class KeyComponent:
    """One component that a custodian entered or was given. `number`: from 1. `kcv`: of the component itself.

    `wrapped`: to the ceremony's key pair; empty once the ceremony is over.
    """

    id: str
    ceremony_id: str
    key_name: str
    number: int
    person_id: str
    person_name: str
    account_id: str
    login_session_id: str
    kcv: bytes
    kcv_method: KcvMethod
    rehearsal: bool
    entered_at: datetime
    wrapped: bytes = field(default=b"", repr=False)


def parse_component(text: str, key_type: KeyType) -> bytearray:
    """Read a component from hex, spaces and colons allowed. Raises `input.invalid`, never with what was given."""
    given = "".join(text.split()).replace(":", "")
    if len(text) > MAX_TEXT or len(given) != 2 * key_type.length:
        raise KmsError(
            Code.INPUT_INVALID, f"a component of a {key_type} key has {2 * key_type.length} hexadecimal digits"
        )
    try:
        return bytearray.fromhex(given)
    except ValueError:
        pass
    # Not from the cause, which would quote the component.
    raise KmsError(Code.INPUT_INVALID, "a component has the digits 0 to 9 and A to F alone")


def check_custodian(
    principal: Principal, number: int, present: Sequence[KeyComponent], history: Sequence[KeyComponent]
) -> None:
    """Raise `ceremony.custody` unless this person may hold this component.

    `present`: of this ceremony. `history`: of the key's name, ever. The development login of lab mode may hold all.
    """
    if principal.development:
        return
    for held in present:
        if held.number != number and (
            held.person_id == principal.person_id
            or held.account_id == principal.account_id
            or held.login_session_id == principal.login_session_id
        ):
            raise _refuse(f"component {held.number} of this key came from you already")
    for held in history:
        if held.person_id == principal.person_id and held.number != number:
            raise _refuse(
                f"you held component {held.number} of {held.key_name} on {held.entered_at:%Y-%m-%d}; nobody holds two"
                " components of one key over its whole life"
            )


def _refuse(why: str) -> KmsError:
    return KmsError(Code.CEREMONY_CUSTODY, f"Another custodian must enter this component: {why}.")

"""How a key leaves the token for a card: encrypted by the token itself, or read for a moment and encrypted.

Rules: which strategy holds is found out by trying (a listed mechanism proves nothing: SoftHSM2 lists DES3_ECB and then
refuses to wrap with it), once per connection, never silently. `transient` needs the operator's consent and is refused
in production (docs/adr 0022).
"""

import ctypes
from dataclasses import dataclass
from enum import StrEnum

from kms.card.keys import KeyType
from kms.errors import Code, KmsError
from kms.hsm.settings import HsmSettings


class WrapStrategy(StrEnum):
    """How keys of one algorithm are wrapped on this token."""

    NATIVE = "native"  # C_WrapKey
    TRANSIENT = "transient"  # C_GetAttributeValue, C_Encrypt, overwrite
    REFUSED = "refused"  # the token cannot, and transient is not allowed


@dataclass(frozen=True)
class WrapPlan:
    """The strategies of a connection: under triple DES keys (DES3-ECB) and AES keys (AES-CBC), with the reason."""

    des: WrapStrategy
    aes: WrapStrategy
    reason: str

    def get_strategy(self, key_type: KeyType) -> WrapStrategy:
        """The strategy where a key of this type wraps; what it wraps may be of any type."""
        return self.aes if key_type.is_aes else self.des

    @property
    def weakest(self) -> WrapStrategy:
        """The strategy to show: the worst of both."""
        order = (WrapStrategy.REFUSED, WrapStrategy.TRANSIENT, WrapStrategy.NATIVE)
        return min(self.des, self.aes, key=order.index)


def build_plan(settings: HsmSettings, des_refusal: str, aes_refusal: str) -> WrapPlan:
    """Choose from what probing found. `*_refusal`: empty when C_WrapKey worked, else what the token answered."""
    fallback = (
        WrapStrategy.TRANSIENT
        if settings.allow_transient_plaintext and not settings.production
        else WrapStrategy.REFUSED
    )
    parts = []
    chosen = []
    for name, refusal in (("3DES-ECB", des_refusal), ("AES-CBC", aes_refusal)):
        strategy = fallback if refusal else WrapStrategy.NATIVE
        chosen.append(strategy)
        parts.append(f"{name} {strategy}" + (f" (C_WrapKey answered {refusal})" if refusal else ""))
    return WrapPlan(chosen[0], chosen[1], "; ".join(parts))


def check_allowed(strategy: WrapStrategy) -> None:
    """Raise `hsm.transient-wrap-refused` when keys of this kind cannot leave this token in an allowed way."""
    if strategy is WrapStrategy.REFUSED:
        raise KmsError(
            Code.HSM_WRAP_REFUSED,
            "this HSM cannot wrap a key for the card by itself, and reading it for a moment is not allowed; use an HSM"
            " that wraps with 3DES, or, in lab mode alone, set hsm.allow_transient_plaintext = true",
        )


def erase(value: bytes) -> None:
    """Overwrite a key value that python-pkcs11 returned, as far as CPython allows.

    Only for bytes that this package made or received fresh and that nobody else holds. Not reached: the buffer which
    python-pkcs11 itself filled and freed, copies of the C library, swapped pages, and a core dump taken in between.
    """
    if len(value) > 1:  # shorter values are shared objects of the interpreter
        # The bytes object's data begins after its header, whose size includes the closing NUL.
        ctypes.memset(id(value) + bytes.__basicsize__ - 1, 0, len(value))

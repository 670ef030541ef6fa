"""What stands between an installation and production: findings, and how tokens are named in the site's list.

Rules: a finding says what was found, why that is no state to keep real keys in, and how to mend it. REFUSED keeps a
production platform from starting; a WEAKNESS is named and left to the site; UNSEEN could not be looked at and counts
as refused, because what nobody looked at is not known to be right.
"""

from dataclasses import dataclass
from enum import StrEnum

from kms.errors import Code, Fault, KmsError

SOFTWARE_TOKENS = ("SoftHSM", "NSS")
"""How the models of tokens begin that keep keys in the server's memory and on its disk (R13)."""


class Severity(StrEnum):
    """How much a finding weighs."""

    REFUSED = "refused"
    UNSEEN = "unseen"
    WEAKNESS = "weakness"


@dataclass(frozen=True)
class Finding:
    """One thing that stands in the way. `where`: the setting or the part that it is about.

    `mended_in_console`: people mend it there, so it does not keep the console from starting.
    """

    where: str
    severity: Severity
    what: str
    why: str
    mend: str
    mended_in_console: bool = False

    @property
    def is_in_the_way(self) -> bool:
        """Whether production does not start with it."""
        return self.severity is not Severity.WEAKNESS

    def build_fault(self) -> Fault:
        """The finding as one line of an error."""
        return Fault(self.where, f"Production mode refuses: {self.what}. {self.mend}")


def build_token_name(manufacturer: str, model: str, serial: str) -> str:
    """How a token stands in the site's list: `MANUFACTURER:MODEL:SERIAL`, as it tells them itself."""
    return ":".join(part.strip() for part in (manufacturer, model, serial))


def is_software_token(model: str) -> bool:
    """Whether a token of this model is software: SoftHSM2 or NSS softokn."""
    return model.startswith(SOFTWARE_TOKENS)


def check_token_allowed(name: str, model: str, allowed: tuple[str, ...]) -> None:
    """Raise `hsm.token-refused` for a software token, and for one that is not on the list (R13, R47)."""
    if is_software_token(model):
        raise KmsError(Code.HSM_TOKEN, f"the token {name} is software, which production mode refuses: use an HSM")
    if name not in allowed:
        raise KmsError(
            Code.HSM_TOKEN,
            f"the token {name} is not on the site's list: if it is the site's, add it to hsm.allowed_tokens",
        )

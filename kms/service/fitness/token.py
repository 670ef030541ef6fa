"""Whether the token is one for production: a device of the site's list that wraps and keeps keys itself."""

from collections.abc import Iterator, Sequence

from kms.domain.fitness import Finding, Severity, build_token_name, is_software_token
from kms.service.ports import HsmStatus

NATIVE = "native"


def find_token_findings(status: HsmStatus, allowed: Sequence[str], *, has_peers: bool) -> Iterator[Finding]:
    """What keeps the token from production. `status`: as it is in production mode. `allowed`: the site's list."""
    name = build_token_name(status.manufacturer, status.model, status.serial)
    if is_software_token(status.model):
        yield Finding(
            "hsm.module",
            Severity.REFUSED,
            f"the token {name} is software",
            "Its keys lie on the server's disk and in its memory",
            "Use an HSM",
        )
    elif name not in allowed:
        yield Finding(
            "hsm.allowed_tokens",
            Severity.REFUSED,
            f"the token {name} is not on the site's list",
            "An unknown device may be anybody's",
            f'If it is the site\'s: allowed_tokens = ["{name}"]',
        )
    missing = (*status.missing_mechanisms, *(status.missing_peer_mechanisms if has_peers else ()))
    if missing:
        yield Finding(
            "hsm",
            Severity.REFUSED,
            f"the token lacks {', '.join(dict.fromkeys(missing))}",
            "Keys cannot be made, used or kept as they must be",
            "`kms hsm check` tries each, docs/hsm.md says what to do",
        )
    elif status.wrap_strategy != NATIVE:
        yield Finding(
            "hsm",
            Severity.REFUSED,
            f"the token does not wrap all keys for cards itself ({status.wrap_reason or status.wrap_strategy})",
            "Keys would have to be read out to be written to cards",
            "docs/hsm.md says what to switch on",
        )

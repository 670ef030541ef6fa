"""What the HSM adapter has to be told. The PIN never shows in a repr."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Names the folder of p11-kit module files in `HsmSettings.environment`.
P11_KIT_MODULES = "KMS_P11_KIT_MODULES"

MAX_ANSWER_AGE_S = 5.0  # DESIGN section 5: readiness goes red within 5 s


@dataclass(frozen=True)
class HsmSettings:
    """One token of one PKCS#11 module. All times in seconds.

    `module`: path of the PKCS#11 library. `pin`: the user PIN, from a file of its own, never from the configuration.
    `environment`: set before the library is initialised (SoftHSM2 finds its tokens by SOFTHSM2_CONF,
    one behind p11-kit is found by `P11_KIT_MODULES`).
    `allow_transient_plaintext`: keys may be read for the moment of wrapping where the token cannot wrap (docs/adr
    0022); ignored in `production`. `call_timeout_s`: a call that takes longer counts as hanging. `first_retry_s`,
    `longest_retry_s`: how long calls fail at once after opening the token failed; doubled each time.
    `allowed_tokens`: names (`kms.domain.fitness.build_token_name`) of the tokens that may be logged in to; None: any.
    `has_peers`: the token must be able to exchange keys with a peer's.
    `heartbeat_s`: how often an idle token is asked for a sign of life.
    """

    module: str
    token_label: str
    pin: str = field(repr=False)
    allow_transient_plaintext: bool = False
    production: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    call_timeout_s: float = 10.0
    first_retry_s: float = 0.25
    longest_retry_s: float = 2.0
    heartbeat_s: float = 1.0
    has_peers: bool = False
    allowed_tokens: tuple[str, ...] | None = None

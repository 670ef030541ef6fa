"""The one error type that crosses boundaries.

Rules: `code` is stable and documented in docs/errors.md; `detail` is safe to show to anybody (no key, PIN, key
component or APDU data) and says what is wrong and what to do. `faults` lists every fault of a validated input, so
that a person mends a file in one go. Rendering belongs to `kms.web.problems` and `kms.cli` alone.
"""

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Stable error codes: `noun.condition`."""

    # input
    CONFIG_INVALID = "config.invalid"
    INPUT_INVALID = "input.invalid"
    NOT_FOUND = "input.not-found"
    CONFLICT = "input.conflict"
    # HTTP
    METHOD_NOT_ALLOWED = "http.method-not-allowed"
    BODY_TOO_LARGE = "http.body-too-large"
    MEDIA_TYPE = "http.media-type"
    # cards
    TLV_INVALID = "card.tlv-invalid"
    APDU_INVALID = "card.apdu-invalid"
    CARD_PROTOCOL = "card.protocol-violation"
    CRYPTOGRAM_MISMATCH = "card.cryptogram-mismatch"
    CHALLENGE_MISMATCH = "card.challenge-mismatch"
    RESPONSE_MAC_MISMATCH = "card.response-mac-mismatch"
    CARD_UNKNOWN = "card.unknown"
    CARD_QUARANTINED = "card.quarantined"
    # terminals and visits
    TERMINAL_UNKNOWN = "terminal.unknown"
    TERMINAL_REFUSED = "terminal.refused"
    TERMINAL_NOT_ALLOWED = "terminal.not-allowed"
    SESSION_UNKNOWN = "visit.session-unknown"
    VISIT_CONFLICT = "visit.conflict"
    PROPOSAL_REFUSED = "visit.proposal-refused"
    # peer platforms and the leased line
    PEER_UNKNOWN = "peer.unknown"
    PEER_NOT_ALLOWED = "peer.not-allowed"
    PEER_QUOTA = "peer.quota"
    PEER_UNREACHABLE = "peer.unreachable"
    PEER_UNTRUSTED = "peer.untrusted"
    PEER_REFUSED = "peer.refused"
    PEER_PROTOCOL = "peer.protocol-violation"
    # transfers of control
    TRANSFER_UNKNOWN = "transfer.unknown"
    TRANSFER_CONFLICT = "transfer.conflict"
    TRANSFER_STATE = "transfer.state"
    TRANSFER_REFUSED = "transfer.refused"
    ENVELOPE_MALFORMED = "transfer.envelope-malformed"
    ENVELOPE_SIGNATURE = "transfer.envelope-signature"
    ENVELOPE_RECIPIENT = "transfer.envelope-recipient"
    ENVELOPE_ISSUER = "transfer.envelope-issuer"
    ENVELOPE_TRANSFER = "transfer.envelope-transfer"
    ENVELOPE_CARD = "transfer.envelope-card"
    ENVELOPE_DOMAIN = "transfer.envelope-domain"
    ENVELOPE_EARLY = "transfer.envelope-early"
    ENVELOPE_EXPIRED = "transfer.envelope-expired"
    ENVELOPE_PERIOD = "transfer.envelope-period"
    ENVELOPE_KEY_TYPE = "transfer.envelope-key-type"
    ENVELOPE_KEK = "transfer.envelope-kek"
    ENVELOPE_KEYS = "transfer.envelope-keys"
    # keys and HSM
    KEY_STATE = "key.state"
    KEY_EXPIRED = "key.expired"
    KEY_MISSING = "key.missing"
    KEY_AMBIGUOUS = "key.ambiguous"
    KEY_KCV_MISMATCH = "key.kcv-mismatch"
    KEY_ATTRIBUTES = "key.attributes"
    KEY_TEST_VALUE = "key.test-value"
    KEY_UNWRAP_REFUSED = "key.unwrap-refused"
    EXCHANGE_REFUSED = "exchange.refused"
    EXCHANGE_FINGERPRINT = "exchange.fingerprint-mismatch"
    HSM_UNAVAILABLE = "hsm.unavailable"
    HSM_LOGIN = "hsm.login"
    HSM_TOKEN = "hsm.token-refused"  # noqa: S105 - a code
    HSM_MECHANISM = "hsm.mechanism"
    HSM_WRAP_REFUSED = "hsm.transient-wrap-refused"
    # the scheduler
    LEASE_LOST = "scheduler.lease-lost"
    SCHEDULER_CLOCK = "scheduler.clock"
    # people and their requests
    LOGIN_NEEDED = "login.needed"
    CONSOLE_UNREACHABLE = "console.unreachable"
    LOGIN_REFUSED = "login.refused"
    LOGIN_LOCKED = "login.locked"
    LOGIN_INVITATION = "login.invitation"
    FORM_FORGED = "form.forged"
    PERSON_NOT_PERMITTED = "person.not-permitted"
    REQUEST_CHANGED = "request.changed"
    REQUEST_OWN = "request.own"
    REQUEST_STATE = "request.state"
    # ceremonies
    CEREMONY_STATE = "ceremony.state"
    CEREMONY_CONFLICT = "ceremony.conflict"
    CEREMONY_CUSTODY = "ceremony.custody"
    CEREMONY_CHANGED = "ceremony.script-changed"
    CEREMONY_RECORD = "ceremony.record-refused"
    # audit log
    AUDIT_BROKEN = "audit.broken"
    AUDIT_ANCHOR = "audit.anchor"
    # database
    DATABASE_UNAVAILABLE = "database.unavailable"
    DATABASE_SCHEMA = "database.schema"
    # the platform as a whole
    NOT_READY = "platform.not-ready"
    RECOVERY = "platform.recovery"
    INTERNAL = "platform.internal"


@dataclass(frozen=True)
class Fault:
    """One fault in a validated input: where it is (`line 7`, `hsm.pin_file`) and what is wrong with it."""

    where: str
    what: str


class KmsError(Exception):
    """An error that may cross any boundary: a stable code and a safe text, with the faults of a validated input."""

    def __init__(self, code: Code, detail: str, *, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.faults = faults

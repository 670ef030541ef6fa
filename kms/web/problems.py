"""Errors as RFC 9457 problem documents.

Rules: one table says which status a code has. A rejected value is never echoed. What is our own fault answers 500 with
a reference number and nothing else: the log line with the same reference says what it was.
"""

from http import HTTPStatus

from apiflask import HTTPError
from flask import Response, current_app
from pydantic import BaseModel, ConfigDict

from kms.errors import Code, Fault, KmsError
from kms.web.logs import get_reference, log_error

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"
_MAX_FAULTS = 20
_MAX_NAME = 80

STATUS: dict[Code, HTTPStatus] = {
    Code.CONFIG_INVALID: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.INPUT_INVALID: HTTPStatus.BAD_REQUEST,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.CONFLICT: HTTPStatus.CONFLICT,
    Code.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    Code.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Code.TLV_INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.APDU_INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.CARD_PROTOCOL: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.CRYPTOGRAM_MISMATCH: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.CHALLENGE_MISMATCH: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.RESPONSE_MAC_MISMATCH: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.CARD_UNKNOWN: HTTPStatus.NOT_FOUND,
    Code.CARD_QUARANTINED: HTTPStatus.FORBIDDEN,
    Code.TERMINAL_UNKNOWN: HTTPStatus.FORBIDDEN,
    Code.TERMINAL_REFUSED: HTTPStatus.FORBIDDEN,
    Code.TERMINAL_NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    Code.SESSION_UNKNOWN: HTTPStatus.NOT_FOUND,
    Code.VISIT_CONFLICT: HTTPStatus.CONFLICT,
    Code.PROPOSAL_REFUSED: HTTPStatus.NOT_ACCEPTABLE,
    Code.PEER_UNKNOWN: HTTPStatus.FORBIDDEN,
    Code.PEER_NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    Code.PEER_QUOTA: HTTPStatus.TOO_MANY_REQUESTS,
    Code.PEER_UNREACHABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    # Not 502: a terminal would send the request again, and a wrong certificate stays wrong.
    Code.PEER_UNTRUSTED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.PEER_REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.PEER_PROTOCOL: HTTPStatus.BAD_GATEWAY,
    Code.TRANSFER_UNKNOWN: HTTPStatus.NOT_FOUND,
    Code.TRANSFER_CONFLICT: HTTPStatus.CONFLICT,
    Code.TRANSFER_STATE: HTTPStatus.CONFLICT,
    Code.TRANSFER_REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_MALFORMED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_SIGNATURE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_RECIPIENT: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_ISSUER: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_TRANSFER: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_CARD: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_DOMAIN: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_EARLY: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_EXPIRED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_PERIOD: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_KEY_TYPE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_KEK: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ENVELOPE_KEYS: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.KEY_STATE: HTTPStatus.CONFLICT,
    Code.KEY_EXPIRED: HTTPStatus.CONFLICT,
    Code.KEY_MISSING: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.KEY_AMBIGUOUS: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.KEY_KCV_MISMATCH: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.KEY_ATTRIBUTES: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.KEY_TEST_VALUE: HTTPStatus.CONFLICT,
    Code.KEY_UNWRAP_REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.EXCHANGE_REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.EXCHANGE_FINGERPRINT: HTTPStatus.CONFLICT,
    Code.HSM_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.HSM_LOGIN: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.HSM_TOKEN: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.HSM_MECHANISM: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.HSM_WRAP_REFUSED: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.LOGIN_NEEDED: HTTPStatus.UNAUTHORIZED,
    Code.CONSOLE_UNREACHABLE: HTTPStatus.BAD_GATEWAY,
    Code.LOGIN_REFUSED: HTTPStatus.UNAUTHORIZED,
    Code.LOGIN_LOCKED: HTTPStatus.UNAUTHORIZED,
    Code.LOGIN_INVITATION: HTTPStatus.UNAUTHORIZED,
    Code.FORM_FORGED: HTTPStatus.FORBIDDEN,
    Code.PERSON_NOT_PERMITTED: HTTPStatus.FORBIDDEN,
    Code.REQUEST_CHANGED: HTTPStatus.CONFLICT,
    Code.REQUEST_OWN: HTTPStatus.FORBIDDEN,
    Code.REQUEST_STATE: HTTPStatus.CONFLICT,
    Code.CEREMONY_STATE: HTTPStatus.CONFLICT,
    Code.CEREMONY_CONFLICT: HTTPStatus.CONFLICT,
    Code.CEREMONY_CUSTODY: HTTPStatus.FORBIDDEN,
    Code.CEREMONY_CHANGED: HTTPStatus.CONFLICT,
    Code.CEREMONY_RECORD: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.AUDIT_BROKEN: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.AUDIT_ANCHOR: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.DATABASE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.DATABASE_SCHEMA: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.LEASE_LOST: HTTPStatus.CONFLICT,
    Code.SCHEDULER_CLOCK: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
    # Not 503: repeating the request mends nothing, officers have to decide.
    Code.RECOVERY: HTTPStatus.CONFLICT,
    Code.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}

_INTERNAL_DETAIL = "Something went wrong on this side. Give the reference to the platform's operators."

# What HTTP itself refuses, before a use case is reached.
_HTTP_PROBLEMS: dict[int, tuple[Code, str]] = {
    400: (Code.INPUT_INVALID, "The request is malformed: send one JSON object as documented."),
    404: (Code.NOT_FOUND, "There is nothing at this address."),
    405: (Code.METHOD_NOT_ALLOWED, "This address does not take this method; see the Allow header."),
    413: (Code.BODY_TOO_LARGE, "The request is larger than what is taken here."),
    415: (Code.MEDIA_TYPE, "Send the body as application/json."),
}


class ProblemFault(BaseModel):
    """One fault of the request: where it is and what is wrong with it."""

    model_config = ConfigDict(extra="forbid")

    where: str
    what: str


class Problem(BaseModel):
    """A problem document (RFC 9457). `code` is stable; `reference` names the log line of this request."""

    model_config = ConfigDict(extra="forbid")

    type: str
    title: str
    status: int
    detail: str
    code: str
    reference: str
    faults: list[ProblemFault]


def build_problem(error: KmsError) -> Response:
    """Build the answer for an error that may be told."""
    status = STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        # Safe to show, but a terminal can do nothing with what is wrong inside: operators read it in the log.
        log_error(error)
        return _build_response(error.code, status, _INTERNAL_DETAIL, ())
    return _build_response(error.code, status, error.detail, error.faults)


def build_http_problem(error: HTTPError) -> Response:
    """Build the answer for what Flask or APIFlask refused; its own words are not passed on."""
    code, detail = _HTTP_PROBLEMS.get(error.status_code, (None, ""))
    if code is None:
        code, detail = (Code.INTERNAL, _INTERNAL_DETAIL) if error.status_code >= 500 else _HTTP_PROBLEMS[400]
    faults = parse_validation_faults(error.detail)
    if faults:
        detail = "The request is not as documented: mend each fault and send it again."
    answer = _build_response(code, HTTPStatus(error.status_code), detail, faults)
    if isinstance(error.headers, dict) and "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]  # RFC 9110 section 15.5.6
    return answer


def build_unexpected(error: Exception) -> Response:
    """Build the answer for an error nobody foresaw: a reference number, and no word of what it was."""
    log_error(error)
    return _build_response(Code.INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR, _INTERNAL_DETAIL, ())


def parse_validation_faults(detail: object) -> tuple[Fault, ...]:
    """Faults out of APIFlask's `{location: {field: [message]}}`."""
    if not isinstance(detail, dict):
        return ()
    found = [
        Fault(_name_field(location, name), message)
        for location, fields in detail.items()
        for name, messages in fields.items()
        for message in messages
    ]
    return tuple(found[:_MAX_FAULTS])


def _name_field(location: str, name: str) -> str:
    place = "body" if location == "json" else location
    if name == "_schema":
        return place
    # An unknown key's name is the caller's own text: short and printable, or not shown.
    return f"{place}.{name}" if len(name) <= _MAX_NAME and name.isascii() and name.isprintable() else f"{place} (a key)"


def _build_response(code: Code, status: HTTPStatus, detail: str, faults: tuple[Fault, ...]) -> Response:
    problem = Problem(
        type=f"urn:kms:problem:{code}",
        title=str(code).replace(".", ": ").replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        code=code,
        reference=get_reference(),
        faults=[ProblemFault(where=fault.where, what=fault.what) for fault in faults],
    )
    answer = current_app.response_class(problem.model_dump_json(), status=status, mimetype=PROBLEM_TYPE)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return answer

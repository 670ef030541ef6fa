"""Structured logs: one JSON object a line on standard error.

Rules: a request is logged by method, route, status, time, caller and reference; never its body, its address as sent,
or a header. A sessionId opens a visit, so it shows as a hash. An unexpected error shows its type and where it
happened, not its text: the text could hold anything.
"""

import hashlib
import json
import logging
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask, Response, g, request

from kms.errors import KmsError

RequestObserver = Callable[[str, str, int, float], None]
"""Method, route, status and seconds of an answer."""

_LOG = logging.getLogger("kms.api")
_FIELDS = "kms_fields"  # the attribute of a log record that holds its fields


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger and message, then the record's own fields."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, _FIELDS, {}))
        if record.exc_info and record.exc_info[1]:
            line.update(describe_exception(record.exc_info[1]))
        return json.dumps(line, ensure_ascii=True, default=str)


def configure_logs(level: int = logging.INFO) -> None:
    """Send every log of this process to standard error as JSON. Called once, by the process that serves."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every address of the leased line as sent


def log_requests(app: Flask, observe: RequestObserver | None = None) -> None:
    """Give every request a reference and a log line. `observe`: told of each answer."""

    @app.before_request
    def begin() -> None:
        g.started = time.monotonic()
        get_reference()

    @app.after_request
    def end(response: Response) -> Response:
        level = logging.ERROR if response.status_code >= 500 else logging.INFO
        _LOG.log(level, "request", extra={_FIELDS: _describe_request(response)})
        if observe is not None:
            route = request.url_rule.rule if request.url_rule else ""
            observe(request.method, route, response.status_code, time.monotonic() - g.started)
        return response


def get_reference() -> str:
    """Get this request's reference number: 12 hexadecimal digits."""
    if "reference" not in g:
        g.reference = uuid.uuid4().hex[:12]
    return str(g.reference)


def log_error(error: Exception) -> None:
    """Log what a caller is not told."""
    _LOG.error("failed", extra={_FIELDS: {"reference": get_reference(), **describe_exception(error)}})


def describe_exception(error: BaseException) -> dict[str, object]:
    """Describe an error by its type and the lines it went through; its text only where that is known to be safe."""
    frames = traceback.extract_tb(error.__traceback__)
    fields: dict[str, object] = {
        "error": type(error).__qualname__,
        "trace": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(error, KmsError):
        fields |= {"code": str(error.code), "detail": error.detail}
    return fields


def _describe_request(response: Response) -> dict[str, object]:
    session_id = request.args.get("sessionId", "")
    terminal = g.get("terminal")
    return {
        "reference": get_reference(),
        "method": request.method,
        # The route, not the address as sent: an address may hold anything.
        "route": request.url_rule.rule if request.url_rule else None,
        "status": response.status_code,
        "ms": round((time.monotonic() - g.started) * 1000, 1) if "started" in g else None,
        "terminal": terminal.name if terminal else None,
        "peer": g.get("peer"),
        "person": g.get("person"),
        "session": hashlib.sha256(session_id.encode()).hexdigest()[:12] if session_id else None,
    }

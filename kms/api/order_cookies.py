"""The cookies that number Orders: SERAM's Reports carry no number (DESIGN section 3, ADR 0053).

Rules: `kms-order` is the number of the last Order, `kms-visit` says of which visit. An agent that works two visits with
one cookie jar brings the other visit's number: taken for ours, it could look like an Order that was lost, and wrapped
commands would go out twice. Numbers that are malformed or another visit's count as none, which leads to reconciliation.
Cookies are no credential: whoever may report is decided by certificate and sessionId.
"""

import hashlib
import re
from collections.abc import Mapping

from flask import Response

ORDER_COOKIE = "kms-order"
VISIT_COOKIE = "kms-visit"
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


def parse_order_number(cookies: Mapping[str, str], session_id: str) -> int | None:
    """Read the number of the Order that a Report answers, or None. An agent may keep `kms-order` alone."""
    number = cookies.get(ORDER_COOKIE, "")
    if cookies.get(VISIT_COOKIE, _name_visit(session_id)) != _name_visit(session_id):
        return None
    return int(number) if _NUMBER.fullmatch(number) else None


def set_order_cookies(answer: Response, path: str, session_id: str, number: int) -> None:
    """Send the cookies along with an Order."""
    for name, value in ((ORDER_COOKIE, str(number)), (VISIT_COOKIE, _name_visit(session_id))):
        answer.set_cookie(name, value, path=path, secure=True, httponly=True, samesite="Strict")


def _name_visit(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()[:16]

"""The terminal protocol: GlobalPlatform SERAM 2.0, HTTP REST binding.

Rules: Orders are numbered by a cookie (`kms.api.order_cookies`), because SERAM's Reports carry no number. An agent
without cookies is served too: its visits reconcile more often.
"""

from apiflask import APIBlueprint
from flask import Response, jsonify, request

from kms.api.order_cookies import parse_order_number, set_order_cookies
from kms.api.seram_messages import (
    HandshakeCommand,
    ReportMessage,
    SessionQuery,
    build_handshake_response,
    build_order,
    parse_report,
)
from kms.api.services import ApiPlatform
from kms.api.terminals import get_terminal
from kms.errors import Code, KmsError

PREFIX = "/gp/seram"


def build_seram(platform: ApiPlatform) -> APIBlueprint:
    """Build SERAM's two addresses."""
    seram = APIBlueprint("seram", __name__, url_prefix=PREFIX)

    @seram.post("/handshake")
    @seram.input(SessionQuery, location="query")
    @seram.input(HandshakeCommand)
    @seram.doc(hide=True)
    def handshake(query_data: SessionQuery, json_data: HandshakeCommand) -> Response:
        if not json_data.fits:
            raise KmsError(Code.PROPOSAL_REFUSED, "This platform speaks SERAM 2.0.0 with application/json over HTTPS")
        identities = json_data.identities()
        if not identities:
            raise KmsError(Code.CARD_UNKNOWN, "None of the secure elements has the identity of a card in hex")
        platform.visits.handshake(get_terminal(), query_data.session_id, identities)
        return jsonify(build_handshake_response())

    @seram.post("/remoteManagement")
    @seram.input(SessionQuery, location="query")
    @seram.input(ReportMessage)
    @seram.doc(hide=True)
    def remote_management(query_data: SessionQuery, json_data: ReportMessage) -> Response:
        session_id = query_data.session_id
        report = parse_report(json_data, parse_order_number(request.cookies, session_id))
        order = platform.visits.report(get_terminal(), session_id, report)
        answer = jsonify(build_order(order))
        set_order_cookies(answer, PREFIX, session_id, order.number)
        return answer

    return seram

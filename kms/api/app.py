"""The API as one Flask application.

Rules: it is given its services and keeps no state of its own, so any worker can take any request.
"""

from apiflask import APIFlask
from flask import Flask, Response, request

from kms.api.applications import build_applications
from kms.api.certificates import CertificateSource, read_client_certificate
from kms.api.health import build_health
from kms.api.openapi import describe_problems
from kms.api.peer_callers import require_peer
from kms.api.peers import build_peers
from kms.api.seram import build_seram
from kms.api.services import ApiPlatform, PeerAccess
from kms.api.terminals import require_terminal
from kms.errors import KmsError
from kms.web.logs import RequestObserver, log_requests
from kms.web.problems import build_http_problem, build_problem, build_unexpected
from kms.web.strict_json import MAX_BODY, StrictJsonProvider, check_media_type


def create_api(
    platform: ApiPlatform,
    certificate_source: CertificateSource = read_client_certificate,
    peer_access: PeerAccess | None = None,
    observe_request: RequestObserver | None = None,
) -> Flask:
    """Build the API over the platform's services. `certificate_source` is another only where no gunicorn is.

    `observe_request`: told of each answer, for metrics.
    `peer_access`: None where no peer calls; its addresses are not there then.
    """
    app = APIFlask("kms.api", title="Key-management server", version="1", docs_path=None, spec_path="/openapi.json")
    app.json = StrictJsonProvider(app)
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY,
        OPENAPI_VERSION="3.1.0",
        VALIDATION_ERROR_STATUS_CODE=400,
        # Every operation names its problems itself.
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        AUTO_404_RESPONSE=False,
        AUTO_AUTH_ERROR_RESPONSE=False,
    )
    # Order matters: the log sees also what authentication refuses, and nobody unknown learns what we parse.
    log_requests(app, observe_request)
    require_terminal(app, platform.terminals, certificate_source, peer_access)
    if peer_access:
        require_peer(app, peer_access, certificate_source)
    app.before_request(lambda: check_media_type(request))
    app.after_request(_forbid_caching)
    app.register_error_handler(KmsError, build_problem)
    app.register_error_handler(Exception, build_unexpected)
    app.error_processor(build_http_problem)
    for blueprint in (build_health(platform), build_applications(platform), build_seram(platform)):
        app.register_blueprint(blueprint)
    if peer_access:
        app.register_blueprint(build_peers(peer_access))
    describe_problems(app)
    return app


def _forbid_caching(answer: Response) -> Response:
    answer.headers["Cache-Control"] = "no-store"  # RFC 9111 section 5.2.2.5
    return answer

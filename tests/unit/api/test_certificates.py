import hashlib

from kms.api.certificates import read_client_certificate, read_fingerprint
from tests.fakes.api_platform import CERTIFICATE


class _TlsSocket:
    def getpeercert(self, *, binary_form: bool) -> bytes:
        assert binary_form
        return CERTIFICATE


def test_the_certificate_is_the_connection_s_and_no_header_s() -> None:
    assert read_client_certificate({"gunicorn.socket": _TlsSocket()}) == CERTIFICATE
    assert read_client_certificate({"gunicorn.socket": object()}) is None
    assert read_client_certificate({"HTTP_X_SSL_CLIENT_CERT": "abc"}) is None


def test_the_fingerprint_is_sha_256_over_der() -> None:
    assert read_fingerprint(lambda _environ: CERTIFICATE, {}) == hashlib.sha256(CERTIFICATE).digest()
    assert read_fingerprint(lambda _environ: None, {}) is None

from flask.testing import FlaskClient

from kms.api import create_api
from kms.errors import Code, KmsError
from tests.fakes.api_platform import FakePlatform
from tests.unit.api.conftest import read_body


def test_the_process_lives_whatever_is_away(client: FlaskClient, platform: FakePlatform) -> None:
    platform.vault.failure = KmsError(Code.HSM_UNAVAILABLE, "The token is away")
    assert (client.get("/healthz").status_code, client.get("/healthz").json) == (200, {"status": "alive"})


def test_ready_when_all_parts_answer(client: FlaskClient) -> None:
    assert (client.get("/readyz").status_code, client.get("/readyz").json) == (200, {"status": "ready"})


def test_not_ready_names_what_is_away(client: FlaskClient, platform: FakePlatform) -> None:
    platform.vault.failure = KmsError(Code.HSM_UNAVAILABLE, "The token is away")
    answer = client.get("/readyz")
    assert (answer.status_code, read_body(answer)["code"]) == (503, "platform.not-ready")
    assert read_body(answer)["faults"] == [{"where": "hsm", "what": "The token is away"}]
    platform.store.failure = KmsError(Code.DATABASE_UNAVAILABLE, "The database is away")
    assert read_body(client.get("/readyz"))["detail"] == "Not ready: database and hsm away"


def test_health_asks_for_no_enrolled_terminal(platform: FakePlatform) -> None:
    client = create_api(platform, lambda _environ: b"somebody").test_client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_a_platform_in_recovery_says_so_and_is_served(client: FlaskClient, platform: FakePlatform) -> None:
    platform.recovery.is_recovering = True
    answer = client.get("/readyz")
    assert (answer.status_code, read_body(answer)) == (200, {"status": "recovery"})

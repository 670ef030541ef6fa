from prometheus_client import CollectorRegistry

from kms.metrics.instruments import Instruments
from tests.unit.metrics.test_figures import NOW, read_samples


def test_requests_and_uses_of_the_hsm_are_counted() -> None:
    registry = CollectorRegistry()
    instruments = Instruments(registry)
    instruments.observe_request("POST", "/api/v1/applications", 200, 0.03)
    instruments.observe_request("GET", "", 404, 0.001)
    instruments.observe_hsm("answered", 0.002, NOW)
    instruments.observe_hsm("lost", 0.5, None)
    samples = read_samples(registry)
    assert samples["kms_http_request_seconds_count{POST,/api/v1/applications,200}"] == 1
    assert samples["kms_http_request_seconds_count{GET,,404}"] == 1
    assert samples["kms_hsm_call_seconds_count{answered}"] == 1
    assert samples["kms_hsm_call_seconds_count{lost}"] == 1
    assert samples["kms_hsm_last_answer_timestamp_seconds{}"] == NOW.timestamp()


def test_an_hsm_that_never_answered_has_no_last_answer() -> None:
    registry = CollectorRegistry()
    Instruments(registry).observe_hsm("lost", 0.5, None)
    assert "kms_hsm_last_answer_timestamp_seconds{}" not in read_samples(registry)

import pytest

from kms.hsm.self_check import Need, SelfCheck, Step
from kms.hsm.wrapping import WrapStrategy


@pytest.mark.parametrize(
    ("has_peers", "production", "missing"),
    [
        (False, False, {Need.ALWAYS}),
        (True, False, {Need.ALWAYS, Need.PEERS}),
        (False, True, {Need.ALWAYS, Need.PRODUCTION}),
    ],
)
def test_only_what_is_needed_and_refused_is_missing(has_peers: bool, production: bool, missing: set[Need]) -> None:
    refused = [Step(need, "", need, "MechanismInvalid") for need in Need]
    works = [Step(f"works {need}", "", need, "") for need in Need]
    found = SelfCheck((*refused, *works), WrapStrategy.NATIVE, WrapStrategy.NATIVE)
    assert set(found.list_missing(has_peers=has_peers, production=production)) == missing

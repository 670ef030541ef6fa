from dataclasses import replace

import pytest

from kms.domain.fitness import Severity
from kms.service.fitness.token import find_token_findings
from kms.service.ports import HsmStatus

LISTED = ("Maker:Model 7:0123",)
GOOD = HsmStatus("issuer", "Maker", "Model 7", "0123", "1.0", ("AES_CMAC",), (), "native", None)


def look(status: HsmStatus, allowed: tuple[str, ...] = LISTED, *, has_peers: bool = True) -> dict[str, str]:
    found = list(find_token_findings(status, allowed, has_peers=has_peers))
    assert all(item.severity is Severity.REFUSED for item in found)
    return {item.where: f"{item.what}; {item.mend}" for item in found}


def test_nothing_is_said_of_a_listed_token_that_does_all_itself() -> None:
    assert look(GOOD) == {}


@pytest.mark.parametrize("allowed", [(), ("Maker:Model 7:0124",)])
def test_a_token_that_is_not_listed_is_refused_with_the_line_that_lists_it(allowed: tuple[str, ...]) -> None:
    assert 'allowed_tokens = ["Maker:Model 7:0123"]' in look(GOOD, allowed)["hsm.allowed_tokens"]


def test_software_is_refused_though_it_is_listed() -> None:
    softhsm = replace(GOOD, manufacturer="SoftHSM project", model="SoftHSM v2")
    found = look(softhsm, ("SoftHSM project:SoftHSM v2:0123",))
    assert set(found) == {"hsm.module"}
    assert "is software" in found["hsm.module"]


def test_a_token_that_lacks_something_or_gives_keys_away_is_refused() -> None:
    assert "CKA_EXTRACTABLE=false" in look(replace(GOOD, missing_mechanisms=("CKA_EXTRACTABLE=false",)))["hsm"]


def test_what_an_exchange_needs_is_asked_for_where_there_are_peers() -> None:
    alone = replace(GOOD, missing_peer_mechanisms=("RSA_PKCS_OAEP",))
    assert "RSA_PKCS_OAEP" in look(alone)["hsm"]
    assert look(alone, has_peers=False) == {}


@pytest.mark.parametrize("strategy", ["transient", "refused"])
def test_a_token_that_cannot_wrap_is_refused(strategy: str) -> None:
    assert "does not wrap" in look(replace(GOOD, wrap_strategy=strategy))["hsm"]

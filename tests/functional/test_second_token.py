"""The four flows on NSS softokn, which wraps triple DES keys by itself: no key is ever read.

The scenarios are those of test_flows.py and test_two_platforms.py, which run on SoftHSM2 (on NSS altogether with
`KMS_TEST_TOKEN=nss`).
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.installation import NSS_LIBRARY
from tests.fakes.nss_tokens import INSTALL, get_nss_tokens
from tests.functional import test_flows, test_two_platforms
from tests.functional.platforms import Platforms, open_platforms
from tests.functional.site import Site, open_site

pytestmark = pytest.mark.skipif(not NSS_LIBRARY.exists(), reason=f"NSS is not installed: {INSTALL}")


@pytest.fixture(scope="module")
def nss_site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="kms-nss-site-"))
    try:
        with open_site(folder, get_nss_tokens().take()) as site:
            yield site
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def nss_platforms() -> Iterator[Platforms]:
    tokens = get_nss_tokens()
    with open_platforms("sqlite", tokens.take(), tokens.take()) as platforms:
        platforms.provider.add_terminal("other")
        yield platforms


def test_the_site_runs_on_the_second_token_and_reads_no_key(nss_site: Site) -> None:
    status = nss_site.kms("hsm", "status")
    assert status["wrap_strategy"] == "native"
    assert status["wrap_reason"] == "3DES-ECB native; AES-CBC native"
    assert {key["in_hsm"] for key in status["keys"]} == {"found"}


@pytest.mark.parametrize("profile", ["default", "jcop"])
def test_flows_2_and_4(nss_site: Site, profile: str) -> None:
    test_flows.test_an_application_gets_an_ssd_with_keys_and_has_them_replaced(nss_site, 0x55, profile)


def test_the_isd_from_the_vendors_keys_to_the_issuers(nss_site: Site) -> None:
    test_flows.test_one_visit_takes_the_isd_over_and_creates_the_ssd(nss_site)
    test_flows.test_the_isds_own_keys_are_replaced_under_the_issuers_keys(nss_site)


def test_flows_3_and_5(nss_platforms: Platforms) -> None:
    test_two_platforms.test_flow_3_in_one_visit_and_flow_5_without_the_issuer(nss_platforms)
    test_two_platforms.test_flow_3_takes_a_card_over_that_its_issuer_has_not_met_yet(nss_platforms)


def test_a_server_that_is_killed_comes_back_to_its_token(nss_site: Site) -> None:
    delivered = nss_site.keyed()
    nss_site.server.kill()
    nss_site.server.start()
    nss_site.force(delivered)
    nss_site.visit(delivered)
    assert nss_site.last_visit(delivered)["result"] == "done"
    nss_site.check_agreement(delivered)

"""One site for all functional tests of a run: setting it up takes ten seconds, a visit a fifth of one."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.site import Site, open_site


@pytest.fixture(scope="session")
def whole_site() -> Iterator[Site]:
    # pytest's own folders have long names, which do not fit into every line a test looks for.
    folder = Path(tempfile.mkdtemp(prefix="kms-"))
    try:
        with open_site(folder) as site:
            yield site
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def site(whole_site: Site) -> Site:
    """The site with its server running, whatever the test before did to it."""
    whole_site.server.start()
    return whole_site

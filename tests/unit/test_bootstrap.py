"""One place joins the parts; nothing is opened by it."""

from pathlib import Path

import pytest

from kms.bootstrap import SystemClock, TimeOrderedIdentifiers, build_hsm_settings, open_platform
from kms.config import load_config
from kms.errors import Code, KmsError
from tests.fakes.installation import build_installation


def test_a_platform_is_built_without_touching_token_or_server(tmp_path: Path) -> None:
    installation = build_installation(tmp_path)
    platform = open_platform(load_config(installation.config))
    assert platform.config.platform.name == "issuer"
    with pytest.raises(KmsError) as error:
        platform.vault.check()
    assert error.value.code is Code.HSM_UNAVAILABLE


def test_the_hsm_is_told_its_pin_but_shows_it_to_nobody(tmp_path: Path) -> None:
    installation = build_installation(tmp_path)
    settings = build_hsm_settings(load_config(installation.config))
    assert settings.production is False
    assert settings.pin
    assert settings.pin not in repr(settings)


def test_time_has_a_zone_and_identifiers_are_in_order() -> None:
    assert SystemClock().now().tzinfo is not None
    identifiers = TimeOrderedIdentifiers()
    made = [identifiers.new() for _ in range(3)]
    assert len(set(made)) == 3
    assert [item[:8] for item in made] == sorted(item[:8] for item in made)

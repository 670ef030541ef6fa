import os
import pwd
from pathlib import Path

import click
import pytest

from kms.cli.context import Invocation, get_actor, get_config, get_invocation, get_platform, get_store
from kms.errors import Code, KmsError
from tests.fakes.installation import Installation, build_installation


def build_context(installation: Installation) -> click.Context:
    invocation = Invocation()
    invocation.config_file = installation.config
    return click.Context(click.Command("test"), obj=invocation)


def test_each_part_is_opened_once(tmp_path: Path) -> None:
    ctx = build_context(build_installation(tmp_path))
    assert get_config(ctx) is get_config(ctx)
    assert get_store(ctx) is get_store(ctx)
    assert get_platform(ctx) is get_platform(ctx)
    get_invocation(ctx).close()


def test_reading_the_database_needs_no_pin(tmp_path: Path) -> None:
    installation = build_installation(tmp_path)
    (tmp_path / "hsm.pin").unlink()
    ctx = build_context(installation)
    get_store(ctx).check()
    with pytest.raises(KmsError) as error:
        get_platform(ctx)
    assert error.value.code is Code.CONFIG_INVALID
    get_invocation(ctx).close()


def test_the_actor_is_the_systems_user_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("USER", "somebody-else")
    assert get_actor() == f"cli:{pwd.getpwuid(os.getuid()).pw_name}"


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)
    assert get_actor() == "cli:uid-4000000001"

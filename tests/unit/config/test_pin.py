from dataclasses import replace
from pathlib import Path

import pytest

from kms.config import HsmConfig, read_pin
from kms.errors import Code, KmsError


@pytest.fixture
def hsm(tmp_path: Path) -> HsmConfig:
    return HsmConfig(module=Path("/m.so"), token_label="t", pin_file=tmp_path / "pin")


def _write(path: Path | None, text: str, mode: int) -> None:
    assert path is not None
    path.write_text(text)
    path.chmod(mode)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_the_pin_is_the_file_s_first_line(hsm: HsmConfig, mode: int) -> None:
    _write(hsm.pin_file, "4711\n", mode)
    assert read_pin(hsm) == "4711"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700])
def test_a_file_others_may_read_is_refused_without_showing_it(hsm: HsmConfig, mode: int) -> None:
    _write(hsm.pin_file, "4711\n", mode)
    with pytest.raises(KmsError, match="chmod 0600") as caught:
        read_pin(hsm)
    assert caught.value.code is Code.CONFIG_INVALID
    assert "4711" not in str(caught.value)


def test_a_missing_or_empty_file_is_named(hsm: HsmConfig) -> None:
    with pytest.raises(KmsError, match="No such file"):
        read_pin(hsm)
    _write(hsm.pin_file, "\n", 0o600)
    with pytest.raises(KmsError, match="is empty"):
        read_pin(hsm)


def test_the_pin_may_come_from_the_environment(hsm: HsmConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    by_environment = replace(hsm, pin_file=None, pin_env="KMS_PIN")
    with pytest.raises(KmsError, match="KMS_PIN is not set"):
        read_pin(by_environment)
    monkeypatch.setenv("KMS_PIN", "4711")
    assert read_pin(by_environment) == "4711"
    assert "4711" not in repr(by_environment)

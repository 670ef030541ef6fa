from pathlib import Path
from typing import cast

import pytest

from kms.config import load_config
from kms.domain.fitness import Finding, Severity
from kms.errors import Code, KmsError
from kms.service.doctor import Doctor
from kms.service.ports import HsmStatus, Store, Vault
from tests.fakes.master_vault import MasterVault
from tests.fakes.memory_store import MemoryStore
from tests.unit.config.conftest import PROFILE, TEXT


class AwayStore(MemoryStore):
    def check(self) -> None:
        raise KmsError(Code.DATABASE_UNAVAILABLE, "The database does not answer.")


class FailingVault(MasterVault):
    def __init__(self, error: KmsError) -> None:
        super().__init__()
        self.error = error

    def status(self) -> HsmStatus:
        raise self.error


AWAY = KmsError(Code.HSM_UNAVAILABLE, "the HSM does not answer")
UNKNOWN = KmsError(Code.HSM_TOKEN, "the token A:B:C is not on the site's list: if it is the site's, add it")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "plain.toml").write_text(PROFILE)
    (tmp_path / "kms.toml").write_text(TEXT)
    return tmp_path


def ask(folder: Path, vault: Vault | None, store: Store) -> dict[str, Finding]:
    doctor = Doctor(
        config=load_config(folder / "kms.toml"), store=store, vault=vault, is_development=lambda _path: False
    )
    found = doctor.examine()
    assert set(doctor.examine_parts()) < set(found)
    return {item.where: item for item in found}


def test_settings_token_and_records_are_asked_together(folder: Path) -> None:
    found = ask(folder, cast("Vault", MasterVault()), MemoryStore())
    assert {"platform.mode", "database.url", "hsm.allowed_tokens", "people", "policies"} <= set(found)
    assert all(item.severity is not Severity.UNSEEN for item in found.values())


def test_a_token_that_is_away_is_told_and_hides_nothing_else(folder: Path) -> None:
    found = ask(folder, cast("Vault", FailingVault(AWAY)), MemoryStore())
    assert found["hsm"].severity is Severity.UNSEEN
    assert "does not answer" in found["hsm"].what
    assert {"database.url", "policies"} <= set(found)


def test_a_pin_that_cannot_be_read_is_told(folder: Path) -> None:
    assert ask(folder, None, MemoryStore())["hsm"].severity is Severity.UNSEEN


def test_a_database_that_is_away_is_told_and_hides_nothing_else(folder: Path) -> None:
    found = ask(folder, cast("Vault", MasterVault()), AwayStore())
    assert found["database"].severity is Severity.UNSEEN
    assert "hsm.allowed_tokens" in found
    assert "policies" not in found


def test_a_token_that_was_not_logged_in_to_is_refused_not_unseen(folder: Path) -> None:
    found = ask(folder, cast("Vault", FailingVault(UNKNOWN)), MemoryStore())
    assert found["hsm.allowed_tokens"].severity is Severity.REFUSED
    assert "A:B:C" in found["hsm.allowed_tokens"].what
    assert "hsm" not in found

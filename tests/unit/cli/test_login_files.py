from pathlib import Path

import pytest

from kms.cli.login_files import SavedLogin, find_login, remove_login, save_login
from kms.errors import Code, KmsError

LOGIN = SavedLogin("https://console.example", "/ca.pem", "alice", "the secret")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "kms"


def test_a_login_is_kept_for_its_server_and_its_owner_alone(state: Path) -> None:
    assert find_login(LOGIN.server) is None
    save_login(LOGIN)
    save_login(LOGIN)
    assert find_login(LOGIN.server) == LOGIN
    assert find_login("https://other.example") is None
    (path,) = state.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "the secret" not in repr(LOGIN)
    remove_login(LOGIN.server)
    remove_login(LOGIN.server)
    assert find_login(LOGIN.server) is None


def test_a_file_that_others_can_read_is_not_used(state: Path) -> None:
    save_login(LOGIN)
    (path,) = state.iterdir()
    path.chmod(0o640)
    with pytest.raises(KmsError, match="read by others") as error:
        find_login(LOGIN.server)
    assert error.value.code is Code.LOGIN_NEEDED


@pytest.mark.parametrize("content", ["", "[]", '{"server": "x"}'])
def test_a_file_of_something_else_is_told(state: Path, content: str) -> None:
    save_login(LOGIN)
    (path,) = state.iterdir()
    path.write_text(content)
    with pytest.raises(KmsError, match="cannot be read"):
        find_login(LOGIN.server)

"""A token whose file a kill left empty comes back; nothing else is touched."""

from pathlib import Path

import pytest

from kms.hsm.softhsm_tokens import restore_tokens


@pytest.fixture
def token(tmp_path: Path) -> Path:
    folder = tmp_path / "tokens" / "one"
    folder.mkdir(parents=True)
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nlog.level = ERROR\n")
    (folder / "token.object").write_bytes(b"label and flags")
    (folder / "token.object.copy").write_bytes(b"label and flags")
    return folder / "token.object"


def test_an_empty_token_file_comes_back_for_its_owner_only(token: Path, tmp_path: Path) -> None:
    token.write_bytes(b"")
    assert restore_tokens(tmp_path / "softhsm2.conf") == (token,)
    assert token.read_bytes() == b"label and flags"
    assert token.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in token.parent.iterdir()) == ["token.object", "token.object.copy"]


def test_a_whole_token_file_stays_as_it_is(token: Path, tmp_path: Path) -> None:
    token.write_bytes(b"other flags")
    assert restore_tokens(tmp_path / "softhsm2.conf") == ()
    assert token.read_bytes() == b"other flags"


def test_without_a_copy_nothing_is_made_up(token: Path, tmp_path: Path) -> None:
    token.with_name("token.object.copy").unlink()
    token.write_bytes(b"")
    assert restore_tokens(tmp_path / "softhsm2.conf") == ()


@pytest.mark.parametrize("text", ["", "log.level = ERROR\n", "directories.tokendir = /does/not/exist\n"])
def test_a_configuration_without_tokens_is_left_alone(tmp_path: Path, text: str) -> None:
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(text)
    assert restore_tokens(configuration) == ()
    assert restore_tokens(tmp_path / "absent.conf") == ()

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from kms.config.schema import PlatformName, Privileges, ResolvedPath

NAMES: TypeAdapter[str] = TypeAdapter(PlatformName)
PRIVILEGES: TypeAdapter[bytes] = TypeAdapter(Privileges)
PATHS: TypeAdapter[Path] = TypeAdapter(ResolvedPath)


@pytest.mark.parametrize("name", ["issuer", "a", "9-lives", "x" * 32])
def test_a_platform_name_is_taken(name: str) -> None:
    assert NAMES.validate_python(name) == name


@pytest.mark.parametrize("name", ["", "Issuer", "-a", "x" * 33, "a b", "a\n", "a|b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        NAMES.validate_python(name)


@pytest.mark.parametrize("privileges", [b"", b"\x00", b"\x80\x00", b"\x7f\xff\xff"])
def test_privileges_are_those_of_a_security_domain(privileges: bytes) -> None:
    assert PRIVILEGES.validate_python(b"\x80\x00\x00") == b"\x80\x00\x00"
    with pytest.raises(ValidationError):
        PRIVILEGES.validate_python(privileges)


def test_relative_paths_start_at_base_dir(tmp_path: Path) -> None:
    assert PATHS.validate_python("a.pem", context={"base_dir": tmp_path}) == tmp_path / "a.pem"
    assert PATHS.validate_python("/a.pem", context={"base_dir": tmp_path}) == Path("/a.pem")

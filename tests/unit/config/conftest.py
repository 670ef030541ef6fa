from collections.abc import Callable
from pathlib import Path

import pytest

from kms.config import load_config
from kms.errors import Code, KmsError

TEXT = """\
[platform]
name = "issuer"
role = "issuer"
mode = "lab"

[database]
url = "sqlite:///var/kms.db"

[hsm]
module = "/usr/lib/softhsm/libsofthsm2.so"
token_label = "issuer"
pin_file = "var/hsm.pin"

[server]
host = "127.0.0.1"
port = 8443
certificate = "server.pem"
private_key = "server.key"
client_ca = "ca.pem"

[cards]
profiles_dir = "profiles"

[[applications]]
name = "Transit"
aid = "A000000951000101"
ssd_aid = "A0000009510001"
privileges = "80"
"""

PROFILE = 'kvn_start_scp02 = 0x21\nssd_load_file_aid = "A0000001515350"\n'

WriteConfig = Callable[..., Path]


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    """Write a good configuration with texts replaced: `write_config((old, new), ...)`."""

    def write(*changes: tuple[str, str], profile: str = PROFILE) -> Path:
        text = TEXT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "profiles").mkdir(exist_ok=True)
        (tmp_path / "profiles" / "plain.toml").write_text(profile)
        path = tmp_path / "kms.toml"
        path.write_text(text)
        return path

    return write


def find_faults(path: Path) -> dict[str, str]:
    """Load a configuration that must be refused: its faults by field."""
    with pytest.raises(KmsError) as caught:
        load_config(path)
    assert caught.value.code is Code.CONFIG_INVALID
    return {fault.where.removeprefix(f"{path}: "): fault.what for fault in caught.value.faults}

"""The configuration file: what is taken, and that every fault is named with file and field."""

from pathlib import Path

import pytest

from terminal.config import IdentitySource, load_config
from terminal.errors import TerminalCode, TerminalError

MINIMAL = """
[server]
url = "https://localhost:8443/"
ca_certificate = "pki/ca.pem"
client_certificate = "pki/t.pem"
client_key = "/etc/t.key"
[journal]
directory = "journal"
"""


def refuse(path: Path) -> str:
    with pytest.raises(TerminalError) as caught:
        load_config(path)
    assert caught.value.code is TerminalCode.CONFIG_INVALID
    assert str(path) in caught.value.problem
    return caught.value.problem


def write(directory: Path, text: str) -> Path:
    path = directory / "terminal.toml"
    path.write_text(text)
    return path


def test_the_least_that_is_needed(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert config.server_url == "https://localhost:8443"
    assert config.client_key == Path("/etc/t.key")
    assert config.timeouts.reconnect == 300
    assert config.reader_name == ""
    assert config.identity_order == (IdentitySource.IIN_CIN, IdentitySource.CPLC)


def test_relative_paths_are_taken_from_the_working_directory(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, MINIMAL)).ca_certificate == Path.cwd() / "pki" / "ca.pem"


def test_everything_can_be_set(tmp_path: Path) -> None:
    text = MINIMAL + '[reader]\nname = "PCD"\n[timeouts]\nrequest = 5\nreconnect = 0\n[identity]\norder = ["cplc"]\n'
    config = load_config(write(tmp_path, text))
    assert (config.reader_name, config.timeouts.request, config.timeouts.reconnect) == ("PCD", 5, 0)
    assert config.identity_order == (IdentitySource.CPLC,)


def test_the_shipped_file_is_sound() -> None:
    config = load_config(Path(__file__).parents[3] / "config" / "terminal.toml")
    assert config.server_url == "https://localhost:8443"


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    text = '[server]\nurl = "http://x"\nca_certificate = 7\nclient_key = ""\ncolour = "red"\n[journal]\n'
    problem = refuse(write(tmp_path, text))
    for fault in (
        "server.url must be an https:// address",
        "server.ca_certificate must be text",
        "server.client_certificate is missing",
        "server.client_key must not be empty",
        "journal.directory is missing",
        "server.colour is not a known field",
    ):
        assert fault in problem


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ("[timeouts]\nrequest = 0\n", "timeouts.request"),
        ("[timeouts]\nrequest = -1\n", "timeouts.request"),
        ("[timeouts]\nreconnect = true\n", "timeouts.reconnect"),
        ('[timeouts]\nreconnect = "5 min"\n', "timeouts.reconnect"),
        ("[timeouts]\nreconnect = nan\n", "timeouts.reconnect"),
        ("[identity]\norder = []\n", "identity.order"),
        ('[identity]\norder = ["cplc", "cplc"]\n', "identity.order"),
        ('[identity]\norder = ["serial"]\n', "identity.order"),
        ('[identity]\norder = "cplc"\n', "identity.order"),
        ("[reader]\nname = 3\n", "reader.name"),
        ("[sound]\nloud = true\n", "sound.loud"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, extra: str, field: str) -> None:
    assert field in refuse(write(tmp_path, MINIMAL + extra))


@pytest.mark.parametrize(
    "url", ["localhost:8443", "https://", "https://x?y=1", "https://x:port", "https://[", "ftp://x"]
)
def test_wrong_addresses_are_refused(tmp_path: Path, url: str) -> None:
    assert "server.url" in refuse(write(tmp_path, MINIMAL.replace("https://localhost:8443/", url)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refuse(tmp_path / "absent.toml")


@pytest.mark.parametrize("content", [b"= 3", b"\xff\xfe"])
def test_what_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "terminal.toml"
    path.write_bytes(content)
    assert "TOML" in refuse(path)

"""Several readers side by side: each its own journal, and none stops for another's faults."""

import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from terminal.client import ServerClient
from terminal.config import TerminalConfig
from terminal.errors import TerminalCode, TerminalError
from terminal.fleet import ReaderLoop, build_loop, find_journal
from terminal.output import Screen
from terminal.reader import Readers
from tests.fakes.pcsc import FakePcsc, FakeReader
from tests.fakes.scripted_card import ScriptedCard
from tests.fakes.seram_server import SeramServer
from tests.unit.terminal.test_app import ANSWERS, IDENTITY


@pytest.fixture
def config(tmp_path: Path) -> TerminalConfig:
    return TerminalConfig("https://kms.test", tmp_path, tmp_path, tmp_path, tmp_path / "journal")


class Post:
    """One reader with a card, and a server of its own. `stop` is set when the server was asked often enough."""

    def __init__(self, config: TerminalConfig, name: str, pcsc: FakePcsc, requests: int) -> None:
        self.stop = threading.Event()
        self.left = requests
        self.server: Callable[[httpx.Request], httpx.Response] = SeramServer(IDENTITY)
        screen = Screen(as_json=True, reader=name)
        self.loop = ReaderLoop(config, name, screen, self.stop, lambda: Readers(5, pcsc), self.open_server)

    def open_server(self) -> ServerClient:
        def answer(request: httpx.Request) -> httpx.Response:
            self.left -= 1
            if self.left <= 0:
                self.stop.set()
            return self.server(request)

        http = httpx.Client(transport=httpx.MockTransport(answer), base_url="https://kms.test")
        return ServerClient(http, reconnect=0, sleep=lambda _seconds: None)


def build_pcsc(*names: str) -> FakePcsc:
    return FakePcsc({name: FakeReader(b"\x3b\x80", answer=ScriptedCard(ANSWERS).transmit) for name in names})


def test_two_readers_serve_their_cards_side_by_side(config: TerminalConfig, capsys: pytest.CaptureFixture[str]) -> None:
    pcsc = build_pcsc("Reader A", "Reader B")
    posts = [Post(config, name, pcsc, 3) for name in ("Reader A", "Reader B")]
    threads = [threading.Thread(target=post.loop.run) for post in posts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [post.loop.served for post in posts] == [1, 1]
    said = capsys.readouterr().out
    assert '"at_reader": "Reader A"' in said
    assert '"at_reader": "Reader B"' in said
    assert len({find_journal(config.journal_directory, post.loop.reader_name) for post in posts}) == 2
    assert all(find_journal(config.journal_directory, post.loop.reader_name).is_dir() for post in posts)


def test_a_server_that_is_away_is_tried_again_and_said_so(
    config: TerminalConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terminal.fleet.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("terminal.fleet.LONGEST_PAUSE", 0.001)
    post = Post(config, "Reader A", build_pcsc("Reader A"), 4)
    post.server = lambda _request: httpx.Response(503)
    post.loop.run()
    assert post.left <= 0
    told = capsys.readouterr().err
    assert TerminalCode.SERVER_UNREACHABLE in told
    assert "Reader A" in told


def test_journals_of_readers_with_strange_or_like_names_stand_apart(tmp_path: Path) -> None:
    names = ["ACS ACR122U 00 00", "ACS ACR122U/00 00", "../../etc", "x" * 300]
    folders = {find_journal(tmp_path, name) for name in names}
    assert len(folders) == len(names)
    assert all(folder.parent == tmp_path for folder in folders)


def test_a_loop_is_for_its_reader_and_no_certificate_no_start(config: TerminalConfig) -> None:
    loop = build_loop(config, "Reader A", threading.Event(), as_json=True)
    assert loop.config.reader_name == "Reader A"
    with pytest.raises(TerminalError) as error:
        loop.open_server()
    assert error.value.code is TerminalCode.CONFIG_INVALID

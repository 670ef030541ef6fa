"""The command `kms-terminal`: what it shows, what it leaves, how it ends."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from terminal import app
from terminal.config import TerminalConfig
from terminal.journal import FILE_NAME
from terminal.reader import Readers
from tests.fakes.pcsc import FakePcsc, FakeReader
from tests.fakes.scripted_card import ScriptedCard
from tests.fakes.seram_server import SeramServer

IIN, CIN = "415566", "AABB"
IDENTITY = IIN + CIN
ANSWERS = {
    "00A40400": "6F0A8408A0000001510000009000",
    "80CA0042": f"{IIN}9000",
    "80CA0045": f"{CIN}9000",
    "80CA00E0": "E006C00401FF80109000",
    "80CA0066": "6A88",
    "80CA9F7F": "6A88",
    "00CA": "6A88",
    "80500000": "00007295713236006868FF02" + "00" * 16 + "9000",
}


class Bench:
    """A terminal with a reader, a card and a server, all in a test's hand."""

    def __init__(self, directory: Path) -> None:
        self.card = ScriptedCard(ANSWERS)
        self.reader = FakeReader(b"\x3b\x80", answer=self.card.transmit)
        self.pcsc = FakePcsc({"Counter reader": self.reader})
        self.server: Callable[[httpx.Request], httpx.Response] = SeramServer(IDENTITY)
        self.directory = directory
        self.config = directory / "terminal.toml"
        self.config.write_text(
            '[server]\nurl = "https://kms.test"\nca_certificate = "ca"\nclient_certificate = "c"\nclient_key = "k"\n'
            f'[journal]\ndirectory = "{directory}"\n[timeouts]\nreconnect = 0\n'
        )

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app.main, ["--config", str(self.config), *arguments])

    @property
    def journal(self) -> bytes:
        return (self.directory / FILE_NAME).read_bytes()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)

    def serve(request: httpx.Request) -> httpx.Response:
        return made.server(request)

    def open_http(config: TerminalConfig) -> httpx.Client:
        return httpx.Client(base_url=config.server_url, transport=httpx.MockTransport(serve))

    monkeypatch.setattr(app, "Readers", lambda timeout: Readers(timeout, made.pcsc))
    monkeypatch.setattr(app, "open_http", open_http)
    return made


def events(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_readers_are_shown(bench: Bench) -> None:
    result = bench.run("readers")
    assert result.exit_code == 0
    assert "Counter reader" in result.stdout


def test_a_fault_of_ours_is_told_in_words(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: Readers) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(Readers, "list_readers", fail)
    done = bench.run("readers")
    assert done.exit_code == 70
    assert "should not (RuntimeError)" in done.stderr
    assert "secret detail" not in done.output


def test_identify_shows_the_card(bench: Bench) -> None:
    result = bench.run("identify", "--json")
    assert result.exit_code == 0
    assert events(result)[0]["identity"] == IDENTITY


def test_identify_prints_the_row_that_enrols_the_card(bench: Bench) -> None:
    result = bench.run("identify", "--csv", "--vendor-master", "acme", "--diversification", "none", "--profile", "p")
    assert result.stdout.splitlines()[1] == f"{IDENTITY},00007295713236006868,A000000151000000,FF,,,acme,none,p"


def test_once_is_one_visit(bench: Bench) -> None:
    result = bench.run("once")
    assert result.exit_code == 0
    assert "4 commands, 4 requests" in result.stdout
    assert "Server: keys are in place" in result.stdout
    assert bench.journal == b""
    assert ("SCardDisconnect", ("Counter reader", 1)) in bench.pcsc.calls


def test_once_for_machines(bench: Bench) -> None:
    lines = events(bench.run("once", "--json"))
    assert [line["event"] for line in lines] == ["card-served", *["command"] * 4, "notification", "visit"]
    assert (lines[-1]["requests"], lines[-1]["complete"]) == (4, True)


def test_apply_runs_the_visit_that_the_server_opened(bench: Bench) -> None:
    seram = SeramServer(IDENTITY)

    def server(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/applications":
            return httpx.Response(201, json={"sessionId": "the-servers", "state": "REQUESTED"})
        return seram(request)

    bench.server = server
    result = bench.run("apply", "--application", "A000000001")
    assert result.exit_code == 0
    assert seram.handshakes == ["the-servers"]


def test_an_application_the_server_refuses_begins_no_visit(bench: Bench) -> None:
    bench.server = lambda _: httpx.Response(404, json={"detail": "no such application", "code": "input.not-found"})
    result = bench.run("apply", "--application", "A000000001")
    assert result.exit_code == 1
    assert "no such application" in result.stderr
    assert bench.journal == b""


@pytest.mark.parametrize(
    "arguments",
    [
        ("apply",),
        ("apply", "--application", "XY"),
        ("apply", "--application", "A0"),
        ("pending", "--all", "--card", "01"),
        ("dance",),
    ],
)
def test_wrong_usage_is_2(bench: Bench, arguments: tuple[str, ...]) -> None:
    assert bench.run(*arguments).exit_code == 2


def test_pending_asks_for_the_card_present_or_for_all(bench: Bench) -> None:
    asked: list[str | None] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("card"))
        return httpx.Response(200, json={"cards": []})

    bench.server = server
    for arguments in (("pending",), ("pending", "--card", "0102"), ("pending", "--all")):
        assert bench.run(*arguments).exit_code == 0
    assert asked == [IDENTITY, "0102", None]


def test_no_card_is_told_with_what_to_do_and_what_comes_next(bench: Bench) -> None:
    bench.reader.atr = b""
    result = bench.run("once")
    assert result.exit_code == 1
    assert "no card" in result.stderr
    assert "What to do:" in result.stderr
    assert "Next run:" in result.stderr


def test_a_missing_configuration_is_told(bench: Bench) -> None:
    bench.config.unlink()
    result = bench.run("once")
    assert result.exit_code == 1
    assert "config.invalid" in result.stderr


def test_a_card_pulled_out_is_told_after_the_server_knows(bench: Bench) -> None:
    bench.card.leaves_after = 4
    bench.reader.answer = lambda tpdu: bench.card.transmit(tpdu) if len(bench.card.received) < 4 else b""
    result = bench.run("once")
    assert result.exit_code == 1
    assert "broken off" in result.stdout
    assert bench.journal == b""


def test_a_server_lost_on_the_way_is_gone_on_with_by_the_next_run(bench: Bench) -> None:
    server = SeramServer(IDENTITY, batches=1)

    def fails_once(request: httpx.Request) -> httpx.Response:
        if len(server.requests) == 2:
            server.faults.append(httpx.ConnectError("cut"))
        return server(request)

    bench.server = fails_once
    result = bench.run("once")
    assert result.exit_code == 1
    assert "safe on disk" in result.stderr
    bench.server = server
    result = bench.run("once")
    assert "Going on with the visit" in result.stdout
    assert server.answered[0] == ["9000", "9000"]


def test_run_serves_card_after_card_until_ctrl_c(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = []

    def pass_time(_: float) -> None:
        turns.append(1)
        if len(turns) == 1:
            bench.reader.atr = b""  # taken out
        elif len(turns) == 2:
            bench.server = SeramServer("FFFF")  # the next card is unknown there
            bench.reader.atr = b"\x3b\x80"
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr("terminal.reader.time.sleep", pass_time)
    result = bench.run("run")
    assert result.exit_code == 130
    assert "4 commands, 4 requests" in result.stdout
    assert "card.unknown" in result.stderr
    assert result.stdout.count("Take the card out") == 2
    assert "Next run:" in result.stderr


def test_run_ends_when_the_reader_is_unplugged(bench: Bench) -> None:
    bench.pcsc.readers.clear()
    result = bench.run("run")
    assert result.exit_code == 1
    assert "reader.none" in result.stderr


def test_ctrl_c_in_a_visit_leaves_it_in_the_journal(bench: Bench) -> None:
    def interrupt(tpdu: bytes) -> bytes:
        if len(bench.card.received) == 4:
            raise KeyboardInterrupt
        return bench.card.transmit(tpdu)

    bench.reader.answer = interrupt
    result = bench.run("once")
    assert result.exit_code == 130
    assert "none is sent twice" in result.stderr
    assert bench.journal != b""


def test_sigterm_ends_it_as_ctrl_c_does(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("terminal.reader.time.sleep", lambda _: signal.raise_signal(signal.SIGTERM))
    assert bench.run("run").exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_virtual_card_is_a_command_of_it(bench: Bench) -> None:
    assert bench.run("virtual-card", "--help").exit_code == 0

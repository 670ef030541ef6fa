"""`kms-terminal virtual-card` as a program: it keeps a card in a reader and ends when it is told."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.vpcd_reader import VpcdReader
from tests.unit.terminal.virtual_card.host import KEY, NEW_KEYS, Host
from tests.unit.terminal.virtual_card.host03 import NEW_KEYS as NEW_AES_KEYS
from tests.unit.terminal.virtual_card.host03 import Host03, cmac

PROGRAM = "from terminal.virtual_card.app import virtual_card; virtual_card()"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def reader() -> Iterator[VpcdReader]:
    reader = VpcdReader()
    yield reader
    reader.close()


@pytest.fixture
def start(reader: VpcdReader) -> Iterator[Start]:
    programs: list[subprocess.Popen[str]] = []

    def start_program(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, "--port", str(reader.port), *arguments]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        programs.append(program)
        return program

    yield start_program
    for program in programs:
        program.kill()
        program.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_one_line_and_ends_cleanly_on_a_signal(reader: VpcdReader, start: Start, number: int) -> None:
    program = start("--scp02-i", "15", "--kvn", "FF")
    reader.take_card()
    assert program.stdout is not None
    assert program.stdout.readline().endswith("ISD A000000151000000, SCP02 i=15, key versions FF\n")
    program.send_signal(number)
    output, _errors = program.communicate(timeout=10)
    assert (program.returncode, output) == (0, "")


def test_the_card_remembers_its_keys_across_restarts(reader: VpcdReader, start: Start, tmp_path: Path) -> None:
    master = tmp_path / "master"
    master.write_text(KEY.hex(), encoding="ascii")
    state = tmp_path / "card.json"
    arguments = ("--once", "--state", str(state), "--master-file", str(master))
    program = start(*arguments, "--tear-during", "PUT-KEY:after")
    reader.take_card()
    assert Host(reader).open(0x03).put_keys(0x01, 0x20) == (b"", "")
    output, _errors = program.communicate(timeout=10)
    assert program.returncode == 0
    assert output.endswith("power lost\n")
    assert state.stat().st_mode & 0o077 == 0
    program = start(*arguments)
    reader.take_card()
    Host(reader, NEW_KEYS).open(0x03, kvn=0x20)
    program.terminate()
    output, _errors = program.communicate(timeout=10)
    assert f"read from {state}" in output


def test_a_card_of_aes_keys_by_kdf3_in_s16_remembers_keys_and_counter(
    reader: VpcdReader, start: Start, tmp_path: Path
) -> None:
    master = tmp_path / "master"
    master.write_text(KEY.hex(), encoding="ascii")
    kdd = bytes.fromhex("00010203040506070809")
    enc, mac, dek = (cmac(KEY, bytes([1, 0, 0, 0, number, 0]) + kdd) for number in (1, 2, 3))
    arguments = ["--state", str(tmp_path / "card.json"), "--key-type", "aes", "--scp03-i", "71", "--kvn", "30"]
    arguments += ["--master-file", str(master), "--diversification", "kdf3"]
    program = start(*arguments)
    reader.take_card()
    assert program.stdout is not None
    assert program.stdout.readline().endswith("ISD A000000151000000, SCP03 i=71, key versions 30\n")
    assert Host03(reader, (enc, mac, dek), 16).open(0x33).put_aes(0x00, 0x31)[1] == "9000"
    program.terminate()
    program.communicate(timeout=10)
    start(*arguments)
    reader.take_card()
    assert Host03(reader, (enc, mac, dek), 16).open(0x33, 0x30).sequence_counter == 2
    Host03(reader, NEW_AES_KEYS, 16).open(0x33, 0x31)


def test_it_comes_back_after_power_was_lost(reader: VpcdReader, start: Start) -> None:
    start("--tear-at", "1:before")
    reader.take_card()
    assert Host(reader).initialize() == ""
    reader.take_card()
    Host(reader).open(0x03)


def test_without_a_reader_it_says_what_to_do(reader: VpcdReader, start: Start) -> None:
    reader.close()
    program = start()
    output, _errors = program.communicate(timeout=10)
    assert program.returncode == 1
    assert "start pcscd" in output
    assert "Traceback" not in output

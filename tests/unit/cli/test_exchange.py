"""`kms keys exchange` with platforms in memory: files, what is shown, and what is not overwritten."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kms.cli.context import Invocation
from kms.cli.exchange import exchange_group
from kms.errors import Code, KmsError
from tests.fakes.lab_platform import build_lab_invocation
from tests.unit.service.test_exchange import build_site


def build_invocation(name: str) -> Invocation:
    return build_lab_invocation(exchange=build_site(name).exchange)


@pytest.fixture
def bank() -> Invocation:
    return build_invocation("bank")


@pytest.fixture
def issuer() -> Invocation:
    return build_invocation("issuer")


def run(invocation: Invocation, *arguments: object) -> Result:
    return CliRunner().invoke(exchange_group, [str(argument) for argument in arguments], obj=invocation)


def check_refused(result: Result, code: Code) -> None:
    assert isinstance(result.exception, KmsError)
    assert result.exception.code is code


def offer(bank: Invocation, path: Path) -> str:
    shown = json.loads(run(bank, "offer", "--peer", "issuer", "--out", path, "--json").stdout)
    assert shown["file"] == str(path)
    fingerprint: str = shown["fingerprint"]
    return fingerprint


def answer(issuer: Invocation, source: Path, path: Path, fingerprint: str) -> Result:
    return run(
        issuer, "answer", "--peer", "bank", "--in", source, "--out", path, "--fingerprint", fingerprint, "--json"
    )


def test_three_steps_show_fingerprints_and_one_check_value_with_its_method(
    bank: Invocation, issuer: Invocation, tmp_path: Path
) -> None:
    offer_file, answer_file = tmp_path / "offer", tmp_path / "answer"
    answered = json.loads(answer(issuer, offer_file, answer_file, offer(bank, offer_file)).stdout)
    accepting = ("accept", "--peer", "issuer", "--in", answer_file, "--fingerprint", answered["fingerprint"])
    accepted = json.loads(run(bank, *accepting, "--json").stdout)
    assert (accepted["kcv"], accepted["kcv_method"]) == (answered["kcv"], "aes-cmac-zero")
    assert "telephone" in run(bank, *accepting).stdout
    assert "object_id" not in accepted


def test_a_file_that_is_there_is_not_overwritten_and_no_key_is_made(
    bank: Invocation, issuer: Invocation, tmp_path: Path
) -> None:
    offer_file, taken = tmp_path / "offer", tmp_path / "taken"
    fingerprint = offer(bank, offer_file)
    taken.write_text("mine")
    check_refused(answer(issuer, offer_file, taken, fingerprint), Code.CONFLICT)
    assert taken.read_text() == "mine"
    assert answer(issuer, offer_file, tmp_path / "answer", fingerprint).exit_code == 0
    check_refused(run(bank, "offer", "--peer", "issuer", "--out", tmp_path / "no" / "offer"), Code.INPUT_INVALID)


def test_a_step_that_is_refused_leaves_no_file(bank: Invocation, issuer: Invocation, tmp_path: Path) -> None:
    offer_file, answer_file = tmp_path / "offer", tmp_path / "answer"
    offer(bank, offer_file)
    check_refused(answer(issuer, offer_file, answer_file, "00" * 32), Code.EXCHANGE_FINGERPRINT)
    assert not answer_file.exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{}", b"x" * 100_000])
def test_what_is_no_file_of_ours_is_refused(issuer: Invocation, tmp_path: Path, content: bytes) -> None:
    offer_file = tmp_path / "offer"
    offer_file.write_bytes(content)
    check_refused(answer(issuer, offer_file, tmp_path / "answer", "00" * 32), Code.EXCHANGE_REFUSED)


@pytest.mark.parametrize("fingerprint", ["", "yes", "00" * 31])
def test_a_fingerprint_that_is_none_is_wrong_usage(
    bank: Invocation, issuer: Invocation, tmp_path: Path, fingerprint: str
) -> None:
    offer(bank, tmp_path / "offer")
    result = answer(issuer, tmp_path / "offer", tmp_path / "answer", fingerprint)
    assert result.exit_code == 2

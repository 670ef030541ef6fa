import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kms.card.keys import KcvMethod, KeyType
from kms.cli.context import Invocation
from kms.cli.keys import keys_group
from kms.errors import Code, KmsError
from kms.service.keys import KeyService
from tests.fakes.lab_platform import build_lab_invocation
from tests.fakes.master_vault import MasterVault, combine
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import CountingIdentifiers, TickingClock
from tests.fakes.software_keys import check_value

PARTS = ["13579BDF02468ACE1F2E3D4C5B6A7980", "00112233445566778899AABBCCDDEEFF"]
VALUE = combine([bytearray.fromhex(part) for part in PARTS])
KCV = check_value(VALUE, KeyType.DES2, KcvMethod.DES_ZERO).hex().upper()
IMPORT = ("import", "--name", "vendor", "--type", "DES2", "--kcv", KCV)


@pytest.fixture
def invocation() -> Invocation:
    vault = MasterVault()
    keys = KeyService(store=MemoryStore(), vault=vault, clock=TickingClock(), identifiers=CountingIdentifiers())
    return build_lab_invocation(vault=vault, keys=keys)


def run(invocation: Invocation, *arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(keys_group, arguments, obj=invocation, input=typed)


def write_parts(folder: Path, *parts: str) -> list[str]:
    options = []
    for number, part in enumerate(parts):
        path = folder / f"part-{number}"
        path.write_text(part + "\n")
        path.chmod(0o600)
        options += ["--component-file", str(path)]
    return options


def test_a_generated_key_is_shown_listed_and_never_printed(invocation: Invocation) -> None:
    made = json.loads(run(invocation, "generate", "--kind", "ssd", "--name", "ssd", "--json").stdout)
    assert (made["state"], made["kcv_method"], made["generation"]) == ("ACTIVE", "aes-cmac-zero", 1)
    shown = json.loads(run(invocation, "show", "ssd", "--json").stdout)
    assert shown.items() >= made.items()
    assert (shown["key_sets_on_cards"], shown["open_updates"]) == (0, 0)
    assert json.loads(run(invocation, "list", "--json").stdout) == [made]
    assert made["kcv"] in run(invocation, "list").stdout


def test_a_second_generation_has_to_be_asked_for(invocation: Invocation) -> None:
    arguments = ("generate", "--kind", "isd", "--name", "isd")
    run(invocation, *arguments)
    refused = run(invocation, *arguments)
    assert isinstance(refused.exception, KmsError)
    assert refused.exception.code is Code.CONFLICT
    assert run(invocation, *arguments, "--new-generation").exit_code == 0


def test_masters_end_when_they_are_told_to_and_are_deactivated_once_nothing_hangs_on_them(
    invocation: Invocation,
) -> None:
    generate = ("generate", "--kind", "isd", "--name", "isd", "--json")
    made = json.loads(run(invocation, *generate, "--valid-days", "30").stdout)
    assert (made["activated_at"], made["expires_at"]) == ("2026-11-23T12:00:00Z", "2026-12-23T12:00:00Z")
    assert json.loads(run(invocation, *generate, "--new-generation").stdout)["expires_at"] == "2027-11-23T12:00:00Z"
    done = run(invocation, "deactivate", "isd", "--generation", "1", "--because", "replaced", "--json")
    assert json.loads(done.stdout)["state"] == "DEACTIVATED"
    assert json.loads(run(invocation, "show", "isd", "--generation", "1", "--json").stdout)["state"] == "DEACTIVATED"
    assert json.loads(run(invocation, "show", "isd", "--json").stdout)["state"] == "ACTIVE"


def test_components_come_from_files(invocation: Invocation, tmp_path: Path) -> None:
    done = run(invocation, *IMPORT, *write_parts(tmp_path, *PARTS), "--json")
    assert json.loads(done.stdout)["kcv"] == KCV


def test_components_are_asked_for_without_being_shown(invocation: Invocation) -> None:
    done = run(invocation, *IMPORT, typed="\n".join(PARTS) + "\n")
    assert done.exit_code == 0
    assert KCV in done.stdout
    assert not any(part in done.output for part in PARTS)


def test_a_component_that_others_can_read_is_refused(invocation: Invocation, tmp_path: Path) -> None:
    options = write_parts(tmp_path, *PARTS)
    (tmp_path / "part-1").chmod(0o640)
    failure = run(invocation, *IMPORT, *options).exception
    assert isinstance(failure, KmsError)
    assert "chmod 0600" in failure.detail


@pytest.mark.parametrize("text", ["not hex at all", "13579BDF02468ACE1F2E3D4C5B6A798"])
def test_a_component_that_is_no_hex_is_not_quoted(invocation: Invocation, tmp_path: Path, text: str) -> None:
    failure = run(invocation, *IMPORT, *write_parts(tmp_path, text)).exception
    assert isinstance(failure, KmsError)
    assert failure.code is Code.INPUT_INVALID
    assert text not in str(failure)
    assert failure.__suppress_context__


def test_a_wrong_check_value_ends_in_its_error_and_makes_nothing(invocation: Invocation, tmp_path: Path) -> None:
    arguments = [*IMPORT[:-1], "000000", *write_parts(tmp_path, *PARTS)]
    failure = run(invocation, *arguments).exception
    assert isinstance(failure, KmsError)
    assert failure.code is Code.KEY_KCV_MISMATCH
    assert json.loads(run(invocation, "list", "--json").stdout) == []

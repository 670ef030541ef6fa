"""Recovery, hanging calls, one login and forks, on each make of token where it applies.

Only a SoftHSM2 token can be taken away under a running library, by moving its folder: NSS keeps its database open.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kms.card.keys import KeyType, KeyUse
from kms.errors import Code, KmsError
from kms.hsm.gateway import Gateway
from kms.hsm.scope import TokenScope
from kms.hsm.vault import TokenVault, open_vault
from kms.hsm.watch import Watch
from kms.service.ports import NewMaster
from tests.contract.conftest import refer, refused
from tests.contract.tokens import SOFTHSM2, FreshToken

SPY = Path("/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so")
ID = bytes(range(16))
BLOCK = b"\x01" * 16


@pytest.fixture
def removable(token: FreshToken) -> FreshToken:
    """A token that `away` can take away."""
    if token.make is not SOFTHSM2:
        pytest.skip(f"{token.make.name} cannot be taken away while it is open")
    return token


@contextmanager
def away(token: FreshToken) -> Iterator[None]:
    elsewhere = token.folder.with_name("away")
    token.folder.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(token.folder)


def wait_until(attempt: Callable[[], object], seconds: float) -> float:
    """Repeat until it raises no KmsError; returns the seconds it took."""
    start = time.monotonic()
    while True:
        try:
            attempt()
        except KmsError:
            if time.monotonic() - start > seconds:
                raise
            time.sleep(0.005)
        else:
            return time.monotonic() - start


def test_a_token_that_went_away_fails_fast_and_recovers_without_a_restart(removable: FreshToken) -> None:
    gateway = Gateway(removable.settings)
    vault = open_vault(removable.settings)
    made = vault.generate_master(ID, "isd-1")
    scope = TokenScope(gateway)
    old_master = scope.get_master(refer(made))
    old_key = scope.derive_cmac(old_master, (BLOCK,), KeyType.AES128, KeyUse.MAC)

    def use() -> None:
        with vault.open_scope() as keys:
            keys.derive_cmac(keys.get_master(refer(made)), (BLOCK,), KeyType.AES128, KeyUse.MAC)

    use()
    with away(removable):
        with refused(Code.HSM_UNAVAILABLE):
            use()
        start = time.monotonic()
        for _ in range(50):
            with refused(Code.HSM_UNAVAILABLE):
                use()
        assert (time.monotonic() - start) / 50 < 0.02
    took = wait_until(use, seconds=5)
    assert took < 0.5
    # An old handle may name another object now: it is refused, not used.
    with refused(Code.HSM_UNAVAILABLE):
        scope.cmac(old_key, b"data")
    with refused(Code.HSM_UNAVAILABLE):
        scope.derive_cmac(old_master, (BLOCK,), KeyType.AES128, KeyUse.MAC)
    scope.close()
    vault.close()
    gateway.close()


def test_a_token_that_was_away_unnoticed_is_looked_at_anew(removable: FreshToken, vault: TokenVault) -> None:
    made = vault.generate_master(ID, "isd-1")
    vault.close()
    vault.random(8)
    with away(removable), pytest.raises(KmsError), vault.open_scope() as keys:
        keys.get_master(refer(made))
    wait_until(lambda: vault.random(8), seconds=5)
    with vault.open_scope() as keys:
        keys.get_master(refer(made))


def test_a_token_that_came_back_with_another_key_is_refused(
    removable: FreshToken, vault: TokenVault, tmp_path: Path
) -> None:
    shutil.copytree(removable.folder, tmp_path / "before")
    made = vault.generate_master(ID, "isd-1")
    with vault.open_scope() as keys:
        keys.get_master(refer(made))
    with away(removable):
        shutil.copytree(tmp_path / "before", removable.folder)
        other = wait_until_made(vault)
        with vault.open_scope() as keys, refused(Code.KEY_KCV_MISMATCH):
            keys.get_master(refer(made))
        with vault.open_scope() as keys:
            keys.get_master(refer(other))
        shutil.rmtree(removable.folder)


def wait_until_made(vault: TokenVault) -> NewMaster:
    made: list[NewMaster] = []
    wait_until(lambda: made.append(vault.generate_master(ID, "isd-1")), seconds=5)
    return made[0]


def test_readiness_turns_red_and_green_by_itself_and_takes_no_lock(removable: FreshToken) -> None:
    gateway = Gateway(removable.settings)
    vault = open_vault(removable.settings)
    wait_until(vault.check, seconds=5)
    with away(removable):
        start = time.monotonic()
        while time.monotonic() - start < 5:
            try:
                vault.check()
            except KmsError:
                break
            time.sleep(0.01)
        assert time.monotonic() - start < 5
    assert wait_until(vault.check, seconds=5) < 1
    with gateway.connect():  # the lock is held, as by a call under way
        start = time.monotonic()
        vault.check()
        assert time.monotonic() - start < 0.1
    vault.close()
    gateway.close()


def test_a_call_that_hangs_ends_the_worker_and_holds_up_nobody_for_long(token: FreshToken) -> None:
    settings = replace(token.settings, call_timeout_s=0.3)
    gateway = Gateway(settings)
    hung = threading.Event()
    watch = Watch(gateway, hung.set)
    watch.start()
    wait_until(gateway.check, seconds=5)
    with gateway.connect():
        assert hung.wait(3)
        with refused(Code.HSM_UNAVAILABLE):
            gateway.check()
        failures: list[Code] = []

        def call_beside() -> None:
            try:
                with gateway.connect():
                    pass
            except KmsError as error:
                failures.append(error.code)

        beside = threading.Thread(target=call_beside)
        beside.start()
        beside.join(2)
        assert failures == [Code.HSM_UNAVAILABLE]
    watch.stop()
    gateway.close()


def test_a_wrong_pin_is_tried_once_and_never_again(token: FreshToken) -> None:
    vault = open_vault(replace(token.settings, pin="not the PIN"))
    for _ in range(3):
        with refused(Code.HSM_LOGIN):
            vault.random(8)
    with refused(Code.HSM_LOGIN):
        vault.check()
    vault.close()
    assert "not the PIN" not in repr(token.settings) + repr(replace(token.settings, pin="not the PIN"))


@pytest.mark.skipif(not SPY.exists(), reason="pkcs11-spy is not installed: apt-get install opensc-pkcs11")
def test_a_wrong_pin_reaches_the_token_once(token: FreshToken, tmp_path: Path) -> None:
    script = """
import json, sys
from kms.errors import KmsError
from kms.hsm.settings import HsmSettings
from kms.hsm.vault import open_vault
vault = open_vault(HsmSettings(sys.argv[1], sys.argv[2], "not the PIN", environment=json.loads(sys.argv[3])))
for _ in range(5):
    try:
        vault.random(8)
    except KmsError as error:
        print(error.code)
"""
    log = tmp_path / "spy.log"
    environment = os.environ | {
        "PKCS11SPY": token.settings.module,
        "PKCS11SPY_OUTPUT": str(log),
    }
    command = [
        sys.executable,
        "-c",
        script,
        str(SPY),
        token.settings.token_label,
        json.dumps(token.settings.environment),
    ]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [Code.HSM_LOGIN] * 5
    assert log.read_text().count(": C_Login\n") == 1


def test_a_vault_opened_before_the_fork_is_refused_after_it(vault: TokenVault) -> None:
    vault.random(8)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            vault.random(8)
            os.write(write_end, b"worked")
        except KmsError as error:
            os.write(write_end, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    answer = os.read(read_end, 1000).decode()
    os.close(read_end)
    os.close(write_end)
    assert answer.startswith(Code.HSM_UNAVAILABLE)
    assert "before this process was forked" in answer
    assert len(vault.random(8)) == 8


def test_a_vault_made_before_the_fork_and_not_used_opens_in_the_child(token: FreshToken) -> None:
    script = """
import json, os, sys
from kms.hsm.settings import HsmSettings
from kms.hsm.vault import open_vault
vault = open_vault(HsmSettings(*sys.argv[1:4], environment=json.loads(sys.argv[4])))
for _ in range(3):
    if os.fork() == 0:
        os._exit(0 if len(vault.random(8)) == 8 else 1)
sys.exit(max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3)))
"""
    settings = token.settings
    arguments = [settings.module, settings.token_label, settings.pin, json.dumps(settings.environment)]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True)


def test_threads_share_the_token_without_harm(vault: TokenVault) -> None:
    made = vault.generate_master(ID, "isd-1")
    answers: list[bytes] = []

    def work() -> None:
        for _ in range(20):
            with vault.open_scope() as keys:
                key = keys.derive_cmac(keys.get_master(refer(made)), (BLOCK,), KeyType.AES128, KeyUse.MAC)
                answers.append(keys.cmac(key, b"data"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 80
    assert len(set(answers)) == 1


def test_a_token_that_is_not_there_says_so(token: FreshToken) -> None:
    vault = open_vault(replace(token.settings, token_label="no such token"))
    with pytest.raises(KmsError, match="no token labelled 'no such token'") as failure:
        vault.random(8)
    assert failure.value.code is Code.HSM_UNAVAILABLE

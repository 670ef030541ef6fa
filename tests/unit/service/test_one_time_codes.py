"""The login key is made once, and secrets follow from it and the credential alone."""

from dataclasses import replace

import pytest

from kms.domain.keys import KeyState, MasterKind
from kms.errors import Code, KmsError
from tests.fakes.login_scene import LoginScene
from tests.fakes.master_vault import CutOffError


@pytest.fixture
def scene() -> LoginScene:
    return LoginScene()


def test_the_login_key_is_made_once_and_recorded_as_a_key(scene: LoginScene) -> None:
    made = scene.codes.ensure_key(actor="cli:root")
    assert (made.name, made.kind, made.state) == ("test-login", MasterKind.LOGIN, KeyState.ACTIVE)
    assert scene.codes.ensure_key(actor="cli:root") == made
    assert scene.vault.made == 1
    assert [event.result for event in scene.list_events("master-key.generate")] == ["done"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_one_that_was_cut_off_is_taken_up_again(scene: LoginScene, when: str) -> None:
    scene.vault.cut_off = when
    with pytest.raises(CutOffError):
        scene.codes.ensure_key(actor="cli:root")
    with pytest.raises(KmsError) as failure:
        scene.codes.get_key_id()
    assert failure.value.code is Code.KEY_MISSING
    assert scene.codes.ensure_key(actor="cli:root").state is KeyState.ACTIVE
    assert scene.vault.made == 1


def test_secrets_are_twenty_bytes_and_each_credentials_own(scene: LoginScene) -> None:
    key_id = scene.codes.ensure_key(actor="cli:root").id
    first, second = scene.codes.derive_secret(key_id, "a"), scene.codes.derive_secret(key_id, "b")
    assert (len(first), len(second)) == (20, 20)
    assert first != second
    assert first == scene.codes.derive_secret(key_id, "a")


def test_a_key_that_is_not_active_gives_no_secrets(scene: LoginScene) -> None:
    key = scene.codes.ensure_key(actor="cli:root")
    with scene.store.transaction() as transaction:
        transaction.master_keys.save(replace(key, state=KeyState.COMPROMISED))
    with pytest.raises(KmsError) as failure:
        scene.codes.derive_secret(key.id, "a")
    assert failure.value.code is Code.KEY_STATE

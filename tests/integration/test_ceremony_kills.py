"""A ceremony whose process dies at any border, to HSM or database: it is taken up again or ended, never halved."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from kms.card.keys import KeyType
from kms.domain.ceremonies import CeremonyState, Subject
from kms.domain.ceremony_scripts import CeremonyKind
from kms.domain.keys import KeyState
from kms.service.ports import Store
from tests.fakes.ceremony_scene import CeremonyScene, make_components
from tests.fakes.stores import open_store_on

SUBJECTS = {
    "generate-ssd-master": Subject("cards"),
    "import-vendor-master": Subject("maker"),
    "make-backup-key": Subject("backup-key"),
}


class Killed(BaseException):
    """The process died here; nothing in it may catch this."""


class Crossings:
    """Counts the borders that are crossed, and dies at the one that is set."""

    def __init__(self) -> None:
        self.count = 0
        self.kill_at: int | None = None

    def __call__(self) -> None:
        self.count += 1
        if self.count == self.kill_at:
            raise Killed


def count_crossings(script: str) -> int:
    crossings = Crossings()
    scene, ceremony_id, components = begin(script, crossings)
    before = crossings.count
    scene.run(ceremony_id, components)
    return crossings.count - before


def begin(
    script: str, crossings: Callable[[], None], store: Store | None = None
) -> tuple[CeremonyScene, str, tuple[bytes, ...]]:
    scene = CeremonyScene(crossings, store)
    components, _, kcv = make_components(KeyType.DES2, 3)
    importing = script == "import-vendor-master"
    subject = Subject(SUBJECTS[script].key_name, expected_kcv=kcv if importing else b"")
    return scene, scene.start(script, subject), components


def die(scene: CeremonyScene, crossings: Crossings, at: int, ceremony_id: str, components: tuple[bytes, ...]) -> None:
    crossings.kill_at = crossings.count + at
    with pytest.raises(Killed):
        scene.run(ceremony_id, components)
    crossings.kill_at = None
    scene.restart()


def check_whole(scene: CeremonyScene, ceremony_id: str) -> None:
    """One key in the HSM, in force under the check value that was confirmed, and nothing else."""
    scene.ceremonies.tidy()
    view = scene.ceremonies.view(ceremony_id)
    key = scene.keys.get(view.ceremony.key_name)
    assert (view.ceremony.state, key.state, key.kcv) == (CeremonyState.DONE, KeyState.ACTIVE, view.ceremony.kcv)
    assert list(scene.vault.objects) == [key.object_id]
    assert len(scene.keys.list()) == 1
    check_cleared(scene, ceremony_id)


def check_cleared(scene: CeremonyScene, ceremony_id: str) -> None:
    view = scene.ceremonies.view(ceremony_id)
    assert view.ceremony.cleared
    assert not view.ceremony.sealed
    assert not any(item.wrapped for item in view.components)
    assert not scene.vault.ceremony_pairs
    assert not scene.recovery.ceremony_pairs


@pytest.mark.parametrize("script", list(SUBJECTS))
def test_killed_anywhere_it_is_taken_up_again(script: str) -> None:
    for at in range(1, count_crossings(script) + 1):
        crossings = Crossings()
        scene, ceremony_id, components = begin(script, crossings)
        die(scene, crossings, at, ceremony_id, components)
        scene.run(ceremony_id, components)
        check_whole(scene, ceremony_id)


@pytest.mark.parametrize("script", list(SUBJECTS))
def test_killed_anywhere_it_can_be_ended(script: str) -> None:
    for at in range(1, count_crossings(script) + 1):
        crossings = Crossings()
        scene, ceremony_id, components = begin(script, crossings)
        die(scene, crossings, at, ceremony_id, components)
        if scene.ceremonies.view(ceremony_id).ceremony.state is CeremonyState.DONE:
            check_whole(scene, ceremony_id)
            continue
        scene.ceremonies.abort(ceremony_id, actor="person alice", why="the machine died")
        check_cleared(scene, ceremony_id)
        # A key that the HSM had made already is on record, and never used; one that it had not is no more.
        states = [key.state for key in scene.keys.list()]
        if states == [KeyState.ACTIVE]:  # killed after the key came into force, with a note still to be made
            assert len(scene.vault.objects) == 1
            continue
        assert set(states) <= {KeyState.DEACTIVATED if scene.vault.objects else KeyState.DESTROYED}
        # The name is free again: the ceremony can be held anew.
        again = scene.start(script, Subject(SUBJECTS[script].key_name, expected_kcv=scene_kcv(scene, ceremony_id)))
        scene.run(again, components)
        assert scene.keys.get(SUBJECTS[script].key_name).state is KeyState.ACTIVE


@pytest.mark.parametrize("script", ["generate-ssd-master"])
def test_ending_it_is_taken_up_again_too(script: str) -> None:
    for steps, at in itertools.product((2, 4), range(1, 10)):
        crossings = Crossings()
        scene, ceremony_id, components = begin(script, crossings)
        for _ in range(steps):
            scene.step(ceremony_id, components)
        crossings.kill_at = crossings.count + at
        try:
            scene.ceremonies.abort(ceremony_id, actor="person alice", why="a drill")
        except Killed:
            crossings.kill_at = None
            scene.restart()
            scene.ceremonies.abort(ceremony_id, actor="person alice", why="a drill")
        crossings.kill_at = None
        check_cleared(scene, ceremony_id)
        assert not scene.vault.objects


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_ceremony_on_each_database(kind: str, tmp_path: Path) -> None:
    with open_store_on(kind, tmp_path) as store:
        scene, ceremony_id, components = begin("import-vendor-master", lambda: None, store)
        scene.run(ceremony_id, components)
        check_whole(scene, ceremony_id)
        assert scene.ceremonies.list()[0].kind is CeremonyKind.IMPORT_MASTER


def scene_kcv(scene: CeremonyScene, ceremony_id: str) -> bytes:
    return scene.ceremonies.view(ceremony_id).ceremony.expected_kcv

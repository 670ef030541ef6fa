"""Ceremonies from start to end, by the people who may, and by nobody else."""

import json
from dataclasses import replace

import pytest

from kms.card.keys import KeyType
from kms.domain.ceremonies import CeremonyState, StepInput, Subject
from kms.domain.keys import KeyState
from kms.errors import Code, KmsError
from kms.service.token_check import TokenCheck
from tests.fakes.ceremony_scene import CUSTODIANS, SCRIPTS, CeremonyScene, make_components, own_session
from tests.fakes.principals import (
    ADMIN,
    ALICE,
    ALICE_AGAIN,
    AUDITOR,
    BOB,
    CUSTODIAN,
    DEVELOPER,
    OPERATOR,
    build_principal,
)


@pytest.fixture
def scene() -> CeremonyScene:
    return CeremonyScene()


def refused(code: Code) -> "pytest.RaisesExc[KmsError]":
    return pytest.raises(KmsError, match=f"^{code}: ")


def test_generated_master_is_in_force_at_the_end(scene: CeremonyScene) -> None:
    ceremony_id = scene.start("generate-ssd-master", Subject("cards"))
    view = scene.run(ceremony_id)
    key = scene.keys.get("cards")
    assert (key.state, key.kcv) == (KeyState.ACTIVE, view.ceremony.kcv)
    assert list(scene.vault.objects) == [key.object_id]
    assert not scene.vault.ceremony_pairs
    assert view.ceremony.cleared
    assert not view.ceremony.sealed


@pytest.mark.parametrize(
    ("script", "key_type", "number"),
    [("import-vendor-master", KeyType.DES2, 3), ("import-vendor-master-aes", KeyType.AES256, 2)],
)
def test_imported_master_is_the_components_xor(
    scene: CeremonyScene, script: str, key_type: KeyType, number: int
) -> None:
    components, value, kcv = make_components(key_type, number)
    view = scene.run(scene.start(script, Subject("maker", expected_kcv=kcv)), components)
    key = scene.keys.get("maker")
    assert scene.vault.objects == {key.object_id: value}
    assert [item.number for item in view.components] == list(range(1, number + 1))
    assert not any(item.wrapped for item in view.components)


def test_wrong_component_gives_no_key(scene: CeremonyScene) -> None:
    components, _, kcv = make_components(KeyType.AES256, 2)
    ceremony_id = scene.start("import-vendor-master-aes", Subject("maker", expected_kcv=kcv))
    wrong = (components[0], bytes(reversed(components[1])))
    with refused(Code.KEY_KCV_MISMATCH):
        scene.run(ceremony_id, wrong)
    scene.ceremonies.abort(ceremony_id, actor="person alice", why="a component is wrong")
    assert not scene.vault.objects
    assert not scene.vault.ceremony_pairs


def test_steps_are_for_their_roles(scene: CeremonyScene) -> None:
    ceremony_id = scene.start("generate-ssd-master", Subject("cards"))
    for person in (ADMIN, OPERATOR, AUDITOR, CUSTODIAN):
        with refused(Code.PERSON_NOT_PERMITTED):
            scene.ceremonies.act(person, ceremony_id, 1)
    scene.ceremonies.act(ALICE, ceremony_id, 1)
    for again in (ALICE, ALICE_AGAIN):  # one person with two accounts counts once
        with refused(Code.CEREMONY_STATE):
            scene.ceremonies.act(again, ceremony_id, 1)
    with refused(Code.CEREMONY_STATE):
        scene.ceremonies.act(BOB, ceremony_id, 2)
    scene.ceremonies.act(BOB, ceremony_id, 1)
    assert scene.ceremonies.view(ceremony_id).next_number == 2


def test_check_value_is_confirmed_as_it_is(scene: CeremonyScene) -> None:
    ceremony_id = scene.start("generate-ssd-master", Subject("cards"))
    for _ in range(3):
        scene.step(ceremony_id)
    with refused(Code.KEY_KCV_MISMATCH):
        scene.ceremonies.act(ALICE, ceremony_id, 3, StepInput(kcv=bytes(5)))
    assert scene.ceremonies.view(ceremony_id).next_number == 3


def test_custodian_holds_one_component_of_a_key_for_ever(scene: CeremonyScene) -> None:
    components, _, kcv = make_components(KeyType.AES256, 2)
    ceremony_id = scene.start("import-vendor-master-aes", Subject("maker", expected_kcv=kcv))
    for _ in range(3):
        scene.step(ceremony_id)
    carl, dora = (own_session(item) for item in CUSTODIANS[:2])
    scene.entry.enter(carl, ceremony_id, components[0].hex())
    for same in (carl, build_principal("carl", *carl.roles, account="other", session="other")):
        with refused(Code.CEREMONY_CUSTODY):
            scene.entry.enter(same, ceremony_id, components[1].hex())
    with refused(Code.CEREMONY_CUSTODY):  # another person in the first one's login
        scene.entry.enter(replace(dora, login_session_id=carl.login_session_id), ceremony_id, components[1].hex())
    scene.ceremonies.abort(ceremony_id, actor="person alice", why="enough for today")
    again = scene.start("import-vendor-master-aes", Subject("maker", expected_kcv=kcv))
    for _ in range(3):
        scene.step(again)
    scene.entry.enter(dora, again, components[0].hex())
    with refused(Code.CEREMONY_CUSTODY):
        scene.entry.enter(carl, again, components[1].hex())


def test_components_never_come_by_the_service(scene: CeremonyScene) -> None:
    ceremony_id = scene.start("import-vendor-master", Subject("maker", expected_kcv=b"\x12\x34\x56"))
    for _ in range(3):
        scene.step(ceremony_id)
    with refused(Code.CEREMONY_STATE):
        scene.ceremonies.act(own_session(CUSTODIANS[0]), ceremony_id, 3)


def test_nobody_is_in_two_ceremonies(scene: CeremonyScene) -> None:
    one = scene.start("generate-ssd-master", Subject("cards"))
    two = scene.start("generate-isd-master", Subject("issuer"))
    scene.ceremonies.act(ALICE, one, 1)
    with refused(Code.CEREMONY_CONFLICT):
        scene.ceremonies.act(ALICE, two, 1)
    scene.ceremonies.abort(one, actor="person alice", why="later")
    scene.ceremonies.act(ALICE, two, 1)


def test_script_that_changed_is_not_started(scene: CeremonyScene) -> None:
    with refused(Code.CEREMONY_CHANGED):
        scene.ceremonies.start("generate-ssd-master", bytes(32), Subject("cards"), actor="person alice")


def test_time_out_clears_everything(scene: CeremonyScene) -> None:
    ceremony_id = scene.start("generate-ssd-master", Subject("cards"))
    for _ in range(3):
        scene.step(ceremony_id)
    assert scene.vault.ceremony_pairs
    scene.clock.move(minutes=121)
    with refused(Code.CEREMONY_STATE):
        scene.step(ceremony_id)
    assert scene.ceremonies.expire().startswith("1 ceremonies ended")
    view = scene.ceremonies.view(ceremony_id)
    assert (view.ceremony.state, view.ceremony.cleared, view.ceremony.sealed) == (CeremonyState.EXPIRED, True, b"")
    assert not scene.vault.ceremony_pairs
    assert not scene.vault.objects


def test_rehearsal_leaves_the_platform_alone(scene: CeremonyScene) -> None:
    components, value, kcv = make_components(KeyType.DES2, 3)
    subject = Subject("maker", expected_kcv=kcv)
    view = scene.run(scene.start("import-vendor-master", subject, rehearsal=True), components)
    assert view.ceremony.state is CeremonyState.DONE
    assert not scene.vault.objects
    assert list(scene.rehearsal.objects.values()) == [value]
    assert all(label.startswith("REHEARSAL-") for label in scene.rehearsal.labels.values())
    assert not scene.keys.list()


def test_backup_is_proved_in_the_recovery_token(scene: CeremonyScene) -> None:
    scene.run(scene.start("make-backup-key", Subject("vault-backup")))
    assert scene.recovery.objects == scene.vault.objects
    view = scene.run(scene.start("generate-ssd-master-with-backup", Subject("cards")))
    assert view.ceremony.state is CeremonyState.DONE
    assert len(view.ceremony.backup) == 40
    assert not scene.recovery.ceremony_pairs


def test_backup_needs_its_key(scene: CeremonyScene) -> None:
    ceremony_id = scene.start("generate-ssd-master-with-backup", Subject("cards"))
    with refused(Code.KEY_MISSING):
        scene.run(ceremony_id)
    assert not scene.vault.objects


def test_states_of_a_key(scene: CeremonyScene) -> None:
    scene.run(scene.start("generate-ssd-master", Subject("cards")))
    for script, state in (
        ("suspend-key", KeyState.SUSPENDED),
        ("resume-key", KeyState.ACTIVE),
        ("deactivate-key", KeyState.DEACTIVATED),
    ):
        scene.run(scene.start(script, Subject("cards", generation=1, because="exercise")))
        assert scene.keys.get("cards").state is state
    destroying = scene.start("destroy-key", Subject("cards", generation=1, because="its end"))
    with refused(Code.KEY_STATE):
        scene.run(destroying)
    scene.vault.objects.clear()  # by the HSM's own means
    scene.run(destroying)
    assert scene.keys.get("cards").state is KeyState.DESTROYED


def test_compromised_key_is_marked(scene: CeremonyScene) -> None:
    scene.run(scene.start("generate-ssd-master", Subject("cards")))
    scene.run(scene.start("compromise-key", Subject("cards", generation=1, because="seen in the wild")))
    assert scene.keys.get("cards").state is KeyState.COMPROMISED


def test_development_login_counts_for_all_and_is_named(scene: CeremonyScene) -> None:
    ceremony_id = scene.start("generate-ssd-master", Subject("cards"))
    while (view := scene.ceremonies.view(ceremony_id)).next_step:
        scene.ceremonies.act(DEVELOPER, ceremony_id, view.next_number, StepInput(kcv=view.ceremony.kcv))
    assert "development login" in scene.records.get(ceremony_id, actor="person alice")


def test_every_script_of_the_site_is_whole(scene: CeremonyScene) -> None:
    assert all(scene.ceremonies.load_script(path.stem).script.steps for path in SCRIPTS.glob("*.toml"))


def test_kek_with_a_peer_in_three_ceremonies(scene: CeremonyScene) -> None:
    provider = CeremonyScene(platform="provider")
    offered = provider.run(provider.start("offer-kek", Subject("issuer")))
    offer = json.loads(offered.steps[-1].result)
    answering = scene.start("answer-kek", Subject("provider", peer_file=offer["file"]))
    for _ in range(2):
        scene.step(answering)
    with refused(Code.EXCHANGE_FINGERPRINT):
        scene.ceremonies.act(ALICE, answering, 2, StepInput(fingerprint=bytes(32)))
    heard = StepInput(fingerprint=bytes.fromhex(offer["fingerprint"]))
    for officer in (ALICE, BOB):
        scene.ceremonies.act(officer, answering, 2, heard)
    answered = scene.ceremonies.act(ALICE, answering, 3)
    answer = json.loads(answered.steps[-1].result)
    accepting = provider.start("accept-kek", Subject("issuer", peer_file=answer["file"]))
    for _ in range(2):
        provider.step(accepting)
    heard = StepInput(fingerprint=bytes.fromhex(answer["fingerprint"]))
    for officer in (ALICE, BOB):
        provider.ceremonies.act(officer, accepting, 2, heard)
    accepted = provider.ceremonies.act(ALICE, accepting, 3)
    assert json.loads(accepted.steps[-1].result)["kcv"] == answer["kcv"]


def test_running_ceremonys_pair_is_no_stranger_in_the_token(scene: CeremonyScene) -> None:
    ceremony_id = scene.start("generate-ssd-master", Subject("cards"))
    for _ in range(2):
        scene.step(ceremony_id)
    check = TokenCheck(store=scene.store, vault=scene.vault, clock=scene.clock, identifiers=scene.identifiers)
    assert not check.look().unexpected

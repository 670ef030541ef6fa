"""People: added, invited, confirmed, changed, disabled; and nobody in a place that is not theirs."""

from dataclasses import replace

import pytest

from kms.domain.keys import KeyState
from kms.domain.people import AccountState, NewPerson, PersonState, Role
from kms.errors import Code, KmsError
from kms.service.people import list_people
from tests.fakes.login_scene import FIRST, PASSWORD, LoginScene
from tests.fakes.master_vault import CutOffError

ACTOR = "person Adam Admin (request 1)"


@pytest.fixture
def scene() -> LoginScene:
    return LoginScene().start()


def refused(code: Code) -> "pytest.RaisesExc[KmsError]":
    return pytest.raises(KmsError, match=f"^{code}")


def get_person_id(scene: LoginScene, login: str) -> str:
    return scene.people.get(login).person.id


def add_carol(scene: LoginScene) -> None:
    scene.people.add("Carol Custodian", "carol", {Role.KEY_CUSTODIAN}, actor=ACTOR)


def invite_carol(scene: LoginScene) -> str:
    """Add, invite and enrol carol; the code that she reads out."""
    add_carol(scene)
    invited = scene.people.invite("carol", actor="person Adam Admin", inviter=get_person_id(scene, "adam"))
    return scene.enrol_app("carol", invited.secret)


def test_the_first_people_enrol_and_log_in_without_confirmation(scene: LoginScene) -> None:
    assert [record.person.name for record in scene.people.list()] == ["Adam Admin", "Alice Officer", "Bob Officer"]
    for login in ("adam", "alice", "bob"):
        assert scene.log_in(login).principal.name.lower().startswith(login)


def test_first_people_are_added_once(scene: LoginScene) -> None:
    with refused(Code.CONFLICT):
        scene.people.initialise(FIRST, actor="cli:root")


@pytest.mark.parametrize(
    "people",
    [
        (),
        FIRST[:2],  # one officer
        FIRST[1:],  # no administrator
        (*FIRST, NewPerson("Adam Admin", "adam2", frozenset({Role.OPERATOR}))),
        (*FIRST, NewPerson("Other", "adam", frozenset({Role.OPERATOR}))),
        (*FIRST, NewPerson("Eve", "eve", frozenset({Role.ADMINISTRATOR, Role.SECURITY_OFFICER}))),
        (*FIRST, NewPerson("Eve", "eve", frozenset())),
        (*FIRST, NewPerson("Eve", "Eve!", frozenset({Role.OPERATOR}))),
        (*FIRST, NewPerson("Eve (request 1)", "eve", frozenset({Role.OPERATOR}))),
        (*FIRST, NewPerson("Eve\n", "eve", frozenset({Role.OPERATOR}))),
    ],
)
def test_first_people_that_cannot_begin_are_refused_and_leave_nothing(people: tuple[NewPerson, ...]) -> None:
    scene = LoginScene()
    with refused(Code.INPUT_INVALID):
        scene.people.initialise(people, actor="cli:root")
    assert scene.people.list() == []
    assert scene.vault.made == 0


def test_a_login_key_whose_making_was_cut_off_is_taken_up_again() -> None:
    scene = LoginScene()
    scene.vault.cut_off = "after"
    with pytest.raises(CutOffError):
        scene.people.initialise(FIRST, actor="cli:root")
    scene.start()
    assert scene.vault.made == 1
    assert scene.log_in("bob").principal.name == "Bob Officer"


def test_an_added_person_logs_in_once_an_officer_has_confirmed_the_account(scene: LoginScene) -> None:
    code = invite_carol(scene)
    with refused(Code.LOGIN_REFUSED):
        scene.logins.begin("carol", PASSWORD)
    record = scene.people.confirm(
        "carol", code.lower(), actor="person Alice Officer", confirmer=get_person_id(scene, "alice")
    )
    assert record.accounts[0].account.state is AccountState.ACTIVE
    assert scene.log_in("carol").principal.roles == {Role.KEY_CUSTODIAN}


def test_whoever_invited_somebody_does_not_confirm_the_account(scene: LoginScene) -> None:
    code = invite_carol(scene)
    for login in ("adam", "carol"):
        with refused(Code.PERSON_NOT_PERMITTED):
            scene.people.confirm("carol", code, actor="x", confirmer=get_person_id(scene, login))


def test_an_account_is_confirmed_by_its_code_and_once(scene: LoginScene) -> None:
    code = invite_carol(scene)
    alice = get_person_id(scene, "alice")
    with refused(Code.INPUT_INVALID):
        scene.people.confirm("carol", "0000-0000", actor="x", confirmer=alice)
    scene.people.confirm("carol", code, actor="x", confirmer=alice)
    with refused(Code.CONFLICT):
        scene.people.confirm("carol", code, actor="x", confirmer=alice)


def test_a_newer_invitation_takes_the_place_of_the_one_before(scene: LoginScene) -> None:
    add_carol(scene)
    first = scene.people.invite("carol", actor="x", inviter="adam")
    second = scene.people.invite("carol", actor="x", inviter="adam")
    with refused(Code.LOGIN_INVITATION):
        scene.enrolment.begin(first.secret)
    scene.enrol_app("carol", second.secret)


def test_only_accounts_without_credentials_are_invited(scene: LoginScene) -> None:
    with refused(Code.CONFLICT):
        scene.people.invite("bob", actor="x", inviter="adam")
    with refused(Code.NOT_FOUND):
        scene.people.invite("nobody", actor="x", inviter="adam")
    add_carol(scene)
    scene.people.disable("carol", actor="x")
    with refused(Code.CONFLICT):
        scene.people.invite("carol", actor="x", inviter="adam")


def test_names_and_logins_are_taken_once(scene: LoginScene) -> None:
    for name, login in (("Bob Officer", "bob2"), ("Robert", "bob")):
        with refused(Code.CONFLICT):
            scene.people.add(name, login, {Role.OPERATOR}, actor=ACTOR)
    assert len(scene.people.list()) == 3


def test_a_person_with_two_accounts_is_one_person(scene: LoginScene) -> None:
    scene.people.add_account("bob", "bob.travel", actor=ACTOR)
    invited = scene.people.invite("bob.travel", actor="x", inviter="adam")
    code = scene.enrol_key("bob.travel", invited.secret)
    scene.people.confirm("bob.travel", code, actor="x", confirmer=get_person_id(scene, "alice"))
    first, second = scene.log_in("bob").principal, scene.log_in("bob.travel").principal
    assert first.account_id != second.account_id
    assert first.person_id == second.person_id
    assert len(scene.people.get("bob").accounts) == 2


def test_roles_are_changed_within_their_rules(scene: LoginScene) -> None:
    changed = scene.people.change("bob", name="Bob Smith", roles={Role.AUDITOR}, actor=ACTOR)
    assert (changed.person.name, changed.person.roles) == ("Bob Smith", frozenset({Role.AUDITOR}))
    with refused(Code.INPUT_INVALID):
        scene.people.change("bob", roles={Role.AUDITOR, Role.OPERATOR}, actor=ACTOR)
    with refused(Code.INPUT_INVALID):
        scene.people.change("bob", roles=set(), actor=ACTOR)
    event = scene.list_events("person.change")[-1]
    assert event.detail == "Bob Officer: key-custodian, security-officer -> Bob Smith: auditor"


def test_a_disabled_person_is_out_with_all_accounts_and_may_be_let_in_again(scene: LoginScene) -> None:
    assert scene.people.disable("bob", actor="x").person.state is PersonState.DISABLED
    with refused(Code.LOGIN_REFUSED):
        scene.logins.begin("bob", PASSWORD)
    scene.people.enable("bob", actor="x")
    assert scene.log_in("bob").principal.name == "Bob Officer"


def test_a_reset_account_forgets_its_credentials_and_is_invited_again(scene: LoginScene) -> None:
    opened = scene.log_in("bob")
    scene.people.reset_credentials("bob", actor=ACTOR)
    with refused(Code.LOGIN_NEEDED):
        scene.logins.authenticate(opened.secret)
    with refused(Code.LOGIN_REFUSED):
        scene.logins.begin("bob", PASSWORD)
    invited = scene.people.invite("bob", actor="x", inviter=get_person_id(scene, "adam"))
    code = scene.enrol_app("bob", invited.secret)
    scene.people.confirm("bob", code, actor="x", confirmer=get_person_id(scene, "alice"))
    assert scene.log_in("bob").principal.name == "Bob Officer"


def test_no_invitation_stands_in_store_or_log(scene: LoginScene) -> None:
    add_carol(scene)
    invited = scene.people.invite("carol", actor="x", inviter="adam")
    with scene.store.reading() as reading:
        assert invited.secret not in repr(reading.invitations.list())
        assert len(list_people(reading)) == 4
    assert invited.secret not in scene.list_all_events()
    assert invited.secret not in repr(invited)


def test_after_the_login_key_was_compromised_accounts_are_reset_and_invited_again(scene: LoginScene) -> None:
    before = scene.codes.ensure_key(actor="x")
    with scene.store.transaction() as transaction:
        transaction.master_keys.save(replace(before, state=KeyState.COMPROMISED))
    step = scene.logins.begin("bob", PASSWORD)
    with refused(Code.KEY_STATE):
        scene.logins.finish(step.secret, scene.show_code("bob"))
    assert scene.log_in("alice").principal.name == "Alice Officer"  # her security key is not touched
    scene.people.reset_credentials("bob", actor=ACTOR)
    invited = scene.people.invite("bob", actor="x", inviter=get_person_id(scene, "adam"))
    code = scene.enrol_app("bob", invited.secret)
    scene.people.confirm("bob", code, actor="x", confirmer=get_person_id(scene, "alice"))
    assert scene.log_in("bob").principal.name == "Bob Officer"
    assert scene.codes.ensure_key(actor="x").generation == before.generation + 1

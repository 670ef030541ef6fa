from dataclasses import replace

import pytest

from kms.domain.people import (
    Credential,
    CredentialKind,
    PersonState,
    Role,
    check_login,
    check_name,
    check_roles,
    compute_enrolment_code,
)
from kms.errors import Code, KmsError
from tests.fakes.records import NOW


@pytest.mark.parametrize(
    "roles",
    [
        {Role.AUDITOR},
        {Role.ADMINISTRATOR, Role.OPERATOR},
        {Role.SECURITY_OFFICER, Role.KEY_CUSTODIAN, Role.OPERATOR},
    ],
)
def test_roles_that_go_together(roles: set[Role]) -> None:
    check_roles(roles)


@pytest.mark.parametrize(
    "roles",
    [
        set(),
        {Role.AUDITOR, Role.OPERATOR},
        {Role.ADMINISTRATOR, Role.SECURITY_OFFICER},
        {Role.ADMINISTRATOR, Role.KEY_CUSTODIAN},
    ],
)
def test_roles_that_nobody_holds_together(roles: set[Role]) -> None:
    with pytest.raises(KmsError) as failure:
        check_roles(roles)
    assert failure.value.code is Code.INPUT_INVALID


@pytest.mark.parametrize("name", ["Ada", "Jo van der Meer-Łaski", "O'Neill, Jr."])
def test_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", " Ada", "Ada  L", "Ada\n", "x" * 65, "Ada (request 1)", "Ada\u202e"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(KmsError) as failure:
        check_name(name)
    assert failure.value.code is Code.INPUT_INVALID


@pytest.mark.parametrize("login", ["a", "Ada", "1ada", "ada lovelace", "a" * 33, "ada\n", ""])
def test_what_is_no_login(login: str) -> None:
    with pytest.raises(KmsError) as failure:
        check_login(login)
    assert failure.value.code is Code.INPUT_INVALID
    check_login("ada.lovelace-2")


def test_the_code_read_out_is_of_exactly_these_credentials() -> None:
    first, second = (
        Credential(str(number), "account", CredentialKind.WEBAUTHN, "", bytes([number]), PersonState.ACTIVE, NOW)
        for number in (1, 2)
    )
    code = compute_enrolment_code([first, second])
    assert code == compute_enrolment_code([second, first])
    assert len(code) == 9
    assert code != compute_enrolment_code([first])
    assert code != compute_enrolment_code([first, replace(second, data=b"another")])

import pytest

from kms.domain.people import Role, check_roles
from kms.errors import Code, KmsError


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

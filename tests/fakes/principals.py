"""People who act in tests."""

from kms.domain.people import CredentialKind, Principal, Role
from tests.fakes.records import NOW


def build_principal(
    name: str, *roles: Role, account: str = "", session: str = "session", development: bool = False
) -> Principal:
    """A person by name. `account`: another account of the same person."""
    return Principal(
        person_id=f"person-{name}",
        account_id=account or f"account-{name}",
        name=name,
        roles=frozenset(roles),
        login_session_id=session,
        second_factor=CredentialKind.WEBAUTHN,
        authenticated_at=NOW,
        development=development,
    )


OFFICER = Role.SECURITY_OFFICER
ALICE, BOB, CAROL = (build_principal(name, OFFICER) for name in ("alice", "bob", "carol"))
ALICE_AGAIN = build_principal("alice", OFFICER, account="account-alice-2")
ADMIN = build_principal("adam", Role.ADMINISTRATOR)
OPERATOR = build_principal("olga", Role.OPERATOR)
AUDITOR = build_principal("ada", Role.AUDITOR)
CUSTODIAN = build_principal("carl", Role.KEY_CUSTODIAN)
DEVELOPER = build_principal("cli:root", *Role, development=True)
